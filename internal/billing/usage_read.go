package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// How usage is read: one statement, which sees one moment, so that what is being rolled
// up meanwhile is counted as one or the other. It brings
//   - the roll-ups of all slots that lie within one row of the answer, summed up;
//   - connections that are not rolled up to their end, for what is not;
//   - connections that touch a slot where rows meet, or the time asked for begins or ends,
//     for their part of that slot.

// The kinds of rows that it brings.
const (
	readThrough = iota
	readSlot
	readSegment
)

// readUsageSQL has what slots are summed up by twice: as columns and to group by.
const readUsageSQL = `
	with live as materialized (
		select c.*, (select max(at) from connection_mark k where k.tenant_id = c.tenant_id and k.connection_id = c.connection_id) as rolled_through
		from live_connection l join connection c using (tenant_id, connection_id)
		where l.tenant_id = $1 and c.connected_at is not null and c.ended_at is null
	), segment as (
		select c.*, (select max(at) from connection_mark k where k.tenant_id = c.tenant_id and k.connection_id = c.connection_id) as rolled_through
		from connection c where tenant_id = $1 and rolled_at is null and ended_at is not null and connected_at is not null
			and connected_at < $3 and (ended_at >= $2 or connected_at >= $2)
		union all
		select * from live where connected_at < $3
		%s
	)
	select 0, least(clock_timestamp(), min(metered_through)), '', '', 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
		null::timestamptz, clock_timestamp(), clock_timestamp(), 0::bigint, 0::bigint, null::bigint, null::bigint, null::timestamptz[], null::bigint[], null::bigint[]
	from live
	union all
	select 1, %[2]s, ` + slotSums + `, null, clock_timestamp(), clock_timestamp(), 0::bigint, 0::bigint, null::bigint, null::bigint, null, null, null
	from usage_slot where tenant_id = $1 and slot >= $4 and slot < $5 and slot <> all($6)
		and ($7 = '' or channel_id = $7) and ($8 = '' or role = $8)
	group by %[3]s
	union all
	select 2, clock_timestamp(), c.channel_id, c.role, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
		least(greatest(case when c.rolled_at is null then c.rolled_through else $3 end, $2), $3), ` + meteredColumns + `
	from segment c ` + `%[4]s` + `
	where ($7 = '' or channel_id = $7) and ($8 = '' or role = $8)`

// edgeSegments are those whose end is rolled up and that touch an edge slot. The two
// halves are read by two indexes.
const edgeSegments = `
		union all
		select c.*, null::timestamptz from (
			select c.connection_id from unnest($6::timestamptz[]) as e (slot) join connection c
				on c.connected_at >= e.slot and c.connected_at < e.slot + interval '15 minutes'
			where c.tenant_id = $1 and c.rolled_at is not null
			union
			select c.connection_id from unnest($6::timestamptz[]) as e (slot) join connection c
				on c.connected_at < e.slot and c.ended_at >= e.slot
			where c.tenant_id = $1 and c.rolled_at is not null and c.connected_at is not null
		) touching join connection c using (connection_id)`

// readUsage reads the usage of q into rows, and until when it is known.
func (l *Ledger) readUsage(ctx context.Context, db querier, id tenant.ID, q UsageQuery, rows *usageRows) (through time.Time, err error) {
	rules, err := l.rules(ctx, db, id)
	if err != nil {
		return through, err
	}
	edges := edgeSlots(rows.cuts())
	columns, group := `slot, '', ''`, `slot`
	switch q.By {
	case ByChannel:
		columns, group = `min(slot), channel_id, ''`, `channel_id`
	case ByRole:
		columns, group = `min(slot), '', role`, `role`
	case "":
		columns, group = `$2::timestamptz, '', ''`, `()`
	}
	// Of what is not rolled up only the last mark matters, where no edge is asked for.
	touching, marks := "", `and k.at >= c.rolled_through`
	if len(edges) > 0 {
		touching, marks = edgeSegments, ""
	}
	first, end := q.From.Truncate(slotLength), q.To.Add(slotLength-1).Truncate(slotLength)
	found, err := db.Query(ctx, fmt.Sprintf(readUsageSQL, touching, columns, group, fmt.Sprintf(meteredMarks, marks)),
		id, q.From, q.To, first, end, edges, q.Channel, q.Role)
	if err != nil {
		return through, fmt.Errorf("couldn't read the usage of %s: %w", id, err)
	}
	var kind int
	var at time.Time
	var channel string
	var role tenant.Role
	var u rating.Usage
	var rolled *time.Time // until then it is rolled up, of the time asked for
	var s meteredScan
	targets := append([]any{&kind, &at, &channel, &role, &u.Connections, &u.Seconds, &u.Minutes, &u.BilledSeconds, &u.BytesIn, &u.BytesOut,
		&u.RecordingSeconds, &rolled}, s.columns()...)
	_, err = pgx.ForEachRow(found, targets, func() error {
		switch kind {
		case readThrough:
			through = at
		case readSlot:
			rows.addSlot(at, channel, role, u)
		case readSegment:
			m := s.metered(rules)
			until := *rolled
			rows.addPart(channel, role, m, until, q.To)
			for _, edge := range edges {
				rows.addPart(channel, role, m, later(edge, q.From), earlier(edge.Add(slotLength), until))
			}
		}
		return nil
	})
	if err != nil {
		return through, fmt.Errorf("couldn't read the usage of %s: %w", id, err)
	}
	return through, nil
}

// edgeSlots returns the slots that begin before a cut and end after it.
func edgeSlots(cuts []time.Time) []time.Time {
	edges := []time.Time{}
	for _, cut := range cuts {
		slot := cut.UTC().Truncate(slotLength)
		if !slot.Equal(cut) && (len(edges) == 0 || edges[len(edges)-1].Before(slot)) {
			edges = append(edges, slot)
		}
	}
	return edges
}
