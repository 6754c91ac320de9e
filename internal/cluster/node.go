// Package cluster knows which processes are up: each run of the platform is a
// node with a lease on the database's clock. Whoever stops renewing is found
// by the others, and what it left open is ended for it.
package cluster

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

// ErrNotFound is returned for a connection that does not exist or is another
// tenant's.
var ErrNotFound = tenant.ErrNotFound

// Reaper ends what a dead node left open. It must be safe to call again, and
// from several nodes at once.
type Reaper interface {
	EndNode(ctx context.Context, nodeID string) (ended int, err error)
}

// Config is what a Node needs to know. Zero durations mean the usual ones.
type Config struct {
	Name      string // for people, such as the host's name
	Instance  string // the data folder: at most one living process has it
	Reaper    Reaper
	Log       *slog.Logger
	Lease     time.Duration // 30 s
	Heartbeat time.Duration // 5 s
	Poll      time.Duration // 500 ms, how often commands of other nodes are looked for
}

// Node is one run of the platform.
type Node struct{}

// Start registers a new node.
func Start(ctx context.Context, pool *pgxpool.Pool, c Config) (*Node, error) {
	return nil, errors.ErrUnsupported
}

// ID returns the node's id, new with every start.
func (n *Node) ID() string { return "" }

// Run renews the lease, reaps dead nodes and obeys commands until ctx ends or
// the node is lost.
func (n *Node) Run(ctx context.Context) {}

// Live reports whether the node may admit.
func (n *Node) Live() bool { return false }

// Lost is closed when the node found that the others ended it.
func (n *Node) Lost() <-chan struct{} { return nil }

// HandleDisconnect sets what disconnects a connection of this process.
func (n *Node) HandleDisconnect(f func(id tenant.ID, connectionID, reason string) bool) {}

// Disconnect ends one connection of the scope's tenant, wherever it is.
func (n *Node) Disconnect(ctx context.Context, scope tenant.Scope, connectionID, reason string) error {
	return errors.ErrUnsupported
}

// DisconnectChannel ends all connections of a channel.
func (n *Node) DisconnectChannel(ctx context.Context, scope tenant.Scope, channel, reason string) (int, error) {
	return 0, errors.ErrUnsupported
}

// Stop ends the node.
func (n *Node) Stop(ctx context.Context) error { return errors.ErrUnsupported }
