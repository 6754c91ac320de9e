package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/deadline"
)

// leanPeer is one client made of pion's parts: signalling, ICE, DTLS and the
// keys of SRTP. What it is there for is its handler's business.
type leanPeer struct {
	call

	// Static, from before the poller knows the peer
	handler     leanHandler
	ufrag, pwd  string
	fingerprint string
	ssrc        uint32 // of what it sends, its reports included
	sends       bool   // a publisher
	socket      *socket
	local       netip.AddrPort
	offer       *offered // the first
	payloadType uint8    // of what it sends
	answers     int      // owned by the signalling
	dtls        *dtls.Conn
	stop        func()

	records chan []byte   // DTLS datagrams, for the handshake
	checked chan struct{} // closed when the server has answered a check
	media   atomic.Pointer[leanMedia]

	parked atomic.Bool // nothing comes any more, see Crowd.Park

	// Owned by the poller
	answered  bool // checked is closed
	nextCheck time.Time
}

// leanHandler is what a lean peer does with media. The poller calls it, once the
// peer has its keys.
type leanHandler interface {
	// rtp takes one packet, which came at a time since the run's epoch.
	rtp(m *leanMedia, b []byte, came time.Duration)
	rtcp(m *leanMedia, b []byte)
	// report says with sendRTCP what is due once a second.
	report(p *leanPeer, m *leanMedia)
}

// leanMedia is SRTP, owned by the poller once it is there, but for rtp.
type leanMedia struct {
	in, out    *srtp.Context
	rtp        *srtp.Context // for packets to send; owned by who sends them
	plain      [2048]byte    // scratch for what is decrypted
	nextReport time.Time
}

// startLeanPeer joins a channel and returns when media can flow. It returns a
// peer to close even with an error, when it got that far.
func startLeanPeer(ctx context.Context, r *run, s *stage, role string, h leanHandler) (*leanPeer, error) {
	p := &leanPeer{
		handler: h,
		ufrag:   randomText(8), pwd: randomText(24), ssrc: rand.Uint32(),
		fingerprint: r.identity.fingerprint, sends: role == "sendonly",
		records: make(chan []byte, 32),
		checked: make(chan struct{}),
	}
	var err error
	if p.call, err = r.enter(ctx, s, role, p.answerOffer); err != nil {
		if p.socket != nil {
			p.socket.close()
		}
		return nil, err
	}
	r.poller.add(p)
	p.stop = func() {
		if p.dtls != nil {
			_ = p.dtls.Close() // says goodbye; the server may be gone
		}
		r.poller.remove(p)
	}
	select {
	case <-p.checked:
	case <-ctx.Done():
		return p, errors.New("the server answered no ICE check in time")
	}
	if err := p.handshake(ctx, r); err != nil {
		return p, fmt.Errorf("DTLS failed: %w", err)
	}
	return p, nil
}

// randomText is n characters for ICE credentials; nobody attacks a benchmark.
func randomText(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}

// answerOffer opens the socket at the first offer, and answers any.
func (p *leanPeer) answerOffer(text string) (string, error) {
	o, err := parseOffer(text)
	if err != nil {
		return "", err
	}
	if p.socket == nil {
		if p.socket, p.local, err = openSocket(o.remote); err != nil {
			return "", err
		}
		p.offer = o
	}
	return p.leanAnswer(o), nil
}

// handshake is DTLS as the client, and the SRTP keys that come of it.
func (p *leanPeer) handshake(ctx context.Context, r *run) error {
	conn, err := dtls.ClientWithOptions(newLeanPipe(p), &net.UDPAddr{},
		dtls.WithCertificates(r.identity.tls),
		dtls.WithInsecureSkipVerify(true), // it is the server under test
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithFlightInterval(100*time.Millisecond))
	if err != nil {
		return err
	}
	p.dtls = conn
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	chosen, ok := conn.SelectedSRTPProtectionProfile()
	state, ok2 := conn.ConnectionState()
	if !ok || !ok2 {
		return errors.New("the server chose no SRTP profile")
	}
	c := srtp.Config{Profile: srtp.ProtectionProfile(chosen)}
	if err := c.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		return err
	}
	m := new(leanMedia)
	if m.out, err = srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile); err != nil {
		return err
	}
	if m.in, err = srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile); err != nil {
		return err
	}
	if p.sends {
		if m.rtp, err = srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile); err != nil {
			return err
		}
	}
	p.media.Store(m)
	return nil
}

func (p *leanPeer) close() {
	p.stop()
	p.call.close()
	p.socket.close()
}

// leanPipe is the net.PacketConn of a lean peer's DTLS.
type leanPipe struct {
	p        *leanPeer
	once     sync.Once
	closed   chan struct{}
	deadline *deadline.Deadline
}

func newLeanPipe(p *leanPeer) *leanPipe {
	return &leanPipe{p: p, closed: make(chan struct{}), deadline: deadline.New()}
}

// ReadFrom waits for the next record.
func (p *leanPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case record := <-p.p.records:
		return copy(b, record), p.LocalAddr(), nil
	case <-p.deadline.Done():
		return 0, nil, os.ErrDeadlineExceeded
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo sends a record; what is dropped, DTLS repeats.
func (p *leanPipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.p.socket.send(b)
	return len(b), nil
}

// Close ends a waiting ReadFrom.
func (p *leanPipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// LocalAddr is nominal.
func (p *leanPipe) LocalAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline bounds reads: writes never wait.
func (p *leanPipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetReadDeadline ends reads that wait longer; so a handshake can be given up.
func (p *leanPipe) SetReadDeadline(t time.Time) error {
	p.deadline.Set(t)
	return nil
}

// SetWriteDeadline does nothing.
func (p *leanPipe) SetWriteDeadline(time.Time) error { return nil }
