package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// orderTime is how long carrying out one order may take.
const orderTime = 5 * time.Second

// command is a row that asks something of this node.
type command struct {
	ID           int64
	Tenant       tenant.ID
	Action       Action
	ConnectionID string
	Channel      string
	Reason       string
	Payload      *string
	Left         *time.Duration // until it expires; nil: it does not
}

// obey does the commands to this node.
func (n *Node) obey(ctx context.Context) error {
	rows, err := n.pool.Query(ctx, `
		select command_id, tenant_id, action, connection_id, channel_id, reason, payload::text, expires_at - clock_timestamp()
		from node_command where node_id = any($1) and done_at is null order by command_id limit $2`, n.everID(), commandsAtOnce)
	if err != nil {
		return fmt.Errorf("couldn't look for commands: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[command])
	if err != nil {
		return fmt.Errorf("couldn't look for commands: %w", err)
	}
	var ends, orders []command
	for _, c := range all {
		if c.Action == ActionDisconnect {
			ends = append(ends, c)
		} else {
			orders = append(orders, c)
		}
	}
	if err := n.end(ctx, ends); err != nil {
		return err
	}
	return n.carryOut(ctx, orders)
}

// end does the commands to end connections. One whose connection is not here stays
// open as long as the connection is live: it may be about to be.
func (n *Node) end(ctx context.Context, commands []command) error {
	if len(commands) == 0 {
		return nil
	}
	var done, looked []int64
	for _, c := range commands {
		looked = append(looked, c.ID)
		why := tenant.Parting{Reason: c.Reason}
		if c.Payload != nil {
			why.Said = json.RawMessage(*c.Payload)
		}
		if n.endHere(c.Tenant, c.ConnectionID, why) {
			done = append(done, c.ID)
		}
	}
	if _, err := n.pool.Exec(ctx, `
		update node_command c set done_at = clock_timestamp()
		where command_id = any($1) and done_at is null and (command_id = any($2)
			or not exists (select from live_connection l where l.tenant_id = c.tenant_id and l.connection_id = c.connection_id))`,
		looked, done); err != nil {
		return fmt.Errorf("couldn't note the commands as done: %w", err)
	}
	return nil
}

// carryOut takes orders, so that nobody carries them out again whatever happens to
// this process, and hands them to the lanes of their channels.
func (n *Node) carryOut(ctx context.Context, orders []command) error {
	if len(orders) == 0 {
		return nil
	}
	ids := make([]int64, len(orders))
	for i, o := range orders {
		ids[i] = o.ID
	}
	asked := time.Now()
	if _, err := n.pool.Exec(ctx, `update node_command set done_at = clock_timestamp() where command_id = any($1)`, ids); err != nil {
		return fmt.Errorf("couldn't take orders: %w", err) // they may be taken: then they are lost, and not done twice
	}
	for _, o := range orders {
		good := asked
		if o.Left != nil {
			good = asked.Add(*o.Left)
		}
		n.lanes.add(laneKey{o.Tenant, o.Channel}, func() { n.do(ctx, o, good) })
	}
	return nil
}

// do carries one order out, if it is still good, and writes what came of it.
func (n *Node) do(ctx context.Context, c command, good time.Time) {
	if ctx.Err() != nil {
		return
	}
	said := verdict{Late: true}
	if time.Now().Before(good) {
		said = n.doNow(ctx, c)
	} else {
		n.late.Add(1)
	}
	text, err := json.Marshal(said)
	if err == nil {
		_, err = n.pool.Exec(ctx, `update node_command set result = $2 where command_id = $1`, c.ID, string(text))
	}
	if err != nil && ctx.Err() == nil { // whoever asked hears nothing of it
		n.log.Warn("couldn't tell what came of an order", "action", c.Action, "error", err)
	}
}

func (n *Node) doNow(ctx context.Context, c command) verdict {
	h := n.ownHands()
	if h == nil {
		return verdict{Missing: true}
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	o := Order{Action: c.Action, ConnectionID: c.ConnectionID, Channel: c.Channel}
	if c.Payload != nil {
		o.Body = json.RawMessage(*c.Payload)
	}
	result, here, err := h.Do(ctx, c.Tenant, o)
	if err == nil && !here {
		err = ErrNotFound
	}
	said, failed := verdictOf(result, err)
	if failed != nil {
		n.log.Warn("an order could not be carried out", "action", c.Action, "error", failed)
	}
	return said
}

// Late returns how many orders of others had expired when this node came to them.
func (n *Node) Late() int64 { return n.late.Load() }

// laneKey is a channel, whose orders are carried out one after the other.
type laneKey struct {
	tenant  tenant.ID
	channel string
}

// lanes carry out the orders of each channel in their order, and wait for no other
// channel. A lane's goroutine ends when it has nothing more to do.
type lanes struct {
	mu sync.Mutex
	// Guarded by mu. A lane is there while its goroutine runs.
	waiting map[laneKey][]func()
}

func newLanes() *lanes { return &lanes{waiting: map[laneKey][]func(){}} }

func (l *lanes) add(key laneKey, work func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, runs := l.waiting[key]
	l.waiting[key] = append(list, work)
	if !runs {
		go l.run(key)
	}
}

func (l *lanes) run(key laneKey) {
	for {
		l.mu.Lock()
		list := l.waiting[key]
		if len(list) == 0 {
			delete(l.waiting, key)
			l.mu.Unlock()
			return
		}
		work := list[0]
		l.waiting[key] = list[1:]
		l.mu.Unlock()
		work()
	}
}
