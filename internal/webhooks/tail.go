package webhooks

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// feedPoll is how long an event that another process wrote waits to be
	// noticed while somebody follows its tenant.
	feedPoll = 200 * time.Millisecond
	// feedPage is how many events one read takes at most.
	feedPage = 500
	// maxBehind and maxBehindBytes are how far a feed may stay behind its tenant's
	// newest event and be served from memory; they bound that memory, too.
	maxBehind      = 1000
	maxBehindBytes = 1 << 20
	// feedGap is the least time between two reads of a tenant's events.
	feedGap = 5 * time.Millisecond
	// feedGroup is how many feeds of a tenant are told of something new at once, and
	// feedShare what each of them has before the next group is: a write takes some
	// 20 µs, so a tenant's streams take a part of a processor, and no more, however
	// much happens, and no client that wants to come in waits for a crowd of them.
	feedGroup = 8
	feedShare = 250 * time.Microsecond
	// burstPatience is how long, in the middle of a burst, the others wait for the
	// slowest before it is left behind.
	burstPatience = 250 * time.Millisecond
	// readersAtOnce is how many reads of events this node makes at once, for all
	// tenants: the database's connections are for the clients that come.
	readersAtOnce = 4
	// feedReadLimit bounds one read, and feedRetry is the wait after a failed one.
	feedReadLimit = 10 * time.Second
	feedRetry     = 500 * time.Millisecond
)

// tail is the newest events of a tenant that somebody follows. They are read
// once for all feeds of the tenant and hang on a chain that only grows: a feed
// holds the link up to which it has taken them, and what nobody holds any longer
// is garbage. Its goroutine lives as long as it has feeds.
type tail struct {
	// Static.
	tenant tenant.ID
	scope  tenant.Scope
	rung   chan struct{} // holds at most one token: there may be something new
	stop   context.CancelFunc

	last  atomic.Int64 // seq of the newest event; set by runTail
	stale atomic.Bool  // the database did not answer when it was asked last

	mu sync.Mutex
	// Guarded by mu.
	feeds          map[*Feed]struct{}
	oldest, newest *link
	served         int64     // what firstServed said
	servedAt       time.Time // when; zero: never
}

// link is one page on the chain.
type link struct {
	// Static.
	page  *page // nil at the beginning of the chain
	last  int64 // seq of the page's last event
	bytes int64 // in all pages up to and with this one

	next atomic.Pointer[link] // set once, by runTail
}

// tails are those of all tenants that somebody follows.
type tails struct {
	mu       sync.Mutex
	byTenant map[tenant.ID]*tail // Guarded by mu
}

// join adds a feed to the tail of its tenant, which begins at last if nobody has
// followed the tenant until now.
func (w *Webhooks) join(f *Feed, last int64) {
	w.tails.mu.Lock()
	defer w.tails.mu.Unlock()
	id := f.scope.Tenant()
	t := w.tails.byTenant[id]
	if t == nil {
		first := &link{last: last}
		t = &tail{tenant: id, scope: f.scope, rung: make(chan struct{}, 1), feeds: map[*Feed]struct{}{}, oldest: first, newest: first}
		t.last.Store(last)
		var ctx context.Context
		ctx, t.stop = context.WithCancel(w.life)
		w.tails.byTenant[id] = t
		go w.runTail(ctx, t)
	}
	f.tail = t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feeds[f] = struct{}{}
}

// leave removes a feed; the tail ends with its last one.
func (w *Webhooks) leave(f *Feed) {
	w.tails.mu.Lock()
	defer w.tails.mu.Unlock()
	t := f.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.feeds, f)
	if len(t.feeds) == 0 && w.tails.byTenant[t.tenant] == t {
		delete(w.tails.byTenant, t.tenant)
		t.stop()
	}
}

func (t *tails) of(id tenant.ID) *tail {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byTenant[id]
}

func (t *tails) all() []*tail {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*tail, 0, len(t.byTenant))
	for _, one := range t.byTenant {
		list = append(list, one)
	}
	return list
}

// wake lets the tail of a tenant, if there is one, look for new events.
func (t *tails) wake(id tenant.ID) {
	if one := t.of(id); one != nil {
		one.ring()
	}
}

func (t *tail) ring() {
	select {
	case t.rung <- struct{}{}:
	default:
	}
}

// runFeeds wakes tails for events that other processes wrote: one query per poll
// for all of them, and none while nobody follows.
func (w *Webhooks) runFeeds(ctx context.Context) {
	tick := time.NewTicker(feedPoll)
	defer tick.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		list := w.tails.all()
		if len(list) == 0 {
			continue
		}
		last, err := w.lastSeqs(ctx, list)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !away {
			w.log.Warn("event feeds wait for the database", "error", err)
		}
		away = err != nil
		for _, t := range list {
			t.stale.Store(away)
			if last[t.tenant] > t.last.Load() {
				t.ring()
			}
		}
	}
}

