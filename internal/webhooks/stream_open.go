package webhooks

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// How many streams may be open on this node: of one tenant, each of them a server
// of the tenant that follows its events, and of all.
const (
	maxStreams     = 1000
	maxNodeStreams = 10_000
)

// How streams are asked to go elsewhere. Each is told to come back after a time of
// its own, up to the spread, so that not all do at once, and is closed when it has
// had streamGrace more.
const (
	spreadPerStream = 5 * time.Millisecond
	stopSpread      = 2 * time.Second // at most, when the process stops
	stopGrace       = 1500 * time.Millisecond
	lastTold        = 300 * time.Millisecond // after the last event has been written
	drainSpread     = time.Minute            // at most, when the node is drained
	drainGrace      = 30 * time.Second
)

// openStreams counts the streams of this node and tells them to go.
type openStreams struct {
	refused atomic.Int64

	mu sync.Mutex
	// Guarded by mu.
	n       int64
	stopped bool
	gone    chan struct{} // closed when stopped and n is 0
	written chan struct{} // closed when stopped and the last event has been written
	moving  *moving       // what will be told to the streams that are open now
}

// moving is a request to all streams of a time to go elsewhere.
type moving struct {
	given chan struct{} // closed when the rest is set
	// Static after given.
	reason        string
	spread, grace time.Duration
	written       <-chan struct{} // what a stream waits for before it ends; nil: nothing
}

func (o *openStreams) init() {
	o.gone, o.written, o.moving = make(chan struct{}), make(chan struct{}), &moving{given: make(chan struct{})}
}

// enter counts a stream in. Who is let in calls leave, once, and listens to move.
func (o *openStreams) enter() (move *moving, leave func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		return nil, nil, tenant.Refuse(tenant.Draining, "this node stops: open the stream again in a few seconds, with after = the last seq you have")
	}
	if o.n >= maxNodeStreams {
		o.refused.Add(1)
		return nil, nil, tenant.Refuse(tenant.RateLimited, "%d streams are open at this node; try again in a moment", maxNodeStreams)
	}
	o.n++
	return o.moving, o.leave, nil
}

func (o *openStreams) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n--
	o.end()
}

// end says that nobody is there any more. The caller holds mu.
func (o *openStreams) end() {
	if o.stopped && o.n == 0 {
		select {
		case <-o.gone:
		default:
			close(o.gone)
		}
	}
}

func (o *openStreams) count() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

// move tells the streams that are open now to go elsewhere.
func (o *openStreams) move(reason string, mostSpread, grace time.Duration, stop bool) {
	o.mu.Lock()
	now := o.moving
	o.moving = &moving{given: make(chan struct{})}
	now.reason, now.grace = reason, grace
	now.spread = min(mostSpread, time.Duration(o.n)*spreadPerStream)
	if stop {
		o.stopped, now.written = true, o.written
	}
	o.end()
	o.mu.Unlock()
	close(now.given)
}

// after draws when one stream is to come back.
func (m *moving) after() time.Duration {
	if m.spread <= 0 {
		return 0
	}
	return rand.N(m.spread).Round(10 * time.Millisecond)
}

// MoveStreams asks the streams that are open to go to another node, since this one
// is drained: each gets a reconnect frame now, and a close after it has had its time.
// Streams that come after that are served.
func (w *Webhooks) MoveStreams() { w.open.move("drain", drainSpread, drainGrace, false) }

// StopStreams refuses new streams and asks those that are open to reconnect: they go
// on telling what happens until each has had its time and, once GoneStreams is
// called, the last of it has been told.
func (w *Webhooks) StopStreams() { w.open.move("shutdown", stopSpread, stopGrace, true) }

// GoneStreams waits until the last stream has ended after StopStreams, or ctx has. The
// last event has been written when it is called. Call it once.
func (w *Webhooks) GoneStreams(ctx context.Context) error {
	close(w.open.written)
	select {
	case <-w.open.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
