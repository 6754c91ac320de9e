package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// maxMinutesTold bounds how many missed minutes of one connection a beat tells
// at once, after the database was away; the next beat tells the next ones.
const maxMinutesTold = 30

// Mark is how far one live connection has come.
type Mark struct {
	ConnectionID string
	// Connected is how long its media has been connected, on the node's
	// monotonic clock.
	Connected         time.Duration
	BytesIn, BytesOut int64 // media bytes from and to the client, since it connected
}

// Beat moves the node's live connections forward to their marks: what a
// connection has been metered through is proven and will be billed, whatever
// happens to the node. Nothing ever moves back, so a repeated, late or doubled
// beat is harmless, and marks of connections that are not live, not connected
// or another node's are passed over.
//
// Then connection.updated is written for each full minute that was reached,
// one transaction per tenant. A minute is told exactly once: should that fail,
// the next beat does it.
func (l *Ledger) Beat(ctx context.Context, nodeID string, marks []Mark) error {
	if len(marks) == 0 {
		return nil
	}
	touched, crossed, err := l.meter(ctx, nodeID, marks)
	if err != nil {
		return fmt.Errorf("couldn't meter the connections of node %s: %w", nodeID, err)
	}
	var failed error
	for _, id := range touched {
		if connectionIDs := crossed[id]; len(connectionIDs) > 0 {
			failed = errors.Join(failed, l.tellMinutes(ctx, id, connectionIDs))
		}
		l.changed(id)
	}
	return failed
}

// meter moves all marks in one statement. It returns the tenants whose
// connections were among them, sorted, and the connections that have a full
// minute that has not been told yet.
func (l *Ledger) meter(ctx context.Context, nodeID string, marks []Mark) (touched []tenant.ID, crossed map[tenant.ID][]string, err error) {
	n := len(marks)
	ids, connected := make([]string, n), make([]int64, n)
	in, out := make([]int64, n), make([]int64, n)
	for i, m := range marks {
		ids[i], connected[i], in[i], out[i] = m.ConnectionID, m.Connected.Microseconds(), m.BytesIn, m.BytesOut
	}
	rows, err := l.pool.Query(ctx, `
		with mark as (
			select connection_id, max(connected) * interval '1 microsecond' as connected, max(bytes_in) as bytes_in, max(bytes_out) as bytes_out
			from unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) as m (connection_id, connected, bytes_in, bytes_out)
			group by connection_id
		), live as (
			select c.connection_id, mark.connected, mark.bytes_in, mark.bytes_out
			from mark join live_connection l using (connection_id) join connection c using (tenant_id, connection_id)
			where l.node_id = $1 and c.connected_at is not null and c.ended_at is null
			order by c.connection_id for no key update of c
		)
		update connection c set
			metered_through = greatest(c.metered_through, c.connected_at + live.connected),
			bytes_in = greatest(c.bytes_in, live.bytes_in), bytes_out = greatest(c.bytes_out, live.bytes_out)
		from live where c.connection_id = live.connection_id
		returning c.tenant_id, c.connection_id,
			floor(extract(epoch from c.metered_through - c.connected_at) / 60) > c.minutes_told`,
		nodeID, ids, connected, in, out)
	if err != nil {
		return nil, nil, err
	}
	crossed = make(map[tenant.ID][]string)
	var id tenant.ID
	var connectionID string
	var untold bool
	_, err = pgx.ForEachRow(rows, []any{&id, &connectionID, &untold}, func() error {
		if _, seen := crossed[id]; !seen {
			crossed[id] = nil
			touched = append(touched, id)
		}
		if untold {
			crossed[id] = append(crossed[id], connectionID)
		}
		return nil
	})
	slices.Sort(touched)
	return touched, crossed, err
}

// tellMinutes writes the full minutes of one tenant's connections that have
// not been told, and that they have been. Connections that have ended in the
// meantime are passed over: their connection.destroyed told everything.
func (l *Ledger) tellMinutes(ctx context.Context, id tenant.ID, connectionIDs []string) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := lockTenant(ctx, tx, id); err != nil {
			return err
		}
		live, err := lockLive(ctx, tx, id, connectionIDs)
		if err != nil || len(live) == 0 {
			return err
		}
		channels, err := liveChannels(ctx, tx, id, live)
		if err != nil {
			return err
		}
		var events []tenant.Event
		ids, told := make([]string, len(live)), make([]int64, len(live))
		for i, c := range live {
			full := int64(c.meteredThrough.Sub(*c.connectedAt) / time.Minute)
			ids[i], told[i] = c.id, max(c.minutesTold, min(full, c.minutesTold+maxMinutesTold))
			for minute := c.minutesTold + 1; minute <= told[i]; minute++ {
				at := c.connectedAt.Add(time.Duration(minute) * time.Minute)
				e, err := connectionEvent(c, tenant.ConnectionUpdated, at,
					UpdatedData{ConnectionData: c.data(channels[c.channel].counts), Minutes: minute})
				if err != nil {
					return err
				}
				events = append(events, e)
			}
		}
		if len(events) == 0 {
			return nil
		}
		if _, err := tx.Exec(ctx, `
			update connection c set minutes_told = t.told
			from unnest($1::text[], $2::bigint[]) as t (connection_id, told)
			where c.connection_id = t.connection_id`, ids, told); err != nil {
			return fmt.Errorf("couldn't note the minutes: %w", err)
		}
		return l.outbox(ctx, tx, events...)
	})
	if err != nil {
		return fmt.Errorf("couldn't tell the minutes of tenant %s: %w", id, err)
	}
	return nil
}
