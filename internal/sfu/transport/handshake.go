package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/elliptic"
)

// flightInterval is when an unanswered DTLS flight is first repeated.
const flightInterval = 400 * time.Millisecond

// The DTLS connection serves three moments: the handshake, the client's goodbye
// and ours. Between them pion would keep four goroutines and 40 kB per client
// waiting for nothing, so after the handshake the connection's state is put away
// (resting) and taken up again for the goodbyes. The connection that is put away
// is muted first and never writes again, and the state is used once: that is what
// pion's ResumeWithOptions asks for, lest a record number and with it a GCM nonce
// be used twice.
//
// Our last flight may get lost. Then the client, for whom the handshake is not
// over, repeats its own (RFC 6347 §4.2.4), and must be answered without pion,
// which no longer has it. The very same datagrams are sent again: a client that
// got them takes them for repeated records, and nothing is encrypted anew.

// startHandshake starts the handshake once there are an answer and a valid check.
func (p *Peer) startHandshake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != waiting || p.remote.Load() == nil || p.route.Load() == nil || !p.endpoint.begin(false) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.phase, p.cancel = shaking, cancel
	go p.runHandshake(ctx)
}

// startAttending wakes a resting peer.
func (p *Peer) startAttending() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != resting || !p.endpoint.begin(false) {
		return
	}
	saved := p.saved
	p.phase, p.saved, p.since = attended, nil, time.Now()
	go p.runResumed(saved)
}

// startFarewell says goodbye for a resting peer that is over.
func (p *Peer) startFarewell(saved *dtls.State) {
	if p.endpoint.begin(true) {
		go p.runFarewell(saved)
	}
}

// runHandshake is the goroutine of a peer from its handshake to its rest or end.
func (p *Peer) runHandshake(ctx context.Context) {
	defer p.endpoint.end()
	c := newPipe(p)
	conn, err := p.handshake(ctx, c)
	if err != nil {
		_ = c.Close()
		p.lose(err)
		return
	}
	m, err := newMedia(conn, p.remote.Load().setup == Passive)
	if err != nil {
		p.lose(err)
		_ = conn.Close()
		return
	}
	if !p.raise(conn, c, m) {
		_ = conn.Close()
		return
	}
	p.endpoint.stats.shook(conn)
	p.handler.Up(p)
	if a := p.data.Load(); a != nil {
		p.carry(a, conn, c)
		return
	}
	c.hold(conn)
	p.attend(conn, c)
}

// runResumed is the goroutine of a peer from its waking to its rest or end.
func (p *Peer) runResumed(saved *dtls.State) {
	defer p.endpoint.end()
	c := newPipe(p)
	conn, err := p.resume(saved, c)
	if err != nil {
		_ = c.Close()
		p.lose(err)
		return
	}
	p.mu.Lock()
	alive := p.phase == attended
	if alive {
		p.conn, p.pipe = conn, c
	}
	p.mu.Unlock()
	if !alive {
		_ = conn.Close()
		return
	}
	p.attend(conn, c)
}

// runFarewell sends the close_notify of a resting peer.
func (p *Peer) runFarewell(saved *dtls.State) {
	defer p.endpoint.end()
	c := newPipe(p)
	conn, err := p.resume(saved, c)
	if err != nil {
		_ = c.Close()
		return
	}
	_ = conn.Close()
}

// handshake is DTLS 1.2 with SRTP (RFC 5764), on the side that the client's
// answer leaves to us.
func (p *Peer) handshake(ctx context.Context, c *pipe) (*dtls.Conn, error) {
	close(c.open)
	refused := false
	remote := p.remote.Load()
	verify := dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 || !remote.fingerprint.matches(raw[0]) {
			refused = true
			return ErrFingerprint
		}
		return nil
	})
	conn, err := p.side(remote.setup, c, verify)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		if refused {
			return nil, fmt.Errorf("%w: %w", ErrHandshake, ErrFingerprint)
		}
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	return conn, nil
}

// side makes our end of the handshake: the server unless the client is passive.
func (p *Peer) side(client Setup, c *pipe, verify dtls.Option) (*dtls.Conn, error) {
	options := append(p.options(), verify,
		dtls.WithInsecureSkipVerify(true)) // no authority signed it; the fingerprint decides
	if client == Passive {
		var ours []dtls.ClientOption
		for _, o := range options {
			ours = append(ours, o)
		}
		return dtls.ClientWithOptions(c, c.LocalAddr(), ours...)
	}
	ours := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		// The ICE check has proved the address already; no need for a cookie.
		dtls.WithInsecureSkipVerifyHello(true),
	}
	for _, o := range options {
		ours = append(ours, o)
	}
	return dtls.ServerWithOptions(c, c.LocalAddr(), ours...)
}

