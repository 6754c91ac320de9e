package main

import (
	"context"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// drainedLedger is the books of a node that may be drained: then it starts no
// channel, but lets clients into those that it has.
type drainedLedger struct {
	signaling.Ledger
	node *cluster.Node
}

// Open takes a place, unless the client has to go to another node for it.
func (l drainedLedger) Open(ctx context.Context, o tenant.Opening) (tenant.Opened, error) {
	if err := l.turn(ctx, o); err != nil {
		return tenant.Opened{}, err
	}
	return l.Ledger.Open(ctx, o)
}

// Look looks at a channel, unless the client has to go to another node for it.
func (l drainedLedger) Look(ctx context.Context, o tenant.Opening) (tenant.Counts, error) {
	if err := l.turn(ctx, o); err != nil {
		return tenant.Counts{}, err
	}
	return l.Ledger.Look(ctx, o)
}

// turn sends a client away from a draining node. With the database away the books
// decide: they start no channels then, either.
func (l drainedLedger) turn(ctx context.Context, o tenant.Opening) error {
	err := l.node.Turn(ctx, o.Tenant, o.Channel)
	if tenant.DatabaseAway(err) {
		return nil
	}
	return err
}
