package billing

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/time/rate"

	"github.com/hibari/hibari/internal/tenant"
)

// How many refused connects of one tenant are written as events. Clients that
// retry in a loop must neither fill the tenant's event log nor hold the row
// that its other clients need to connect.
const (
	rejectsPerSecond = 20
	rejectBurst      = 100
	// A warning is logged for the first of so many that are dropped.
	rejectsPerWarning = 1000
	// noteTime is how long one may wait for those before it to be written.
	noteTime = 5 * time.Second
)

// rejectLimits holds each tenant's allowance of rejected events.
type rejectLimits struct {
	mu sync.Mutex
	// Guarded by mu
	byTenant map[tenant.ID]*rate.Limiter // at most one per tenant that had a valid token
}

// allow reports whether one more may be written now.
func (r *rejectLimits) allow(id tenant.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := r.byTenant[id]
	if limit == nil {
		if r.byTenant == nil {
			r.byTenant = make(map[tenant.ID]*rate.Limiter)
		}
		limit = rate.NewLimiter(rejectsPerSecond, rejectBurst)
		r.byTenant[id] = limit
	}
	return limit.Allow()
}

// Reject writes connection.rejected for a client that had a valid token and
// was refused. Beyond 20 a second and tenant (100 at once) they are dropped
// and counted.
func (l *Ledger) Reject(ctx context.Context, o tenant.Opening, r *tenant.Refusal) error {
	if !l.rejects.allow(o.Tenant) {
		if n := l.rejectsDropped.Add(1); n%rejectsPerWarning == 1 {
			l.log.Warn("too many refused connects to tell the tenant of each", "tenant", o.Tenant, "dropped", n)
		}
		return nil
	}
	c := &segment{tenant: o.Tenant, id: tenant.Printable(o.ConnectionID, maxText), channel: tenant.Printable(o.Channel, maxText),
		role: o.Role, clientID: tenant.Printable(o.ClientID, maxText), metadata: o.Metadata}
	leave, err := l.noting.Take(ctx, o.Tenant)
	if err != nil {
		return fmt.Errorf("couldn't write that %s was rejected: %w", o.ConnectionID, err)
	}
	defer leave()
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		now, err := lockTenant(ctx, tx, o.Tenant)
		if err != nil {
			return err
		}
		counts, err := channelCounts(ctx, tx, c.tenant, c.channel)
		if err != nil {
			return err
		}
		rejected, err := connectionEvent(c, tenant.ConnectionRejected, now, RejectedData{
			ConnectionData: c.data(counts), Code: r.Code, Reason: string(r.Code),
			Detail: tenant.Printable(r.Detail, maxText), Current: r.Current, Max: r.Max})
		if err != nil {
			return err
		}
		return l.outbox(ctx, tx, rejected)
	})
	if err != nil {
		return fmt.Errorf("couldn't write that %s was rejected: %w", o.ConnectionID, err)
	}
	l.changed(o.Tenant)
	return nil
}

// RejectsDropped returns how many rejected events the limit has dropped since
// the start, of all tenants.
func (l *Ledger) RejectsDropped() int64 { return l.rejectsDropped.Load() }