// lastSeqs asks for the last seq of each of these tenants.
func (w *Webhooks) lastSeqs(ctx context.Context, list []*tail) (map[tenant.ID]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, feedReadLimit)
	defer cancel()
	ids := make([]tenant.ID, 0, len(list))
	for _, t := range list {
		ids = append(ids, t.tenant)
	}
	rows, err := w.pool.Query(ctx, `select tenant_id, event_seq from tenant_live where tenant_id = any($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for new events: %w", err)
	}
	last := make(map[tenant.ID]int64, len(list))
	var id tenant.ID
	var seq int64
	_, err = pgx.ForEachRow(rows, []any{&id, &seq}, func() error {
		last[id] = seq
		return nil
	})
	return last, err
}

// runTail reads what is new, once for all feeds of the tenant, until ctx ends.
func (w *Webhooks) runTail(ctx context.Context, t *tail) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.rung:
		}
		for more := true; more && ctx.Err() == nil; {
			n, err := w.extend(ctx, t)
			if err != nil && ctx.Err() == nil {
				t.stale.Store(true) // said by runFeeds, which asks the same database
				w.log.Debug("a tail waits", "tenant", t.tenant, "error", err)
				rest(ctx, feedRetry)
			}
			if n > 0 {
				t.tell(ctx)
			}
			rest(ctx, feedGap)
			if more = err != nil || n == feedPage; n == feedPage {
				t.waitForSlowest(ctx)
			}
		}
	}
}

// tell rings for all feeds, group by group.
func (t *tail) tell(ctx context.Context) {
	t.mu.Lock()
	feeds := slices.Collect(maps.Keys(t.feeds))
	t.mu.Unlock()
	for i, f := range feeds {
		if i > 0 && i%feedGroup == 0 && !rest(ctx, feedGroup*feedShare) {
			return
		}
		select {
		case f.rung <- struct{}{}:
		default:
		}
	}
}

// waitForSlowest waits, but not long, until the next page leaves no feed behind.
func (t *tail) waitForSlowest(ctx context.Context) {
	for end := time.Now().Add(burstPatience); t.wouldLeaveBehind() && time.Now().Before(end); {
		if !rest(ctx, feedGap) {
			return
		}
	}
}

func (t *tail) wouldLeaveBehind() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for f := range t.feeds {
		if at := f.at.Load(); at != nil && (t.newest.last-at.last > maxBehind-feedPage || t.newest.bytes-at.bytes > maxBehindBytes/2) {
			return true
		}
	}
	return false
}

// extend reads the next events and returns how many there were.
func (w *Webhooks) extend(ctx context.Context, t *tail) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, feedReadLimit)
	defer cancel()
	events, err := w.read(ctx, t.scope, t.last.Load())
	if err != nil || len(events) == 0 {
		return 0, err
	}
	w.counters.sharedReads.Add(1)
	if events[0].Seq != t.last.Load()+1 {
		return 0, fmt.Errorf("the event after %d is not there, but %d is", t.last.Load(), events[0].Seq)
	}
	t.grow(pagesOf(events))
	return len(events), nil
}

// grow hangs pages on the chain and leaves behind whoever is too far behind them.
func (t *tail) grow(pages []*page) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range pages {
		next := &link{page: p, last: p.last(), bytes: t.newest.bytes + p.size}
		t.newest.next.Store(next)
		t.newest = next
	}
	t.last.Store(t.newest.last)
	for t.oldest != t.newest && t.behind(t.oldest) {
		t.oldest = t.oldest.next.Load()
	}
	for f := range t.feeds {
		if at := f.at.Load(); at != nil && t.behind(at) {
			f.at.CompareAndSwap(at, nil) // it has gone on meanwhile, or reads for itself from now on
		}
	}
}

// behind reports whether more follows a link than is kept for a feed. The caller
// holds mu.
func (t *tail) behind(at *link) bool {
	return t.newest.last-at.last > maxBehind || t.newest.bytes-at.bytes > maxBehindBytes
}

// attach finds a feed's place on the chain; false if that begins after it.
func (t *tail) attach(f *Feed) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.after < t.oldest.last {
		return false
	}
	at := t.oldest
	for next := at.next.Load(); next != nil && next.last <= f.after; next = at.next.Load() {
		at = next
	}
	f.at.Store(at)
	return true
}

// rest waits for d; false when ctx ended first.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
