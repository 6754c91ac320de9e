package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How a connection is ended from anywhere: here, if this process has it;
// otherwise by a command, a row that its node finds by itself. So Disconnect
// answers when the connection has been told or certainly will be.

// commandsAtOnce bounds how many commands one look takes.
const commandsAtOnce = 1000

// HandleDisconnect sets what ends a connection of this process: f returns
// false if it has no such connection. f is called from any goroutine and must
// not block. Set it before Run.
func (n *Node) HandleDisconnect(f func(id tenant.ID, connectionID, reason string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disconnect = f
}

// disconnectHere ends the connection if this process has it.
func (n *Node) disconnectHere(id tenant.ID, connectionID, reason string) bool {
	n.mu.Lock()
	f := n.disconnect
	n.mu.Unlock()
	return f != nil && f(id, connectionID, reason)
}

// Disconnect ends one connection of the scope's tenant, wherever it is, with
// one of the tenant.End reasons. It returns when the connection has been told
// or the command to its node is durable; nil also for one that has ended.
// ErrNotFound is returned for an unknown connection and for another tenant's.
func (n *Node) Disconnect(ctx context.Context, scope tenant.Scope, connectionID, reason string) error {
	if scope.Tenant() == "" {
		return tenant.ErrScope
	}
	if n.disconnectHere(scope.Tenant(), connectionID, reason) {
		return nil // also while the database is away
	}
	// Elsewhere, or here and for a moment in the ledger only, while it is being
	// set up: a command finds it then.
	// One that its node entered anew (billing.Book) goes on under another id.
	var live *string
	err := scope.In(n.pool).QueryRow(ctx, `
		with recursive same as (
			select connection_id from connection where tenant_id = $1 and connection_id = $2
			union all
			select c.connection_id from connection c join same on c.previous_connection_id = same.connection_id where c.tenant_id = $1
		)
		select (select l.connection_id from live_connection l join same using (connection_id) where l.tenant_id = $1 limit 1)
		from same limit 1`,
		scope.Tenant(), connectionID).Scan(&live)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("couldn't find connection %s: %w", connectionID, err)
	}
	if live == nil {
		return nil
	}
	return n.command(ctx, scope, []string{*live}, reason)
}

// DisconnectChannel ends all live connections of one of the tenant's channels
// and returns how many have been told or will be.
func (n *Node) DisconnectChannel(ctx context.Context, scope tenant.Scope, channel, reason string) (int, error) {
	if scope.Tenant() == "" {
		return 0, tenant.ErrScope
	}
	rows, err := scope.In(n.pool).Query(ctx, `
		select connection_id from live_connection where tenant_id = $1 and channel_id = $2 order by connection_id`,
		scope.Tenant(), channel)
	if err != nil {
		return 0, fmt.Errorf("couldn't list channel %q: %w", channel, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, fmt.Errorf("couldn't list channel %q: %w", channel, err)
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
	if err := n.command(ctx, scope, elsewhere, reason); err != nil {
		return len(ids) - len(elsewhere), err
	}
	return len(ids), nil
}

// command writes the commands that end the connections, for the nodes that
// have them. One open command per connection is enough.
func (n *Node) command(ctx context.Context, scope tenant.Scope, connectionIDs []string, reason string) error {
	if _, err := scope.In(n.pool).Exec(ctx, `
		insert into node_command (node_id, tenant_id, action, connection_id, reason)
		select l.node_id, l.tenant_id, 'disconnect', l.connection_id, $3 from live_connection l
		where l.tenant_id = $1 and l.connection_id = any($2) and not exists (
			select from node_command c
			where c.node_id = l.node_id and c.connection_id = l.connection_id and c.done_at is null)`,
		scope.Tenant(), connectionIDs, reason); err != nil {
		return fmt.Errorf("couldn't command the disconnect: %w", err)
	}
	select {
	case n.wake <- struct{}{}: // it may be for this node
	default:
	}
	return nil
}

// obey does the commands to this node. A command whose connection is not here
// stays open as long as the connection is live: it may be about to be.
func (n *Node) obey(ctx context.Context) error {
	node := n.ID()
	rows, err := n.pool.Query(ctx, `
		select command_id, tenant_id, connection_id, reason from node_command
		where node_id = $1 and done_at is null order by command_id limit $2`, node, commandsAtOnce)
	if err != nil {
		return fmt.Errorf("couldn't look for commands: %w", err)
	}
	type command struct {
		ID                   int64
		Tenant               tenant.ID
		ConnectionID, Reason string
	}
	commands, err := pgx.CollectRows(rows, pgx.RowToStructByPos[command])
	if err != nil {
		return fmt.Errorf("couldn't look for commands: %w", err)
	}
	if len(commands) == 0 {
		return nil
	}
	var done []int64
	for _, c := range commands {
		if n.disconnectHere(c.Tenant, c.ConnectionID, c.Reason) {
			done = append(done, c.ID)
		}
	}
	if _, err := n.pool.Exec(ctx, `
		update node_command c set done_at = clock_timestamp()
		where node_id = $1 and done_at is null and (command_id = any($2)
			or not exists (select from live_connection l where l.tenant_id = c.tenant_id and l.connection_id = c.connection_id))`,
		node, done); err != nil {
		return fmt.Errorf("couldn't note the commands as done: %w", err)
	}
	return nil
}

// forgetCommands deletes commands that were done a day ago.
func (n *Node) forgetCommands(ctx context.Context) error {
	if _, err := n.pool.Exec(ctx, `
		delete from node_command where done_at < clock_timestamp() - interval '1 day'`); err != nil {
		return fmt.Errorf("couldn't forget old commands: %w", err)
	}
	return nil
}
