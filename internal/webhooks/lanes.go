package webhooks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How much is in flight at once: for fairness to the others and as mercy to
// the receivers. A goroutine is cheap, a customer's server may not be.
const (
	maxPerEndpoint = 8   // over all nodes, as far as leases tell
	maxPerTenant   = 64  // on this node
	maxPerNode     = 512 // on this node
)

const (
	// leaseTime is how long a claimed delivery belongs to its attempt. When a
	// process dies, its deliveries are claimed again after it.
	leaseTime = 60 * time.Second
	// lastWords is how long attempts in flight may go on after Run was told to stop.
	lastWords = 3 * time.Second
)

// job is a claimed delivery with all that an attempt needs.
type job struct {
	id       string
	endpoint string
	tenant   tenant.ID
	url      string
	sealed   []byte // the endpoint's secret
	previous []byte // the one before it, as long as both sign; nil: none
	attempt  int    // this one's number, from 1
	pulse    pulse  // of the endpoint
	replay   int
	lease    time.Time // as the database has it
	event    tenant.Event
}

// lanes hands out this node's slots. Each endpoint is a lane; whoever was
// served longest ago comes first.
type lanes struct {
	// Owned by runLanes.
	node     int
	byTenant map[tenant.ID]int
	served   map[string]int // by endpoint: the turn it last got a slot
	turn     int
	full     bool // the last division left work for want of the node's slots
}

// lane is an endpoint with work that is due.
type lane struct {
	endpoint string
	tenant   tenant.ID
	ready    int // how many deliveries it may start now
}

// runLanes claims what is due and starts an attempt for each. When told to
// stop it claims no more and waits for the attempts.
func (w *Webhooks) runLanes(ctx context.Context) {
	l := &lanes{byTenant: map[tenant.ID]int{}, served: map[string]int{}}
	done := make(chan tenant.ID, maxPerNode) // never blocks an attempt
	attempts, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		var tenants []tenant.ID
		everybody := l.full // a slot set free may be anybody's
		select {
		case <-ctx.Done():
			defer time.AfterFunc(lastWords, abort).Stop()
			running.Wait()
			return
		case <-tick.C:
			everybody = true
		case <-w.toClaim.rung:
			tenants = w.toClaim.take()
		case t := <-done:
			l.free(t)
			tenants = append(tenants, t)
		}
		for range len(done) {
			t := <-done
			l.free(t)
			tenants = append(tenants, t)
		}
		if everybody {
			tenants = nil
		}
		jobs, err := w.claim(attempts, l, tenants)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("webhook deliveries wait", "error", err)
		}
		for _, j := range jobs {
			running.Go(func() {
				w.runAttempt(attempts, j)
				done <- j.tenant
			})
		}
	}
}

// claim leases as many due deliveries as there are slots for, of these tenants
// or, when nil, of all. Its context is that of the attempts: a claim that is
// interrupted by a stop may have taken leases that nobody would know of.
func (w *Webhooks) claim(ctx context.Context, l *lanes, tenants []tenant.ID) ([]job, error) {
	due, err := w.dueLanes(ctx, tenants)
	if err != nil {
		return nil, err
	}
	share := l.divide(due)
	if len(share) == 0 {
		return nil, nil
	}
	jobs, err := w.lease(ctx, share)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		l.take(j)
	}
	return jobs, nil
}

// dueLanes lists enabled endpoints that have due deliveries and free slots.
func (w *Webhooks) dueLanes(ctx context.Context, tenants []tenant.ID) ([]lane, error) {
	rows, err := w.pool.Query(ctx, `
		select e.endpoint_id, e.tenant_id, due.n
		from webhook_endpoint e cross join lateral (
			select count(*) as n from (
				select from delivery d
				where d.endpoint_id = e.endpoint_id and d.state = 'pending' and d.due <= statement_timestamp()
					and (d.lease_until is null or d.lease_until <= statement_timestamp())
				limit greatest(0, case when e.breaker = 'closed' then $2 else 1 end - (
					select count(*) from delivery leased
					where leased.endpoint_id = e.endpoint_id and leased.state = 'pending'
						and leased.lease_until > statement_timestamp()))) as ready) due
		where e.status = 'enabled' and due.n > 0 and (e.breaker = 'closed' or e.breaker_until <= statement_timestamp()) and ($1::text[] is null or e.tenant_id = any($1))`,
		tenants, maxPerEndpoint)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for due deliveries: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e lane, err error) {
		return e, row.Scan(&e.endpoint, &e.tenant, &e.ready)
	})
}

