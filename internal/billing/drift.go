package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// recountInterval is how often a node recounts the places of all tenants.
const recountInterval = time.Minute

// Drift is a count that is not the number of places taken: a bug, never a state that
// a step of the ledger leaves.
type Drift struct {
	Tenant  tenant.ID `json:"tenant_id"`
	Channel string    `json:"channel_id"` // "": the tenant's own count
	Counted int       `json:"counted"`    // what the count says
	Places  int       `json:"places"`     // how many there are
}

// misfits finds counts that differ from their places, of one tenant or, without one,
// of all. It is one statement and so sees one moment.
const misfits = `
	with tenants as (
		select tenant_id, count(*) as n from live_connection where $1 = '' or tenant_id = $1 group by tenant_id
	), channels as (
		select tenant_id, channel_id, count(*) as n, count(*) filter (where role = 'sendrecv') as sendrecv,
			count(*) filter (where role = 'sendonly') as sendonly, count(*) filter (where role = 'recvonly') as recvonly
		from live_connection where $1 = '' or tenant_id = $1 group by tenant_id, channel_id
	)
	select coalesce(l.tenant_id, p.tenant_id), '', coalesce(l.connections, 0), coalesce(p.n, 0)
	from (select * from tenant_live where $1 = '' or tenant_id = $1) l full join tenants p using (tenant_id)
	where coalesce(l.connections, 0) <> coalesce(p.n, 0)
	union all
	select coalesce(h.tenant_id, p.tenant_id), coalesce(h.channel_id, p.channel_id), coalesce(h.connections, 0), coalesce(p.n, 0)
	from (select * from channel_live where $1 = '' or tenant_id = $1) h full join channels p using (tenant_id, channel_id)
	where h.connections is distinct from p.n or h.sendrecv is distinct from p.sendrecv
		or h.sendonly is distinct from p.sendonly or h.recvonly is distinct from p.recvonly
	order by 1, 2`

// Recount counts the places of all tenants and returns the counts that are not right.
// It repairs nothing: places and counts change in one transaction, so what it finds is
// to be understood first.
func (l *Ledger) Recount(ctx context.Context) ([]Drift, error) {
	suspects, err := readDrifts(ctx, l.pool, "")
	if err != nil {
		return nil, err
	}
	var drifts []Drift
	for i, d := range suspects {
		if i > 0 && suspects[i-1].Tenant == d.Tenant {
			continue
		}
		// Once more with nothing of the tenant's under way. A statement sees one
		// moment, but who trusts a checker wants no doubt about it.
		err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
			if _, err := lockTenant(ctx, tx, d.Tenant); err != nil {
				return err
			}
			sure, err := readDrifts(ctx, tx, d.Tenant)
			drifts = append(drifts, sure...)
			return err
		})
		if err != nil {
			return drifts, fmt.Errorf("couldn't recount the places of tenant %s: %w", d.Tenant, err)
		}
	}
	return drifts, nil
}

// querier is a transaction, a pool, or a tenant's own view of the database.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func readDrifts(ctx context.Context, db querier, id tenant.ID) ([]Drift, error) {
	rows, err := db.Query(ctx, misfits, id)
	if err != nil {
		return nil, fmt.Errorf("couldn't recount the places: %w", err)
	}
	drifts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Drift])
	if err != nil {
		return nil, fmt.Errorf("couldn't recount the places: %w", err)
	}
	return drifts, nil
}

// Run recounts the places once a minute until ctx ends, and logs what does not fit.
func (l *Ledger) Run(ctx context.Context) {
	ticker := time.NewTicker(recountInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.recount(ctx)
	}
}

// recount recounts once, for the log and the metric.
func (l *Ledger) recount(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, recountInterval)
	defer cancel()
	drifts, err := l.Recount(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.log.Warn("couldn't recount the licence places; the next minute does", "error", err)
		}
		return
	}
	l.drift.Store(int64(len(drifts)))
	for _, d := range drifts {
		l.log.Error("a count of licence places is wrong: this is a bug, please report it with these figures",
			"tenant", d.Tenant, "channel", d.Channel, "counted", d.Counted, "places", d.Places)
	}
}

// Drift returns how many counts of places the last recount found wrong; it should
// be 0 always.
func (l *Ledger) Drift() int64 { return l.drift.Load() }
