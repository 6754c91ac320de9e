package billing_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// A process is killed before each of its messages to the database, in turn, through
// the whole life of a connection and of one that takes over its place. Whatever it
// was about to do, its node's end leaves no place taken, no story half told, and nothing
// billed twice or not at all.
func TestKilledBeforeEachStep(t *testing.T) {
	b := newBench(t)
	whole := b.newTenant(1, 1)
	steps := b.startProcess(processSpec{}).do(task{Do: "life", Tenant: whole.Tenant(), Channel: "room"}).Steps
	b.check(whole)
	if steps < 15 {
		t.Fatalf("a life takes %d steps only", steps)
	}
	atOnce := make(chan struct{}, 3)
	var stories sync.Map
	var wg sync.WaitGroup
	for step := int64(1); step <= steps; step++ {
		wg.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			scope := b.newTenant(1, 1)
			c := b.startProcess(processSpec{Signal: syscall.SIGKILL, Step: step})
			c.ask(task{Do: "life", Tenant: scope.Tenant(), Channel: "room"})
			var o outcome
			if err := c.out.Decode(&o); !errors.Is(err, io.EOF) {
				t.Errorf("step %d of %d: the process lived on: %+v, %v", step, steps, o, err)
				return
			}
			left := b.lose(c.node)
			if n := one[int](b, `select connections from tenant_live where tenant_id = $1`, scope.Tenant()); n != 0 || left > 1 {
				t.Errorf("step %d: %d places are taken, %d were left", step, n, left)
			}
			if err := b.checkInvariants(scope); err != nil {
				t.Errorf("step %d: %v", step, err)
			}
			if _, err := b.Open(t.Context(), b.node, opening(scope, "room", tenant.RecvOnly)); err != nil {
				t.Errorf("step %d: the freed place could not be taken: %v", step, err)
			}
			stories.Store(b.story(scope), true)
			// However far the rolls had come, each second that was metered is rolled up once.
			b.roll(scope)
			if err := sameSlots(b.slots(scope), b.recomputed(scope)); err != nil {
				t.Errorf("step %d: %v", step, err)
			}
			if n := one[int64](b, `select count(*) from connection where tenant_id = $1
				and extract(epoch from ended_at - connected_at) not in (0, 1, 2, $2)`, scope.Tenant(), int64(lifeMetered/time.Second)); n != 0 {
				t.Errorf("step %d: %d connections lasted longer than was proven, or less", step, n)
			}
		})
	}
	wg.Wait()
	n := 0
	stories.Range(func(story, _ any) bool { n++; return true })
	if n < 6 { // nothing, opened, connected, a minute told, replaced, and so on
		t.Errorf("the kills at %d steps made %d different stories only", steps, n)
	}
	if drifts, err := b.Recount(t.Context()); err != nil || len(drifts) > 0 {
		t.Error(drifts, err)
	}
	if drifts, err := b.Reconcile(t.Context()); err != nil || len(drifts) > 0 {
		t.Error(drifts, err)
	}
}

// A process that is stopped in the middle of an admission keeps its tenant's row locked.
// The database ends such a transaction, so that others go on and the node can be ended.
// When the process wakes up, its places are gone, and it takes none.
func TestStoppedInAnAdmission(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(2, 2)
	// An admission has two messages; the second is what it writes.
	c := b.startProcess(processSpec{Signal: syscall.SIGSTOP, Step: 2 + 2, Patience: "200ms"})
	if o := c.do(task{Do: "open", Tenant: scope.Tenant(), Channel: "room", N: 1}); len(o.Admitted) != 1 || o.Steps != 2 {
		t.Fatalf("%+v", o)
	}
	c.ask(task{Do: "open", Tenant: scope.Tenant(), Channel: "room", N: 1})
	b.stopped(c)
	if n := b.lose(c.node); n != 1 {
		t.Errorf("%d connections were ended with the node", n)
	}
	for range 2 { // its places are free
		b.open(scope, "hall", tenant.RecvOnly)
	}
	b.must(c.cmd.Process.Signal(syscall.SIGCONT))
	if o := c.answer(); o.Ended != 1 || len(o.Admitted) > 0 {
		t.Errorf("it woke up to %+v", o)
	}
	b.check(scope)
}

// stopped returns when the process has been stopped by its signal.
func (b *bench) stopped(c *child) {
	b.t.Helper()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(c.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		if err == nil && status.Stopped() {
			return
		}
		if err != nil && err != syscall.EINTR {
			b.t.Fatal(err)
		}
	}
}

// frailConn is a connection to the database that breaks at one message, before it is
// sent or when its answer has come but is not passed on.
type frailConn struct {
	net.Conn
	line   *frailLine
	broken atomic.Bool
}

// frailLine counts the messages of all connections of a pool.
type frailLine struct {
	sent     atomic.Int64
	breakAt  atomic.Int64 // 0: never
	unheard  bool         // the message arrives, its answer is lost
	breaking atomic.Pointer[frailConn]
}

