package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// recordBatch is how many results are written in one transaction.
	recordBatch = 512
	// stuckTime is how long a tenant is let be whose rows could not be written.
	stuckTime = 2 * time.Second
)

// result is what came of an attempt, and what becomes of its delivery.
type result struct {
	job
	outcome
	state string        // Delivered, Dead, or Pending again
	wait  time.Duration // if Pending: until the next try
	probe bool          // the attempt was no try of the schedule
}

// results are attempts that wait to be recorded. What is here is sent again if the
// process dies; it is never lost.
type results struct {
	rung chan struct{} // holds at most one token

	mu   sync.Mutex
	list []result // Guarded by mu
}

// add hands a result to the engine; it never blocks.
func (r *results) add(one result) {
	r.mu.Lock()
	r.list = append(r.list, one)
	r.mu.Unlock()
	select {
	case r.rung <- struct{}{}:
	default:
	}
}

func (r *results) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.list)
}

// take empties the list, but for what is more than a batch.
func (r *results) take() []result {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.list), recordBatch)
	batch := slices.Clone(r.list[:n])
	r.list = append(r.list[:0], r.list[n:]...)
	clear(r.list[len(r.list):cap(r.list)])
	return batch
}

// putBack puts results at the front again.
func (r *results) putBack(batch []result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(batch, r.list...)
}

// record writes the results there are, in transactions of many. If one fails, each
// tenant's have one of their own, so that none can stop the others; what cannot be
// written stays. A result that is lost is a duplicate for the receiver, no more.
func (e *engine) record(ctx context.Context) error {
	var later []result
	defer func() { e.results.putBack(later) }()
	for range 1 + e.results.len()/recordBatch {
		var batch []result
		for _, r := range e.results.take() {
			if _, stuck := e.stuck[r.tenant]; stuck {
				later = append(later, r)
			} else {
				batch = append(batch, r)
			}
		}
		rest, err := e.recordEach(ctx, batch)
		later = append(later, rest...)
		if err != nil {
			return err
		}
	}
	return nil
}

// recordEach is one transaction, or one for each tenant if that does not go. It
// returns what is still to be written, and an error if the database is away.
func (e *engine) recordEach(ctx context.Context, batch []result) (later []result, err error) {
	if len(batch) == 0 {
		return nil, nil
	}
	if later, err = e.recordOf(ctx, batch); err == nil || isAway(err) {
		if err != nil {
			later = batch
		}
		return later, err
	}
	own := map[tenant.ID][]result{}
	for _, r := range batch {
		own[r.tenant] = append(own[r.tenant], r)
	}
	for t, results := range own {
		rest, err := e.recordOf(ctx, results)
		if err != nil {
			e.note(t, err)
			rest = results
		}
		later = append(later, rest...)
	}
	return later, nil
}

// note lets a tenant be for a while whose rows cannot be written, and says so.
func (e *engine) note(t tenant.ID, err error) {
	if err != nil {
		e.log.Warn("webhook deliveries of a tenant wait", "tenant", t, "error", err)
		e.stuck[t] = time.Now().Add(stuckTime)
	}
}

// isAway tells a database that cannot be asked from one that says no.
func isAway(err error) bool {
	var no *pgconn.PgError
	if !errors.As(err, &no) {
		return true
	}
	switch no.Code[:2] {
	case "08", "53", "57", "58", "XX": // connections, resources, operators, the system
		return true
	}
	return false
}

