package transport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v3"
	"github.com/pion/transport/v5/packetio"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// client is a WebRTC client made of pion's parts, so that a test can do each step
// by itself, and wrongly.
type client struct {
	t           testing.TB
	ufrag, pwd  string
	certificate tls.Certificate
	fingerprint string
	told        string // the server's fingerprint, by signalling

	socket  atomic.Pointer[net.UDPConn] // changes when the client roams
	server  netip.AddrPort
	answers chan *stun.Message
	media   chan []byte
	dtlsIn  *packetio.Buffer
	readers sync.WaitGroup

	// What gets lost of the DTLS datagrams from and to the server; nil: nothing.
	// Static from the first check on.
	loseIn, loseOut func([]byte) bool

	conn    *dtls.Conn
	profile srtp.ProtectionProfile
	out, in *srtp.Context
}

// newClient makes a client on a port of its own at host ("127.0.0.1", "::1").
func newClient(t testing.TB, e *transport.Endpoint, host string) *client {
	c := &client{
		t: t, ufrag: "cli" + rand.Text()[:5], pwd: rand.Text(),
		server:  netip.AddrPortFrom(netip.MustParseAddr(host), e.LocalAddr().Port()),
		answers: make(chan *stun.Message, 64), media: make(chan []byte, 4096), dtlsIn: packetio.NewBuffer(),
	}
	c.certificate, c.fingerprint = newCertificate(t)
	c.open()
	t.Cleanup(c.close)
	return c
}

func newCertificate(t testing.TB) (tls.Certificate, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	text := strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sum[:]), " ", ":"))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, "sha-256 " + text
}

// open takes a new port, as a client does that changes networks.
func (c *client) open() {
	p, err := net.ListenPacket("udp", net.JoinHostPort(c.server.Addr().String(), "0"))
	if err != nil {
		c.t.Fatal(err)
	}
	s := p.(*net.UDPConn)
	_ = s.SetReadBuffer(4 << 20)
	if old := c.socket.Swap(s); old != nil {
		_ = old.Close()
	}
	c.readers.Add(1)
	go c.runReader(s)
}

func (c *client) runReader(s *net.UDPConn) {
	defer c.readers.Done()
	for {
		b := make([]byte, 2048)
		n, err := s.Read(b)
		if err != nil {
			return
		}
		switch b = b[:n]; {
		case b[0] < 4:
			m := new(stun.Message)
			if stun.Decode(b, m) == nil {
				c.answers <- m
			}
		case b[0] < 64 && c.loseIn != nil && c.loseIn(b):
		case b[0] < 64:
			_, _ = c.dtlsIn.Write(b, nil)
		default:
			c.media <- b
		}
	}
}

func (c *client) close() {
	_ = c.socket.Load().Close()
	_ = c.dtlsIn.Close()
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.readers.Wait()
}

func (c *client) addr() netip.AddrPort {
	a := c.socket.Load().LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (c *client) send(b []byte) {
	if _, err := c.socket.Load().WriteToUDPAddrPort(b, c.server); err != nil {
		c.t.Error(err)
	}
}

// request is a check as the client would send it; a test may give wrong values.
func (c *client) request(name, pwd string, nominate bool) *stun.Message {
	set := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(name),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{110, 0, 30, 255}},
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: make([]byte, 8)}}
	if nominate {
		set = append(set, stun.RawAttribute{Type: stun.AttrUseCandidate})
	}
	m, err := stun.Build(append(set, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// check sends a valid check and waits for its answer.
func (c *client) check(p *transport.Peer, nominate bool) {
	c.t.Helper()
	c.told = p.Fingerprint()
	m := c.request(p.Ufrag()+":"+c.ufrag, p.Pwd(), nominate)
	c.send(m.Raw)
	for {
		select {
		case a := <-c.answers:
			if a.TransactionID == m.TransactionID {
				c.examine(a, p)
				return
			}
		case <-time.After(patience):
			c.t.Fatal("no answer to a valid check")
		}
	}
}

// examine checks an answer as an ICE agent does.
func (c *client) examine(a *stun.Message, p *transport.Peer) {
	c.t.Helper()
	var mapped stun.XORMappedAddress
	if a.Type != stun.BindingSuccess {
		c.t.Fatalf("answer is %v", a.Type)
	}
	if err := a.Parse(&mapped); err != nil {
		c.t.Fatal(err)
	}
	if err := a.Check(stun.Fingerprint, stun.NewShortTermIntegrity(p.Pwd())); err != nil {
		c.t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(mapped.IP)
	if got := netip.AddrPortFrom(ip.Unmap(), uint16(mapped.Port)); got != c.addr() {
		c.t.Fatalf("answer maps to %v, want %v", got, c.addr())
	}
}

// handshake is the client's side of DTLS with the given profiles.
func (c *client) handshake(profiles ...dtls.SRTPProtectionProfile) error {
	options := []dtls.ClientOption{
		dtls.WithCertificates(c.certificate), dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(50 * time.Millisecond),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			sum := sha256.Sum256(raw[0])
			if text := "sha-256 " + strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sum[:]), " ", ":")); text != c.told {
				return fmt.Errorf("server shows %s, offered %s", text, c.told)
			}
			return nil
		}),
	}
	if len(profiles) > 0 {
		options = append(options, dtls.WithSRTPProtectionProfiles(profiles...))
	}
	conn, err := dtls.ClientWithOptions(tap{c}, net.UDPAddrFromAddrPort(c.server), options...)
	if err != nil {
		return err
	}
	c.conn = conn
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	chosen, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return nil
	}
	c.profile = srtp.ProtectionProfile(chosen)
	state, _ := conn.ConnectionState()
	k := srtp.Config{Profile: c.profile}
	if err := k.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		return err
	}
	c.out, err = srtp.CreateContext(k.Keys.LocalMasterKey, k.Keys.LocalMasterSalt, k.Profile)
	if err != nil {
		return err
	}
	c.in, err = srtp.CreateContext(k.Keys.RemoteMasterKey, k.Keys.RemoteMasterSalt, k.Profile, srtp.SRTPReplayProtection(1024))
	return err
}

