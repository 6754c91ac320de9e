package sfu

import (
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// What a worker tells a connection's door. Signals wait in the connection, in
// order, and the door is rung once for all that wait. News of others is in no
// hurry: it waits a moment for more of its kind, so that a crowd that comes at
// once does not wake everybody for each of its members.

const (
	// signalLimit is how many signals a door may leave unread.
	signalLimit = 256
	// newsHold is how long news of others waits for more.
	newsHold = 50 * time.Millisecond
	// newsMost is how much may wait before the door is rung at once.
	newsMost = signalLimit / 4
	// ringsAtOnce is how many doors are rung before other goroutines, the
	// channel's worker among them, have their turn.
	ringsAtOnce = 32
)

// urgent reports whether a client waits for the signal.
func (s *Signal) urgent(to *Connection) bool {
	return s.Kind != SignalNotify || s.Notify.Subject.ConnectionID == to.ID()
}

// Signals yields what the client must be told, in order, and waits for more; it
// ends after SignalEnded. A door that leaves 256 signals unread loses the
// connection.
func (c *Connection) Signals() iter.Seq[Signal] {
	return func(yield func(Signal) bool) {
		var list []Signal
		for open := true; open; {
			<-c.ring
			list, open = c.Take(list[:0])
			for _, s := range list {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Ring has a token when there is something to Take. It is for doors that wait
// for other things, too; others use Signals.
func (c *Connection) Ring() <-chan struct{} { return c.ring }

// Take appends all signals that wait to list, those included that the door has
// not been rung for yet. It is false when SignalEnded was among them: then there
// is no more to come. It never waits.
func (c *Connection) Take(list []Signal) ([]Signal, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list = append(list, c.waiting...)
	c.waiting, c.expected = nil, false // most of the time nothing waits
	return list, !c.ended
}

// signal leaves a signal for the door and never waits. It is false when the
// door has left too many unread.
func (c *Connection) signal(s Signal) bool {
	c.mu.Lock()
	if c.ended || len(c.waiting) >= signalLimit {
		ended := c.ended
		c.mu.Unlock()
		return ended
	}
	c.waiting = append(c.waiting, s)
	now := s.urgent(c) || len(c.waiting) >= newsMost
	later := !now && !c.expected
	c.expected = true
	c.mu.Unlock()
	switch {
	case now:
		c.wake()
	case later:
		c.sfu.news.later(c)
	}
	return true
}

// wake rings the door.
func (c *Connection) wake() {
	select {
	case c.ring <- struct{}{}:
	default: // a token is there already
	}
}

// finalSignal is the end of the signals; the caller holds mu.
func (c *Connection) finalSignal(reason string) {
	c.waiting = append(c.waiting, Signal{Kind: SignalEnded, Reason: reason})
}

// news rings the doors that something waits for which can wait.
type news struct {
	mu sync.Mutex
	// Guarded by mu. A timer runs while there are any.
	doors []*Connection
}

// later rings the connection's door soon.
func (n *news) later(c *Connection) {
	n.mu.Lock()
	n.doors = append(n.doors, c)
	first := len(n.doors) == 1
	n.mu.Unlock()
	if first {
		time.AfterFunc(newsHold, n.deliver)
	}
}

// deliver rings all doors that wait.
func (n *news) deliver() {
	n.mu.Lock()
	doors := n.doors
	n.doors = nil
	n.mu.Unlock()
	for i, c := range doors {
		c.wake()
		if i%ringsAtOnce == ringsAtOnce-1 {
			runtime.Gosched()
		}
	}
}

// Memo keeps what doors made of something that is told to many, so that it is
// made once for all.
type Memo struct {
	mu sync.Mutex
	// Guarded by mu
	made []memoEntry // one for each dialect
}

type memoEntry struct {
	dialect string
	data    []byte
}

// Get returns what make makes, for all of a dialect the same. It must not be
// changed.
func (m *Memo) Get(dialect string, make func() ([]byte, error)) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.made {
		if e.dialect == dialect {
			return e.data, nil
		}
	}
	data, err := make()
	if err == nil {
		m.made = append(m.made, memoEntry{dialect, data})
	}
	return data, err
}

// endingOf is how a connection ended, as of now.
func (c *Connection) endingOf(reason string) tenant.Ending {
	return tenant.Ending{
		Reason:   reason,
		Duration: c.connected(),
		BytesIn:  c.bytesIn.Load() + c.data.received(),
		BytesOut: c.bytesOut.Load() + c.data.sent(),
	}
}
