package webhooks

import (
	"sync"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// When an auth webhook counts as dead, and how often it is then tried.
const (
	circuitFailures = 5           // questions without an answer in a row
	circuitProbe    = time.Second // between two questions to one that is dead
)

// circuit is what is known of one auth webhook's health (a circuit breaker). While
// it is open nobody is asked, but for one question a second; one answer, of whatever
// kind, closes it.
type circuit struct {
	url      string // whose health it is: another one is taken for healthy
	open     bool
	failures int       // in a row, while it is closed
	since    int64     // the turn in which it opened or closed last
	probeAt  time.Time // when the next question may be asked, while it is open
}

// admit reports whether a question may be asked at now.
func (c *circuit) admit(now time.Time) bool {
	if !c.open {
		return true
	}
	if now.Before(c.probeAt) {
		return false
	}
	c.probeAt = now.Add(circuitProbe)
	return true
}

// settle notes what became of a question that was asked in a turn, and reports
// whether it opened or closed with it: then turn is the one that begins. A question
// that was asked before it did that last, and failed, says nothing about now.
func (c *circuit) settle(now time.Time, asked, turn int64, failed bool) (changed bool) {
	switch {
	case !failed:
		changed = c.open
		c.open, c.failures = false, 0
	case c.open || asked < c.since:
	default:
		if c.failures++; c.failures >= circuitFailures {
			c.open, changed = true, true
			c.probeAt = now.Add(circuitProbe)
		}
	}
	if changed {
		c.since, c.failures = turn, 0
	}
	return changed
}

// circuits are those of all tenants that have an auth webhook that has failed.
type circuits struct {
	mu sync.Mutex
	// Guarded by mu.
	turn     int64 // counts openings and closings
	byTenant map[tenant.ID]*circuit
}

// admit reports whether a tenant's server may be asked, and in which turn it is.
func (c *circuits) admit(t tenant.ID, url string, now time.Time) (turn int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byTenant[t]
	return c.turn, known == nil || known.url != url || known.admit(now)
}

// opened reports whether the tenant's circuit has opened since a turn.
func (c *circuits) opened(t tenant.ID, url string, turn int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byTenant[t]
	return known != nil && known.url == url && known.open && known.since > turn
}

// settle notes what became of a question that was asked in a turn.
func (c *circuits) settle(t tenant.ID, url string, now time.Time, asked int64, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byTenant[t]
	if known == nil || known.url != url {
		if !failed {
			return // as one that nothing is known of
		}
		known = &circuit{url: url}
		c.byTenant[t] = known
	}
	if known.settle(now, asked, c.turn+1, failed) {
		c.turn++
	}
}

// count returns how many are open.
func (c *circuits) count() (open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.byTenant {
		if known.open {
			open++
		}
	}
	return open
}

// isOpen reports whether a tenant's is.
func (c *circuits) isOpen(t tenant.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byTenant[t] != nil && c.byTenant[t].open
}
