// Package cluster knows which processes are up: each run of the platform is a
// node with a lease on the database's clock. Whoever stops renewing is found
// by the others, and what it left open is ended for it.
//
// A node's life:
//
//	Start ──► up ──(renewed every 5 s)──► stopped   Stop: the process ended well
//	           └──(30 s without)────────► lost      the others, or its own next start, ended it
//
// A node that cannot renew is not Live after 25 s, that is, before anybody may
// take it for dead. Media of calls in progress goes on. If it was only cut off, or
// stopped in its tracks, and comes back to find itself lost, its connections have
// been ended in the database, although their media still flows: then it begins a
// new incarnation, with a new id, and whoever called HandleReturn enters them anew
// (billing.Book). Which node has which channel is written by the ledger
// (billing.Ledger.Open); moving channels comes later.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

// ErrNotFound is returned for a connection that does not exist or is another
// tenant's.
var ErrNotFound = tenant.ErrNotFound

// Reaper ends what a dead node left open: *billing.Ledger. EndNode is called
// when the node is marked as ended, so that it can open nothing more, and may
// be called again and by several nodes at once.
type Reaper interface {
	EndNode(ctx context.Context, nodeID string) (ended int, err error)
}

// The usual times. A node stops admitting at five sixths of its lease.
const (
	usualLease     = 30 * time.Second
	usualHeartbeat = 5 * time.Second
	usualPoll      = 200 * time.Millisecond
)

// Config is what a Node needs to know.
type Config struct {
	Name     string // for people, such as the host's name
	Instance string // the data folder: at most one living process has it
	Reaper   Reaper
	// PublicURL is what clients reach this node by, such as
	// https://a.example.com: where others send those whose channel it has. A node
	// without one of its own cannot be sent to.
	PublicURL string
	Log       *slog.Logger

	// Zero means the usual time.
	Lease     time.Duration // 30 s
	Heartbeat time.Duration // 5 s
	Poll      time.Duration // 200 ms, how often commands of other nodes are looked for
}

// Node is this run of the platform.
type Node struct {
	// Static
	pool *pgxpool.Pool
	conf Config
	log  *slog.Logger
	lost chan struct{} // closed, with mu held, when another process has the instance
	wake chan struct{} // one token: look for commands now

	watch *watch       // what was commanded to others and is waited for; locks for itself
	lanes *lanes       // what others have ordered; lock for themselves
	late  atomic.Int64 // orders that had expired when they were looked at

	next string // owned by Run: the id of the incarnation that is being begun; "": none

	mu sync.Mutex
	// Guarded by mu
	id       string    // of the incarnation
	past     []string  // ids of dead ones: commands to them are this process's to do
	renewed  time.Time // when the last successful renewal was begun, monotonic
	steady   time.Time // since when renewals have come without a gap, monotonic
	gone     bool      // somebody ended this incarnation, and the next has not begun
	ended    bool      // lost for good or stopped
	draining bool      // no new channels (drain.go)
	hands    Hands     // nil: nothing is live here
	returned func()
}

// Start registers a new node and ends at once what earlier nodes of the same
// Instance left: their process is dead, because a data folder belongs to one
// process at a time. Call Run to keep the node alive.
func Start(ctx context.Context, pool *pgxpool.Pool, c Config) (*Node, error) {
	if c.Lease == 0 {
		c.Lease = usualLease
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = usualHeartbeat
	}
	if c.Poll == 0 {
		c.Poll = usualPoll
	}
	id := "node_" + tenant.NewID()
	n := &Node{id: id, pool: pool, conf: c, log: c.Log,
		lost: make(chan struct{}), wake: make(chan struct{}, 1), watch: newWatch(), lanes: newLanes()}
	earlier, err := n.markEarlier(ctx)
	if err != nil {
		return nil, err
	}
	if err := n.endMarked(ctx, earlier); err != nil {
		return nil, err
	}
	now := time.Now()
	if _, err := pool.Exec(ctx, `
		insert into node (node_id, name, instance, public_url, lease_until)
		values ($1, $2, $3, $4, clock_timestamp() + $5::interval)`,
		id, c.Name, c.Instance, c.PublicURL, c.Lease); err != nil {
		return nil, fmt.Errorf("couldn't register the node: %w", err)
	}
	n.renewed, n.steady = now, now
	return n, nil
}