// recordOf writes results in one transaction: an attempt and what becomes of its
// delivery never part. Cursors are locked first, then endpoints, then deliveries, as
// by everybody; whose cursor is locked by somebody else has to wait for the next round.
func (e *engine) recordOf(ctx context.Context, batch []result) (later []result, err error) {
	var retries []*time.Duration
	var freed []job
	var verdicts []verdict
	err = pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
		var tenants []tenant.ID
		for _, r := range batch {
			tenants = append(tenants, r.tenant)
		}
		slices.Sort(tenants)
		tenants = slices.Compact(tenants)
		rows, err := tx.Query(ctx, `select tenant_id, coalesce(holder = $2, false) from webhook_cursor, set_config('lock_timeout', '250ms', true)
			where tenant_id = any($1) order by tenant_id for update skip locked`, tenants, e.name)
		if err != nil {
			return err
		}
		ours := map[tenant.ID]bool{}
		var t tenant.ID
		var held bool
		if _, err := pgx.ForEachRow(rows, []any{&t, &held}, func() error {
			ours[t] = held
			return nil
		}); err != nil {
			return err
		}
		var now []result
		for _, r := range batch {
			if _, locked := ours[r.tenant]; locked {
				now = append(now, r)
			} else {
				later = append(later, r)
			}
		}
		batch = now
		if len(batch) == 0 {
			return nil
		}
		ends := make([]ended, len(batch))
		for i, r := range batch {
			ends[i] = ended{r.job, r.outcome}
		}
		if verdicts, err = e.health(ctx, tx, ends); err != nil {
			return err
		}
		e.decide(batch, verdicts)
		// What health wrote may be an event that others have seen before the disk has it.
		told := slices.ContainsFunc(verdicts, func(v verdict) bool { return v.moved || v.disabled != "" })
		retries, freed, err = e.write(ctx, tx, batch, ours, told)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't record webhook attempts: %w", err)
	}
	now := time.Now()
	e.healthTold(verdicts)
	for i, v := range verdicts {
		if e.lanes.judge(v, batch[i].delivered(), now) {
			e.woken[v.tenant] = true // reads the breaker by the database's clock
		}
	}
	for i, r := range batch {
		var retry time.Time
		if retries[i] != nil && r.state == Pending {
			retry = now.Add(r.wait)
		}
		e.lanes.recorded(r.job, retry)
		if retries[i] != nil {
			e.counters.attempted(r.outcome, r.state == Dead)
		}
	}
	e.lanes.add(freed, now)
	return later, nil
}

// decide says what becomes of the deliveries.
func (e *engine) decide(batch []result, verdicts []verdict) {
	for i := range batch {
		r := &batch[i]
		wait, again := e.schedule.Next(r.attempt()-r.probes, r.retryAfter)
		r.probe = false
		switch {
		case r.delivered():
			r.state = Delivered
		case r.pulse.probe:
			r.state, r.wait, r.probe = Pending, verdicts[i].hold, true
		case again:
			r.state, r.wait = Pending, wait
		default:
			r.state = Dead
		}
	}
}

