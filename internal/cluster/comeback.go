package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// A node that was taken for dead and is not: it was cut off from the database, or
// its process was stopped, for longer than its lease. Its connections have been
// ended in the ledger, or are about to be, so the dead incarnation stays dead; the
// process goes on as a new one.

// HandleReturn sets what is called after the node has begun a new incarnation,
// from the goroutine that renews the lease: f must not block. Set it before Run.
func (n *Node) HandleReturn(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.returned = f
}

// comeBack begins a new incarnation after the dead one has been ended in full. A
// data folder belongs to one process: if another node runs on it, this one has lost
// it, and ends for good. It is tried again at the next heartbeat if it fails.
func (n *Node) comeBack(ctx context.Context, dead string) error {
	n.mu.Lock()
	if !n.gone {
		n.gone = true
		n.log.Error("the node was taken for dead while it was out of the database's reach; it begins anew", "node", dead)
	}
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, n.conf.Lease)
	defer cancel()
	if err := n.endMarked(ctx, []string{dead}); err != nil {
		return err
	}
	if n.next == "" {
		n.next = "node_" + tenant.NewID()
	}
	begun := time.Now()
	tag, err := n.pool.Exec(ctx, `
		insert into node (node_id, name, instance, public_url, lease_until, state)
		select $1, $2, $3, $4, clock_timestamp() + $5::interval, case when $6 then 'draining' else 'up' end
		where not exists (select from node where instance = $3 and state in ('up', 'draining') and node_id <> $1)
		on conflict (node_id) do update set lease_until = excluded.lease_until where node.state in ('up', 'draining')`,
		n.next, n.conf.Name, n.conf.Instance, n.conf.PublicURL, n.conf.Lease, n.Draining())
	if err != nil {
		return fmt.Errorf("couldn't register the node anew: %w", err) // perhaps it was: the id is kept
	}
	if tag.RowsAffected() == 0 {
		return n.yield(ctx)
	}
	n.mu.Lock()
	n.past = append(n.past, dead)
	n.id, n.next = n.next, ""
	n.gone, n.renewed, n.steady = false, begun, begun
	returned := n.returned
	n.mu.Unlock()
	n.log.Warn("the node is back under a new id", "node", n.ID(), "before", dead)
	if returned != nil {
		returned()
	}
	return nil
}

// yield ends the node for good if another process has its data folder. If not, the
// incarnation that was being begun has been ended meanwhile, too; the next look
// begins another.
func (n *Node) yield(ctx context.Context) error {
	var taken bool
	err := n.pool.QueryRow(ctx, `
		select exists (select from node where instance = $1 and state in ('up', 'draining') and node_id <> $2)`,
		n.conf.Instance, n.next).Scan(&taken)
	n.next = ""
	if err != nil || !taken {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ended {
		n.ended = true
		close(n.lost)
		n.log.Error("another process runs on this node's data folder: this one has lost it, and must end")
	}
	return nil
}
