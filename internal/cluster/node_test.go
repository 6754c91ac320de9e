package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// bench is a database with one tenant, and nodes on it.
type bench struct {
	t     testing.TB
	pool  *pgxpool.Pool
	scope tenant.Scope
	ended atomic.Int64 // places that reapers ended
}

func newBench(t testing.TB) *bench {
	b := &bench{t: t, pool: dbtest.New(t)}
	b.scope = b.newTenant()
	return b
}

// EndNode frees a node's places in the database. It makes bench a Reaper: the
// product's is the ledger, which this package must not know.
func (b *bench) EndNode(ctx context.Context, nodeID string) (int, error) {
	tag, err := b.pool.Exec(ctx, `
		with gone as (delete from live_connection where node_id = $1 returning connection_id)
		update connection set ended_at = clock_timestamp(), end_reason = 'node_lost'
		where connection_id in (select connection_id from gone)`, nodeID)
	b.ended.Add(tag.RowsAffected())
	return int(tag.RowsAffected()), err
}

// The tests' nodes live fast. The lease is long enough that a busy machine
// does not make a node miss it.
const (
	lease     = 3 * time.Second
	heartbeat = 100 * time.Millisecond
	poll      = 20 * time.Millisecond
)

func (b *bench) start(instance string, reaper cluster.Reaper) *cluster.Node {
	b.t.Helper()
	return b.startBeating(instance, reaper, heartbeat)
}

func (b *bench) startBeating(instance string, reaper cluster.Reaper, heartbeat time.Duration) *cluster.Node {
	b.t.Helper()
	n, err := cluster.Start(b.t.Context(), b.pool, cluster.Config{Name: "test", Instance: instance, Reaper: reaper,
		Log: slog.New(slog.DiscardHandler), Lease: lease, Heartbeat: heartbeat, Poll: poll})
	b.must(err)
	return n
}

// run runs the node until the returned function is called or the test ends.
func (b *bench) run(n *cluster.Node) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// one returns the single value that a query finds.
func one[T any](b *bench, sql string, args ...any) (value T) {
	b.t.Helper()
	if err := b.pool.QueryRow(b.t.Context(), sql, args...).Scan(&value); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func (b *bench) state(n *cluster.Node) string {
	b.t.Helper()
	return one[string](b, `select state from node where node_id = $1`, n.ID())
}

func (b *bench) places(n *cluster.Node) int {
	b.t.Helper()
	return one[int](b, `select count(*) from live_connection where node_id = $1`, n.ID())
}

// eventually waits until a condition holds.
func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatal("never:", what)
		}
	}
}

func (b *bench) newTenant() tenant.Scope {
	b.t.Helper()
	id := "ten_" + tenant.NewID()
	b.exec(`insert into tenant (tenant_id, name) values ($1, 'Test')`, id)
	return tenant.OperatorScope(tenant.ID(id))
}

// connect writes a live connection of the bench's tenant on the node.
func (b *bench) connect(n *cluster.Node, channel string) string {
	b.t.Helper()
	id := tenant.NewID()
	b.exec(`insert into channel_session (session_id, tenant_id, channel_id) values ($1, $2, $3)`, id, b.scope.Tenant(), channel)
	b.exec(`insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol)
		values ($1, $2, $3, $1, $4, 'sendrecv', 'c', 'sora')`, id, b.scope.Tenant(), channel, n.ID())
	b.exec(`insert into live_connection (connection_id, tenant_id, channel_id, node_id, role) values ($1, $2, $3, $4, 'sendrecv')`,
		id, b.scope.Tenant(), channel, n.ID())
	return id
}

func TestStartEndsEarlierNodesOfItsInstance(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	killed, elsewhere := b.start("here", b), b.start("there", b)
	b.connect(killed, "room")
	b.connect(killed, "room")
	b.connect(elsewhere, "room")
	// One that was marked by a process that died before it had ended it all.
	half := b.start("half", b)
	b.connect(half, "room")
	b.exec(`update node set state = 'lost' where node_id = $1`, half.ID())

	restarted := b.start("here", b)
	if b.state(killed) != "lost" || b.places(killed) != 0 || b.places(half) != 0 {
		t.Fatal("the killed process has places:", b.state(killed), b.places(killed), b.places(half))
	}
	if b.state(elsewhere) != "up" || b.places(elsewhere) != 1 {
		t.Fatal("another instance was ended:", b.state(elsewhere), b.places(elsewhere))
	}
	if !restarted.Live() || b.state(restarted) != "up" || restarted.ID() == killed.ID() {
		t.Fatal("the restarted node is not up")
	}
}

