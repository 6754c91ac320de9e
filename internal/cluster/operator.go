package cluster

import (
	"context"

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
