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

// Connection is one client in a channel, as its door sees it. All methods may
// be called from any goroutine.
type Connection struct {
	// Static
	sfu      *SFU
	request  JoinRequest
	joinedAt time.Time
	member   *member // what the worker knows; only the worker looks inside
	peer     *transport.Peer
	data     *data         // nil: it was given no data channels
	ring     chan struct{} // a token when signals wait
	done     chan struct{}
	left     chan struct{} // closed when the client's transport is closed

	// Published by the worker, read by anybody
	other                 atomic.Pointer[Other]     // as newcomers meet it
	connectedAt           atomic.Pointer[time.Time] // nil: not yet
	videoCodec            atomic.Pointer[string]
	bytesIn, bytesOut     atomic.Int64
	packetsIn, packetsOut atomic.Int64
	quality               publishedQuality
	reading               publishedReading // locks for itself
	layers                publishedLayers

	// Guarded by mu
	mu       sync.Mutex
	channel  *channel
	offer    firstOffer
	waiting  []Signal // for the door
	expected bool     // the door was rung for what waits, or soon will be
	ended    bool     // nothing more is signalled
	ending   tenant.Ending
	hungUp   bool     // the door needs the transport no longer
	closed   bool     // the transport was closed from here
	gone     bool     // left is closed
	settled  bool     // after has been started
	after    []func() // to be started once done is closed
}

// firstOffer is what a client is sent first.
type firstOffer struct {
	sdp, midAudio, midVideo string
}

func newConnection(s *SFU, r JoinRequest) *Connection {
	c := &Connection{
		sfu:      s,
		request:  r,
		joinedAt: time.Now(),
		ring:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		left:     make(chan struct{}),
	}
	c.setMetadata(r.Metadata)
	c.member = &member{conn: c, offered: r.Offer}
	c.request.Offer = nil
	if c.data = newData(c, r.DataChannels); c.data != nil {
		c.peer = s.cfg.Transport.NewDataPeer(c.member)
	} else {
		c.peer = s.cfg.Transport.NewPeer(c.member)
	}
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

// TakeAnswer is the answer to the client's offer, if the client offered. It is
// not kept: the first call has it.
func (c *Connection) TakeAnswer() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := c.offer.sdp
	c.offer.sdp = ""
	return answer
}

// Offer is the first offer, with the mids of its upload sections ("": none). The
// SDP is kept until it is answered; "" from then on.
func (c *Connection) Offer() (sdp, midAudio, midVideo string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offer.sdp, c.offer.midAudio, c.offer.midVideo
}

// setOffer keeps the first offer for the door.
func (c *Connection) setOffer(o firstOffer) {
	c.mu.Lock()
	c.offer = o
	c.mu.Unlock()
}

// forgetOffer frees what only the setting up needs: it is some kilobytes.
func (c *Connection) forgetOffer() {
	c.mu.Lock()
	c.offer.sdp = ""
	c.mu.Unlock()
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

// RestartICE begins a new ICE session with the client's new credentials; media
// goes on over the old one until the first check of the new. The error is
// ErrEnded, or that of transport.Peer.Restart.
func (c *Connection) RestartICE(ufrag, pwd string) (ICE, error) {
	localUfrag, localPwd, err := c.peer.Restart(ufrag, pwd)
	if errors.Is(err, transport.ErrNotUp) {
		return ICE{}, ErrEnded
	}
	if err != nil {
		return ICE{}, err
	}
	return ICE{Ufrag: localUfrag, Pwd: localPwd, Candidates: c.sfu.cfg.Transport.Candidates()}, nil
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
	c.ending = c.endingOf(reason)
	c.finalSignal(reason)
	waits := c.request.Farewell > 0 && !c.hungUp
	ch := c.channel
	c.mu.Unlock()

	c.wake()
	if waits {
		time.AfterFunc(c.request.Farewell, c.HangUp)
	} else {
		c.HangUp()
	}
	c.sfu.forget(c)
	if ended := c.sfu.cfg.Ended; ended != nil {
		if r, ok := c.Reading(); ok {
			ended(r)
		}
	}
	if ch != nil {
		ch.release(c)
	}
	close(c.done)
	c.mu.Lock()
	after := c.after
	c.after, c.settled = nil, true
	c.mu.Unlock()
	for _, f := range after {
		go f()
	}
}

// HangUp closes the transport of a connection that was to stay for a farewell
// (JoinRequest.Farewell), as soon as it has ended: its DataChannels first, then the
// rest. It does not wait; Left says when that is done. The door calls it when it
// has said all that it had to say.
func (c *Connection) HangUp() {
	c.mu.Lock()
	c.hungUp = true
	first := c.ended && !c.closed
	c.closed = c.closed || first
	c.mu.Unlock()
	if first {
		if !c.peer.Close() {
			c.leave()
		}
	}
}

// Left is closed when the client's transport is closed, by the client or by us.
func (c *Connection) Left() <-chan struct{} { return c.left }

// leave notes that the transport is closed.
func (c *Connection) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		c.gone = true
		close(c.left)
	}
}

// AfterEnd has f called when the connection has ended, at once if it has: in a
// goroutine of its own, so that none has to wait for the end meanwhile.
func (c *Connection) AfterEnd(f func()) {
	c.mu.Lock()
	settled := c.settled
	if !settled {
		c.after = append(c.after, f)
	}
	c.mu.Unlock()
	if settled {
		go f()
	}
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
		Metadata:     c.other.Load().Metadata,
		JoinedAt:     c.joinedAt,
		Connected:    c.connected(),
		BytesIn:      c.bytesIn.Load() + c.data.received(),
		BytesOut:     c.bytesOut.Load() + c.data.sent(),
		PacketsIn:    c.packetsIn.Load(),
		PacketsOut:   c.packetsOut.Load(),
	}
	c.quality.fill(&info)
	c.layers.fill(&info)
	if name := c.videoCodec.Load(); name != nil {
		info.VideoCodec = *name
	}
	return info
}
