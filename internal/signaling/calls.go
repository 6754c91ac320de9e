package signaling

import (
	"sync"

	"github.com/hibari/hibari/internal/tenant"
)

// calls are the connections that come in or are in, over every dialect, by id. A
// connection is among them before anybody looks whether it may come in, so that
// whoever ends it finds it at any time.
type calls struct {
	mu sync.Mutex
	// Guarded by mu.
	byID map[string]*call
}

func (l *calls) add(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byID[c.id] = c
}

func (l *calls) remove(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, c.id)
}

// end ends those of a tenant's connections that are here.
func (l *calls) end(id tenant.ID, connectionIDs []string, reason string) {
	for _, connectionID := range connectionIDs {
		l.mu.Lock()
		c := l.byID[connectionID]
		l.mu.Unlock()
		if c != nil && c.subject.Tenant == id {
			c.disconnect(reason)
		}
	}
}

// which returns those that meet a condition, which must not block.
func (l *calls) which(condition func(tenant.Subject) bool) (found []*call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.byID {
		if condition(c.subject) {
			found = append(found, c)
		}
	}
	return found
}

// EndBanned ends every connection here that a ban ousts, over whatever dialect it
// came. It is to be called after each ban that became known; it does not block.
func (d *Door) EndBanned() {
	if d.bans == nil {
		return
	}
	for _, c := range d.calls.which(d.bans.Ousted) {
		c.disconnect(tenant.EndBanned)
	}
}

// barred is the refusal of who is barred; nil: nobody bars it.
func (d *Door) barred(s tenant.Subject) *tenant.Refusal {
	if d.bans == nil {
		return nil
	}
	return d.bans.Barred(s)
}
