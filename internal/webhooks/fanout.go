package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// fanOutBatch is how many events of one tenant are turned into deliveries in
// one transaction, before the next tenants have their turn.
const fanOutBatch = 500

// target is an enabled endpoint.
type target struct {
	id     string
	tenant tenant.ID
	url    string
	sealed []byte // its secret
	// The one before it, which signs too until a time by our clock; nil: none.
	previous      []byte
	previousUntil time.Time
	types         []string
	prefix        string // of the channels it hears about; "": of all
	fromSeq       int64
	pulse         pulse     // its health
	until         time.Time // nothing is sent before, by our clock; zero: now
	// What it had to do when its tenant was taken; of no meaning later.
	due     bool      // something is due
	nextDue time.Time // else: when something is, by our clock; zero: never
}

// wants reports whether an event goes to this endpoint. A ping goes only to
// the endpoint it was made for, which SendTest sees to.
func (e target) wants(event tenant.Event) bool {
	switch {
	case event.Seq <= e.fromSeq || event.Type == tenant.Ping:
		return false
	case event.Channel != "" && !strings.HasPrefix(event.Channel, e.prefix):
		return false
	case len(e.types) == 0:
		return event.Type != tenant.ConnectionUpdated
	}
	return slices.Contains(e.types, string(event.Type))
}

// recorded is an event with the time of its row.
type recorded struct {
	tenant.Event
	at time.Time
}

// turn is what fan-out has read of the tenants whose turn it is.
type turn struct {
	taken   []tenant.ID        // those that nobody else holds or has locked
	locked  []tenant.ID        // those that nobody else holds, but somebody has locked
	byHand  map[tenant.ID]bool // endpoints or deliveries were changed by hand
	targets map[tenant.ID][]target
	events  map[tenant.ID][]recorded
}

// fanOut makes deliveries of the new events of the tenants that were woken, and takes
// those that have something to do. Several tenants share a transaction; if it fails,
// each has one of its own, so that none can stop the others.
func (e *engine) fanOut(ctx context.Context, now time.Time) error {
	for len(e.woken) > 0 {
		var list []tenant.ID
		for t, byHand := range e.woken {
			if !byHand && e.none[t].After(now) || e.stuck[t].After(now) {
				delete(e.woken, t)
			} else if list = append(list, t); len(list) == turnTenants {
				break
			}
		}
		if len(list) == 0 {
			return nil
		}
		slices.Sort(list)
		err := e.fanOutOf(ctx, list)
		if err != nil && (len(list) > 1 || !isAway(err)) {
			for _, t := range list {
				if one := e.fanOutOf(ctx, []tenant.ID{t}); one == nil || !isAway(one) {
					err = nil
					e.note(t, one)
				}
			}
		}
		for _, t := range list { // a poll comes back to those that failed
			delete(e.woken, t)
		}
		if err != nil {
			return err
		}
		if e.results.len() > 0 {
			break // they make room; the bells ring on
		}
	}
	if len(e.woken) > 0 {
		e.toFanOut.ring()
	}
	return nil
}

// fanOutOf is one transaction of fanOut. It may be lost when the database's machine
// dies, and is then made again: that it need not wait for the disk is half of the way
// of an event to its receiver.
func (e *engine) fanOutOf(ctx context.Context, tenants []tenant.ID) error {
	began := time.Now()
	var t turn
	var fresh []job
	err := pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) (err error) {
		if t, err = e.readTurn(ctx, tx, tenants); err != nil || len(t.taken) == 0 {
			return err
		}
		fresh, err = e.writeTurn(ctx, tx, t)
		return err
	})
	if err != nil {
		return fmt.Errorf("couldn't fan out events: %w", err)
	}
	until := began.Add(holdTime - holdMargin)
	for _, id := range t.taken {
		byHand := e.woken[id] || t.byHand[id]
		e.lanes.keep(id, until, t.targets[id], began)
		if byHand {
			e.lanes.look(id)
		}
		delete(e.woken, id)
		if len(t.events[id]) == fanOutBatch {
			e.woken[id] = false // there may be more
			e.toFanOut.ringFor(id)
		}
	}
	for _, id := range tenants {
		switch {
		case slices.Contains(t.locked, id):
			e.locked = append(e.locked, id)
		case !slices.Contains(t.taken, id):
			e.none[id] = began.Add(lookSome)
		}
	}
	e.lanes.add(fresh, time.Now())
	return nil
}