// tap is the client's DTLS view of its socket.
type tap struct{ c *client }

func (a tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := a.c.dtlsIn.Read(b, nil)
	return n, net.UDPAddrFromAddrPort(a.c.server), err
}

func (a tap) WriteTo(b []byte, _ net.Addr) (int, error) {
	if a.c.loseOut != nil && a.c.loseOut(b) {
		return len(b), nil
	}
	return a.c.socket.Load().WriteToUDPAddrPort(b, a.c.server)
}

func (a tap) Close() error                       { return nil }
func (a tap) LocalAddr() net.Addr                { return a.c.socket.Load().LocalAddr() }
func (a tap) SetDeadline(t time.Time) error      { return a.c.dtlsIn.SetReadDeadline(t) }
func (a tap) SetReadDeadline(t time.Time) error  { return a.c.dtlsIn.SetReadDeadline(t) }
func (a tap) SetWriteDeadline(t time.Time) error { return nil }

// packet waits for the next SRTP or SRTCP packet, still protected.
func (c *client) packet() []byte {
	c.t.Helper()
	select {
	case b := <-c.media:
		return b
	case <-time.After(patience):
		c.t.Fatal("no packet came")
		return nil
	}
}

// owner is the worker that owns a peer: it keeps what the endpoint tells it.
type owner struct {
	t     testing.TB
	up    chan struct{}
	down  chan error
	inbox chan transport.Datagram
}

func newOwner(t testing.TB) *owner {
	return &owner{t: t, up: make(chan struct{}, 2), down: make(chan error, 2), inbox: make(chan transport.Datagram, 4096)}
}

func (o *owner) Datagrams(_ *transport.Peer, batch []transport.Datagram) {
	for _, d := range batch {
		o.inbox <- d
	}
}

func (o *owner) Up(*transport.Peer)                { o.up <- struct{}{} }
func (o *owner) Down(_ *transport.Peer, err error) { o.down <- err }

func (o *owner) waitUp() {
	o.t.Helper()
	select {
	case <-o.up:
	case err := <-o.down:
		o.t.Fatalf("peer went down: %v", err)
	case <-time.After(patience):
		o.t.Fatal("peer did not come up")
	}
}

func (o *owner) waitDown() error {
	o.t.Helper()
	select {
	case err := <-o.down:
		return err
	case <-time.After(patience):
		o.t.Fatal("peer did not go down")
		return nil
	}
}

func (o *owner) datagram() transport.Datagram {
	o.t.Helper()
	select {
	case d := <-o.inbox:
		return d
	case <-time.After(patience):
		o.t.Fatal("no datagram came")
		return transport.Datagram{}
	}
}

// listen opens an endpoint that the test closes.
func listen(t testing.TB, c transport.Config) *transport.Endpoint {
	t.Helper()
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	e, err := transport.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// connect brings a peer and a client up against each other.
func connect(t testing.TB, e *transport.Endpoint, host string, profiles ...dtls.SRTPProtectionProfile) (*transport.Peer, *owner, *client) {
	t.Helper()
	return connectBy(t, e, newClient(t, e, host), profiles...)
}

// connectBy does so with a client that is there already.
func connectBy(t testing.TB, e *transport.Endpoint, c *client, profiles ...dtls.SRTPProtectionProfile) (*transport.Peer, *owner, *client) {
	t.Helper()
	if len(profiles) == 0 {
		profiles = []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM}
	}
	o := newOwner(t)
	p := e.NewPeer(o)
	if err := p.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
		t.Fatal(err)
	}
	c.check(p, true)
	if err := c.handshake(profiles...); err != nil {
		t.Fatal(err)
	}
	o.waitUp()
	return p, o, c
}

// eventually polls for a condition.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !f() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never happened: %s", what)
		}
	}
}
