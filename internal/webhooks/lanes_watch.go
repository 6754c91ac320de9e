package webhooks

import (
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// want is a lane that has room for deliveries which are due in the database.
type want struct {
	tenant   tenant.ID
	endpoint string
	n        int
	after    position
}

// wants lists the lanes to be filled, and wakes those that slept long enough.
func (l *lanes) wants(now time.Time) (list []want) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := range l.sleeping {
		if e.open < e.slots(now) && now.Before(e.of.until) {
			l.wake(e)
		}
	}
	for _, h := range l.held {
		if !now.Before(h.until) {
			continue
		}
		for _, e := range h.lanes {
			if !e.more && !e.nextDue.IsZero() && !now.Before(e.nextDue) {
				e.more, e.after, e.nextDue = true, position{}, time.Time{}
			}
			if e.gone || !e.more || e.queued() > laneRoom/2 || now.Before(e.at.until) {
				continue
			}
			n := laneRoom - e.queued()
			if e.after == (position{}) {
				n += len(e.known) // they may be among those read
			}
			list = append(list, want{h.id, e.at.id, n, e.after})
		}
	}
	return list
}

// look makes every lane of a tenant look into the database.
func (l *lanes) look(t tenant.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.held[t]; h != nil {
		for _, e := range h.lanes {
			e.more, e.after = true, position{}
		}
	}
}

// idle lists the tenants that have had nothing to do for a time.
func (l *lanes) idle(now time.Time, long time.Duration) (list []tenant.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := now.Add(-long)
	for t, h := range l.held {
		if h.touched.After(since) || h.open > 0 {
			continue
		}
		busy := false
		for _, e := range h.lanes {
			busy = busy || len(e.known) > 0 || e.more && !now.Before(e.at.until)
		}
		if !busy {
			list = append(list, t)
		}
	}
	return list
}

// tenants lists whose deliveries are this node's work.
func (l *lanes) tenants() []tenant.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]tenant.ID, 0, len(l.held))
	for t := range l.held {
		list = append(list, t)
	}
	return list
}

// has reports whether a tenant's deliveries are this node's work.
func (l *lanes) has(t tenant.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[t] != nil
}

// stop hands out no more slots.
func (l *lanes) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
}

// load is what this node has in its hands: requests under way, deliveries in memory
// that wait for a slot, and for how long the oldest of these has been due.
func (l *lanes) load(now time.Time) (open, waiting int, lag time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		for _, e := range h.lanes {
			waiting += e.queued()
			for _, list := range [][]job{e.queue, e.replays} {
				if len(list) > 0 {
					lag = max(lag, now.Sub(list[0].due))
				}
			}
		}
	}
	return l.open, waiting, lag
}
