package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How connections are ended, and other things done with them, from anywhere: here, if
// this process has them; otherwise by a command, a row that their node finds by itself
// (obey.go). So a disconnect is answered when the connection has been told or
// certainly will be, also when no wake-up arrives.

const (
	// orderLifetime is how long an order to another node is worth something. What is
	// older is dropped: nobody wants a push of yesterday.
	orderLifetime = 10 * time.Second
	// lookPatience is how long the database may take to say who else is meant.
	lookPatience = 3 * time.Second
	// commandsAtOnce bounds how many commands one look takes.
	commandsAtOnce = 1000
)

// Hands are what carries commands out in this process. Its methods may be called from
// any goroutine; none but Do may block, and Do not for long.
type Hands interface {
	// End ends a connection, and is false if the tenant has no such connection here.
	End(id tenant.ID, connectionID string, why tenant.Parting) bool
	// Here lists the tenant's connections here that are meant.
	Here(id tenant.ID, which tenant.Choice) []string
	// Do does what an order says. It is false if what that is about is not here. The
	// error is a *tenant.Refusal or tenant.ErrNotFound when it cannot be done.
	Do(ctx context.Context, id tenant.ID, o Order) (result any, here bool, err error)
}

// UseHands sets what carries commands out. Call it before Run.
func (n *Node) UseHands(h Hands) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hands = h
}

func (n *Node) ownHands() Hands {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hands
}

// endHere ends the connection if this process has it.
func (n *Node) endHere(id tenant.ID, connectionID string, why tenant.Parting) bool {
	h := n.ownHands()
	return h != nil && h.End(id, connectionID, why)
}

// Disconnect ends one connection of the scope's tenant, wherever it is. It returns
// when the connection has been told or the command to its node is durable; also for
// one that has ended. Whether its node has done it Sent.Wait tells. ErrNotFound is
// returned for an unknown connection and for another tenant's.
func (n *Node) Disconnect(ctx context.Context, scope tenant.Scope, connectionID string, why tenant.Parting) (*Sent, error) {
	if scope.Tenant() == "" {
		return nil, tenant.ErrScope
	}
	if n.endHere(scope.Tenant(), connectionID, why) {
		return nil, nil // also while the database is away
	}
	// Elsewhere, or here and for a moment in the ledger only, while it is being
	// set up: a command finds it then.
	live, err := n.find(ctx, scope, connectionID, "")
	if err != nil {
		return nil, err
	}
	if live == "" {
		return nil, nil
	}
	return n.command(ctx, scope, []string{live}, why)
}

// DisconnectHere ends those of the tenant's connections in this process that are
// meant, and of these only connectionID if that is not empty, and returns how many. It
// needs no database.
func (n *Node) DisconnectHere(scope tenant.Scope, connectionID string, which tenant.Choice, why tenant.Parting) (ended int) {
	h := n.ownHands()
	if h == nil || scope.Tenant() == "" {
		return 0
	}
	for _, id := range h.Here(scope.Tenant(), which) {
		if (connectionID == "" || id == connectionID) && h.End(scope.Tenant(), id, why) {
			ended++
		}
	}
	return ended
}

// find returns the id under which a connection is live, which is another one if its
// node entered it anew (billing.Book); "": it has ended. If channel is not empty, it
// must be in that. The error is ErrNotFound for one that there never was.
func (n *Node) find(ctx context.Context, scope tenant.Scope, connectionID, channel string) (string, error) {
	var live *string
	err := scope.In(n.pool).QueryRow(ctx, `
		with recursive same as (
			select connection_id from connection where tenant_id = $1 and connection_id = $2 and ($3 = '' or channel_id = $3)
			union all
			select c.connection_id from connection c join same on c.previous_connection_id = same.connection_id where c.tenant_id = $1
		)
		select (select l.connection_id from live_connection l join same using (connection_id) where l.tenant_id = $1 limit 1)
		from same limit 1`,
		scope.Tenant(), connectionID, channel).Scan(&live)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("couldn't find connection %s: %w", connectionID, err)
	}
	if live == nil {
		return "", nil
	}
	return *live, nil
}

