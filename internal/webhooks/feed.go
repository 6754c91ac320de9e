package webhooks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How a feed can fail, besides its context and the database.
var (
	// ErrExpired says that events after the position have been deleted.
	ErrExpired = errors.New("events after this position are no longer kept")
	// ErrAhead says that the position is after the last event.
	ErrAhead = errors.New("there is no such event yet")
	// ErrClosed says that this process is stopping.
	ErrClosed = errors.New("the feed is closed")
)

// Feed follows the events of one tenant from a position on, without gaps. One
// goroutine may use it at a time; whoever opened it closes it.
type Feed struct {
	// Static.
	hooks *Webhooks
	scope tenant.Scope
	rung  chan struct{} // holds at most one token: there may be something new

	// Owned by the caller of Next.
	after int64
}

// feeds are the open feeds by tenant.
type feeds struct {
	mu        sync.Mutex
	listening map[tenant.ID]map[*Feed]struct{} // Guarded by mu
}

// Feed opens a feed of the events with a seq greater than after, or of those
// to come if after is FromNow. ErrExpired or ErrAhead if after is no position
// that the feed could go on from.
func (w *Webhooks) Feed(ctx context.Context, s tenant.Scope, after int64) (*Feed, error) {
	last, err := w.LastSeq(ctx, s)
	if err != nil {
		return nil, err
	}
	if after == FromNow {
		after = last
	}
	if after < 0 || after > last {
		return nil, ErrAhead
	}
	if after < last {
		next, err := w.Events(ctx, s, after, 1)
		if err != nil {
			return nil, err
		}
		if len(next) == 0 || next[0].Seq != after+1 {
			return nil, ErrExpired
		}
	}
	f := &Feed{hooks: w, scope: s, rung: make(chan struct{}, 1), after: after}
	w.feeds.add(f)
	return f, nil
}

// After returns the feed's position: the seq of the last event that Next
// returned.
func (f *Feed) After() int64 { return f.after }

// Close lets go of the feed.
func (f *Feed) Close() { f.hooks.feeds.remove(f) }

// Next returns the next events, at least one and at most MaxEvents, and waits
// for them if there are none yet. Besides ErrExpired and ErrClosed it returns
// the errors of ctx and of the database, after which it may be called again.
func (f *Feed) Next(ctx context.Context) ([]tenant.Event, error) {
	for {
		events, err := f.read(ctx)
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			// seq has no gaps, so a gap means that retention overtook the reader.
			if events[0].Seq != f.after+1 {
				return nil, ErrExpired
			}
			f.after = events[len(events)-1].Seq
			return events, nil
		}
		select {
		case <-f.rung:
		case <-f.hooks.closed:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// read asks for the next events when it is the feed's turn.
func (f *Feed) read(ctx context.Context) ([]tenant.Event, error) {
	leave, err := f.hooks.reads.Take(ctx, f.scope.Tenant())
	if err != nil {
		return nil, err
	}
	defer leave()
	return f.hooks.Events(ctx, f.scope, f.after, MaxEvents)
}

func (f *feeds) add(feed *Feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := feed.scope.Tenant()
	if f.listening[t] == nil {
		f.listening[t] = map[*Feed]struct{}{}
	}
	f.listening[t][feed] = struct{}{}
}

func (f *feeds) remove(feed *Feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := feed.scope.Tenant()
	delete(f.listening[t], feed)
	if len(f.listening[t]) == 0 {
		delete(f.listening, t)
	}
}

// tenants lists who is listened to.
func (f *feeds) tenants() []tenant.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []tenant.ID
	for t := range f.listening {
		list = append(list, t)
	}
	return list
}

// wake lets the feeds of t look for new events.
func (f *feeds) wake(t tenant.ID) {
	f.mu.Lock()
	var list []*Feed
	for feed := range f.listening[t] {
		list = append(list, feed)
	}
	f.mu.Unlock()
	for _, feed := range list {
		select {
		case feed.rung <- struct{}{}:
		default:
		}
	}
}

// runFeeds wakes feeds for events that other processes wrote: one query per
// poll for all of them.
func (w *Webhooks) runFeeds(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	known := map[tenant.ID]int64{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tenants := w.feeds.tenants()
		if len(tenants) == 0 {
			clear(known)
			continue
		}
		last, err := w.lastSeqs(ctx, tenants)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("event feeds wait", "error", err)
			continue
		}
		for t, seq := range last {
			if known[t] != seq {
				w.feeds.wake(t)
			}
		}
		known = last
	}
}

func (w *Webhooks) lastSeqs(ctx context.Context, tenants []tenant.ID) (map[tenant.ID]int64, error) {
	rows, err := w.pool.Query(ctx, `select tenant_id, event_seq from tenant_live where tenant_id = any($1)`, tenants)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for new events: %w", err)
	}
	last := map[tenant.ID]int64{}
	var t tenant.ID
	var seq int64
	_, err = pgx.ForEachRow(rows, []any{&t, &seq}, func() error {
		last[t] = seq
		return nil
	})
	return last, err
}
