package webhooks

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// A tenant's deliveries are one node's work at a time: its holder's, which
// webhook_cursor names with a time by the database's clock. The holder alone turns
// its events into deliveries, sends and finishes them. So the limits of an endpoint
// and of a tenant are kept exactly over all nodes by counting in one node's memory,
// and sending a delivery changes no row. When a node dies, its tenants are taken by
// others after holdTime, or by its own successor; when it stops or a tenant has nothing
// to do, at once.
const (
	holdTime   = 30 * time.Second
	renewEvery = 3 * time.Second
	// holdMargin is how long before the end of a hold the last request is begun, so that
	// it has ended, and been recorded, when another node may begin.
	holdMargin = attemptTimeout + 5*time.Second
	// idleTime is how long a tenant is held that has nothing to do.
	idleTime = 2 * time.Second
)

// nextDueOf is when the deliveries of a tenant (c.tenant_id) are next due, in SQL; null: never.
const nextDueOf = `(select min(greatest(first.due, e.breaker_until)) from webhook_endpoint e cross join lateral (
	select d.due from delivery d where d.endpoint_id = e.endpoint_id and d.state = 'pending' order by d.due, d.event_seq limit 1) first
	where e.tenant_id = c.tenant_id and e.status = 'enabled')`

// inherit frees the tenants that an earlier process of this instance held when it
// died. Should the database not answer, they are free when the hold has passed.
func (e *engine) inherit(ctx context.Context) {
	if e.instance == "" {
		return
	}
	if _, err := e.pool.Exec(ctx, `update webhook_cursor set holder = null, held_until = null, next_due = clock_timestamp()
		where starts_with(holder, $1 || '/') and holder <> $2`, e.instance, e.name); err != nil && ctx.Err() == nil {
		e.log.Warn("webhook deliveries of the process before wait until its hold has passed", "error", err)
	}
}

