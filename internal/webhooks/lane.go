package webhooks

import (
	"container/heap"
	"time"
)

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

func (e *lane) queued() int { return len(e.queue) + len(e.replays) }

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
