package sfu

import (
	"errors"

	"github.com/hibari/hibari/internal/sfu/packet"
	"github.com/hibari/hibari/internal/tenant"
)

// What a tenant's server does with those who are connected: it pushes them something,
// or asks a publisher for a key frame.

const (
	// pushesAtOnce is how many pushes a channel may be sent at once, pushesPerSecond
	// how many over time.
	pushesAtOnce, pushesPerSecond = 64, 50
	// pushBytesAtOnce is how many bytes they may have at once, for all who get them
	// together, pushBytesPerSecond how many over time.
	pushBytesAtOnce, pushBytesPerSecond = 16 << 20, 4 << 20
	// pushRoom is how many signals may wait for a door for a push to be left there: a
	// client that does not keep up does without, and stays.
	pushRoom = signalLimit / 2
	// keyAsksAtOnce is how many key frames a server may ask of a publisher at once,
	// keyAsksPerSecond how many over time: each costs everybody in the channel.
	keyAsksAtOnce, keyAsksPerSecond = 5, 1
)

var (
	// ErrNoChannel: nobody is in that channel here, or no such connection.
	ErrNoChannel = errors.New("nobody is there")
	// ErrNobody: none of those who are in the channel is meant.
	ErrNobody = errors.New("none of those who are there is meant")
	// ErrNoVideo: the connection sends no video.
	ErrNoVideo = errors.New("this connection sends no video")
)

// Pushed says what became of a push.
type Pushed struct {
	Sent        int // to so many connections
	Unreachable int // so many have a door without words for it
	Dropped     int // so many have left too much unread
}

// Push has JSON pushed to the connections of a tenant's channel that are meant, whose
// SessionID does not count. The error is ErrNoChannel, ErrNobody or ErrTooOften.
func (s *SFU) Push(t tenant.ID, which tenant.Choice, data []byte) (Pushed, error) {
	s.mu.Lock()
	ch := s.channels[channelKey{t, which.Channel}]
	s.mu.Unlock()
	if ch == nil {
		return Pushed{}, ErrNoChannel
	}
	return ch.push(data, func(m *member) bool {
		r := m.request()
		return (which.ClientID == "" || which.ClientID == r.ClientID) && (which.Role == "" || which.Role == r.Role)
	})
}

// Push has JSON pushed to this connection. The error is ErrNoChannel or ErrTooOften.
func (c *Connection) Push(data []byte) (Pushed, error) {
	ch := c.home()
	if ch == nil {
		return Pushed{}, ErrNoChannel
	}
	return ch.push(data, func(m *member) bool { return m == c.member })
}

// push asks the worker to push something and waits for what became of it.
func (ch *channel) push(data []byte, meant func(*member) bool) (Pushed, error) {
	return asked(ch, func(w *worker) (Pushed, error) { return w.push(data, meant) })
}

// asked has the worker do something and waits for what comes of it. The error is also
// ErrNoChannel, if the channel ends first.
func asked[T any](ch *channel, do func(*worker) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	reply := make(chan outcome, 1)
	none := outcome{err: ErrNoChannel}
	if ch == nil || !ch.post(func(w *worker) {
		value, err := do(w)
		reply <- outcome{value, err}
	}) {
		return none.value, none.err
	}
	select {
	case o := <-reply:
		return o.value, o.err
	case <-ch.done:
		select {
		case o := <-reply: // it came at the same moment
			return o.value, o.err
		default:
			return none.value, none.err
		}
	}
}

func (w *worker) push(data []byte, meant func(*member) bool) (p Pushed, err error) {
	if !w.pushes.full(w.now, pushesAtOnce, pushesPerSecond) || !w.pushBytes.solvent(w.now, pushBytesAtOnce, pushBytesPerSecond) {
		w.sfu.counters.pushesRefused.Add(1)
		return p, ErrTooOften
	}
	signal, found := Signal{Kind: SignalPush, Data: data, Memo: new(Memo)}, false
	for _, m := range w.members {
		if !meant(m) {
			continue
		}
		found = true
		switch {
		case m.request().NoPush:
			p.Unreachable++
		case !m.conn.hasRoom():
			p.Dropped++
			w.sfu.counters.pushesDropped.Add(1)
		default:
			p.Sent++
			w.signal(m, signal)
		}
	}
	if !found {
		return p, ErrNobody
	}
	w.pushes.take()
	w.pushBytes.spent += float64(p.Sent * len(data))
	return p, nil
}

// hasRoom reports whether the door has read enough for something that it can do
// without.
func (c *Connection) hasRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) < pushRoom
}

// RequestKeyFrame asks the client for a key frame of each layer of the video that it
// sends, once and at once. The error is ErrNoVideo, ErrTooOften or ErrNoChannel.
func (c *Connection) RequestKeyFrame() error {
	_, err := asked(c.home(), func(w *worker) (struct{}, error) { return struct{}{}, w.demandKeyFrame(c.member) })
	return err
}

func (w *worker) demandKeyFrame(m *member) error {
	t := m.ups[video]
	if t == nil || !m.up || !t.live() {
		return ErrNoVideo
	}
	if !m.keyAsks.full(w.now, keyAsksAtOnce, keyAsksPerSecond) {
		w.sfu.counters.keyAsksRefused.Add(1)
		return ErrTooOften
	}
	m.keyAsks.take()
	for _, l := range t.layers {
		if !l.live {
			continue
		}
		l.keys.askedAt = w.now
		w.round.keyRequests++
		w.control = packet.AppendPLI(w.control[:0], w.ssrc, l.ssrc)
		w.sendFeedback(m, w.control)
	}
	return nil
}

// Find returns a tenant's connection; nil: there is none.
func (s *SFU) Find(t tenant.ID, connectionID string) *Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[connectionID]
	if c == nil || c.request.Tenant != t {
		return nil
	}
	return c
}