// renew proves from time to time that the tenants held are still ours.
func (e *engine) renew(ctx context.Context, now time.Time) error {
	if !e.mistrust && now.Sub(e.renewed) < renewEvery {
		return nil
	}
	tenants := e.lanes.tenants()
	if len(tenants) > 0 {
		// A cursor that somebody has locked is not waited for: its time is renewed later.
		rows, err := e.pool.Query(ctx, `
			with mine as (select tenant_id from webhook_cursor where tenant_id = any($1) and holder = $2),
			free as (select tenant_id from webhook_cursor where tenant_id = any($1) and holder = $2 for update skip locked),
			renewed as (update webhook_cursor c set held_until = clock_timestamp() + $3::interval from free
				where c.tenant_id = free.tenant_id returning c.tenant_id)
			select m.tenant_id, r.tenant_id is not null from mine m left join renewed r using (tenant_id)`, tenants, e.name, holdTime)
		if err != nil {
			return fmt.Errorf("couldn't renew what we hold: %w", err)
		}
		mine := map[tenant.ID]bool{}
		var renewed []tenant.ID
		var t tenant.ID
		var got bool
		if _, err := pgx.ForEachRow(rows, []any{&t, &got}, func() error {
			mine[t] = true
			if got {
				renewed = append(renewed, t)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("couldn't renew what we hold: %w", err)
		}
		e.lanes.renew(renewed, now.Add(holdTime-holdMargin))
		var lost []tenant.ID
		for _, t := range tenants {
			if !mine[t] {
				lost = append(lost, t)
			}
		}
		e.lanes.drop(lost)
		if e.mistrust { // what we thought was written may not be
			for _, t := range renewed {
				e.lanes.look(t)
			}
		}
	}
	e.renewed, e.mistrust = now, false
	return nil
}

// look finds what no bell of this process told: what other processes wrote for our
// tenants, retries that have become due, and tenants whose node died.
func (e *engine) look(ctx context.Context, now time.Time) error {
	if held := e.lanes.tenants(); len(held) > 0 && now.Sub(e.looked.held) >= lookOften {
		if err := e.find(ctx, `select c.tenant_id, c.next_due is not null from webhook_cursor c join tenant_live l using (tenant_id)
			where c.tenant_id = any($1) and (c.next_due is not null or l.event_seq > c.seq)`, held); err != nil {
			return err
		}
		e.looked.held = now
	}
	if now.Sub(e.looked.due) >= lookSome {
		if err := e.find(ctx, `select tenant_id, true from webhook_cursor
			where next_due <= clock_timestamp() and (holder is null or held_until <= clock_timestamp()) order by next_due limit 1000`); err != nil {
			return err
		}
		e.looked.due = now
	}
	if now.Sub(e.looked.all) >= lookAll {
		if err := e.find(ctx, `select c.tenant_id, c.holder is not null from webhook_cursor c join tenant_live l using (tenant_id)
			where (c.holder is null and l.event_seq > c.seq) or c.held_until <= clock_timestamp()`); err != nil {
			return err
		}
		e.looked.all = now
	}
	return nil
}

// find wakes tenants that a query names.
func (e *engine) find(ctx context.Context, sql string, args ...any) error {
	rows, err := e.pool.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("couldn't look for new events: %w", err)
	}
	var t tenant.ID
	var byHand bool
	if _, err := pgx.ForEachRow(rows, []any{&t, &byHand}, func() error {
		e.woken[t] = e.woken[t] || byHand
		return nil
	}); err != nil {
		return fmt.Errorf("couldn't look for new events: %w", err)
	}
	return nil
}

// refill reads what is due into lanes that have room.
func (e *engine) refill(ctx context.Context, now time.Time) error {
	list := e.lanes.wants(now)
	if len(list) == 0 {
		return nil
	}
	endpoints, counts := make([]string, len(list)), make([]int32, len(list))
	dues, seqs := make([]time.Time, len(list)), make([]int64, len(list))
	for i, want := range list {
		endpoints[i], counts[i], dues[i], seqs[i] = want.endpoint, int32(want.n), want.after.due, want.after.seq
	}
	batch := &pgx.Batch{}
	jobs := make([][]job, len(list))
	batch.Queue(`
		select w.nr::int, d.delivery_id, d.due, d.attempts, d.probes, d.replay, `+eventColumns+`
		from unnest($1::text[], $2::int[], $3::timestamptz[], $4::bigint[]) with ordinality as w(endpoint_id, n, due, seq, nr)
		cross join lateral (select * from delivery d where d.endpoint_id = w.endpoint_id and d.state = 'pending'
			and d.due <= statement_timestamp() and (d.due, d.event_seq) > (w.due, w.seq) order by d.due, d.event_seq limit w.n) d
		join event on event.tenant_id = d.tenant_id and event.seq = d.event_seq and event.recorded_at = d.event_at
		order by w.nr, d.due, d.event_seq`, endpoints, counts, dues, seqs).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var nr int
			var j job
			if err := rows.Scan(append([]any{&nr, &j.id, &j.due, &j.attempts, &j.probes, &j.replay}, eventFields(&j.event)...)...); err != nil {
				return err
			}
			j.endpoint, j.tenant = list[nr-1].endpoint, list[nr-1].tenant
			jobs[nr-1] = append(jobs[nr-1], j)
		}
		return rows.Err()
	})
	// In time from now, since the two clocks may differ.
	waits := make([]time.Duration, len(list))
	batch.Queue(`
		select w.nr::int, d.due - clock_timestamp() from unnest($1::text[]) with ordinality as w(endpoint_id, nr)
		cross join lateral (select due from delivery d where d.endpoint_id = w.endpoint_id and d.state = 'pending'
			and d.due > statement_timestamp() order by d.due limit 1) d`, endpoints).Query(func(rows pgx.Rows) error {
		var nr int
		var wait time.Duration
		_, err := pgx.ForEachRow(rows, []any{&nr, &wait}, func() error {
			waits[nr-1] = max(wait, 1)
			return nil
		})
		return err
	})
	if err := e.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("couldn't look for due deliveries: %w", err)
	}
	now = time.Now()
	for i, want := range list {
		var next time.Time
		if waits[i] > 0 {
			next = now.Add(waits[i])
		}
		e.lanes.fill(want.tenant, want.endpoint, jobs[i], want.n, next, now)
	}
	return nil
}

// release gives back the tenants that have had nothing to do for a while.
func (e *engine) release(ctx context.Context, now time.Time) error {
	if now.Sub(e.looked.idle) < idleTime/4 {
		return nil
	}
	e.looked.idle = now
	return e.letGo(ctx, e.lanes.idle(now, idleTime))
}

// letGo lets others take tenants, and says when somebody has to.
func (e *engine) letGo(ctx context.Context, tenants []tenant.ID) error {
	if len(tenants) == 0 {
		return nil
	}
	rows, err := e.pool.Query(ctx, `
		with free as (select tenant_id from webhook_cursor where tenant_id = any($1) and holder = $2 for update skip locked)
		update webhook_cursor c set holder = null, held_until = null, next_due = `+nextDueOf+`
		from free where c.tenant_id = free.tenant_id returning c.tenant_id`, tenants, e.name)
	if err != nil {
		return fmt.Errorf("couldn't give tenants back: %w", err)
	}
	given, err := pgx.CollectRows(rows, pgx.RowTo[tenant.ID])
	if err != nil {
		return fmt.Errorf("couldn't give tenants back: %w", err)
	}
	e.lanes.drop(given)
	return nil
}
