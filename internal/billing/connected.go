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
	asked := time.Now()
	id, err := l.tenantOf(ctx, connectionID)
	if err != nil {
		return err
	}
	wrote := false
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		now, err := lockTenant(ctx, tx, id)
		if err != nil {
			return err
		}
		live, err := lockLive(ctx, tx, id, []string{connectionID})
		if err != nil || len(live) == 0 || live[0].connectedAt != nil {
			return err
		}
		c := live[0]
		c.connect(since(now, asked, ago), ago)
		if _, err := tx.Exec(ctx, `
			update connection set connected_at = $2, metered_through = $3 where connection_id = $1`,
			c.id, c.connectedAt, c.meteredThrough); err != nil {
			return fmt.Errorf("couldn't write the connection: %w", err)
		}
		counts, err := channelCounts(ctx, tx, id, c.channel)
		if err != nil {
			return err
		}
		created, err := connectionEvent(c, tenant.ConnectionCreated, *c.connectedAt, c.data(counts))
		if err != nil {
			return err
		}
		wrote = true
		return l.outbox(ctx, tx, created)
	})
	if err != nil {
		return fmt.Errorf("couldn't record that %s connected: %w", connectionID, err)
	}
	if wrote {
		l.changed(id)
	}
	return nil
}

// tenantOf returns whose connection it is. A connection never changes hands,
// so this needs no lock.
func (l *Ledger) tenantOf(ctx context.Context, connectionID string) (id tenant.ID, err error) {
	err = l.pool.QueryRow(ctx, `select tenant_id from connection where connection_id = $1`, connectionID).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("connection %s: %w", connectionID, ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("couldn't find connection %s: %w", connectionID, err)
	}
	return id, nil
}

// lockLive locks those of the connections that are live, by id, and reads
// them. The tenant's row is locked already, so none can come or go.
func lockLive(ctx context.Context, tx pgx.Tx, id tenant.ID, connectionIDs []string) ([]*segment, error) {
	rows, err := tx.Query(ctx, `
		select `+segmentColumns+`
		from live_connection l join connection c using (tenant_id, connection_id)
		where l.tenant_id = $1 and l.connection_id = any($2)
		order by c.connection_id for no key update of c`, id, connectionIDs)
	if err != nil {
		return nil, fmt.Errorf("couldn't lock the connections: %w", err)
	}
	live, err := pgx.CollectRows(rows, scanSegment)
	if err != nil {
		return nil, fmt.Errorf("couldn't lock the connections: %w", err)
	}
	return live, nil
}