// readTurn locks the cursors of tenants and reads what there is for them, in two
// round trips.
func (e *engine) readTurn(ctx context.Context, tx pgx.Tx, tenants []tenant.ID) (turn, error) {
	t := turn{byHand: map[tenant.ID]bool{}, targets: map[tenant.ID][]target{}, events: map[tenant.ID][]recorded{}}
	var fresh []tenant.ID // those that are not in the lanes
	for _, id := range tenants {
		if !e.lanes.has(id) {
			fresh = append(fresh, id)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(`select set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '250ms', true)`)
	// Whoever has a cursor locked changes its endpoints: fan-out comes back.
	batch.Queue(`
		with free as (select tenant_id from webhook_cursor where tenant_id = any($1) and (holder is null or holder = $2 or held_until <= clock_timestamp())),
		taken as (select tenant_id, next_due is not null as by_hand from webhook_cursor
			where tenant_id = any($1) and (holder is null or holder = $2 or held_until <= clock_timestamp()) order by tenant_id for update skip locked)
		select tenant_id, t.tenant_id is not null, coalesce(by_hand, false) from free left join taken t using (tenant_id) order by tenant_id`,
		tenants, e.name).Query(func(rows pgx.Rows) error {
		var id tenant.ID
		var taken, byHand bool
		_, err := pgx.ForEachRow(rows, []any{&id, &taken, &byHand}, func() error {
			if taken {
				t.taken = append(t.taken, id)
				t.byHand[id] = byHand
			} else {
				t.locked = append(t.locked, id)
			}
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil || len(t.taken) == 0 {
		return t, err
	}
	now := time.Now()
	batch = &pgx.Batch{}
	batch.Queue(`
		select e.endpoint_id, e.tenant_id, e.url, e.secret_sealed, e.types, e.channel_prefix, e.from_seq, first.wait,
			e.previous_secret_sealed, e.previous_secret_until - clock_timestamp(),
			e.breaker_epoch, e.breaker <> 'closed', e.failing_since, e.breaker_until - clock_timestamp()
		from webhook_endpoint e left join lateral (
			select greatest(d.due, e.breaker_until) - clock_timestamp() as wait from delivery d
			where e.tenant_id = any($2) and d.endpoint_id = e.endpoint_id and d.state = 'pending' order by d.due, d.event_seq limit 1) first on true
		where e.tenant_id = any($1) and e.status = 'enabled' order by e.endpoint_id`, t.taken, fresh).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var to target
			var wait, overlap, rest *time.Duration
			if err := rows.Scan(&to.id, &to.tenant, &to.url, &to.sealed, &to.types, &to.prefix, &to.fromSeq, &wait,
				&to.previous, &overlap, &to.pulse.epoch, &to.pulse.probe, &to.pulse.failingSince, &rest); err != nil {
				return err
			}
			if rest != nil {
				to.until = now.Add(*rest)
			}
			if overlap != nil {
				to.previousUntil = now.Add(*overlap)
			}
			if wait != nil {
				to.due, to.nextDue = *wait <= 0, now.Add(*wait)
			}
			t.targets[to.tenant] = append(t.targets[to.tenant], to)
		}
		return rows.Err()
	})
	batch.Queue(`select `+eventColumns+`, event.recorded_at
		from webhook_cursor c cross join lateral (
			select * from event e where e.tenant_id = c.tenant_id and e.seq > c.seq order by e.seq limit $2) event
		where c.tenant_id = any($1)`, t.taken, fanOutBatch).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var r recorded
			if err := rows.Scan(append(eventFields(&r.Event), &r.at)...); err != nil {
				return err
			}
			t.events[r.Tenant] = append(t.events[r.Tenant], r)
		}
		return rows.Err()
	})
	return t, tx.SendBatch(ctx, batch).Close()
}

// orderingKey names the line of an event at each endpoint: its connection's,
// else its channel's, else one of its own.
func orderingKey(e tenant.Event) string {
	switch {
	case e.ConnectionID != "":
		return "connection/" + e.ConnectionID
	case e.Channel != "":
		return "channel/" + e.Channel
	}
	return "event/" + e.ID
}

// columnsOfDeliveries are deliveries to be inserted, turned on their side.
type columnsOfDeliveries struct {
	tenants               []tenant.ID
	ids, endpoints        []string
	events, types, keys   []string
	seqs                  []int64
	at                    []time.Time
	first                 []bool // of its line, in this batch
	jobs                  []job  // the same
	updatedTenants        []tenant.ID
	updatedTo, updatedKey []string
	updatedSeq            []int64
}

