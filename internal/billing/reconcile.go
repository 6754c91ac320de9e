package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

const (
	// reconcileInterval is how often a node adds up all connections again.
	reconcileInterval = 6 * time.Hour
	// reconcileTime bounds that.
	reconcileTime = 10 * time.Minute
)

// UsageDrift is a tenant whose roll-ups are not the sum of its connections: a bug, or
// somebody has changed rows by hand.
type UsageDrift struct {
	Tenant   tenant.ID    `json:"tenant_id"`
	RolledUp rating.Usage `json:"rolled_up"` // Σ usage_slot
	Segments rating.Usage `json:"segments"`  // Σ connections, as far as they are rolled up
}

// reconciled compares both sums of every tenant in one statement, which sees one moment.
// What a connection comes to in all needs no slots: it is another arithmetic than that
// of the roll.
const reconciled = `
	with part as (
		select tenant_id, ended_at - connected_at as length, increment_s, minimum_s, bytes_in, bytes_out
		from connection where rolled_at is not null
		union all
		select c.tenant_id, m.at - c.connected_at, m.increment_s, m.minimum_s, m.bytes_in, m.bytes_out
		from connection c join (
			select distinct on (tenant_id, connection_id) * from connection_mark order by tenant_id, connection_id, at desc
		) m using (tenant_id, connection_id)
		where c.rolled_at is null
	), segment as (
		select tenant_id, count(*) as connections, sum(floor(extract(epoch from length))) as seconds,
			sum(greatest(1, ceil(extract(epoch from length) / 60))) as minutes,
			sum(increment_s * greatest(1, ceil(minimum_s::numeric / increment_s), ceil(extract(epoch from length) / increment_s))) as billed_seconds,
			sum(bytes_in) as bytes_in, sum(bytes_out) as bytes_out
		from part group by tenant_id
	), slot as (
		select tenant_id, sum(connections) as connections, sum(seconds) as seconds, sum(minutes) as minutes,
			sum(billed_seconds) as billed_seconds, sum(bytes_in) as bytes_in, sum(bytes_out) as bytes_out
		from usage_slot group by tenant_id
	)
	select tenant_id, coalesce(r.connections, 0)::bigint, coalesce(r.seconds, 0)::bigint, coalesce(r.minutes, 0)::bigint,
		coalesce(r.billed_seconds, 0)::bigint, coalesce(r.bytes_in, 0)::bigint, coalesce(r.bytes_out, 0)::bigint,
		coalesce(s.connections, 0)::bigint, coalesce(s.seconds, 0)::bigint, coalesce(s.minutes, 0)::bigint,
		coalesce(s.billed_seconds, 0)::bigint, coalesce(s.bytes_in, 0)::bigint, coalesce(s.bytes_out, 0)::bigint
	from slot r full join segment s using (tenant_id)
	where (r.connections, r.seconds, r.minutes, r.billed_seconds, r.bytes_in, r.bytes_out)
		is distinct from (s.connections, s.seconds, s.minutes, s.billed_seconds, s.bytes_in, s.bytes_out)
	order by tenant_id`

// Reconcile adds up every tenant's connections and roll-ups, and returns where the sums
// differ. It reads all that there is, and repairs nothing.
func (l *Ledger) Reconcile(ctx context.Context) ([]UsageDrift, error) {
	rows, err := l.pool.Query(ctx, reconciled)
	if err != nil {
		return nil, fmt.Errorf("couldn't add up the usage: %w", err)
	}
	drifts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d UsageDrift, err error) {
		r, s := &d.RolledUp, &d.Segments
		err = row.Scan(&d.Tenant, &r.Connections, &r.Seconds, &r.Minutes, &r.BilledSeconds, &r.BytesIn, &r.BytesOut,
			&s.Connections, &s.Seconds, &s.Minutes, &s.BilledSeconds, &s.BytesIn, &s.BytesOut)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't add up the usage: %w", err)
	}
	return drifts, nil
}

// reconcile reconciles once, for the log and the metric.
func (l *Ledger) reconcile(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reconcileTime)
	defer cancel()
	drifts, err := l.Reconcile(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.log.Warn("couldn't add up the usage; it is tried again later", "error", err)
		}
		return
	}
	l.usageDrift.Store(int64(len(drifts)))
	for _, d := range drifts {
		l.log.Error("roll-ups of usage are not the sum of the connections: this is a bug, please report it with these figures",
			"tenant", d.Tenant, "rolled_up", d.RolledUp, "segments", d.Segments)
	}
}

// UsageDrift returns for how many tenants the last Reconcile of this process found that
// roll-ups are not the sum of the connections; it should be 0 always.
func (l *Ledger) UsageDrift() int64 { return l.usageDrift.Load() }
