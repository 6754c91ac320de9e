package invoice_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// crashEnv makes the test binary a process that closes, finalises and corrects; it has a
// crashSpec.
const crashEnv = "HIBARI_INVOICE_PROCESS"

func TestMain(m *testing.M) {
	if spec := os.Getenv(crashEnv); spec != "" {
		if err := runProcess(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashSpec is what a process is told.
type crashSpec struct {
	URL    string
	Tenant tenant.ID
	Grace  time.Duration
	Step   int64 // it kills itself before this message to the database; 0: never
}

func runProcess(text string) error {
	var spec crashSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(spec.URL)
	if err != nil {
		return err
	}
	config.ConnConfig.RuntimeParams["role"] = tenant.WorkerRole
	steps := &stepCounter{kill: spec.Step}
	config.ConnConfig.Tracer = steps
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return err
	}
	if err := billWhole(context.Background(), pool, spec.Tenant, spec.Grace); err != nil {
		return err
	}
	_, err = fmt.Println(steps.n.Load())
	return err
}

// stepCounter counts the messages to the database, and kills the process before one.
type stepCounter struct {
	n    atomic.Int64
	kill int64
}

func (s *stepCounter) step(ctx context.Context) context.Context {
	if s.n.Add(1) == s.kill {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it does not go on while it dies
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

// billWhole closes what is due of a tenant, makes its drafts final, and credits ¥10 of
// the first line of each invoice that has no credit note yet.
func billWhole(ctx context.Context, pool *pgxpool.Pool, id tenant.ID, grace time.Duration) error {
	v := invoice.New(invoice.Config{Pool: pool, Plans: billing.NewPlans(pool), Grace: grace,
		Ledger: billing.NewLedger(pool, new(webhooks.Webhooks).Queue, slog.New(slog.DiscardHandler)),
		Credit: invoice.NewCredit(pool, slog.New(slog.DiscardHandler))})
	if _, err := v.Close(ctx, id); err != nil {
		return err
	}
	all, err := v.OfTenant(ctx, operator, id, "", 10)
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.State == invoice.Draft {
			if err := v.Finalise(ctx, operator, i.ID); err != nil {
				return err
			}
		}
		if i.Credited == 0 {
			_, err := v.IssueCreditNote(ctx, operator, i.ID, invoice.CreditRequest{
				Reason: "an outage", Lines: []invoice.CreditLine{{Line: 1, Amount: 10}}, ToCredit: true})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// A process is killed before each of its messages to the database, in turn, while it
// closes a month, makes the invoice final with prepaid credit, and corrects it. Another
// one goes on, and everything is as if nothing had happened: the same invoice, once, with
// a number that leaves none out, the credit used once.
func TestKilledBeforeEachStep(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	grace := time.Since(at(tokyo, "2025-02-01")) - 20*24*time.Hour
	credit := invoice.NewCredit(b.pool, slog.New(slog.DiscardHandler))
	prepare := func() tenantScope {
		scope := b.newTenant(tokyo, "2025-01-01")
		b.give(scope, "2025-01-01", "minutes")
		b.connect(scope, at(tokyo, "2025-01-10 10:00"), at(tokyo, "2025-01-10 10:59:01"), 7)
		_, err := credit.Grant(t.Context(), operator, scope.Tenant(), invoice.NewGrant{Kind: invoice.PaidCredit, Currency: "JPY", Amount: 40, Reason: "paid"})
		b.must(err)
		return scope
	}
	run := func(scope tenantScope, step int64) (string, error) {
		spec, err := json.Marshal(crashSpec{b.pool.Config().ConnString(), scope.Tenant(), grace, step})
		if err != nil {
			return "", err
		}
		program, err := os.Executable()
		if err != nil {
			return "", err
		}
		cmd := exec.Command(program)
		cmd.Env, cmd.Stderr = append(os.Environ(), crashEnv+"="+string(spec)), os.Stderr
		out, err := cmd.Output()
		return string(out), err
	}
	state := func(scope tenantScope) string {
		i := b.invoice(scope, "2025-01")
		balances, err := credit.Balances(t.Context(), scope)
		b.must(err)
		return fmt.Sprintf("%s%s, credit %d, due %d, credited %d by %d notes, %d left", show(i), i.State, i.Credit, i.Due, i.Credited, len(i.CreditNotes), balances[0].Amount)
	}
	whole := prepare()
	out, err := run(whole, 0)
	b.must(err)
	var steps int64
	if _, err := fmt.Sscan(out, &steps); err != nil || steps < 30 {
		t.Fatalf("%q: a month has %d steps only (%v)", out, steps, err)
	}
	want := state(whole)
	b.golden(b.invoice(whole, "2025-01"), `
2025-01 2025-01-01 00:00:00 to 2025-02-01 00:00:00
metered minutes 60 @ 2 = JPY 120
tax 10 % of 120: 12
total JPY 132`)
	atOnce := make(chan struct{}, 3)
	var wg sync.WaitGroup
	scopes := make([]tenantScope, steps)
	for step := range steps {
		scopes[step] = prepare()
	}
	for step := range steps {
		wg.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			if out, err := run(scopes[step], step+1); err == nil {
				t.Errorf("step %d of %d: the process lived on: %s", step+1, steps, out)
			}
			if err := billWhole(t.Context(), b.pool, scopes[step].Tenant(), grace); err != nil {
				t.Errorf("step %d: %v", step+1, err)
			}
		})
	}
	wg.Wait()
	for step, scope := range scopes {
		if got := state(scope); got != want {
			t.Errorf("step %d: got\n%s\nwant\n%s", step+1, got, want)
		}
	}
	for _, table := range []string{"invoice", "credit_note"} {
		if n := one[int64](b, `select max(sequence) from `+table); n != steps+1 || one[int64](b, `select count(*) from `+table) != n {
			t.Errorf("%s: the last number is %d of %d", table, n, steps+1)
		}
	}
	// What each connection used is rolled up once.
	if n := one[int](b, `select count(*) from (select from usage_slot group by tenant_id having sum(seconds) <> 3541 or sum(minutes) <> 60 or sum(bytes_out) <> 7) x`); n != 0 {
		t.Errorf("%d tenants have other usage", n)
	}
}
