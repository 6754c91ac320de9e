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

// End ends one of a tenant's connections, over whatever dialect it came, also one that
// is still coming in, and is false if there is no such connection here. It never
// blocks.
func (d *Door) End(id tenant.ID, connectionID string, why tenant.Parting) bool {
	d.calls.mu.Lock()
	c := d.calls.byID[connectionID]
	d.calls.mu.Unlock()
	if c == nil || c.subject.Tenant != id {
		return false
	}
	c.part(why)
	return true
}

// Here lists the tenant's connections here that are meant, of those that have a place.
func (d *Door) Here(id tenant.ID, which tenant.Choice) (connectionIDs []string) {
	for _, c := range d.calls.which(func(s tenant.Subject) bool { return s.Tenant == id }) {
		if c.is(which) {
			connectionIDs = append(connectionIDs, c.id)
		}
	}
	return connectionIDs
}

// Subject returns what is known of one of a tenant's connections here; false: there is
// none.
func (d *Door) Subject(id tenant.ID, connectionID string) (tenant.Subject, bool) {
	d.calls.mu.Lock()
	defer d.calls.mu.Unlock()
	c := d.calls.byID[connectionID]
	if c == nil || c.subject.Tenant != id {
		return tenant.Subject{}, false
	}
	return c.subject, true
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