func TestARunningNodeStaysLive(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	b.run(n)
	first := one[time.Time](b, `select lease_until from node where node_id = $1`, n.ID())
	b.eventually("the lease is renewed well beyond the first", func() bool {
		if !n.Live() {
			t.Fatal("the node is not live")
		}
		return one[time.Time](b, `select lease_until from node where node_id = $1`, n.ID()).After(first.Add(lease / 2))
	})
}

// A node that cannot renew stops admitting before anybody may end it.
func TestLiveEndsBeforeTheLease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b) // and does not run
	if !n.Live() {
		t.Fatal("not live at the start")
	}
	b.eventually("it is not live", func() bool {
		over := one[bool](b, `select lease_until < clock_timestamp() from node where node_id = $1`, n.ID())
		live := n.Live()
		if over && live {
			t.Fatal("it is live although its lease is over")
		}
		return !live
	})
}

func TestDeadNodeIsEndedByTheOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	dead, second, third := b.start("dead", b), b.start("second", b), b.start("third", b)
	const n = 20
	for range n {
		b.connect(dead, "room")
	}
	b.connect(second, "room")
	b.exec(`insert into node_command (node_id, tenant_id, action, connection_id, reason) values ($1, $2, 'disconnect', 'x', 'api')`,
		dead.ID(), b.scope.Tenant())
	b.run(second)
	b.run(third)
	b.eventually("the dead node is ended", func() bool { return b.state(dead) == "lost" && b.places(dead) == 0 })
	b.eventually("its commands are dropped", func() bool {
		return one[int](b, `select count(*) from node_command where done_at is null`) == 0
	})
	if b.ended.Load() != n {
		t.Fatalf("%d places were ended, want %d", b.ended.Load(), n)
	}
	if b.places(second) != 1 || b.state(second) != "up" || b.state(third) != "up" || !second.Live() || !third.Live() {
		t.Fatal("a living node was ended")
	}
	if one[bool](b, `select ended_at < lease_until from node where node_id = $1`, dead.ID()) {
		t.Fatal("it was ended before its lease was over")
	}
}

// What a reaper that died, or could not reach the database, did not finish is
// finished by the next look.
func TestReapingIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	dead := b.start("dead", b)
	b.connect(dead, "room")
	flaky := &flakyReaper{bench: b}
	b.run(b.start("second", flaky))
	b.eventually("the dead node's place is ended", func() bool { return b.places(dead) == 0 })
	if calls := flaky.calls.Load(); calls < 3 {
		t.Fatalf("the reaper was called %d times, want 3: two failures and a success", calls)
	}
}

// flakyReaper cannot end anything the first two times.
type flakyReaper struct {
	*bench
	calls atomic.Int64
}

var errAway = errors.New("the database is away")

func (r *flakyReaper) EndNode(ctx context.Context, nodeID string) (int, error) {
	if r.calls.Add(1) <= 2 {
		return 0, errAway
	}
	return r.bench.EndNode(ctx, nodeID)
}

// After the database was away for everybody, all leases are over; nobody may
// be taken for dead then.
func TestNobodyIsEndedAfterAnOutageOfAll(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	// The first node to be back renews only each second, so that there is time
	// to see that it leaves the others theirs: two of its heartbeats.
	first, second, third := b.startBeating("a", b, time.Second), b.start("b", b), b.start("c", b)
	until := func(n *cluster.Node) time.Time {
		return one[time.Time](b, `select lease_until from node where node_id = $1`, n.ID())
	}
	b.eventually("all leases are over", func() bool {
		return one[int](b, `select count(*) from node where lease_until > clock_timestamp()`) == 0
	})
	b.run(first)
	for range 2 {
		before := until(first)
		b.eventually("the first one renews", func() bool { return until(first).After(before) })
	}
	b.run(second)
	b.run(third)
	start := one[time.Time](b, `select clock_timestamp()`)
	for _, n := range []*cluster.Node{first, second, third} {
		b.eventually("it renews for a while", func() bool {
			if state := b.state(n); state != "up" {
				t.Fatal("a node is", state)
			}
			return n.Live() && until(n).After(start.Add(2*lease))
		})
	}
}