// line is what is delivered in order: one key at one endpoint.
type line struct{ endpoint, key string }

// wanted pairs events with the endpoints that want them, in seq order.
func (t turn) wanted() (c columnsOfDeliveries) {
	begun := map[line]bool{}
	for _, id := range t.taken {
		for _, event := range t.events[id] {
			for _, to := range t.targets[id] {
				if !to.wants(event.Event) {
					continue
				}
				key := orderingKey(event.Event)
				j := job{id: "dlv_" + tenant.NewID(), endpoint: to.id, tenant: id, event: event.Event}
				c.tenants = append(c.tenants, id)
				c.ids = append(c.ids, j.id)
				c.endpoints = append(c.endpoints, to.id)
				c.events = append(c.events, event.ID)
				c.types = append(c.types, string(event.Type))
				c.keys = append(c.keys, key)
				c.seqs = append(c.seqs, event.Seq)
				c.at = append(c.at, event.at)
				c.first = append(c.first, !begun[line{to.id, key}])
				c.jobs = append(c.jobs, j)
				begun[line{to.id, key}] = true
				if event.Type == tenant.ConnectionUpdated {
					c.updatedTenants = append(c.updatedTenants, id)
					c.updatedTo = append(c.updatedTo, to.id)
					c.updatedKey = append(c.updatedKey, key)
					c.updatedSeq = append(c.updatedSeq, event.Seq)
				}
			}
		}
	}
	return c
}

// errGone says that rows which we had locked are not what they were.
var errGone = errors.New("a delivery that was made is not there")

// writeTurn inserts the deliveries and moves the cursors, in one round trip. Only the
// first unfinished delivery of a line is pending, the others wait until record lets
// them go. It returns the pending ones.
func (e *engine) writeTurn(ctx context.Context, tx pgx.Tx, t turn) (pending []job, err error) {
	c := t.wanted()
	batch := &pgx.Batch{}
	if len(c.ids) > 0 {
		batch.Queue(`
			insert into delivery (tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, ordering_key, due, state)
			select f.tenant, f.id, f.endpoint, f.event, f.seq, f.at, f.type, f.key, now(), case when f.first and not exists (
				select from delivery before where before.endpoint_id = f.endpoint and before.ordering_key = f.key) then 'pending' else 'waiting' end
			from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::text[], $8::text[], $9::boolean[])
				as f(tenant, id, endpoint, event, seq, at, type, key, first)
			returning delivery_id, state = 'pending', due`,
			c.tenants, c.ids, c.endpoints, c.events, c.seqs, c.at, c.types, c.keys, c.first).Query(func(rows pgx.Rows) error {
			var id string
			var first bool
			var due time.Time
			nr := 0
			_, err := pgx.ForEachRow(rows, []any{&id, &first, &due}, func() error {
				if c.ids[nr] != id {
					return errGone
				}
				if first {
					j := c.jobs[nr]
					j.due = due
					pending = append(pending, j)
				}
				nr++
				return nil
			})
			return err
		})
	}
	if len(c.updatedSeq) > 0 {
		// What waits in vain is replaced: the newer one says it all.
		batch.Queue(`
			delete from delivery d using unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as u(tenant, endpoint, key, seq)
			where d.tenant_id = u.tenant and d.endpoint_id = u.endpoint and d.ordering_key = u.key and d.event_seq < u.seq
				and d.state = 'waiting' and d.event_type = 'connection.updated'`,
			c.updatedTenants, c.updatedTo, c.updatedKey, c.updatedSeq)
	}
	// Who has no endpoint has missed nothing.
	last := make([]*int64, len(t.taken))
	for i, id := range t.taken {
		if n := len(t.events[id]); n > 0 && len(t.targets[id]) > 0 {
			last[i] = &t.events[id][n-1].Seq
		} else if len(t.targets[id]) > 0 {
			last[i] = new(int64(0))
		}
	}
	batch.Queue(`
		update webhook_cursor c set seq = greatest(c.seq, coalesce(f.seq, l.event_seq)), holder = $3, held_until = clock_timestamp() + $4::interval, next_due = null
		from unnest($1::text[], $2::bigint[]) as f(tenant, seq) join tenant_live l on l.tenant_id = f.tenant
		where c.tenant_id = f.tenant`, t.taken, last, e.name, holdTime)
	return pending, tx.SendBatch(ctx, batch).Close()
}