// ID returns the id of the node's incarnation: new with every start, and after the
// node was taken for dead. What was begun under an earlier one fails in the ledger
// with ErrNodeEnded.
func (n *Node) ID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

// everID returns the ids of all incarnations of this process.
func (n *Node) everID() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string{n.id}, n.past...)
}

// Live reports whether the node may take new channels: its lease was renewed within
// the last 25 s, and it has been neither stopped nor taken for dead.
func (n *Node) Live() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.ended && !n.gone && time.Since(n.renewed) < n.conf.Lease*5/6
}

// Lost returns a channel that is closed when the node finds that it was taken
// for dead and that another process runs on its data folder: it cannot come back.
func (n *Node) Lost() <-chan struct{} { return n.lost }

// Run renews the lease, ends dead nodes and obeys other nodes' commands, until
// ctx ends or the node is stopped or lost.
func (n *Node) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	loops.Go(func() { n.every(ctx, n.conf.Heartbeat, nil, n.reap) })
	loops.Go(func() { n.every(ctx, n.conf.Poll, n.wake, n.obey) })
	loops.Go(func() { n.every(ctx, n.conf.Heartbeat, n.watch.wake, n.confirm) })
	loops.Go(func() { n.every(ctx, n.conf.Poll, nil, n.lookAtState) })
	loops.Go(func() {
		n.every(ctx, n.conf.Heartbeat, nil, func(ctx context.Context) error {
			err := n.renew(ctx)
			if n.isEnded() {
				cancel()
			}
			return err
		})
	})
	loops.Wait()
	cancel()
}

// away stands for all errors of a database that does not answer.
const away = "the database does not answer"

// every does work at every tick and at every token from wake, until ctx ends.
// An error is logged when it is new; a database that is away says so once.
func (n *Node) every(ctx context.Context, interval time.Duration, wake <-chan struct{}, work func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-wake:
		}
		err := work(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			last = ""
		case tenant.DatabaseAway(err) && last == away:
		case err.Error() != last:
			last = err.Error()
			if tenant.DatabaseAway(err) {
				last = away // whatever it was that could not be done
			}
			n.log.Error("the node's upkeep failed", "error", err)
		}
	}
}

// renew moves the lease forward. No row means that somebody ended the node, which
// then comes back.
func (n *Node) renew(ctx context.Context) error {
	renewing, cancel := context.WithTimeout(ctx, n.conf.Heartbeat)
	defer cancel()
	begun, id := time.Now(), n.ID()
	tag, err := n.pool.Exec(renewing, `
		update node set lease_until = clock_timestamp() + $2::interval where node_id = $1 and state in ('up', 'draining')`,
		id, n.conf.Lease)
	if err != nil {
		return fmt.Errorf("couldn't renew the node's lease: %w", err)
	}
	if tag.RowsAffected() == 0 && !n.isEnded() {
		return n.comeBack(ctx, id)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended {
		return nil
	}
	if begun.Sub(n.renewed) > n.conf.Lease/2 {
		n.steady = begun
	}
	n.renewed = begun
	return nil
}

// isEnded reports whether the node was stopped or lost.
func (n *Node) isEnded() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ended
}

// Stop ends the node: its connections have been closed, and what could not be
// closed is ended as after a crash. The node is not Live any more, and Run
// returns within a heartbeat. Stop may be called again after an error.
func (n *Node) Stop(ctx context.Context) error {
	n.mu.Lock()
	n.ended = true
	n.mu.Unlock()
	// The row lock waits for transactions that are still taking a place on
	// this node, so that none is overlooked.
	id := n.ID()
	err := pgx.BeginFunc(ctx, n.pool, func(tx pgx.Tx) error {
		var state string
		err := tx.QueryRow(ctx, `select state from node where node_id = $1 for update`, id).Scan(&state)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			update node set state = 'stopped', ended_at = clock_timestamp() where node_id = $1 and state in ('up', 'draining')`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("couldn't stop the node: %w", err)
	}
	return n.endMarked(ctx, []string{id})
}