// DisconnectAll ends all live connections of the tenant that are meant and returns how
// many have been told or will be. Those of this process are ended also while the
// database is away; a channel is on one node, so that these are mostly all.
func (n *Node) DisconnectAll(ctx context.Context, scope tenant.Scope, which tenant.Choice, why tenant.Parting) (int, *Sent, error) {
	id := scope.Tenant()
	if id == "" {
		return 0, nil, tenant.ErrScope
	}
	ended := map[string]bool{}
	if h := n.ownHands(); h != nil {
		for _, connection := range h.Here(id, which) {
			if h.End(id, connection, why) {
				ended[connection] = true
			}
		}
	}
	looking, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	live, err := n.chosen(looking, scope, which)
	if err != nil && len(ended) > 0 && tenant.DatabaseAway(err) {
		return len(ended), unconfirmed, nil
	}
	if err != nil {
		return len(ended), nil, err
	}
	var elsewhere []string
	for _, connection := range live {
		switch {
		case ended[connection]:
		case n.endHere(id, connection, why):
			ended[connection] = true
		default:
			elsewhere = append(elsewhere, connection)
		}
	}
	if len(elsewhere) == 0 {
		return len(ended), nil, nil
	}
	sent, err := n.command(ctx, scope, elsewhere, why)
	if err != nil {
		return len(ended), nil, err
	}
	return len(ended) + len(elsewhere), sent, nil
}

// chosen lists the tenant's live connections that are meant.
func (n *Node) chosen(ctx context.Context, scope tenant.Scope, which tenant.Choice) ([]string, error) {
	rows, err := scope.In(n.pool).Query(ctx, `
		select l.connection_id from live_connection l join connection c using (tenant_id, connection_id)
		where l.tenant_id = $1 and ($2 = '' or l.channel_id = $2) and ($3 = '' or c.session_id = $3)
			and ($4 = '' or c.client_id = $4) and ($5 = '' or l.role = $5)
		order by l.connection_id`,
		scope.Tenant(), which.Channel, which.SessionID, which.ClientID, which.Role)
	if err != nil {
		return nil, fmt.Errorf("couldn't list the connections: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("couldn't list the connections: %w", err)
	}
	return ids, nil
}

// command writes the commands that end the connections, for the nodes that have them.
// One open command per connection is enough.
func (n *Node) command(ctx context.Context, scope tenant.Scope, connectionIDs []string, why tenant.Parting) (*Sent, error) {
	rows, err := scope.In(n.pool).Query(ctx, `
		with wanted as (
			select node_id, connection_id, channel_id from live_connection where tenant_id = $1 and connection_id = any($2)
		), open as (
			select c.command_id, c.connection_id from node_command c join wanted using (node_id, connection_id)
			where c.tenant_id = $1 and c.action = 'disconnect' and c.done_at is null
		), new as (
			insert into node_command (node_id, tenant_id, action, connection_id, channel_id, reason, payload)
			select node_id, $1, 'disconnect', connection_id, channel_id, $3, $4::json from wanted
			where connection_id not in (select connection_id from open)
			returning command_id
		)
		select command_id from new union all select command_id from open`,
		scope.Tenant(), connectionIDs, why.Reason, textOrNull(why.Said))
	if err != nil {
		return nil, fmt.Errorf("couldn't command the disconnect: %w", err)
	}
	return n.sent(ctx, scope, rows)
}

// sent is what Query inserted.
func (n *Node) sent(ctx context.Context, scope tenant.Scope, rows pgx.Rows) (*Sent, error) {
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("couldn't write a command: %w", err)
	}
	select {
	case n.wake <- struct{}{}: // it may be for this node
	default:
	}
	if scope.In(n.pool).InWhole(ctx) {
		return unconfirmed, nil // nobody sees it before the request is over
	}
	return &Sent{node: n, ids: ids}, nil
}

