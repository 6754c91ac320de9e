package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Connected records that the connection's media connected ago before now, and
// writes connection.created with that time. A second call does nothing, nor
// does one for a connection that has ended. ErrNotFound is returned for a
// connection that was never opened.
func (l *Ledger) Connected(ctx context.Context, connectionID string, ago time.Duration) error {
	s := &start{connectionID: connectionID, asked: time.Now(), ago: ago}
	id, err := l.tenantOf(ctx, connectionID)
	if err == nil {
		err = l.starts.take(ctx, id, s)
	}
	if err != nil {
		return fmt.Errorf("couldn't record that %s connected: %w", connectionID, err)
	}
	return nil
}

// start is a Connected under way.
type start struct {
	connectionID string
	asked        time.Time
	ago          time.Duration // before asked
}

// connectAlone is connect for one.
func (l *Ledger) connectAlone(ctx context.Context, id tenant.ID, s *start) error {
	return l.connect(ctx, id, []*start{s})
}

// connect records that connections of one tenant have connected, in one
// transaction. Those that have ended, or were recorded before, are passed over.
func (l *Ledger) connect(ctx context.Context, id tenant.ID, starts []*start) error {
	wrote := false
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) (err error) {
		wrote, err = l.connectIn(ctx, tx, id, starts)
		return err
	})
	if err == nil && wrote {
		l.changed(id)
	}
	return err
}

// connectIn is connect in the caller's transaction. It reports whether there was
// anything to record.
func (l *Ledger) connectIn(ctx context.Context, tx pgx.Tx, id tenant.ID, starts []*start) (wrote bool, err error) {
	now, live, err := lockStarts(ctx, tx, id, starts)
	if err != nil {
		return false, err
	}
	byID := make(map[string]*start, len(starts))
	for _, s := range starts {
		if byID[s.connectionID] == nil { // the first counts
			byID[s.connectionID] = s
		}
	}
	var fresh []*segment
	for _, c := range live {
		if c.connectedAt == nil {
			s := byID[c.id]
			c.connect(since(now, s.asked, s.ago), s.ago)
			fresh = append(fresh, c)
		}
	}
	if len(fresh) == 0 {
		return false, nil
	}
	counts, err := writeStarts(ctx, tx, id, fresh)
	if err != nil {
		return false, err
	}
	events := make([]tenant.Event, len(fresh))
	for i, c := range fresh {
		if events[i], err = connectionEvent(c, tenant.ConnectionCreated, *c.connectedAt, c.data(counts[c.channel])); err != nil {
			return false, err
		}
	}
	return true, l.outbox(ctx, tx, events...)
}

// lockStarts locks the tenant's row and then those of the connections that are
// live, and reads them and the database's time: two statements, so that the
// tenant's row is surely locked before any connection, in one round trip.
func lockStarts(ctx context.Context, tx pgx.Tx, id tenant.ID, starts []*start) (now time.Time, live []*segment, err error) {
	ids := make([]string, len(starts))
	for i, s := range starts {
		ids[i] = s.connectionID
	}
	batch := &pgx.Batch{}
	batch.Queue(lockTenantRow, id)
	batch.Queue(lockLiveRows, id, ids)
	results := tx.SendBatch(ctx, batch)
	defer results.Close() // a failure has shown by then
	if now, err = scanLock(results.QueryRow(), id); err != nil {
		return now, nil, err
	}
	rows, err := results.Query()
	if err != nil {
		return now, nil, fmt.Errorf("couldn't lock the connections: %w", err)
	}
	if live, err = pgx.CollectRows(rows, scanSegment); err != nil {
		return now, nil, fmt.Errorf("couldn't lock the connections: %w", err)
	}
	return now, live, results.Close()
}

// writeStarts writes when the segments, which the transaction has locked,
// connected, and reads how many connections their channels have.
func writeStarts(ctx context.Context, tx pgx.Tx, id tenant.ID, live []*segment) (map[string]tenant.Counts, error) {
	n := len(live)
	ids, channels := make([]string, n), make([]string, n)
	connected, metered := make([]*time.Time, n), make([]*time.Time, n)
	for i, c := range live {
		ids[i], channels[i], connected[i], metered[i] = c.id, c.channel, c.connectedAt, c.meteredThrough
	}
	batch := &pgx.Batch{}
	batch.Queue(`
		update connection c set connected_at = s.connected_at, metered_through = s.metered_through
		from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as s (connection_id, connected_at, metered_through)
		where c.connection_id = s.connection_id`, ids, connected, metered)
	batch.Queue(`
		select channel_id, connections, sendrecv, sendonly, recvonly from channel_live
		where tenant_id = $1 and channel_id = any($2)`, id, channels)
	results := tx.SendBatch(ctx, batch)
	defer results.Close() // a failure has shown by then
	if _, err := results.Exec(); err != nil {
		return nil, fmt.Errorf("couldn't write the connections: %w", err)
	}
	rows, err := results.Query()
	if err != nil {
		return nil, fmt.Errorf("couldn't count the channels: %w", err)
	}
	counts := map[string]tenant.Counts{}
	var name string
	var c tenant.Counts
	if _, err := pgx.ForEachRow(rows, []any{&name, &c.Connections, &c.SendRecv, &c.SendOnly, &c.RecvOnly}, func() error {
		counts[name] = c
		return nil
	}); err != nil {
		return nil, fmt.Errorf("couldn't count the channels: %w", err)
	}
	return counts, results.Close()
}

// tenantOf returns whose connection it is. A connection never changes hands,
// so this needs no lock, and no question about those that this process opened.
func (l *Ledger) tenantOf(ctx context.Context, connectionID string) (id tenant.ID, err error) {
	if id, ok := l.remembered(connectionID); ok {
		return id, nil
	}
	err = l.pool.QueryRow(ctx, `select tenant_id from connection where connection_id = $1`, connectionID).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("connection %s: %w", connectionID, ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("couldn't find connection %s: %w", connectionID, err)
	}
	return id, nil
}

// lockLiveRows locks those of a tenant's connections that are live, by id, and
// reads them. The tenant's row is locked already, so none can come or go.
const lockLiveRows = `
	select ` + segmentColumns + `
	from live_connection l join connection c using (tenant_id, connection_id)
	where l.tenant_id = $1 and l.connection_id = any($2)
	order by c.connection_id for no key update of c`

// lockLive makes that one statement.
func lockLive(ctx context.Context, tx pgx.Tx, id tenant.ID, connectionIDs []string) ([]*segment, error) {
	rows, err := tx.Query(ctx, lockLiveRows, id, connectionIDs)
	if err != nil {
		return nil, fmt.Errorf("couldn't lock the connections: %w", err)
	}
	live, err := pgx.CollectRows(rows, scanSegment)
	if err != nil {
		return nil, fmt.Errorf("couldn't lock the connections: %w", err)
	}
	return live, nil
}
