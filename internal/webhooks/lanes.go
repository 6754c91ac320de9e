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
	laneRoom = 512
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
