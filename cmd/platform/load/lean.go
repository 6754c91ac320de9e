package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
)

// leanViewer watches a channel as cheaply as it can: see the package comment.
type leanViewer struct {
	*receipts
	*call

	// Static, from before the poller knows the viewer
	ufrag, pwd  string
	fingerprint string
	ssrc        uint32 // of its own reports
	every       uint16 // see decryptEvery
	socket      *socket
	local       netip.AddrPort
	offer       *offered // the first
	answers     int      // owned by the signalling
	dtls        *dtls.Conn
	stop        context.CancelFunc

	records chan []byte   // DTLS datagrams, for the handshake
	checked chan struct{} // closed when the server has answered a check
	media   atomic.Pointer[leanMedia]

	// Owned by the poller
	answered   bool // checked is closed
	nextCheck  time.Time
	nextReport time.Time
	sources    []leanSource
}

// leanMedia is SRTP, owned by the poller once it is there.
type leanMedia struct {
	in, out *srtp.Context
	plain   [2048]byte // scratch for what is decrypted
}

// leanSource is one SSRC: which packet of which publisher a sequence number is.
type leanSource struct {
	ssrc      uint32
	seq, last uint16 // of the packet decrypted last, of the newest
	stamp     stamp  // of the packet decrypted last
}

// timedRate is how many packets per second all viewers of a stage together
// should decrypt, which tells their delay.
const timedRate = 6000

// decryptEvery is how many packets go between those that a lean viewer decrypts
// when all viewers together get rate packets a second. It shares no divisor with
// the usual packets of a frame, so that each place in a frame gets its turn.
func decryptEvery(rate int) uint16 {
	for _, every := range []int{1, 3, 7, 11, 13, 17, 23, 31, 43} {
		if rate <= every*timedRate {
			return uint16(every)
		}
	}
	return 61
}

// startLeanViewer joins and returns when the first packet is there. It returns a
// viewer to close even with an error, when it got that far.
func startLeanViewer(ctx context.Context, r *run, s *stage) (watcher, error) {
	v := &leanViewer{
		receipts: newReceipts(),
		ufrag:    randomText(8), pwd: randomText(24), ssrc: rand.Uint32(),
		fingerprint: r.identity.fingerprint, every: s.every,
		records: make(chan []byte, 32),
		checked: make(chan struct{}),
	}
	var err error
	if v.call, err = dial(ctx, r, s.channel, "recvonly", v.answerOffer); err != nil {
		if v.socket != nil {
			v.socket.close()
		}
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	go v.runSignaling(running)
	r.poller.add(v)
	v.stop = func() {
		stop()
		if v.dtls != nil {
			_ = v.dtls.Close() // says goodbye; the server may be gone
		}
		r.poller.remove(v)
	}
	select {
	case <-v.checked:
	case <-ctx.Done():
		return v, errors.New("the server answered no ICE check in time")
	}
	if err := v.handshake(ctx, r); err != nil {
		return v, fmt.Errorf("DTLS failed: %w", err)
	}
	return v, r.awaitFirst(ctx, v.receipts)
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
func (v *leanViewer) answerOffer(text string) (string, error) {
	o, err := parseOffer(text)
	if err != nil {
		return "", err
	}
	if v.socket == nil {
		if v.socket, v.local, err = openSocket(o.remote); err != nil {
			return "", err
		}
		v.offer = o
	}
	return v.leanAnswer(o), nil
}

// handshake is DTLS as the client, and the SRTP keys that come of it.
func (v *leanViewer) handshake(ctx context.Context, r *run) error {
	conn, err := dtls.ClientWithOptions(&leanPipe{v: v, closed: make(chan struct{})}, &net.UDPAddr{},
		dtls.WithCertificates(r.identity.tls),
		dtls.WithInsecureSkipVerify(true), // it is the server under test
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithFlightInterval(100*time.Millisecond))
	if err != nil {
		return err
	}
	v.dtls = conn
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
	v.media.Store(m)
	return nil
}

func (v *leanViewer) count() *receipts { return v.receipts }

func (v *leanViewer) close() {
	v.stop()
	v.call.close()
	v.socket.close()
}

// leanPipe is the net.PacketConn of a lean viewer's DTLS.
type leanPipe struct {
	v      *leanViewer
	once   sync.Once
	closed chan struct{}
}

// ReadFrom waits for the next record.
func (p *leanPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case record := <-p.v.records:
		return copy(b, record), p.LocalAddr(), nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo sends a record; what is dropped, DTLS repeats.
func (p *leanPipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.v.socket.send(b)
	return len(b), nil
}

// Close ends a waiting ReadFrom.
func (p *leanPipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// LocalAddr is nominal.
func (p *leanPipe) LocalAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline does nothing: a viewer's DTLS is read until it is closed.
func (p *leanPipe) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (p *leanPipe) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (p *leanPipe) SetWriteDeadline(time.Time) error { return nil }