// divide gives slots to lanes one by one, least recently served first, until
// slots or work run out.
func (l *lanes) divide(due []lane) map[string]int {
	slices.SortFunc(due, func(a, b lane) int {
		return cmp.Or(cmp.Compare(l.served[a.endpoint], l.served[b.endpoint]), cmp.Compare(a.endpoint, b.endpoint))
	})
	share := map[string]int{}
	given := map[tenant.ID]int{}
	node := l.node
	for progress := true; progress; {
		progress, l.full = false, false
		for _, e := range due {
			switch {
			case share[e.endpoint] == e.ready || l.byTenant[e.tenant]+given[e.tenant] == maxPerTenant:
			case node == maxPerNode:
				l.full = true
			default:
				share[e.endpoint]++
				given[e.tenant]++
				node++
				progress = true
			}
		}
	}
	return share
}

// lease marks the next deliveries of each endpoint as ours for leaseTime.
func (w *Webhooks) lease(ctx context.Context, share map[string]int) ([]job, error) {
	var endpoints []string
	var counts []int32
	for endpoint, n := range share {
		endpoints = append(endpoints, endpoint)
		counts = append(counts, int32(n))
	}
	rows, err := w.pool.Query(ctx, `
		with pick as (
			select next.tenant_id, next.delivery_id from unnest($1::text[], $2::int[]) as share(endpoint_id, n) cross join lateral (
				select tenant_id, delivery_id from delivery d
				where d.endpoint_id = share.endpoint_id and d.state = 'pending' and d.due <= statement_timestamp()
					and (d.lease_until is null or d.lease_until <= statement_timestamp())
				order by d.due, d.event_seq limit share.n for update skip locked) next),
		claimed as (
			update delivery d set lease_until = statement_timestamp() + $3::interval from pick
			where d.tenant_id = pick.tenant_id and d.delivery_id = pick.delivery_id
			returning d.tenant_id, d.delivery_id, d.endpoint_id, d.event_seq, d.attempts, d.replay, d.lease_until)
		select c.delivery_id, c.endpoint_id, c.attempts + 1, c.replay, c.lease_until, e.url, e.secret_sealed,
			case when e.previous_secret_until > statement_timestamp() then e.previous_secret_sealed end,
			e.breaker_epoch, e.breaker <> 'closed', e.failing_since, `+eventColumns+`
		from claimed c join webhook_endpoint e using (endpoint_id) join event on event.tenant_id = c.tenant_id and event.seq = c.event_seq`,
		endpoints, counts, leaseTime)
	if err != nil {
		return nil, fmt.Errorf("couldn't claim deliveries: %w", err)
	}
	jobs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (j job, err error) {
		err = row.Scan(append([]any{&j.id, &j.endpoint, &j.attempt, &j.replay, &j.lease, &j.url, &j.sealed, &j.previous,
			&j.pulse.epoch, &j.pulse.probe, &j.pulse.failingSince}, eventFields(&j.event)...)...)
		j.tenant = j.event.Tenant
		return j, err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't claim deliveries: %w", err)
	}
	return jobs, nil
}

func (l *lanes) take(j job) {
	l.turn++
	l.served[j.endpoint] = l.turn
	l.byTenant[j.tenant]++
	l.node++
}

func (l *lanes) free(t tenant.ID) {
	l.node--
	if l.byTenant[t]--; l.byTenant[t] == 0 {
		delete(l.byTenant, t)
	}
}