var errBroken = errors.New("the line to the database broke")

func (c *frailConn) Write(p []byte) (int, error) {
	if c.broken.Load() {
		return 0, errBroken
	}
	if c.line.sent.Add(1) != c.line.breakAt.Load() {
		return c.Conn.Write(p)
	}
	if c.line.unheard {
		c.line.breaking.Store(c)
		return c.Conn.Write(p)
	}
	return 0, c.cut()
}

func (c *frailConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.line.breaking.Load() == c { // the database has done it
		return 0, c.cut()
	}
	return n, err
}

func (c *frailConn) cut() error {
	c.broken.Store(true)
	c.Conn.Close()
	return errBroken
}

// The line to the database breaks at each message in turn, before the message is sent
// or before its answer is heard, so that nobody knows whether it was done. Each step is
// repeated until it succeeds, as the door does, and has been done once.
func TestLineBreaksAtEachMessage(t *testing.T) {
	b := newBench(t)
	for _, unheard := range []bool{false, true} {
		line := &frailLine{unheard: unheard}
		config := b.pool.Config()
		config.MaxConns = 1
		config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &frailConn{Conn: c, line: line}, err
		}
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		b.must(err)
		frail := billing.NewLedger(pool, new(webhooks.Webhooks).Queue, slog.New(slog.DiscardHandler))
		warm := b.newTenant(1, 1) // its statements are prepared
		b.liveThrough(frail, warm)
		before := line.sent.Load()
		b.liveThrough(frail, b.newTenant(1, 1))
		messages := line.sent.Load() - before
		if messages < 15 {
			t.Fatalf("a life takes %d messages only", messages)
		}
		for k := range messages {
			line.breakAt.Store(line.sent.Load() + k + 1)
			scope := b.newTenant(1, 1)
			b.liveThrough(frail, scope)
			if err := b.checkInvariants(scope); err != nil {
				t.Errorf("message %d of %d, unheard: %t: %v", k+1, messages, unheard, err)
			}
			if line.sent.Load() < line.breakAt.Load() {
				t.Errorf("message %d of %d was never sent", k+1, messages)
			}
			if n := one[int](b, `select count(*) from connection where tenant_id = $1 and end_reason = 'client' and connected_at is not null`, scope.Tenant()); n != 1 {
				t.Errorf("message %d: %d connections lived", k+1, n)
			}
			line.breaking.Store(nil)
		}
		pool.Close()
	}
}

// liveThrough is one connection's life, each step repeated until it succeeds.
func (b *bench) liveThrough(l *billing.Ledger, scope tenant.Scope) {
	b.t.Helper()
	ctx, o := b.t.Context(), opening(scope, "room", tenant.SendOnly)
	for _, step := range []func() error{
		func() error { _, err := l.Open(ctx, b.node, o); return err },
		func() error { return l.Connected(ctx, o.ConnectionID, time.Second) },
		func() error {
			return l.Close(ctx, o.ConnectionID, tenant.Ending{Reason: tenant.EndClient, Duration: time.Minute})
		},
	} {
		var err error
		for range 5 {
			if err = step(); err == nil {
				break
			}
		}
		b.must(err)
	}
}

// The database's administrator ends admissions under way: who asked asks once more, and
// nobody has two places, or one that is lost.
func TestAdmissionsAreTerminated(t *testing.T) {
	b := newBench(t)
	b.guard()
	administrator, err := pgx.Connect(t.Context(), b.pool.Config().ConnString())
	b.must(err)
	defer administrator.Close(context.Background())
	scope := b.newTenant(4, 4)
	terminated := 0
	for range 6 {
		release := b.hold(scope)
		const crowd = 6
		openings := make([]tenant.Opening, crowd)
		var failed, admitted atomic.Int64
		var wg sync.WaitGroup
		for i := range openings {
			openings[i] = opening(scope, "room", tenant.RecvOnly)
			wg.Go(func() {
				for {
					_, err := b.Open(t.Context(), b.node, openings[i])
					if err == nil {
						admitted.Add(1)
						return
					}
					if errors.As(err, new(*tenant.Refusal)) {
						return
					}
					failed.Add(1)
				}
			})
		}
		for range 3 {
			b.waiting(1)
			tag, err := administrator.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
				where datname = current_database() and wait_event_type = 'Lock'`)
			b.must(err)
			terminated += int(tag.RowsAffected())
		}
		release()
		wg.Wait()
		if admitted.Load() != 4 {
			t.Fatalf("%d of 4 places were taken, %d tries failed", admitted.Load(), failed.Load())
		}
		b.check(scope)
		for _, o := range openings {
			if err := b.Close(t.Context(), o.ConnectionID, tenant.Ending{Reason: tenant.EndClient}); err != nil && !errors.Is(err, billing.ErrNotFound) {
				t.Fatal(err)
			}
		}
		b.check(scope)
	}
	if terminated == 0 {
		t.Error("nothing was terminated")
	}
}
