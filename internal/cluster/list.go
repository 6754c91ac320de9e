package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// listed is how many nodes List returns: every restart adds one.
const listed = 100

// Info is one node, running or ended, as operators see it.
type Info struct {
	ID          string     `json:"node_id"`
	Name        string     `json:"name"`
	State       string     `json:"state"` // up, draining, stopped or lost
	StartedAt   time.Time  `json:"started_at"`
	LeaseUntil  time.Time  `json:"lease_until"`
	EndedAt     *time.Time `json:"ended_at"` // nil: it runs
	Connections int        `json:"connections"`
	PublicURL   string     `json:"public_url"` // where its channels' clients are sent
}

// List returns the nodes that were started last, newest first, at most 100. It
// is the operator's: it needs no node and no scope.
func List(ctx context.Context, pool *pgxpool.Pool) ([]Info, error) {
	rows, err := pool.Query(ctx, `
		select node_id, name, state, started_at, lease_until, ended_at,
		       (select count(*) from live_connection l where l.node_id = n.node_id)::int,
		       public_url
		from node n order by started_at desc limit $1`, listed)
	if err != nil {
		return nil, fmt.Errorf("couldn't list the nodes: %w", err)
	}
	nodes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Info])
	if err != nil {
		return nil, fmt.Errorf("couldn't list the nodes: %w", err)
	}
	return nodes, nil
}
