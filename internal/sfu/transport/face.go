package transport

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// Errors of this package. Down hands one of the first four, wrapped.
var (
	ErrConsentLost      = errors.New("no sign of life from the client")
	ErrSetupTimeout     = errors.New("media transport was not set up in time")
	ErrHandshake        = errors.New("DTLS handshake failed")
	ErrClosedByClient   = errors.New("client closed the DTLS connection")
	ErrFingerprint      = errors.New("certificate does not match the fingerprint in the answer")
	ErrRemoteChanged    = errors.New("answer changes the transport of a running connection")
	ErrNotUp            = errors.New("media transport is not up")
	ErrClosed           = errors.New("transport is closed")
	ErrMalformed        = errors.New("malformed packet")
	ErrUnsupportedHash  = errors.New("fingerprint uses an unsupported hash")
	ErrPacketTooLarge   = errors.New("packet is too large for the network")
	ErrPaddingTooLarge  = errors.New("padding exceeds 255 bytes")
	ErrNoUsableProtocol = errors.New("client offers no SRTP protection profile that is known here")
)

// Config says where an Endpoint listens and what it offers.
type Config struct {
	Addr string       // host:port of the UDP port; an empty host is IPv4 and IPv6
	IPs  []netip.Addr // addresses to offer as candidates; empty: the host's own
	Log  *slog.Logger // nil: nothing is logged

	// SetupTimeout is how long a client may take from its answer to the end of
	// the DTLS handshake; 0 is 10 s.
	SetupTimeout time.Duration
	// ConsentTimeout is how long a client may be silent; 0 is 15 s.
	ConsentTimeout time.Duration
}

// Handler is told what happens to a peer. Its methods are called from the
// endpoint's goroutines and must not block; they may call Peer.Close.
type Handler interface {
	// Datagrams hands over SRTP and SRTCP packets, still protected, in the order
	// of their arrival. The callee owns each Datagram and must Free it; the
	// slice itself belongs to the caller and is reused after the call.
	Datagrams(p *Peer, batch []Datagram)
	// Up says that the handshake is over: Unprotect and Seal work from now on.
	// Datagrams may come a moment earlier.
	Up(p *Peer)
	// Down says that the client is lost and why. It is called at most once, and
	// not begun after Peer.Close; the owner still has to Close the peer.
	Down(p *Peer, reason error)
}

// Datagram is one received SRTP or SRTCP packet.
type Datagram struct {
	Data []byte    // the protected packet; Unprotect overwrites it
	At   time.Time // when its batch was read, with the monotonic clock
	buf  *wire.Buffer
}

// Free gives the memory back. Data and what Unprotect made of it must not be
// used afterwards. Freeing twice does nothing.
func (d *Datagram) Free() {
	if d.buf != nil {
		d.buf.Free()
		d.buf, d.Data = nil, nil
	}
}

// BatchStats says what one or several flushes sent.
type BatchStats = wire.Stats
