package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Close frees the connection's place, exactly once, and writes how it ended:
// connection.destroyed, or connection.rejected if its media never connected.
// The last one out of a channel ends it (channel.ended). A second call does
// nothing, nor does one after EndNode; ErrNotFound is returned for a
// connection that was never opened.
//
// A connection that e says has had media, but whose Connected could not be
// recorded, is recorded as connected first: a tenant always sees the pair, at
// the times when it happened.
func (l *Ledger) Close(ctx context.Context, connectionID string, e tenant.Ending) error {
	asked := time.Now()
	id, err := l.tenantOf(ctx, connectionID)
	if err != nil {
		return err
	}
	if err := l.ends.take(ctx, id, &end{connectionID, asked, e}); err != nil {
		return fmt.Errorf("couldn't close connection %s: %w", connectionID, err)
	}
	return nil
}

// end is a Close under way.
type end struct {
	connectionID string
	asked        time.Time // what Ago counts back from
	ending       tenant.Ending
}

// closeAll is close for turns.
func (l *Ledger) closeAll(ctx context.Context, id tenant.ID, ends []*end) error {
	_, err := l.close(ctx, id, ends)
	return err
}

// closeAlone is close for one.
func (l *Ledger) closeAlone(ctx context.Context, id tenant.ID, e *end) error {
	return l.closeAll(ctx, id, []*end{e})
}

// Abandon closes a connection whose Open gave no answer, if that took a place.
// Such an Open may still be committing, on a server whose disk stalls, when
// Close would find nothing yet; Abandon waits for it on the tenant's row, so
// that after it the connection has no place, now or later. ErrNotFound is
// returned for an unknown tenant.
func (l *Ledger) Abandon(ctx context.Context, o tenant.Opening, e tenant.Ending) error {
	if _, err := l.close(ctx, o.Tenant, []*end{{o.ConnectionID, time.Now(), e}}); err != nil {
		return fmt.Errorf("couldn't abandon connection %s: %w", o.ConnectionID, err)
	}
	return nil
}

// EndNode ends what a dead node left open, with the reason node_lost, and
// returns how many connections that were. Each is billed to its last proven
// second: what was metered, and nothing after. One transaction per tenant; it
// may be called again, and from several nodes at once. The node must have been
// marked as ended before, so that it cannot open more.
func (l *Ledger) EndNode(ctx context.Context, nodeID string) (int, error) {
	rows, err := l.pool.Query(ctx, `
		select tenant_id, array_agg(connection_id) from live_connection where node_id = $1
		group by tenant_id order by tenant_id`, nodeID)
	if err != nil {
		return 0, fmt.Errorf("couldn't list what node %s left: %w", nodeID, err)
	}
	type left struct {
		Tenant      tenant.ID
		Connections []string
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[left])
	if err != nil {
		return 0, fmt.Errorf("couldn't list what node %s left: %w", nodeID, err)
	}
	ended := 0
	for _, left := range all {
		ends := make([]*end, len(left.Connections))
		for i, connection := range left.Connections {
			ends[i] = &end{connection, time.Now(), tenant.Ending{Reason: tenant.EndNodeLost}}
		}
		n, err := l.close(ctx, left.Tenant, ends)
		ended += n
		if err != nil {
			return ended, fmt.Errorf("couldn't end what node %s left of tenant %s: %w", nodeID, left.Tenant, err)
		}
	}
	return ended, nil
}

// close ends those of one tenant's connections that are still live, in one
// transaction, and returns how many those were.
func (l *Ledger) close(ctx context.Context, id tenant.ID, ends []*end) (int, error) {
	var live []*segment
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) (err error) {
		live, err = l.closeIn(ctx, tx, id, ends)
		return err
	})
	if err != nil {
		return 0, err
	}
	ids := make([]string, len(ends))
	for i, e := range ends {
		ids[i] = e.connectionID
	}
	l.forget(ids)
	if len(live) > 0 {
		l.changed(id)
	}
	return len(live), nil
}