// Do has an order carried out by the node that has the connection, or the nodes that
// have the channel. What came of it Sent.Wait tells. The error is ErrNotFound if there
// is none, or what a process that has it says: a *tenant.Refusal. An order is carried
// out at most once.
func (n *Node) Do(ctx context.Context, scope tenant.Scope, o Order) (*Sent, error) {
	id := scope.Tenant()
	if id == "" {
		return nil, tenant.ErrScope
	}
	whole := scope.In(n.pool).InWhole(ctx) // then it is done with what else the request does, or not at all
	if h := n.ownHands(); h != nil && !whole {
		result, here, err := h.Do(ctx, id, o)
		if here {
			return doneHere(result, err)
		}
	}
	if o.ConnectionID != "" {
		live, err := n.find(ctx, scope, o.ConnectionID, o.Channel)
		if err != nil {
			return nil, err
		}
		if o.ConnectionID = live; live == "" {
			return nil, ErrNotFound
		}
	}
	rows, err := scope.In(n.pool).Query(ctx, `
		insert into node_command (node_id, tenant_id, action, connection_id, channel_id, payload, expires_at)
		select node_id, $1, $2, $3, channel_id, $5::json, clock_timestamp() + $6::interval
		from live_connection where tenant_id = $1 and ($3 = '' or connection_id = $3) and ($4 = '' or channel_id = $4)
		group by node_id, channel_id
		returning command_id`,
		id, o.Action, o.ConnectionID, o.Channel, textOrNull(o.Body), orderLifetime)
	if err != nil {
		return nil, fmt.Errorf("couldn't order %s: %w", o.Action, err)
	}
	sent, err := n.sent(ctx, scope, rows)
	if err == nil && sent != unconfirmed && len(sent.ids) == 0 {
		return nil, ErrNotFound
	}
	return sent, err
}

// doneHere is what Do returns of what this process has done.
func doneHere(result any, err error) (*Sent, error) {
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("couldn't write what came of an order: %w", err)
	}
	return &Sent{results: []json.RawMessage{text}}, nil
}

// textOrNull is JSON as a parameter.
func textOrNull(text json.RawMessage) *string {
	if text == nil {
		return nil
	}
	return new(string(text))
}

// forgetCommands deletes what is of no use any more: orders soon after they have
// expired, and an hour old disconnects that are done or whose node has ended.
func (n *Node) forgetCommands(ctx context.Context) error {
	if _, err := n.pool.Exec(ctx, `
		delete from node_command c where c.expires_at < clock_timestamp() - interval '1 minute'
			or c.created_at < clock_timestamp() - interval '1 hour' and (c.done_at is not null or not exists (
				select from node n where n.node_id = c.node_id and n.state in ('up', 'draining')))`); err != nil {
		return fmt.Errorf("couldn't forget old commands: %w", err)
	}
	return nil
}

// Sent are commands to other nodes; nil: there was nothing to send, all is done.
type Sent struct {
	// Static
	node    *Node
	ids     []int64
	results []json.RawMessage // of what was done here
}

// unconfirmed are commands that nobody can wait for.
var unconfirmed = &Sent{}

// Wait waits for a moment until the nodes have done what they were commanded to.
// confirmed is false if it has not been heard of all: a disconnect is done all the same,
// another order within ten seconds or not at all. results are what came of it, where
// something did; the error is that of an order that could not be carried out: a
// *tenant.Refusal or ErrNotFound.
func (s *Sent) Wait(ctx context.Context) (results []json.RawMessage, confirmed bool, err error) {
	switch {
	case s == nil:
		return nil, true, nil
	case s == unconfirmed:
		return nil, false, nil
	case s.node == nil:
		return s.results, true, nil
	}
	tenant.LeaveSeat(ctx)
	return s.node.watch.await(ctx, s.ids)
}

// sorted is for who looks ids up.
func sorted(ids map[int64]*watched) []int64 {
	list := make([]int64, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}
