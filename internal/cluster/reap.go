package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// How a dead node is ended: first it is marked, in a transaction of its own
// whose row lock (for update) excludes transactions that are taking a place on
// it, because their foreign key holds the row too (for key share). After that
// nobody can open anything on it, and the reaper ends what is there, without
// holding any lock of ours. A reaper that dies in between is no harm: marked
// nodes that still have places are looked for again.

// reap ends nodes whose lease ran out, and whatever ended nodes have left.
// Only a node that has renewed its own lease without a gap for some time does:
// when the database comes back after having been away for everybody, all
// leases have run out, and everybody must get the time to renew.
func (n *Node) reap(ctx context.Context) error {
	if !n.isSteady() {
		return nil
	}
	found, err := n.markExpired(ctx)
	if err != nil {
		return err
	}
	left, err := n.markedWithPlaces(ctx)
	if err != nil {
		return err
	}
	if err := n.endMarked(ctx, append(found, left...)); err != nil {
		return err
	}
	return n.forgetCommands(ctx)
}

// isSteady reports whether the node is live and has been for two heartbeats.
func (n *Node) isSteady() bool {
	live := n.Live()
	n.mu.Lock()
	defer n.mu.Unlock()
	return live && n.renewed.Sub(n.steady) >= 2*n.conf.Heartbeat
}

// markExpired marks the nodes whose lease ran out and returns their ids. A row
// that is locked belongs to a node that is being renewed, or to another reaper.
func (n *Node) markExpired(ctx context.Context) ([]string, error) {
	rows, err := n.pool.Query(ctx, `
		update node set state = 'lost', ended_at = clock_timestamp()
		where node_id in (
			select node_id from node
			where state in ('up', 'draining') and lease_until < clock_timestamp() and node_id <> $1
			order by node_id for update skip locked)
		returning node_id`, n.ID())
	if err != nil {
		return nil, fmt.Errorf("couldn't look for dead nodes: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("couldn't look for dead nodes: %w", err)
	}
	return ids, nil
}

// markEarlier marks the earlier nodes of the same instance and returns their
// ids. It waits for row locks: a transaction that the dead process left in the
// database ends by itself.
func (n *Node) markEarlier(ctx context.Context) ([]string, error) {
	rows, err := n.pool.Query(ctx, `
		update node set state = 'lost', ended_at = clock_timestamp()
		where node_id in (
			select node_id from node where instance = $1 and state in ('up', 'draining')
			order by node_id for update)
		returning node_id`, n.conf.Instance)
	if err != nil {
		return nil, fmt.Errorf("couldn't end the earlier nodes of this instance: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("couldn't end the earlier nodes of this instance: %w", err)
	}
	left, err := n.markedWithPlaces(ctx)
	return append(ids, left...), err
}

// markedWithPlaces returns ended nodes that still have places.
func (n *Node) markedWithPlaces(ctx context.Context) ([]string, error) {
	rows, err := n.pool.Query(ctx, `
		select distinct node_id from live_connection join node using (node_id) where state in ('stopped', 'lost')`)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for what dead nodes left: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("couldn't look for what dead nodes left: %w", err)
	}
	return ids, nil
}

// endMarked ends what marked nodes left open, and drops their commands. One
// node's trouble does not keep the next one waiting.
func (n *Node) endMarked(ctx context.Context, nodeIDs []string) error {
	var failed error
	for _, id := range nodeIDs {
		begun := time.Now()
		ended, err := n.conf.Reaper.EndNode(ctx, id)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("couldn't end what node %s left: %w", id, err))
			continue
		}
		if id != n.ID() || ended > 0 {
			n.log.Warn("ended what a node had left open", "ended_node", id, "connections", ended, "took", time.Since(begun))
		}
		if _, err := n.pool.Exec(ctx, `
			update node_command set done_at = clock_timestamp() where node_id = $1 and done_at is null`, id); err != nil {
			failed = errors.Join(failed, fmt.Errorf("couldn't drop the commands of node %s: %w", id, err))
		}
	}
	return failed
}