// write moves the deliveries to their next states with their attempts, and lets the
// next of each line go whose head is finished. It returns for each result until when
// the delivery rests (nil: it was not there, or is another node's), and what was let go.
// Unless durable is asked for, it does not wait for the disk: what a crash of the
// database's machine takes with it is sent once more.
func (e *engine) write(ctx context.Context, tx pgx.Tx, batch []result, ours map[tenant.ID]bool, durable bool) ([]*time.Duration, []job, error) {
	n := len(batch)
	tenants, ids, states, errs, classes := make([]tenant.ID, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	waits, probes, statuses, took, heads := make([]time.Duration, n), make([]int32, n), make([]int32, n), make([]int32, n), make([][]byte, n)
	exchanges := make([][]byte, n)
	var endpoints, keys []string
	for i, r := range batch {
		tenants[i], ids[i], states[i], errs[i], classes[i] = r.tenant, r.id, r.state, cleanText(r.problem), string(r.class)
		waits[i], statuses[i], took[i], heads[i] = r.wait, int32(r.status), int32(r.took.Milliseconds()), r.answer
		exchanges[i] = r.exchange.stored()
		if r.probe {
			probes[i] = 1
		}
		if !ours[r.tenant] && r.state != Delivered {
			states[i] = "" // its holder sends it; a delivery made counts all the same
		}
		if r.state != Pending && r.replay == 0 {
			endpoints, keys = append(endpoints, r.endpoint), append(keys, orderingKey(r.event))
		}
	}
	written, counted := make([]*time.Duration, n), minutes{}
	batchOf := &pgx.Batch{}
	if !durable {
		batchOf.Queue(`select set_config('synchronous_commit', 'off', true)`)
	}
	batchOf.Queue(`
		with r as (select * from unnest($1::text[], $2::text[], $3::text[], $4::interval[], $5::int[], $6::int[], $7::text[], $8::text[], $9::int[], $10::bytea[], $11::json[])
				with ordinality as r(tenant_id, delivery_id, state, wait, probe, status, error, class, took, head, exchange, nr)),
		gone as (delete from delivery d using r
			where d.tenant_id = r.tenant_id and d.delivery_id = r.delivery_id and d.state = 'pending' and r.state in ('delivered', 'dead')
			returning r.nr, r.state as outcome, r.status, r.error, r.class, d.*),
		again as (update delivery d set attempts = d.attempts + 1, probes = d.probes + r.probe, due = clock_timestamp() + r.wait,
				last_status = r.status, last_error = r.error, last_class = r.class
			from r where d.tenant_id = r.tenant_id and d.delivery_id = r.delivery_id and d.state = 'pending' and r.state = 'pending'
			returning r.nr, d.attempts),
		done as (insert into delivery_done (tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, state, due, created_at,
				attempts, probes, replay, last_status, last_error, last_class, replay_job)
			select tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, outcome, due, created_at,
				attempts + 1, probes, replay, status, error, class, replay_job from gone),
		made as (select nr, attempts + 1 as attempt, case when outcome = 'delivered' and replay = 0 then clock_timestamp() - event_at end as delay from gone
			union all select nr, attempts, null from again),
		tried as (insert into delivery_attempt (tenant_id, delivery_id, attempt, at, duration_ms, status, error, error_class, response_head, exchange)
			select r.tenant_id, r.delivery_id, made.attempt, clock_timestamp() - r.took * interval '1 millisecond', r.took, nullif(r.status, 0), r.error, r.class, r.head, r.exchange
			from made join r using (nr))
		select nr::int, delay from made`,
		tenants, ids, states, waits, probes, statuses, errs, classes, took, heads, exchanges).Query(func(rows pgx.Rows) error {
		var nr int
		var delay *time.Duration
		_, err := pgx.ForEachRow(rows, []any{&nr, &delay}, func() error {
			written[nr-1] = &waits[nr-1]
			counted.count(batch[nr-1], delay)
			return nil
		})
		return err
	})
	var freed []job
	if len(keys) > 0 {
		batchOf.Queue(`
			with head as (select h.* from unnest($1::text[], $2::text[]) as l(endpoint_id, ordering_key) cross join lateral (
				select tenant_id, delivery_id, state from delivery d
				where d.endpoint_id = l.endpoint_id and d.ordering_key = l.ordering_key order by d.event_seq limit 1) h),
			free as (update delivery d set state = 'pending', due = now() from head
				where head.state = 'waiting' and d.tenant_id = head.tenant_id and d.delivery_id = head.delivery_id returning d.*)
			select d.delivery_id, d.endpoint_id, d.due, d.attempts, d.probes, d.replay, `+eventColumns+`
			from free d join event on event.tenant_id = d.tenant_id and event.seq = d.event_seq and event.recorded_at = d.event_at
			order by d.event_seq`, endpoints, keys).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var j job
				if err := rows.Scan(append([]any{&j.id, &j.endpoint, &j.due, &j.attempts, &j.probes, &j.replay}, eventFields(&j.event)...)...); err != nil {
					return err
				}
				j.tenant = j.event.Tenant
				freed = append(freed, j)
			}
			return rows.Err()
		})
	}
	if err := tx.SendBatch(ctx, batchOf).Close(); err != nil {
		return nil, nil, err
	}
	return written, freed, counted.write(ctx, tx)
}
