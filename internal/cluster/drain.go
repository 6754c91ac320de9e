package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

// A node is drained to be emptied without ending a call: it starts no new
// channel, says so in /readyz, and goes on letting clients into the channels
// that live on it until they end by themselves. Clients of new channels are sent
// to another node. The state is in the node's row, so that anybody with the
// database can change it; the node looks at it as often as for commands.

// ErrEnded is returned to who would drain a node that runs no more.
var ErrEnded = errors.New("the node has ended: there is nothing to drain")

// Append writes events in the caller's transaction: webhooks.Append.
type Append func(ctx context.Context, tx pgx.Tx, events ...tenant.Event) error

// draining is the data of node.draining.
type draining struct {
	NodeID      string `json:"node_id"`
	Name        string `json:"name"`
	PublicURL   string `json:"public_url,omitempty"`
	Connections int    `json:"connections"` // the tenant's, on that node
}

// Drain has a node take no new channels, and tells each tenant that has
// connections there with an event, all in one transaction. It returns whom it
// told. Draining a draining node changes nothing. ErrNotFound, ErrEnded.
func Drain(ctx context.Context, pool *pgxpool.Pool, by tenant.Authority, nodeID string, write Append) (told []tenant.ID, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		told = nil
		data, changed, err := setState(ctx, tx, by, nodeID, "draining", "node.drained")
		if err != nil || !changed {
			return err
		}
		rows, err := tx.Query(ctx, `
			select tenant_id, count(*)::int from live_connection where node_id = $1 group by tenant_id order by tenant_id`, nodeID)
		if err != nil {
			return fmt.Errorf("couldn't find who is on the node: %w", err)
		}
		var events []tenant.Event
		var id tenant.ID
		if _, err := pgx.ForEachRow(rows, []any{&id, &data.Connections}, func() error {
			text, err := json.Marshal(data)
			told, events = append(told, id), append(events, tenant.Event{Type: tenant.NodeDraining, Tenant: id, Data: text})
			return err
		}); err != nil {
			return fmt.Errorf("couldn't find who is on the node: %w", err)
		}
		return write(ctx, tx, events...)
	})
	if err != nil {
		return nil, err
	}
	return told, nil
}

// Undrain has a draining node take new channels again. ErrNotFound, ErrEnded.
func Undrain(ctx context.Context, pool *pgxpool.Pool, by tenant.Authority, nodeID string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, _, err := setState(ctx, tx, by, nodeID, "up", "node.undrained")
		return err
	})
}

// setState changes the state of a node that runs, with its entry in the
// operators' log.
func setState(ctx context.Context, tx pgx.Tx, by tenant.Authority, nodeID, state, action string) (data draining, changed bool, err error) {
	data.NodeID = nodeID
	var was string
	err = tx.QueryRow(ctx, `select state, name, public_url from node where node_id = $1 for no key update`, nodeID).
		Scan(&was, &data.Name, &data.PublicURL)
	if errors.Is(err, pgx.ErrNoRows) {
		return data, false, ErrNotFound
	}
	if err != nil {
		return data, false, fmt.Errorf("couldn't read node %s: %w", nodeID, err)
	}
	switch was {
	case state:
		return data, false, nil
	case "up", "draining":
	default:
		return data, false, ErrEnded
	}
	if _, err := tx.Exec(ctx, `update node set state = $2 where node_id = $1`, nodeID, state); err != nil {
		return data, false, fmt.Errorf("couldn't change node %s: %w", nodeID, err)
	}
	return data, true, tenant.AuditOperator(ctx, tx, by, "", action, nodeID, tenant.Diff{"state": {was, state}})
}

// Draining reports whether the node was told to take no new channels, as of its
// last look: at most Config.Poll ago.
func (n *Node) Draining() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.draining
}

// lookAtState learns whether the node is to be drained.
func (n *Node) lookAtState(ctx context.Context) error {
	var state string
	err := n.pool.QueryRow(ctx, `select state from node where node_id = $1`, n.ID()).Scan(&state)
	if err != nil {
		return fmt.Errorf("couldn't look at the node's state: %w", err)
	}
	draining := state == "draining"
	if !draining && state != "up" {
		return nil // what it was when it was ended holds when it comes back
	}
	n.mu.Lock()
	was := n.draining
	n.draining = draining
	n.mu.Unlock()
	switch {
	case draining && !was:
		n.log.Info("the node is drained: it takes no new channels until it is undrained")
	case !draining && was:
		n.log.Info("the node is undrained")
	}
	return nil
}

// Turn says what becomes of a client that comes to a draining node: nil if it may
// stay, because its channel lives here; else a *tenant.Elsewhere with the node
// that has the fewest connections, or a *tenant.Refusal with code Draining if
// there is none to go to. On a node that is not draining it is nil. A channel that
// ends just then may be started here once more; that is no harm.
func (n *Node) Turn(ctx context.Context, id tenant.ID, channel string) error {
	if !n.Draining() {
		return nil
	}
	here := n.ID()
	var home bool
	err := n.pool.QueryRow(ctx, `
		select exists (select from channel_live h left join node n using (node_id)
			where h.tenant_id = $1 and h.channel_id = $2 and (h.node_id = $3 or n.state in ('up', 'draining')))`,
		id, channel, here).Scan(&home)
	if err != nil {
		return fmt.Errorf("couldn't look where channel %q is: %w", channel, err)
	}
	if home {
		return nil // here, or where the ledger will say
	}
	other := &tenant.Elsewhere{Draining: true}
	err = n.pool.QueryRow(ctx, `
		select o.node_id, o.public_url from node o
		where o.state = 'up' and o.lease_until > clock_timestamp() and o.node_id <> $1 and o.public_url not in ('', $2)
		order by (select count(*) from live_connection l where l.node_id = o.node_id), o.node_id limit 1`, here, n.conf.PublicURL).
		Scan(&other.NodeID, &other.PublicURL)
	if errors.Is(err, pgx.ErrNoRows) {
		return tenant.Refuse(tenant.Draining, "this node takes no new channels; connect again: another node answers, if there is one")
	}
	if err != nil {
		return fmt.Errorf("couldn't look for another node: %w", err)
	}
	return other
}
