package webhooks

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// How a feed can fail, besides its context and the database.
var (
	// ErrExpired says that events after the position are no longer served; the
	// error is an *ExpiredError.
	ErrExpired = errors.New("events after this position are no longer served")
	// ErrAhead says that the position is after the last event.
	ErrAhead = errors.New("there is no such event yet")
	// ErrClosed says that this process is stopping.
	ErrClosed = errors.New("the feed is closed")
)

// ExpiredError says from where on events are served.
type ExpiredError struct {
	From int64 // the seq of the first event that is
}

// Error names the first seq that there is.
func (e *ExpiredError) Error() string {
	return fmt.Sprintf("events after this position are no longer served; the first one is %d", e.From)
}

// Is makes it an ErrExpired.
func (e *ExpiredError) Is(target error) bool { return target == ErrExpired }

// Feed follows the events of one tenant from a position on, without gaps. While
// it keeps up it takes them from the tenant's tail, which reads once for all; one
// that is behind reads for itself until it meets the tail. One goroutine may use
// it at a time; whoever opened it closes it.
type Feed struct {
	// Static.
	hooks *Webhooks
	scope tenant.Scope
	tail  *tail
	from  int64         // seq of the first event that was served when it was opened
	rung  chan struct{} // holds at most one token: the tail has grown

	// at is up to where it has taken from the tail; nil: it reads for itself. The
	// tail sets it to nil when the feed is too far behind.
	at atomic.Pointer[link]

	// Owned by the caller of Next.
	after int64
	own   []*page   // read for itself, not taken yet
	live  bool      // it has met the tail
	left  time.Time // since when the tail has been ahead of it again; zero: it is not
}

// Feed opens a feed of the events with a seq greater than after, or of those to
// come if after is FromNow. An *ExpiredError or ErrAhead if after is no position
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
	from, err := w.firstServed(ctx, s, last)
	if err != nil {
		return nil, err
	}
	if after < from-1 {
		return nil, &ExpiredError{from}
	}
	f := &Feed{hooks: w, scope: s, after: after, from: from, rung: make(chan struct{}, 1)}
	w.join(f, last)
	return f, nil
}

// After returns the feed's position: the seq of the last event that Next
// returned.
func (f *Feed) After() int64 { return f.after }

// Close lets go of the feed.
func (f *Feed) Close() { f.hooks.leave(f) }

// Next returns the next events, at least one, and waits for them if there are
// none yet. The caller must not change them. Besides an *ExpiredError and
// ErrClosed it returns the errors of ctx and of the database, after which it may be
// called again.
func (f *Feed) Next(ctx context.Context) ([]tenant.Event, error) {
	for {
		p, first, more := f.take()
		if p == nil && more == nil {
			var err error
			if p, err = f.catchUp(ctx); err != nil {
				return nil, err
			}
		}
		if p != nil {
			return p.events[first:], nil
		}
		select {
		case <-more:
		case <-f.hooks.life.Done():
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns the page that comes next, with the index of the first event in it
// that is new; or no page and a channel that is rung when there may be more; or
// neither: the feed is behind and has to catch up.
func (f *Feed) take() (p *page, first int, more <-chan struct{}) {
	for {
		at := f.at.Load()
		if at == nil {
			if f.live {
				f.live, f.left = false, time.Now()
			}
			if len(f.own) > 0 || !f.tail.attach(f) {
				return nil, 0, nil
			}
			f.live, f.left = true, time.Time{}
			continue
		}
		next := at.next.Load()
		if next == nil {
			return nil, 0, f.rung
		}
		if !f.at.CompareAndSwap(at, next) || next.last <= f.after {
			continue // left behind just now, or it has read these for itself
		}
		first = int(f.after + 1 - next.page.events[0].Seq)
		f.after = next.last
		return next.page, first, nil
	}
}

// catchUp reads the next page for this feed alone.
func (f *Feed) catchUp(ctx context.Context) (*page, error) {
	if len(f.own) == 0 {
		leave, err := f.hooks.reads.Take(ctx, f.scope.Tenant())
		if err != nil {
			return nil, err
		}
		events, err := f.hooks.read(ctx, f.scope, f.after)
		leave()
		if err != nil {
			return nil, err
		}
		f.hooks.counters.ownReads.Add(1)
		// seq has no gaps, so a gap means that retention overtook the reader.
		if len(events) == 0 || events[0].Seq != f.after+1 {
			from, err := f.hooks.searchServed(ctx, f.scope, f.tail.last.Load())
			if err != nil {
				return nil, err
			}
			return nil, &ExpiredError{from}
		}
		f.own = pagesOf(events)
	}
	p := f.own[0]
	f.own = f.own[1:]
	f.after = p.last()
	return p, nil
}

// behindFor is how long the feed has been behind again, having been live.
func (f *Feed) behindFor() time.Duration {
	if f.left.IsZero() {
		return 0
	}
	return time.Since(f.left)
}

// current reports whether the feed has everything that there is, as far as is known.
func (f *Feed) current() bool { return f.at.Load() != nil && !f.tail.stale.Load() }
