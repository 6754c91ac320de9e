package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Roll-ups: the rows of usage_slot say what was used in each quarter of an hour. Each
// second of each connection is rolled up exactly once, when it is final: what a live
// connection has been metered through, up to the last quarter, and the rest when it has
// ended. Until then pages read it from the connection.
//
// A roll reads live connections and changes none of them, so that no beat and no close
// waits for one: how far it has come with one stands in connection_mark. It holds the
// tenant's billing_account row, which nobody who meters needs.

// slotLength is the length of a slot of usage. The days of every time zone begin on one.
const slotLength = 15 * time.Minute

// rollAtOnce is how many connections a statement rolls up, so that it needs little memory.
const rollAtOnce = 5_000

// LockBilling takes the tenant's billing_account row in tx, which must be a READ
// COMMITTED one of the platform's own role, and returns a moment on the database's clock
// that is later than all that it returned of this tenant before, also where the clock
// was set back. What is rolled up from now on is recorded at that moment or later. Called
// again in the same transaction, it returns a later one.
//
// It comes before any other lock of the transaction.
func (l *Ledger) LockBilling(ctx context.Context, tx pgx.Tx, id tenant.ID) (now time.Time, err error) {
	return lockBilling(ctx, tx, id)
}

func lockBilling(ctx context.Context, tx pgx.Tx, id tenant.ID) (now time.Time, err error) {
	err = tx.QueryRow(ctx, `
		insert into billing_account as a (tenant_id, recorded_at) values ($1, clock_timestamp())
		on conflict (tenant_id) do update set recorded_at = greatest(clock_timestamp(), a.recorded_at + interval '1 microsecond')
		returning recorded_at`, id).Scan(&now)
	if violates(err, "billing_account_tenant_id_fkey") {
		return now, fmt.Errorf("tenant %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return now, fmt.Errorf("couldn't lock the billing of tenant %s: %w", id, err)
	}
	return now, nil
}

// Roll rolls up all of the tenant's use that is final and has not been, recorded at now,
// which LockBilling returned in tx.
func (l *Ledger) Roll(ctx context.Context, tx pgx.Tx, id tenant.ID, now time.Time) error {
	for {
		more, err := l.roll(ctx, tx, id, now)
		if err != nil || !more {
			return err
		}
	}
}

// RollUp is Roll in transactions of its own, a part at a time. Who needs everything
// rolled up in a transaction with more to do calls it before that, so that Roll finds
// little.
func (l *Ledger) RollUp(ctx context.Context, id tenant.ID) error {
	for more := true; more; {
		err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
			now, err := l.LockBilling(ctx, tx, id)
			if err != nil {
				return err
			}
			more, err = l.roll(ctx, tx, id, now)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// roll rolls up some. It returns true if there may be more.
func (l *Ledger) roll(ctx context.Context, tx pgx.Tx, id tenant.ID, now time.Time) (more bool, err error) {
	rules, err := l.rules(ctx, tx, id)
	if err != nil {
		return false, err
	}
	for _, sql := range []string{rollLive, rollEnded} {
		var n int
		err := tx.QueryRow(ctx, sql, id, now, rollAtOnce, rules.from, rules.increments, rules.minimums).Scan(&n)
		if err != nil {
			return false, fmt.Errorf("couldn't roll up the usage of tenant %s: %w", id, err)
		}
		more = more || n == rollAtOnce
	}
	return more, nil
}

// What both statements make of a connection's part from since ≤ t < until, which is
// all there is of it if it has ended: its share of each slot, as Minutes, Seconds,
// rating.Rule and byteLine have it. All times are microseconds since 1970.
const (
	rollRule = `
		join lateral (
			select * from unnest($4::timestamptz[], $5::bigint[], $6::bigint[]) as r (from_time, increment_s, minimum_s)
			where r.from_time <= c.connected_at order by r.from_time desc limit 1
		) rule on true`
	rollParts = `
	part as (
		select d.*, s as slot, s + 900000000 as slot_end,
			least(s + 900000000, until) - connected as length, greatest(s - connected, 0) as before,
			ceil(minimum_s::numeric / increment_s)::bigint as least_increments
		from due d cross join lateral generate_series(since / 900000000 * 900000000,
			greatest(until - 1, since / 900000000 * 900000000), 900000000) as s
	), share as (
		select slot, channel_id, role,
			case when slot <= connected then 1 else 0 end as connections,
			length / 1000000 - before / 1000000 as seconds,
			greatest(1, (length + 59999999) / 60000000)
				- case when slot <= connected then 0 else greatest(1, (before + 59999999) / 60000000) end as minutes,
			increment_s * (greatest(1, least_increments, (length + increment_s * 1000000 - 1) / (increment_s * 1000000))
				- case when slot <= connected then 0
					else greatest(1, least_increments, (before + increment_s * 1000000 - 1) / (increment_s * 1000000)) end) as billed_seconds,
			case when slot <= since and until <= slot_end then to_in - from_in
				else div((to_in - from_in)::numeric * (least(slot_end, until) - since), until - since)
					- div((to_in - from_in)::numeric * (greatest(slot, since) - since), until - since) end as bytes_in,
			case when slot <= since and until <= slot_end then to_out - from_out
				else div((to_out - from_out)::numeric * (least(slot_end, until) - since), until - since)
					- div((to_out - from_out)::numeric * (greatest(slot, since) - since), until - since) end as bytes_out
		from part
	), recorded as (
		insert into usage_slot (tenant_id, slot, channel_id, role, recorded_at, connections, seconds, minutes, billed_seconds, bytes_in, bytes_out)
		select $1, 'epoch'::timestamptz + slot * interval '1 microsecond', channel_id, role, $2,
			sum(connections), sum(seconds), sum(minutes), sum(billed_seconds), sum(bytes_in), sum(bytes_out)
		from share group by slot, channel_id, role
		having sum(connections) + sum(seconds) + sum(minutes) + sum(billed_seconds) + sum(bytes_in) + sum(bytes_out) > 0
	)`
	// A mark stands on the line from the one before to what was metered.
	rollLive = `
	with due as materialized (
		select connection_id, channel_id, role, increment_s, minimum_s, connected, since, until, from_in, from_out,
			from_in + div((metered_in - from_in)::numeric * (until - since), metered - since)::bigint as to_in,
			from_out + div((metered_out - from_out)::numeric * (until - since), metered - since)::bigint as to_out
		from (
			select c.connection_id, c.channel_id, c.role,
				coalesce(m.increment_s, rule.increment_s) as increment_s, coalesce(m.minimum_s, rule.minimum_s) as minimum_s,
				(extract(epoch from c.connected_at) * 1000000)::bigint as connected,
				(extract(epoch from coalesce(m.at, c.connected_at)) * 1000000)::bigint as since,
				(extract(epoch from date_bin('15 minutes', c.metered_through, 'epoch')) * 1000000)::bigint as until,
				(extract(epoch from c.metered_through) * 1000000)::bigint as metered,
				coalesce(m.bytes_in, 0) as from_in, c.bytes_in as metered_in,
				coalesce(m.bytes_out, 0) as from_out, c.bytes_out as metered_out
			from live_connection l join connection c using (tenant_id, connection_id)
			left join lateral (
				select * from connection_mark m where m.tenant_id = c.tenant_id and m.connection_id = c.connection_id
				order by m.at desc limit 1
			) m on true ` + rollRule + `
			where l.tenant_id = $1 and c.connected_at is not null and c.ended_at is null
				and date_bin('15 minutes', c.metered_through, 'epoch') > coalesce(m.at, c.connected_at)
			limit $3
		) live
	), ` + rollParts + `, marked as (
		insert into connection_mark (tenant_id, connection_id, at, recorded_at, bytes_in, bytes_out, increment_s, minimum_s)
		select $1, connection_id, 'epoch'::timestamptz + until * interval '1 microsecond', $2, to_in, to_out, increment_s, minimum_s from due
	)
	select count(*) from due`
	rollEnded = `
	with due as materialized (
		select c.connection_id, c.channel_id, c.role,
			coalesce(m.increment_s, rule.increment_s) as increment_s, coalesce(m.minimum_s, rule.minimum_s) as minimum_s,
			(extract(epoch from c.connected_at) * 1000000)::bigint as connected,
			(extract(epoch from coalesce(m.at, c.connected_at)) * 1000000)::bigint as since,
			(extract(epoch from c.ended_at) * 1000000)::bigint as until,
			coalesce(m.bytes_in, 0) as from_in, c.bytes_in as to_in,
			coalesce(m.bytes_out, 0) as from_out, c.bytes_out as to_out
		from (
			select * from connection c where tenant_id = $1 and rolled_at is null and ended_at is not null and connected_at is not null
			order by ended_at limit $3
		) c
		left join lateral (
			select * from connection_mark m where m.tenant_id = c.tenant_id and m.connection_id = c.connection_id
			order by m.at desc limit 1
		) m on true ` + rollRule + `
	), ` + rollParts + `, rolled as (
		update connection c set rolled_at = $2, increment_s = due.increment_s, minimum_s = due.minimum_s
		from due where c.connection_id = due.connection_id
	)
	select count(*) from due`
)

// slotSums are the sums of usage_slot, in the order of rating.Usage's fields.
const slotSums = `coalesce(sum(connections), 0)::bigint, coalesce(sum(seconds), 0)::bigint, coalesce(sum(minutes), 0)::bigint,
	coalesce(sum(billed_seconds), 0)::bigint, coalesce(sum(bytes_in), 0)::bigint, coalesce(sum(bytes_out), 0)::bigint,
	coalesce(sum(recording_seconds), 0)::bigint`

// ErrSlotBounds is returned for a time that is not made of whole quarters of an hour.
var ErrSlotBounds = errors.New("usage is rolled up by whole quarters of an hour")

// Slots returns what is rolled up of the tenant's use in from ≤ t < to, both on quarters
// of an hour, as far as it was recorded in recordedFrom ≤ t < recordedBefore; a zero
// bound is none. With the billing row locked, a sum of what was recorded before a
// moment that LockBilling returned is the same forever.
func (l *Ledger) Slots(ctx context.Context, tx pgx.Tx, id tenant.ID, from, to, recordedFrom, recordedBefore time.Time) (u rating.Usage, err error) {
	if !onSlot(from) || !onSlot(to) {
		return u, fmt.Errorf("%w: not from %v to %v", ErrSlotBounds, from, to)
	}
	err = tx.QueryRow(ctx, `
		select `+slotSums+` from usage_slot where tenant_id = $1 and slot >= $2 and slot < $3
			and ($4::timestamptz is null or recorded_at >= $4) and ($5::timestamptz is null or recorded_at < $5)`,
		id, from, to, timeOrNull(recordedFrom), timeOrNull(recordedBefore)).
		Scan(&u.Connections, &u.Seconds, &u.Minutes, &u.BilledSeconds, &u.BytesIn, &u.BytesOut, &u.RecordingSeconds)
	if err != nil {
		return u, fmt.Errorf("couldn't sum up the usage of tenant %s: %w", id, err)
	}
	return u, nil
}

// onSlot reports whether a slot begins at t.
func onSlot(t time.Time) bool { return t.Equal(t.Truncate(slotLength)) }