// closeIn is close in the caller's transaction. It returns those that it ended.
func (l *Ledger) closeIn(ctx context.Context, tx pgx.Tx, id tenant.ID, ends []*end) (live []*segment, err error) {
	ids, byID := make([]string, len(ends)), make(map[string]*end, len(ends))
	for i, e := range ends {
		ids[i] = e.connectionID
		if byID[e.connectionID] == nil { // the first counts
			byID[e.connectionID] = e
		}
	}
	now, err := lockTenant(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	live, err = lockLive(ctx, tx, id, ids)
	if err != nil || len(live) == 0 {
		return nil, err
	}
	if err := freePlaces(ctx, tx, id, live); err != nil {
		return nil, err
	}
	channels, err := liveChannels(ctx, tx, id, live)
	if err != nil {
		return nil, err
	}
	var events []tenant.Event
	at, reasons := make([]time.Time, len(live)), make([]string, len(live))
	for i, c := range live {
		e := byID[c.id]
		ending := e.ending
		ending.Reason = tenant.Printable(ending.Reason, maxText)
		reasons[i] = ending.Reason
		var about []tenant.Event
		about, at[i], err = endSegment(c, since(now, e.asked, ending.Ago), ending, channels[c.channel])
		if err != nil {
			return nil, err
		}
		events = append(events, about...)
	}
	if err := writeEnds(ctx, tx, live, at, reasons); err != nil {
		return nil, err
	}
	ended, err := leaveChannels(ctx, tx, id, channels)
	if err != nil {
		return nil, err
	}
	return live, l.outbox(ctx, tx, append(events, ended...)...)
}

// freePlaces deletes the places, which is what frees them, and counts them off.
func freePlaces(ctx context.Context, tx pgx.Tx, id tenant.ID, live []*segment) error {
	ids := make([]string, len(live))
	for i, c := range live {
		ids[i] = c.id
	}
	tag, err := tx.Exec(ctx, `delete from live_connection where tenant_id = $1 and connection_id = any($2)`, id, ids)
	if err != nil {
		return fmt.Errorf("couldn't free the places: %w", err)
	}
	if tag.RowsAffected() != int64(len(live)) {
		return fmt.Errorf("freed %d places of %d although tenant %s was locked", tag.RowsAffected(), len(live), id)
	}
	if _, err := tx.Exec(ctx, freePlacesRow, id, len(live)); err != nil {
		return fmt.Errorf("couldn't count off the places: %w", err)
	}
	return nil
}

// endSegment counts the connection off its channel and returns when it ended,
// by the node's clock at a time, and the events about that.
func endSegment(c *segment, at time.Time, e tenant.Ending, channel *liveChannel) ([]tenant.Event, time.Time, error) {
	var events []tenant.Event
	if c.connectedAt == nil && e.Duration > 0 { // its Connected was never recorded
		c.connect(at.Add(-e.Duration.Truncate(time.Microsecond)), e.Duration)
		created, err := connectionEvent(c, tenant.ConnectionCreated, *c.connectedAt, c.data(channel.counts))
		if err != nil {
			return nil, at, err
		}
		events = append(events, created)
	}
	if err := count(&channel.counts, c.role, -1); err != nil {
		return nil, at, err
	}
	ended := c.end(at, e)
	channel.leave(ended)
	c.bytesIn, c.bytesOut = max(c.bytesIn, e.BytesIn), max(c.bytesOut, e.BytesOut)
	if c.connectedAt == nil {
		rejected, err := connectionEvent(c, tenant.ConnectionRejected, ended,
			RejectedData{ConnectionData: c.data(channel.counts), Reason: e.Reason, APIReason: e.Said})
		return append(events, rejected), ended, err
	}
	duration := ended.Sub(*c.connectedAt)
	destroyed, err := connectionEvent(c, tenant.ConnectionDestroyed, ended, DestroyedData{
		ConnectionData: c.data(channel.counts), Reason: e.Reason,
		DurationSeconds: int64(duration / time.Second), Minutes: minutesOf(duration),
		BytesIn: c.bytesIn, BytesOut: c.bytesOut, APIReason: e.Said})
	return append(events, destroyed), ended, err
}

// writeEnds writes the ended segments, which the transaction has locked.
func writeEnds(ctx context.Context, tx session, live []*segment, ends []time.Time, reasons []string) error {
	n := len(live)
	ids, connected := make([]string, n), make([]*time.Time, n)
	in, out := make([]int64, n), make([]int64, n)
	for i, c := range live {
		ids[i], connected[i], in[i], out[i] = c.id, c.connectedAt, c.bytesIn, c.bytesOut
	}
	if _, err := tx.Exec(ctx, `
		update connection c set connected_at = e.connected_at, ended_at = e.ended_at, end_reason = e.reason,
			metered_through = case when e.connected_at is not null then e.ended_at end,
			bytes_in = e.bytes_in, bytes_out = e.bytes_out
		from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::text[])
			as e (connection_id, connected_at, ended_at, bytes_in, bytes_out, reason)
		where c.connection_id = e.connection_id`, ids, connected, ends, in, out, reasons); err != nil {
		return fmt.Errorf("couldn't write the ends: %w", err)
	}
	return nil
}
