package webhooks

import (
	"container/heap"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// How much is in flight at once: for fairness to the others and as mercy to
// the receivers. A goroutine is cheap, a customer's server may not be. The first
// two hold over all nodes, since a tenant is one node's work at a time.
const (
	maxPerEndpoint = 8
	maxPerTenant   = 64
	maxPerNode     = 512
	// keptForIdle of a node's slots go only to lanes that have none, so that a
	// crowd of endpoints that hang leaves something to the others.
	keptForIdle = 64
)

const (
	// laneRoom is how many due deliveries of one endpoint are kept in memory; the
	// others stay in the database until there is room.
	laneRoom = 256
	// maxUnrecorded is how many results may wait to be written before no more is
	// sent: what is lost of them is sent twice.
	maxUnrecorded = 4096
)

// job is a due delivery with all that an attempt needs.
type job struct {
	id       string
	endpoint string
	tenant   tenant.ID
	due      time.Time // when it became due, by the database's clock
	attempts int       // made before this one
	probes   int       // of them: those that were no tries of the schedule
	replay   int
	event    tenant.Event

	// Set when it gets a slot.
	lane     *lane
	url      string
	sealed   []byte // the endpoint's secret
	previous []byte // the one before it, as long as both sign; nil: none
	pulse    pulse  // of the endpoint
	refill   bool   // its lane has room for more that the database may have
}

// attempt is this attempt's number, from 1.
func (j job) attempt() int { return j.attempts + 1 }

// position is a place in the order in which an endpoint's deliveries are due.
type position struct {
	due time.Time
	seq int64
}

// lanes hands out this node's slots to the deliveries in its memory. Each endpoint
// is a lane; of those that may have a slot the one that was served longest ago gets
// it. Nothing here waits for anything.
type lanes struct {
	mu sync.Mutex
	// Guarded by mu.
	held       map[tenant.ID]*hold
	ready      laneHeap           // lanes that have work and were not found to lack a slot
	crowded    laneHeap           // lanes that lack one because the node is nearly full
	sleeping   map[*lane]struct{} // lanes that lack one of their own, or are not ours any longer
	open       int                // requests under way
	unrecorded int                // results that wait to be written
	turn       int                // counts slots handed out
	stopped    bool               // no more are
}

// hold is a tenant whose deliveries are this node's work.
type hold struct {
	id      tenant.ID
	until   time.Time // by our clock: later no request is begun
	touched time.Time // when something was last to do
	lanes   map[string]*lane
	open    int
	crowded laneHeap // lanes that lack a slot because the tenant has its share
}

// lane is one endpoint's deliveries.
type lane struct {
	of   *hold
	at   target
	gone bool // deleted, disabled or let go: what is under way ends, nothing begins

	queue   []job               // due, oldest first
	replays []job               // the same of replays: they take what slots live events leave
	known   map[string]struct{} // deliveries in memory: queued, under way, or not yet recorded
	open    int
	served  int       // the turn in which it last got a slot
	in      *laneHeap // the heap that it is in; nil: none
	index   int       // its place there

	probed bool // the probe's result waits to be recorded: it says what may be sent next
	limit  int  // slots it may have: fewer when the receiver asks for less

	more    bool      // the database may have due ones that are not in memory
	after   position  // if more: all up to here are
	nextDue time.Time // if not more: when the database may have one again; zero: nothing is known
}

func newLanes() *lanes {
	return &lanes{held: map[tenant.ID]*hold{}, sleeping: map[*lane]struct{}{}}
}

// keep notes that a tenant is ours until a time by our clock, with the enabled
// endpoints that it has. Lanes of others end.
func (l *lanes) keep(t tenant.ID, until time.Time, endpoints []target, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[t]
	if h == nil {
		h = &hold{id: t, lanes: map[string]*lane{}}
		l.held[t] = h
	}
	h.until, h.touched = until, now
	enabled := make(map[string]bool, len(endpoints))
	for _, at := range endpoints {
		enabled[at.id] = true
		e := h.lanes[at.id]
		if e == nil || e.gone {
			fresh := &lane{of: h, known: map[string]struct{}{}, limit: maxPerEndpoint, more: at.due, nextDue: at.nextDue}
			if e != nil { // enabled again while its last requests are under way
				fresh.open, e.open = e.open, 0
				fresh.known, e.known = e.known, nil
			}
			e = fresh
			h.lanes[at.id] = e
		}
		e.at = at
		if now.Before(at.until) {
			e.rest()
		}
		l.wake(e)
	}
	for id, e := range h.lanes {
		if !enabled[id] {
			l.end(e)
		}
	}
}

// renew moves the time until which tenants are ours.
func (l *lanes) renew(tenants []tenant.ID, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range tenants {
		if h := l.held[t]; h != nil {
			h.until = until
		}
	}
}

// drop lets tenants go: nothing of theirs begins here any more.
func (l *lanes) drop(tenants []tenant.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range tenants {
		if h := l.held[t]; h != nil {
			for _, e := range h.lanes {
				l.end(e)
			}
			delete(l.held, t)
		}
	}
}

// end stops a lane; it is forgotten when its last request has ended.
func (l *lanes) end(e *lane) {
	e.gone = true
	e.clear()
	e.move(nil)
	delete(l.sleeping, e)
	if e.open == 0 {
		delete(e.of.lanes, e.at.id)
	}
}

// clear forgets what has not been begun.
func (e *lane) clear() {
	for _, list := range [][]job{e.queue, e.replays} {
		for _, j := range list {
			delete(e.known, j.id)
		}
	}
	e.queue, e.replays = nil, nil
}

// rest leaves to the database what has not been begun: it may be for hours.
func (e *lane) rest() {
	e.clear()
	e.more, e.after = true, position{}
}

// judge applies what a result meant for the health of its endpoint. It reports
// whether the endpoint should be read again.
func (l *lanes) judge(v verdict, delivered bool, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.lane(v.tenant, v.endpoint)
	switch {
	case e == nil:
	case v.disabled != "":
		l.end(e)
	case v.moved:
		b := v.breaker
		e.at.pulse, e.at.until = pulse{epoch: b.epoch, probe: b.state == Open, failingSince: timeOrNull(b.failingSince)}, time.Time{}
		if e.at.pulse.probe {
			e.at.until = now.Add(max(b.until.Sub(now), lookSome))
			e.rest()
		}
		l.wake(e)
		return e.at.pulse.probe
	case delivered:
		e.at.pulse.failingSince = nil
	}
	return false
}

// add puts deliveries that have just become due at the end of their lanes. Where
// there is no room, or others are before them, they stay in the database.
func (l *lanes) add(jobs []job, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range jobs {
		e := l.lane(j.tenant, j.endpoint)
		if e == nil || e.more {
			continue
		}
		e.of.touched = now
		if last := e.last(); !l.take(e, j) {
			e.more, e.after = true, last
		}
	}
}

// fill puts into a lane what was read for it: the first `wanted` deliveries that are
// due after e.after, and when those that are not due yet are.
func (l *lanes) fill(t tenant.ID, endpoint string, jobs []job, wanted int, nextDue, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.lane(t, endpoint)
	if e == nil || !e.more {
		return
	}
	e.of.touched = now
	e.more = len(jobs) >= wanted
	for _, j := range jobs {
		if !l.take(e, j) {
			e.more = true
			break
		}
		e.after = position{j.due, j.event.Seq}
	}
	if !e.more {
		e.after, e.nextDue = position{}, nextDue
	}
}

func (l *lanes) lane(t tenant.ID, endpoint string) *lane {
	if h := l.held[t]; h != nil {
		if e := h.lanes[endpoint]; e != nil && !e.gone {
			return e
		}
	}
	return nil
}

// last is the position of the last delivery that is queued.
func (e *lane) last() (p position) {
	for _, list := range [][]job{e.queue, e.replays} {
		if n := len(list); n > 0 {
			if j := list[n-1]; p.due.Before(j.due) || p.due.Equal(j.due) && p.seq < j.event.Seq {
				p = position{j.due, j.event.Seq}
			}
		}
	}
	return p
}

// take queues a delivery, unless it is there already; false: there is no room.
func (l *lanes) take(e *lane, j job) bool {
	if _, here := e.known[j.id]; here {
		return true
	}
	switch {
	case e.queued() >= laneRoom:
		return false
	case j.replay > 0:
		e.replays = append(e.replays, j)
	default:
		e.queue = append(e.queue, j)
	}
	e.known[j.id] = struct{}{}
	if e.in == nil {
		l.wake(e)
	}
	return true
}

func (e *lane) queued() int { return len(e.queue) + len(e.replays) }

// wake makes a lane ready that has work; what it lacks is found when its turn comes.
func (l *lanes) wake(e *lane) {
	delete(l.sleeping, e)
	if e.in == nil && !e.gone && e.queued() > 0 {
		e.move(&l.ready)
	}
}

// next returns a delivery that may be sent now, and false if there is none.
func (l *lanes) next(now time.Time) (job, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.open < maxPerNode && l.unrecorded+l.open < maxUnrecorded && !l.stopped {
		if l.open < maxPerNode-keptForIdle && len(l.crowded) > 0 {
			l.crowded[0].move(&l.ready)
		}
		if len(l.ready) == 0 {
			break
		}
		switch e := l.ready[0]; {
		case e.open >= e.slots(now) || !now.Before(e.of.until):
			e.move(nil)
			l.sleeping[e] = struct{}{}
			l.uncrowd(e.of)
		case e.of.open >= maxPerTenant:
			e.move(&e.of.crowded)
		case e.open > 0 && l.open >= maxPerNode-keptForIdle:
			e.move(&l.crowded)
			l.uncrowd(e.of)
		default:
			return l.serve(e, now), true
		}
	}
	return job{}, false
}

// uncrowd makes a lane ready that waited for its tenant's share.
func (l *lanes) uncrowd(h *hold) {
	if len(h.crowded) > 0 && h.open < maxPerTenant {
		h.crowded[0].move(&l.ready)
	}
}

// slots is how many requests a lane may have under way: while its breaker is open
// none, or the probe.
func (e *lane) slots(now time.Time) int {
	switch {
	case e.probed || now.Before(e.at.until):
		return 0
	case e.at.pulse.probe:
		return 1
	}
	return e.limit
}

// serve gives the first of ready a slot.
func (l *lanes) serve(e *lane, now time.Time) job {
	from := &e.queue
	if len(e.queue) == 0 {
		from = &e.replays
	}
	j := (*from)[0]
	(*from)[0] = job{} // let go of its event
	*from = (*from)[1:]
	j.lane, j.url, j.sealed, j.pulse = e, e.at.url, e.at.sealed, e.at.pulse
	if now.Before(e.at.previousUntil) {
		j.previous = e.at.previous
	}
	l.turn++
	e.served = l.turn
	e.open++
	e.of.open++
	l.open++
	j.refill = e.more && e.queued() == laneRoom/2
	if e.queued() > 0 {
		heap.Fix(e.in, e.index)
	} else {
		e.move(nil)
	}
	return j
}

// done frees the slot of an attempt that has ended. If kept, its result waits to be
// recorded; else the delivery is as if nothing had been sent.
func (l *lanes) done(j job, o outcome, kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := j.lane
	if now := e.of.lanes[j.endpoint]; now != nil {
		e = now // enabled again meanwhile: the slot moved with it
	}
	l.open--
	e.open--
	e.of.open--
	if kept {
		l.unrecorded++
		e.probed = e.probed || j.pulse.probe
	} else {
		delete(e.known, j.id)
		e.more, e.after = true, position{}
	}
	if e.gone && e.open == 0 {
		delete(e.of.lanes, j.endpoint)
	}
	e.hear(j, o)
	l.wake(e)
	l.uncrowd(e.of)
}

// hear moves a lane's limit: half when the receiver, or what stands before it, asks
// for less, one more with each delivery made.
func (e *lane) hear(j job, o outcome) {
	switch {
	case o.overloaded():
		e.limit = max(1, e.limit/2)
	case o.delivered() && j.pulse.probe:
		e.limit = 1 // a server that has just come back is met gently
	case o.delivered():
		e.limit = min(e.limit+1, maxPerEndpoint)
	}
}

// recorded notes that a result has been written. retry is when the delivery is due
// again; zero: it is finished, or not there any longer.
func (l *lanes) recorded(j job, retry time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unrecorded--
	e := l.lane(j.tenant, j.endpoint)
	if e == nil {
		return
	}
	delete(e.known, j.id)
	if j.pulse.probe {
		e.probed = false
		l.wake(e)
	}
	if !retry.IsZero() && (e.nextDue.IsZero() || retry.Before(e.nextDue)) {
		e.nextDue = retry
	}
}

// laneHeap orders lanes by the turn in which they were last served.
type laneHeap []*lane

// move takes a lane out of its heap and puts it into another, if that is not nil.
func (e *lane) move(to *laneHeap) {
	if e.in != nil {
		heap.Remove(e.in, e.index)
	}
	if e.in = to; to != nil {
		heap.Push(to, e)
	}
}

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(a, b int) bool { return h[a].served < h[b].served }
func (h laneHeap) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].index, h[b].index = a, b
}

// Push and Pop are heap.Interface's.
func (h *laneHeap) Push(e any) {
	e.(*lane).index = len(*h)
	*h = append(*h, e.(*lane))
}

func (h *laneHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
