package sfu

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// Errors that a connection's door meets.
var (
	// ErrNoOffer: an answer came although no offer was outstanding.
	ErrNoOffer = errors.New("no offer is waiting for an answer")
	// ErrBadAnswer: the answer cannot be used; the wrapping error says why.
	ErrBadAnswer = errors.New("answer cannot be used")
	// ErrEnded: the connection has ended.
	ErrEnded = errors.New("connection has ended")
	// ErrClosed: the SFU takes no more connections.
	ErrClosed = errors.New("media plane is closed")
	// ErrDuplicate: a connection of that id is there already.
	ErrDuplicate = errors.New("connection id is in use")
)

// signalLimit is how many signals a door may leave unread.
const signalLimit = 256

// Connection is one client in a channel, as its door sees it. All methods may
// be called from any goroutine.
type Connection struct {
	// Static
	sfu      *SFU
	request  JoinRequest
	joinedAt time.Time
	member   *member // what the worker knows; only the worker looks inside
	peer     *transport.Peer
	signals  chan Signal // one place more than the limit, for SignalEnded
	done     chan struct{}

	// Set by the worker before Join returns
	offer, midAudio, midVideo string

	// Published by the worker, read by anybody
	connectedAt           atomic.Pointer[time.Time] // nil: not yet
	videoCodec            atomic.Pointer[string]
	bytesIn, bytesOut     atomic.Int64
	packetsIn, packetsOut atomic.Int64

	// Guarded by mu
	mu      sync.Mutex
	channel *channel
	ended   bool
	ending  tenant.Ending
}

func newConnection(s *SFU, r JoinRequest) *Connection {
	c := &Connection{
		sfu:      s,
		request:  r,
		joinedAt: time.Now(),
		signals:  make(chan Signal, signalLimit+1),
		done:     make(chan struct{}),
	}
	c.member = &member{conn: c}
	c.peer = s.cfg.Transport.NewPeer(c.member)
	return c
}

// enter notes the channel that the connection is about to join.
func (c *Connection) enter(ch *channel) {
	c.mu.Lock()
	c.channel = ch
	c.mu.Unlock()
}

// home is the channel of the connection, nil before Join found one.
func (c *Connection) home() *channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channel
}

// ID is the connection id that the Join asked for.
func (c *Connection) ID() string { return c.request.ConnectionID }

// Offer is the first offer, with the mids of its upload sections ("": none).
func (c *Connection) Offer() (sdp, midAudio, midVideo string) {
	return c.offer, c.midAudio, c.midVideo
}

// Answer takes the client's answer to the outstanding offer, the first or a
// later one alike. The error is ErrNoOffer, ErrEnded or wraps ErrBadAnswer; the
// connection goes on until its door ends it.
func (c *Connection) Answer(sdp string) error {
	a, err := parseAnswer(sdp) // here, so that a long answer costs the worker nothing
	if err != nil {
		return err
	}
	reply := make(chan error, 1)
	ch := c.home()
	if ch == nil || !ch.post(func(w *worker) { reply <- w.answer(c.member, a) }) {
		return ErrEnded
	}
	select {
	case err := <-reply:
		return err
	case <-c.done:
		return ErrEnded
	}
}

// Candidate takes a candidate of the client. An ICE-lite server learns the
// client's address from its checks, so that nothing needs to be done with it.
func (c *Connection) Candidate(candidate string) {}

// Signals is what the client must be told, in order; closed after SignalEnded.
// A door that leaves 256 signals unread loses the connection.
func (c *Connection) Signals() <-chan Signal { return c.signals }

// signal leaves a signal for the door and never waits: the lock is there for
// the close in finish. It is false when the door has left too many unread.
func (c *Connection) signal(s Signal) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return true
	}
	if len(c.signals) >= signalLimit {
		return false
	}
	c.signals <- s
	return true
}

// Disconnect ends the connection. It never blocks; the first reason counts.
func (c *Connection) Disconnect(reason string) {
	if ch := c.home(); ch != nil {
		ch.post(func(w *worker) { w.remove(c.member, reason) })
	}
}

// finish ends the connection towards its door and its client; the first reason
// counts. The worker calls it, or whoever closes a channel whose worker died.
func (c *Connection) finish(reason string) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	c.ending = tenant.Ending{
		Reason:   reason,
		Duration: c.connected(),
		BytesIn:  c.bytesIn.Load(),
		BytesOut: c.bytesOut.Load(),
	}
	c.signals <- Signal{Kind: SignalEnded, Reason: reason} // the place kept free for it
	close(c.signals)
	ch := c.channel
	c.mu.Unlock()

	c.peer.Close()
	c.sfu.forget(c)
	if ch != nil {
		ch.release(c)
	}
	close(c.done)
}

// connected is how long the media transport has been up.
func (c *Connection) connected() time.Duration {
	if at := c.connectedAt.Load(); at != nil {
		return time.Since(*at)
	}
	return 0
}

// Done is closed when the connection has ended.
func (c *Connection) Done() <-chan struct{} { return c.done }

// Ending says how the connection ended; valid once Done is closed.
func (c *Connection) Ending() tenant.Ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// Info is a copy of what is known about the connection now; its counters may be
// a second old.
func (c *Connection) Info() ConnectionInfo {
	r := &c.request
	info := ConnectionInfo{
		Tenant:       r.Tenant,
		Channel:      r.Channel,
		SessionID:    r.SessionID,
		ConnectionID: r.ConnectionID,
		ClientID:     r.ClientID,
		BundleID:     r.BundleID,
		Role:         r.Role,
		Audio:        r.Audio.Enabled,
		Video:        r.Video.Enabled,
		Metadata:     r.Metadata,
		JoinedAt:     c.joinedAt,
		Connected:    c.connected(),
		BytesIn:      c.bytesIn.Load(),
		BytesOut:     c.bytesOut.Load(),
		PacketsIn:    c.packetsIn.Load(),
		PacketsOut:   c.packetsOut.Load(),
	}
	if name := c.videoCodec.Load(); name != nil {
		info.VideoCodec = *name
	}
	return info
}
