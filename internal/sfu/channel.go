package sfu

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// inboxLimit is how many received datagrams may wait for a channel's worker:
// about a quarter of a second of fifty publishers.
const inboxLimit = 4096

// channel is the outside of a channel: what other goroutines may touch. They
// leave calls and datagrams here and wake the worker once.
type channel struct {
	// Static
	sfu  *SFU
	key  channelKey
	wake chan struct{} // holds one token
	done chan struct{} // closed when all connections have ended

	audience  atomic.Pointer[audience] // of messages; the worker stores it. nil: nobody yet
	busySince atomic.Int64             // when the worker began its round, in ns of clock; 0: it waits

	// Guarded by mu
	mu     sync.Mutex
	calls  []func(*worker)
	inbox  []arrival
	conns  map[*Connection]struct{}
	closed bool // nothing more is taken
}

// arrival is a datagram and whose it is.
type arrival struct {
	from     *member
	datagram transport.Datagram
}

// began is the origin of the monotonic clock of busySince.
var began = time.Now()

func newChannel(s *SFU, key channelKey) *channel {
	return &channel{
		sfu:   s,
		key:   key,
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
		conns: map[*Connection]struct{}{},
	}
}

// post leaves a call for the worker and never blocks. It is false when the
// channel has closed; then the call will never run.
func (ch *channel) post(call func(*worker)) bool {
	ch.mu.Lock()
	if ch.closed {
		ch.mu.Unlock()
		return false
	}
	ch.calls = append(ch.calls, call)
	ch.mu.Unlock()
	ch.ring()
	return true
}

// deliver leaves datagrams for the worker and wakes it once. What does not fit
// is dropped.
func (ch *channel) deliver(from *member, batch []transport.Datagram) {
	ch.mu.Lock()
	n := 0
	if !ch.closed {
		n = min(len(batch), inboxLimit-len(ch.inbox))
		for i := range n {
			ch.inbox = append(ch.inbox, arrival{from, batch[i]})
		}
	}
	ch.mu.Unlock()
	if n > 0 {
		ch.ring()
	}
	if n < len(batch) {
		ch.sfu.counters.drop(dropInboxFull, int64(len(batch)-n))
		for i := n; i < len(batch); i++ {
			batch[i].Free()
		}
	}
}

func (ch *channel) ring() {
	select {
	case ch.wake <- struct{}{}:
	default: // a token is there already
	}
}

// called reports whether something was left for the worker.
func (ch *channel) called() bool { return len(ch.wake) > 0 }

// take hands the worker what was left for it, in exchange for its empty slices.
// It is false when the channel was closed behind the worker's back.
func (ch *channel) take(calls []func(*worker), inbox []arrival) ([]func(*worker), []arrival, bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	gotCalls, gotInbox := ch.calls, ch.inbox
	ch.calls, ch.inbox = calls[:0], inbox[:0]
	return gotCalls, gotInbox, !ch.closed
}

// join asks the worker to take the connection in and waits for the first offer.
// It is false when the channel closed first.
func (ch *channel) join(ctx context.Context, c *Connection) (bool, error) {
	answered := make(chan error, 1)
	c.enter(ch)
	if !ch.post(func(w *worker) { answered <- w.join(ctx, c) }) {
		return false, nil
	}
	select {
	case err := <-answered:
		return err == nil, err
	case <-ch.done: // the answer may have come at the same moment
		select {
		case err := <-answered:
			return err == nil, err
		default:
			return false, nil
		}
	case <-ctx.Done():
		c.Disconnect(tenant.EndClient) // should the worker have taken it in
		return false, ctx.Err()
	}
}

// admit notes a connection, for the case that the worker dies. It is false when
// the channel has closed.
func (ch *channel) admit(c *Connection) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if !ch.closed {
		ch.conns[c] = struct{}{}
	}
	return !ch.closed
}

func (ch *channel) release(c *Connection) {
	ch.mu.Lock()
	delete(ch.conns, c)
	ch.mu.Unlock()
}

func (ch *channel) isClosed() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.closed
}

// closeIdle closes the channel unless somebody left something for it.
func (ch *channel) closeIdle() bool {
	ch.mu.Lock()
	idle := !ch.closed && len(ch.calls) == 0
	if idle {
		ch.closed = true
	}
	ch.mu.Unlock()
	if idle {
		ch.shut(tenant.EndFailed)
	}
	return idle
}

// abandon closes the channel from outside or after a panic; its connections end
// as failed.
func (ch *channel) abandon() {
	ch.mu.Lock()
	first := !ch.closed
	ch.closed = true
	ch.mu.Unlock()
	if first {
		ch.shut(tenant.EndFailed)
	}
}

// shut frees what the channel holds. It is called once, by whoever set closed.
func (ch *channel) shut(reason string) {
	ch.sfu.dropChannel(ch)
	ch.mu.Lock()
	conns := slices.Collect(maps.Keys(ch.conns))
	inbox := ch.inbox
	ch.calls, ch.inbox = nil, nil
	ch.mu.Unlock()
	for i := range inbox {
		inbox[i].datagram.Free()
	}
	for _, c := range conns {
		c.finish(reason)
	}
	close(ch.done)
}

// busyFor says how long the worker has been at its present round.
func (ch *channel) busyFor(now time.Time) time.Duration {
	since := ch.busySince.Load()
	if since == 0 {
		return 0
	}
	return now.Sub(began) - time.Duration(since)
}
