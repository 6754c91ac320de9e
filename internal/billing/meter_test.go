package billing_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// newSteppedBench is newBench on a database whose clock step sets.
func newSteppedBench(t *testing.T) (b *bench, step func(offset time.Duration)) {
	t.Helper()
	b = newBench(t)
	owner, err := pgx.Connect(t.Context(), b.pool.Config().ConnString())
	b.must(err)
	defer owner.Close(context.Background())
	for _, sql := range []string{
		`create schema stepped`,
		`create table stepped.step (by_time interval not null)`,
		`insert into stepped.step values ('0')`,
		`create function stepped.clock_timestamp() returns timestamptz language sql volatile as
			$$ select pg_catalog.clock_timestamp() + by_time from stepped.step $$`,
		`grant usage on schema stepped to hibari_worker, hibari_request`,
		`grant select, update on stepped.step to hibari_worker, hibari_request`,
	} {
		_, err := owner.Exec(t.Context(), sql)
		b.must(err)
	}
	config := b.pool.Config()
	config.ConnConfig.RuntimeParams["search_path"] = "stepped, pg_catalog, public"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	b.must(err)
	t.Cleanup(pool.Close)
	b.pool, b.Ledger = pool, billing.NewLedger(pool, new(webhooks.Webhooks).Queue, slog.New(slog.DiscardHandler))
	return b, func(offset time.Duration) { b.exec(`update stepped.step set by_time = $1`, offset) }
}

// Whatever is done to the database's clock, a connection costs what its node's monotonic
// clock says, and is rolled up once.
func TestTheClockIsSet(t *testing.T) {
	b, step := newSteppedBench(t)
	scope := b.newTenant(9, 9)
	step(24 * time.Hour)
	if set := one[time.Time](b, `select clock_timestamp()`); time.Until(set) < 23*time.Hour {
		t.Fatal("the clock cannot be set")
	}
	step(0)
	id, lost, replaced := b.openConnected(scope, "room", 0), b.openConnected(scope, "lost", 0), opening(scope, "hall", tenant.SendOnly)
	if _, err := b.Open(t.Context(), b.node, replaced); err != nil {
		t.Fatal(err)
	}
	b.must(b.Connected(t.Context(), replaced.ConnectionID, 0))
	elapsed := time.Duration(0)
	for _, offset := range []time.Duration{time.Hour, -3 * time.Hour, 48 * time.Hour, -time.Minute, 0} {
		step(offset)
		elapsed += 7*time.Minute + 10*time.Second
		marks := []billing.Mark{{ConnectionID: id, Connected: elapsed, BytesIn: int64(elapsed / time.Second)}, {ConnectionID: lost, Connected: elapsed}}
		b.must(b.Beat(t.Context(), b.node, append(marks, marks...)))
		b.must(b.Beat(t.Context(), b.node, marks)) // doubled
		b.roll(scope)
	}
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: replaced.ConnectionID, Connected: 10 * time.Second}}))
	step(5 * time.Hour)
	again := replaced
	again.ConnectionID, again.Duplicates = tenant.NewID(), tenant.DuplicatesReplace
	if _, err := b.Open(t.Context(), b.node, again); err != nil {
		t.Fatal(err)
	}
	b.must(b.Close(t.Context(), again.ConnectionID, tenant.Ending{Reason: tenant.EndClient}))
	step(-5 * time.Hour)
	b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: elapsed + 5*time.Second, BytesIn: int64(elapsed / time.Second)}))
	b.lose(b.node)
	b.roll(scope)

	for _, test := range []struct {
		id            string
		least, beyond time.Duration
	}{{id, elapsed + 5*time.Second, 0}, {lost, elapsed, 0}, {replaced.ConnectionID, 10 * time.Second, 15 * time.Second}} {
		h, err := b.Connection(t.Context(), scope, test.id)
		b.must(err)
		if length := h.EndedAt.Sub(h.ConnectedAt); length < test.least || length > test.least+test.beyond {
			t.Errorf("it lasted %v, want %v", length, test.least)
		}
	}
	if err := sameSlots(b.slots(scope), b.recomputed(scope)); err != nil {
		t.Error(err)
	}
	b.check(scope)
}

// What is refused, or never has media, costs nothing and is no use; what comes back as
// the same connection goes on where it was.
func TestWhatCostsNothing(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(2, 2)
	never := b.open(scope, "room", tenant.SendRecv)
	lost := b.open(scope, "room", tenant.SendRecv)
	var full *tenant.Refusal
	if _, err := b.Open(t.Context(), b.node, opening(scope, "room", tenant.SendRecv)); !errors.As(err, &full) {
		t.Fatal(err)
	}
	b.must(b.Reject(t.Context(), opening(scope, "room", tenant.SendRecv), full))
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: never, Connected: time.Hour}}))
	b.must(b.Close(t.Context(), never, tenant.Ending{Reason: tenant.EndClient}))
	b.lose(b.node)
	b.node = b.newNode()
	b.roll(scope)
	if n := one[int](b, `select count(*) from usage_slot`); n != 0 {
		t.Errorf("%d slots of use", n)
	}
	used, _, err := b.Used(t.Context(), b.pool, scope.Tenant(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil || !used.IsZero() {
		t.Errorf("%+v (%v) was used", used, err)
	}
	if n := one[int](b, `select count(*) from connection where connection_id = any($1) and (connected_at is not null or metered_through is not null)`, []string{never, lost}); n != 0 {
		t.Errorf("%d connections were metered", n)
	}

	o := opening(scope, "room", tenant.SendRecv)
	for range 2 { // the answer to the first was lost
		if _, err := b.Open(t.Context(), b.node, o); err != nil {
			t.Fatal(err)
		}
	}
	b.must(b.Connected(t.Context(), o.ConnectionID, 0))
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: o.ConnectionID, Connected: 30 * time.Second}}))
	b.must(b.Connected(t.Context(), o.ConnectionID, 0)) // its media connects again: ICE restarts, the same segment
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: o.ConnectionID, Connected: 50 * time.Second}}))
	for range 2 {
		b.must(b.Close(t.Context(), o.ConnectionID, tenant.Ending{Reason: tenant.EndClient, Duration: 55 * time.Second}))
	}
	b.roll(scope)
	used, _, err = b.Used(t.Context(), b.pool, scope.Tenant(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if want := (rating.Usage{Connections: 1, Seconds: 55, Minutes: 1, BilledSeconds: 60}); err != nil || used != want {
		t.Errorf("used %+v (%v), want %+v", used, err, want)
	}
}