// A node that was taken for dead and lives goes on as a new one, when what the dead
// one left has been ended.
func TestComesBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	dead := n.ID()
	b.connect(n, "room")
	b.exec(`update node set state = 'draining' where node_id = $1`, dead)
	stop := b.run(n)
	b.eventually("it drains", n.Draining)
	stop()
	returned := make(chan string, 1)
	n.HandleReturn(func() {
		returned <- n.ID()
	})
	b.exec(`update node set state = 'lost' where node_id = $1`, dead)
	b.run(n)
	id := <-returned
	if id == dead || id != n.ID() || !n.Live() || b.state(n) != "draining" || !n.Draining() {
		t.Fatal("it is back as", id, n.Live(), b.state(n))
	}
	if places := one[int](b, `select count(*) from live_connection`); places != 0 {
		t.Fatal("the dead one has left places:", places)
	}
	if state := one[string](b, `select state from node where node_id = $1`, dead); state != "lost" {
		t.Fatal("the dead one is", state)
	}
	until := one[time.Time](b, `select lease_until from node where node_id = $1`, id)
	b.eventually("it renews its new lease", func() bool {
		return one[time.Time](b, `select lease_until from node where node_id = $1`, id).After(until)
	})
	b.must(n.Stop(t.Context()))
	if b.state(n) != "stopped" {
		t.Fatal("after Stop it is", b.state(n))
	}
}

// A data folder belongs to one process: whoever has it ended the others, and they
// do not come back.
func TestLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	n.HandleReturn(func() { t.Error("it came back") })
	next := b.start("a", b)
	select {
	case <-n.Lost():
		t.Fatal("lost before it looked")
	default:
	}
	n.Run(t.Context()) // returns by itself
	<-n.Lost()
	if n.Live() {
		t.Fatal("a lost node is live")
	}
	if b.must(n.Stop(t.Context())); b.state(n) != "lost" || b.state(next) != "up" {
		t.Fatal("a lost node is", b.state(n), "and the next one", b.state(next))
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	b.connect(n, "room") // one whose Close did not work
	b.must(n.Stop(t.Context()))
	if n.Live() || b.state(n) != "stopped" || b.places(n) != 0 {
		t.Fatal("after Stop:", n.Live(), b.state(n), b.places(n))
	}
	n.Run(t.Context()) // returns by itself
	select {
	case <-n.Lost():
		t.Fatal("a stopped node is lost")
	default:
	}
	b.must(n.Stop(t.Context()))
}

// Stop waits for a transaction that is still taking a place on the node.
func TestStopOverlooksNoPlace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	tx, err := b.pool.Begin(t.Context())
	b.must(err)
	defer tx.Rollback(t.Context())
	for _, sql := range []string{
		`insert into channel_session (session_id, tenant_id, channel_id) values ('s', $1, 'room')`,
		`insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol)
			select 'c', $1, 'room', 's', node_id, 'sendrecv', 'c', 'sora' from node`,
		`insert into live_connection (connection_id, tenant_id, channel_id, node_id, role)
			select 'c', $1, 'room', node_id, 'sendrecv' from node`,
	} {
		_, err := tx.Exec(t.Context(), sql, b.scope.Tenant())
		b.must(err)
	}
	stopped := make(chan error)
	go func() { stopped <- n.Stop(t.Context()) }()
	b.eventually("Stop waits for the transaction", func() bool {
		return one[int](b, `select count(distinct pid) from pg_locks l join pg_stat_activity using (pid) where datname = current_database() and not l.granted`) > 0
	})
	b.must(tx.Commit(t.Context()))
	b.must(<-stopped)
	if b.places(n) != 0 {
		t.Fatal("a stopped node has a place")
	}
}

func TestListShowsRunningAndEndedNodes(t *testing.T) {
	b := newBench(t)
	old := b.start("a", b)
	b.connect(old, "left behind")
	b.must(old.Stop(t.Context()))
	running := b.start("b", b)
	b.connect(running, "hello")
	b.connect(running, "hello")

	nodes, err := cluster.List(t.Context(), b.pool)
	b.must(err)
	if len(nodes) != 2 {
		t.Fatalf("listed %d nodes, want 2: %+v", len(nodes), nodes)
	}
	newest, oldest := nodes[0], nodes[1]
	if newest.ID != running.ID() || newest.State != "up" || newest.Connections != 2 || newest.EndedAt != nil {
		t.Errorf("the running node is listed as %+v", newest)
	}
	if oldest.ID != old.ID() || oldest.State != "stopped" || oldest.Connections != 0 || oldest.EndedAt == nil {
		t.Errorf("the stopped node is listed as %+v", oldest)
	}
}
