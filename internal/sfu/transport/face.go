package transport

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// Why a peer went down; Handler.Down hands one of these, wrapped.
var (
	ErrSetupTimeout   = errors.New("media transport was not set up in time")
	ErrConsentLost    = errors.New("no sign of life from the client")
	ErrHandshake      = errors.New("DTLS handshake failed")
	ErrFingerprint    = errors.New("certificate does not match the fingerprint in the answer")
	ErrBadSetup       = errors.New("answer must be active or passive in the DTLS handshake")
	ErrNoSRTP         = errors.New("client offers no SRTP protection profile that is known here")
	ErrClosedByClient = errors.New("client closed the DTLS connection")
)

// What the methods of a peer answer.
var (
	ErrBadFingerprint = errors.New("fingerprint is malformed or of an unsupported hash")
	ErrBadCredentials = errors.New("ICE credentials are malformed")
	ErrRemoteChanged  = errors.New("answer changes the transport of a running connection")
	ErrNotUp          = errors.New("media transport is not up")
	ErrMalformed      = errors.New("malformed packet")
	ErrTooLarge       = errors.New("packet is too large for the network")
	ErrTooManySources = errors.New("client sends too many SSRCs")
)

// The defaults of Config.
const (
	DefaultSetupTimeout        = 10 * time.Second
	DefaultConsentTimeout      = 15 * time.Second
	DefaultCertificateLifetime = 24 * time.Hour
)

// Config says where an Endpoint listens and what it offers.
type Config struct {
	Addr string       // host:port of the UDP port; an empty host is IPv4 and IPv6
	IPs  []netip.Addr // addresses to offer as candidates; empty: the host's own
	Log  *slog.Logger // nil: nothing is logged

	// SetupTimeout is how long a client may take from its answer to the end of
	// the DTLS handshake; 0 is DefaultSetupTimeout.
	SetupTimeout time.Duration
	// ConsentTimeout is how long a client may be silent; 0 is
	// DefaultConsentTimeout.
	ConsentTimeout time.Duration
	// CertificateLifetime is how long new clients are shown the same DTLS
	// certificate; who was shown it keeps it. 0 is DefaultCertificateLifetime.
	CertificateLifetime time.Duration
}

// Handler is told what happens to a peer. Its methods are called from the
// endpoint's goroutines, without a lock held, and must not block; they may call
// Peer.Close.
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

// Batch collects the sealed packets of one worker until Flush. It belongs to the
// goroutine that uses it and needs no Close; idle, it holds no memory.
type Batch struct {
	endpoint *Endpoint
	arena    *wire.Arena
}

// NewBatch makes an outgoing batch for one worker goroutine.
func (e *Endpoint) NewBatch() *Batch {
	return &Batch{endpoint: e, arena: e.socket.NewArena()}
}

// Flush sends what has been sealed since the last Flush and says how much was
// sent since then, including what a full batch sent by itself. Packets to one
// peer that stand side by side and are of equal size leave as one train. It
// never waits: what the socket does not take is dropped and counted.
func (b *Batch) Flush() BatchStats {
	s := b.arena.Flush()
	if s.Calls > 0 {
		b.endpoint.stats.sent(s)
	}
	return s
}
