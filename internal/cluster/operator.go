package cluster

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Nodes is List for the operator's console.
func (n *Node) Nodes(ctx context.Context, by tenant.Authority) ([]Info, error) {
	if by.Actor() == "" {
		return nil, tenant.ErrScope
	}
	return List(ctx, n.pool)
}

// Drain is the package's Drain for the operator's console.
func (n *Node) Drain(ctx context.Context, by tenant.Authority, nodeID string, write Append) ([]tenant.ID, error) {
	return Drain(ctx, n.pool, by, nodeID, write)
}

// Undrain is the package's Undrain for the operator's console.
func (n *Node) Undrain(ctx context.Context, by tenant.Authority, nodeID string) error {
	return Undrain(ctx, n.pool, by, nodeID)
}

// DisconnectAll ends all live connections of the scope's tenant, on all nodes, and
// returns how many have been told or will be.
func (n *Node) DisconnectAll(ctx context.Context, scope tenant.Scope, reason string) (int, error) {
	rows, err := scope.In(n.pool).Query(ctx, `select connection_id from live_connection where tenant_id = $1 order by connection_id`, scope.Tenant())
	if err != nil {
		return 0, fmt.Errorf("couldn't list the connections of %s: %w", scope.Tenant(), err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, fmt.Errorf("couldn't list the connections of %s: %w", scope.Tenant(), err)
	}
	var elsewhere []string
	for _, id := range ids {
		if !n.disconnectHere(scope.Tenant(), id, reason) {
			elsewhere = append(elsewhere, id)
		}
	}
	if len(elsewhere) == 0 {
		return len(ids), nil
	}
	return len(ids), n.command(ctx, scope, elsewhere, reason)
}
