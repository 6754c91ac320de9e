package billing_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
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

// The tests about several nodes run them as what they are, processes: this test binary
// once more, which keeps the books of one node and does what its parent asks on stdin.

// processEnv makes the test binary such a process; it has a processSpec.
const processEnv = "HIBARI_LEDGER_PROCESS"

func TestMain(m *testing.M) {
	if spec := os.Getenv(processEnv); spec != "" {
		if err := runProcess(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// processSpec is what a process is told at its start.
type processSpec struct {
	URL    string
	Node   string
	Signal syscall.Signal // to itself, before its Step'th message to the database; 0: none
	Step   int64
	// Patience is how long the database bears a transaction that does nothing; "": for ever.
	Patience string
}

// task is one thing to do; outcome, what came of it.
type task struct {
	Do      string // open, close, churn, life
	Tenant  tenant.ID
	Channel string
	N       int      // so many at once
	IDs     []string // to close
	Seed    uint64
}

type outcome struct {
	Admitted []string
	Refused  map[tenant.Code]int
	Sent     int // elsewhere
	Ended    int // because the node has
	Failed   []string
	Steps    int64 // messages to the database since the start
}

// runProcess is the whole life of a process.
func runProcess(text string) error {
	var spec processSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(spec.URL)
	if err != nil {
		return err
	}
	config.MaxConns = 8
	config.ConnConfig.RuntimeParams["role"] = tenant.WorkerRole
	if spec.Patience != "" {
		config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = spec.Patience
	}
	steps := &stepCounter{spec: spec}
	config.ConnConfig.Tracer = steps
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return err
	}
	p := &process{node: spec.Node, steps: steps,
		ledger: billing.NewLedger(pool, new(webhooks.Webhooks).Queue, slog.New(slog.DiscardHandler))}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var t task
		if err := in.Decode(&t); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := out.Encode(p.do(t)); err != nil {
			return err
		}
	}
}

// stepCounter counts the messages to the database, and sends the process its signal
// before one of them.
type stepCounter struct {
	spec processSpec
	n    atomic.Int64
}

func (s *stepCounter) step(ctx context.Context) context.Context {
	if s.n.Add(1) == s.spec.Step && s.spec.Signal != 0 {
		syscall.Kill(os.Getpid(), s.spec.Signal)
	}
	return ctx
}

func (s *stepCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return s.step(ctx)
}
func (s *stepCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (s *stepCounter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return s.step(ctx)
}
func (s *stepCounter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (s *stepCounter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// process is a node's ledger, in the child.
type process struct {
	node   string
	ledger *billing.Ledger
	steps  *stepCounter

	mu sync.Mutex
	// Guarded by mu
	came outcome
}

func (p *process) do(t task) outcome {
	p.came = outcome{Refused: map[tenant.Code]int{}}
	ctx := context.Background()
	switch t.Do {
	case "open":
		p.together(t.N, func(int) { p.open(ctx, opening(tenant.OperatorScope(t.Tenant), t.Channel, tenant.RecvOnly)) })
	case "close":
		p.together(2*len(t.IDs), func(i int) { p.close(ctx, t.IDs[i%len(t.IDs)]) }) // each twice
	case "churn":
		p.together(t.N, func(i int) { p.churn(ctx, t, rand.New(rand.NewPCG(t.Seed, uint64(i)))) })
	case "life":
		p.life(ctx, t)
	}
	p.came.Steps = p.steps.n.Load()
	return p.came
}

// together runs f n times at once.
func (p *process) together(n int, f func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// open opens one and notes what came of it.
func (p *process) open(ctx context.Context, o tenant.Opening) bool {
	_, err := p.ledger.Open(ctx, p.node, o)
	p.mu.Lock()
	defer p.mu.Unlock()
	var r *tenant.Refusal
	switch {
	case err == nil:
		p.came.Admitted = append(p.came.Admitted, o.ConnectionID)
	case errors.As(err, &r):
		p.came.Refused[r.Code]++
		if r.Max == 0 || r.Current < r.Max {
			p.came.Failed = append(p.came.Failed, fmt.Sprintf("%v with %d of %d", err, r.Current, r.Max))
		}
	case errors.As(err, new(*tenant.Elsewhere)):
		p.came.Sent++
	case errors.Is(err, billing.ErrNodeEnded):
		p.came.Ended++
	default:
		p.came.Failed = append(p.came.Failed, err.Error())
	}
	return err == nil
}

func (p *process) close(ctx context.Context, id string) {
	p.check(p.ledger.Close(ctx, id, tenant.Ending{Reason: tenant.EndClient, Duration: time.Second}))
}

func (p *process) check(err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came.Failed = append(p.came.Failed, err.Error())
}

// churn comes and goes.
func (p *process) churn(ctx context.Context, t task, random *rand.Rand) {
	var mine []string
	for range 25 {
		if len(mine) == 0 || random.IntN(2) == 0 {
			o := opening(tenant.OperatorScope(t.Tenant), fmt.Sprintf("%s-%d", t.Channel, random.IntN(3)), tenant.RecvOnly)
			o.ClientID = fmt.Sprintf("client-%d", random.IntN(6))
			o.Duplicates = []tenant.Duplicates{tenant.DuplicatesAllow, tenant.DuplicatesReplace}[random.IntN(2)]
			if p.open(ctx, o) {
				mine = append(mine, o.ConnectionID)
				p.check(p.ledger.Connected(ctx, o.ConnectionID, 0))
			}
			continue
		}
		i := random.IntN(len(mine))
		p.together(2, func(int) { p.close(ctx, mine[i]) })
		mine = append(mine[:i], mine[i+1:]...)
	}
	for _, id := range mine {
		p.close(ctx, id)
	}
}

// lifeMetered is how long life's first connection is metered: past a quarter of an hour.
const lifeMetered = 16*time.Minute + time.Second

// life is one connection's whole story, and that of one that takes over its place.
func (p *process) life(ctx context.Context, t task) {
	scope := tenant.OperatorScope(t.Tenant)
	first, second := opening(scope, t.Channel, tenant.SendOnly), opening(scope, t.Channel, tenant.SendOnly)
	second.Duplicates = tenant.DuplicatesReplace
	p.open(ctx, first)
	p.check(p.ledger.Connected(ctx, first.ConnectionID, time.Second))
	p.check(p.ledger.Beat(ctx, p.node, []billing.Mark{{ConnectionID: first.ConnectionID, Connected: lifeMetered, BytesIn: 961}}))
	p.check(p.ledger.RollUp(ctx, t.Tenant))
	p.open(ctx, second)
	p.check(p.ledger.Connected(ctx, second.ConnectionID, time.Second))
	p.check(p.ledger.RollUp(ctx, t.Tenant))
	p.check(p.ledger.Close(ctx, second.ConnectionID, tenant.Ending{Reason: tenant.EndClient, Duration: 2 * time.Second}))
}

// child is a process as its parent has it.
type child struct {
	t    testing.TB
	node string
	cmd  *exec.Cmd
	in   *json.Encoder
	out  *json.Decoder
}

// startProcess starts the process of a new node; it ends with the test, or with us.
func (b *bench) startProcess(spec processSpec) *child {
	b.t.Helper()
	spec.URL, spec.Node = b.pool.Config().ConnString(), b.newNode()
	text, err := json.Marshal(spec)
	b.must(err)
	program, err := os.Executable()
	b.must(err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), processEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	b.must(err)
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(cmd.Start())
	b.t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill() // it may be stopped
		cmd.Wait()
	})
	return &child{b.t, spec.Node, cmd, json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}
}

// ask gives the process a task without waiting for the outcome.
func (c *child) ask(t task) {
	c.t.Helper()
	if err := c.in.Encode(t); err != nil {
		c.t.Fatal(err)
	}
}

// answer is the outcome.
func (c *child) answer() (o outcome) {
	c.t.Helper()
	if err := c.out.Decode(&o); err != nil {
		c.t.Fatalf("a process ended: %v", err)
	}
	for _, failure := range o.Failed {
		c.t.Error(failure)
	}
	return o
}

func (c *child) do(t task) outcome {
	c.t.Helper()
	c.ask(t)
	return c.answer()
}

// lose ends the node as cluster does it when its lease has run out.
func (b *bench) lose(node string) int {
	b.t.Helper()
	b.must(pgx.BeginFunc(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(b.t.Context(), `select from node where node_id = $1 for update`, node); err != nil {
			return err
		}
		_, err := tx.Exec(b.t.Context(), `update node set state = 'lost', ended_at = clock_timestamp() where node_id = $1`, node)
		return err
	}))
	n, err := b.EndNode(b.t.Context(), node)
	b.must(err)
	return n
}

// guard has the database itself refuse to take a place that there is not, whoever
// would: an error of it is a failure of the test.
func (b *bench) guard() {
	b.t.Helper()
	owner, err := pgx.Connect(b.t.Context(), b.pool.Config().ConnString())
	b.must(err)
	defer owner.Close(context.Background())
	_, err = owner.Exec(b.t.Context(), `
		create function guard_tenant() returns trigger language plpgsql as $$ begin
			if new.connections > old.connections and new.connections > new.max_connections then
				raise exception 'tenant % would have % of % connections', new.tenant_id, new.connections, new.max_connections;
			end if;
			return new;
		end $$;
		create trigger guard before update on tenant_live for each row execute function guard_tenant();
		create function guard_channel() returns trigger language plpgsql as $$ declare most int; begin
			select max_per_channel into most from tenant_live where tenant_id = new.tenant_id;
			if new.connections > most and (tg_op = 'INSERT' or new.connections > old.connections) then
				raise exception 'channel % would have % of % connections', new.channel_id, new.connections, most;
			end if;
			return new;
		end $$;
		create trigger guard before insert or update on channel_live for each row execute function guard_channel();`)
	b.must(err)
}
