package webhooks

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Window is a time until now that an endpoint's performance is told of.
type Window struct {
	Name   string        // as a query names it
	Step   time.Duration // of one point
	Points int
	table  string
}

// Windows are those there are, the shortest first.
var Windows = []Window{
	{"1h", time.Minute, 60, "endpoint_minute"},
	{"24h", 15 * time.Minute, 96, "endpoint_quarter"},
	{"30d", 24 * time.Hour, 30, "endpoint_quarter"}, // of UTC
}

// WindowNamed returns a window by its name; the first for one there is not.
func WindowNamed(name string) Window {
	for _, w := range Windows {
		if w.Name == name {
			return w
		}
	}
	return Windows[0]
}

// maxBacklog is how far undelivered events are counted.
const maxBacklog = 10_000

// Performance is how an endpoint does.
type Performance struct {
	Window Window
	At     time.Time // by the database's clock
	// Lag is how long the oldest delivery that may be tried now has been waiting
	// for it; 0: none is due.
	Lag time.Duration
	// Backlog is how many events are not delivered yet, up to maxBacklog; Oldest
	// is since when the oldest of them is on its way, nil: none is.
	Backlog int
	Oldest  *time.Time
	Total   Point   // of the whole window
	Points  []Point // step by step, the oldest first; those without attempts too
}

// Point is what was attempted in some time. The delays are from an event's being
// written to its delivery, of those that were delivered in this time; those sent
// again by hand are not among them.
type Point struct {
	At                 time.Time // its start
	Attempts, Failures int64
	Delivered          int64 // how many delays there are
	P50, P95, P99      time.Duration
	Slowest            time.Duration

	delays [delayBuckets]int64
}

// FailureRate is the share of attempts that failed, 0 to 1; 0 without any.
func (p Point) FailureRate() float64 {
	if p.Attempts == 0 {
		return 0
	}
	return float64(p.Failures) / float64(p.Attempts)
}

// Performance tells how an endpoint did in a window. ErrNotFound.
func (w *Webhooks) Performance(ctx context.Context, s tenant.Scope, id string, window Window) (p Performance, err error) {
	if _, err := w.Endpoint(ctx, s, id); err != nil {
		return p, err
	}
	all, err := w.performances(ctx, s, id, window)
	if err != nil {
		return p, err
	}
	return all[id], nil
}

// Performances tells how each of the tenant's endpoints did in a window, by id.
func (w *Webhooks) Performances(ctx context.Context, s tenant.Scope, window Window) (map[string]Performance, error) {
	return w.performances(ctx, s, "", window)
}

// performances is Performances of one endpoint, or with "" of all.
func (w *Webhooks) performances(ctx context.Context, s tenant.Scope, id string, window Window) (map[string]Performance, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	all := map[string]Performance{}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select e.endpoint_id, now(), coalesce(greatest(now() - due.first, '0'), '0'), backlog.n, oldest.at
			from webhook_endpoint e
			cross join lateral (select min(due) as first from (select d.due from delivery d
				where d.endpoint_id = e.endpoint_id and d.state = 'pending' and d.due <= now() order by d.due limit 1) as one) due
			cross join lateral (select count(*) as n from (select from delivery d
				where d.tenant_id = $1 and d.endpoint_id = e.endpoint_id limit $3) as counted) backlog
			cross join lateral (select min(created_at) as at from (select d.created_at from delivery d
				where d.tenant_id = $1 and d.endpoint_id = e.endpoint_id order by d.created_at, d.delivery_id limit 1) as one) oldest
			where e.tenant_id = $1 and ($2 = '' or e.endpoint_id = $2)`, t, id, maxBacklog)
		if err != nil {
			return err
		}
		var p Performance
		var endpoint string
		if _, err := pgx.ForEachRow(rows, []any{&endpoint, &p.At, &p.Lag, &p.Backlog, &p.Oldest}, func() error {
			one := p
			one.Window = window
			one.frame()
			all[endpoint] = one
			return nil
		}); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `select endpoint_id, at, attempts, failures, delays, slowest_ms from `+window.table+`
			where tenant_id = $1 and ($2 = '' or endpoint_id = $2)
				and at >= date_bin($3, now(), timestamptz '2024-01-01 00:00:00+00') - $3::interval * $4 order by at`,
			t, id, window.Step, window.Points-1)
		if err != nil {
			return err
		}
		var at time.Time
		var attempts, failures, slowest int64
		var delays []int64
		_, err = pgx.ForEachRow(rows, []any{&endpoint, &at, &attempts, &failures, &delays, &slowest}, func() error {
			if p, ok := all[endpoint]; ok {
				p.add(at, attempts, failures, delays, time.Duration(slowest)*time.Millisecond)
				all[endpoint] = p
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read how webhook endpoints do: %w", err)
	}
	for endpoint, p := range all {
		p.Total.settle()
		for i := range p.Points {
			p.Points[i].settle()
		}
		all[endpoint] = p
	}
	return all, nil
}

// epoch is where steps are counted from, as date_bin does above.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// frame makes the points of the window, without anything in them.
func (p *Performance) frame() {
	last := epoch.Add(p.At.Sub(epoch).Truncate(p.Window.Step))
	for i := range p.Window.Points {
		p.Points = append(p.Points, Point{At: last.Add(-time.Duration(p.Window.Points-1-i) * p.Window.Step)})
	}
	p.Total.At = p.Points[0].At
}

// add counts a row into its point and the total.
func (p *Performance) add(at time.Time, attempts, failures int64, delays []int64, slowest time.Duration) {
	i := int(at.Sub(p.Points[0].At) / p.Window.Step)
	if i < 0 || i >= len(p.Points) {
		return // of a step that has begun since
	}
	for _, to := range []*Point{&p.Points[i], &p.Total} {
		to.Attempts += attempts
		to.Failures += failures
		to.Slowest = max(to.Slowest, slowest)
		for bucket, n := range delays {
			to.delays[min(bucket, delayBuckets-1)] += n
			to.Delivered += n
		}
	}
}

// settle computes what the counted delays say.
func (p *Point) settle() {
	p.P50, p.P95, p.P99 = p.quantile(0.50), p.quantile(0.95), p.quantile(0.99)
}

// quantile estimates the delay that a share q of the deliveries did not exceed:
// evenly spread within a bucket, and no more than the slowest. 0 without any.
func (p *Point) quantile(q float64) time.Duration {
	rank := q * float64(p.Delivered)
	below := 0.0
	for bucket, n := range p.delays {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		var low time.Duration
		if bucket > 0 {
			low = delayBounds[bucket-1]
		}
		high := p.Slowest
		if bucket < len(delayBounds) {
			high = min(high, delayBounds[bucket])
		}
		return low + time.Duration(float64(max(0, high-low))*(rank-below)/float64(n))
	}
	return 0
}