// resume takes up a connection that was put away. Nothing is read before that is
// complete: pion would take what waits for part of a handshake, and even believe
// an alert in the clear.
func (p *Peer) resume(saved *dtls.State, c *pipe) (*dtls.Conn, error) {
	conn, err := dtls.ResumeWithOptions(saved, c, c.LocalAddr(), p.options()...)
	if err != nil {
		return nil, fmt.Errorf("couldn't resume DTLS: %w", err)
	}
	if err := conn.Handshake(); err != nil {
		return nil, fmt.Errorf("couldn't resume DTLS: %w", err)
	}
	close(c.open)
	return conn, nil
}

// options are those of a handshake and a resumption alike.
func (p *Peer) options() []dtls.Option {
	return []dtls.Option{
		dtls.WithLoggerFactory(muted),
		dtls.WithCertificates(p.identity.certificate),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		withProfiles(),
		dtls.WithFlightInterval(flightInterval),
		// Every client has P-256 (RFC 8827 §6.5), and to us it costs two thirds of
		// X25519, which most would prefer and pion lets decide.
		dtls.WithEllipticCurves(elliptic.P256, elliptic.P384),
	}
}

// raise makes the peer up; false if it is over already.
func (p *Peer) raise(conn *dtls.Conn, c *pipe, m *media) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != shaking {
		return false
	}
	now := time.Now()
	p.cancel() // only frees the context: the handshake is over
	p.phase, p.cancel, p.conn, p.pipe, p.since = attended, nil, conn, c, now
	if a := p.data.Load(); a != nil {
		p.phase, a.conn = carrying, conn
	}
	if flight := c.lastFlight(); p.remote.Load().setup == Active {
		p.flight = flight
	}
	p.seen.Store(p.endpoint.since(now))
	p.media.Store(m)
	return true
}

// carry is the life of a peer that carries data. If the association ends before
// the connection does, the peer goes on like any other.
func (p *Peer) carry(a *association, conn *dtls.Conn, c *pipe) {
	reason := a.run()
	if reason == ErrClosedByClient {
		_ = conn.Close()
		p.lose(reason)
		p.endpoint.routes.remove(p) // if it was leaving
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	p.mu.Lock()
	phase := p.phase
	if phase == carrying {
		p.phase, p.since = attended, time.Now()
	}
	p.mu.Unlock()
	if phase != carrying {
		_ = conn.Close()
		p.endpoint.routes.remove(p)
		return
	}
	a.handler.DataClosed(p, -1, reason)
	p.attend(conn, c)
}

// runLeaving takes leave of the client of a peer that carries data. The peer's own
// goroutine does the rest.
func (p *Peer) runLeaving() {
	defer p.endpoint.end()
	a := p.data.Load()
	a.leave()
	a.handler.DataLeft(p)
}

// attend reads the DTLS connection until the peer rests or is over. Application
// data and warnings are ignored: there is no data channel, and anybody can send
// rubbish.
func (p *Peer) attend(conn *dtls.Conn, c *pipe) {
	buf := make([]byte, 64)
	for {
		_, err := conn.Read(buf)
		var late net.Error
		switch {
		case errors.Is(err, io.EOF): // close_notify or a fatal alert
			_ = conn.Close()
			p.lose(ErrClosedByClient)
			return
		case errors.As(err, &late) && late.Timeout():
			p.rest(conn, c)
			return
		}
	}
}

// interrupt ends the reading of a connection: its peer is over or shall rest.
func interrupt(conn *dtls.Conn) {
	if conn != nil {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// rest puts the connection away, or closes it if the peer is over.
func (p *Peer) rest(conn *dtls.Conn, c *pipe) {
	p.mu.Lock()
	ended := p.phase == over
	p.mu.Unlock()
	if ended {
		_ = conn.Close()
		return
	}
	c.muted.Store(true)
	saved, ok := conn.ConnectionState()
	_ = conn.Close()
	if !ok {
		p.lose(ErrClosedByClient)
		return
	}
	p.mu.Lock()
	ended = p.phase == over
	if !ended {
		p.phase, p.conn, p.pipe, p.saved = resting, nil, nil, &saved
	}
	p.mu.Unlock()
	if ended {
		p.startFarewell(&saved)
		return
	}
	for waiting := len(p.records); waiting > 0; waiting-- { // what came meanwhile
		select {
		case r := <-p.records:
			p.record(r)
		default:
			return
		}
	}
}

// needOf is what a DTLS datagram wants of a peer that has finished its handshake.
type need int

const (
	nothing need = iota // it is in the clear, or part of a repeated flight
	flight              // ours was lost: the end of the client's is here again
	waking              // it must be decrypted
)

// needOf looks at a datagram's records without decrypting them (RFC 6347 §4.1).
func needOf(datagram []byte) need {
	const header, handshake = 13, 22
	need := nothing
	for len(datagram) >= header {
		protected := datagram[3] != 0 || datagram[4] != 0 // the epoch
		switch {
		case protected && datagram[0] == handshake:
			return flight
		case protected:
			need = waking
		}
		datagram = datagram[min(len(datagram), header+int(datagram[11])<<8+int(datagram[12])):]
	}
	return need
}
