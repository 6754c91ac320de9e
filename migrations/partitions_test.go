package migrations_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations"
	"github.com/hibari/hibari/migrations/dbtest"
)

// kept is a migrated database with a tenant, as its owner and as the platform see it.
type kept struct {
	t             *testing.T
	owner, worker *pgxpool.Pool
}

func newKept(t *testing.T) *kept {
	t.Helper()
	url := dbtest.URL(t)
	pool := func(role string) *pgxpool.Pool {
		config, err := pgxpool.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		if role != "" {
			config.ConnConfig.RuntimeParams["role"] = role
		}
		p, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	k := &kept{t: t, owner: pool(""), worker: pool(tenant.WorkerRole)}
	k.exec(`insert into tenant (tenant_id, name) values ('ten_LARK', 'Lark')`)
	k.exec(`delete from partitioned where parent <> 'event'`) // the template may be hours old, and then others are due
	return k
}

// exec works as the schema's owner.
func (k *kept) exec(sql string, args ...any) {
	k.t.Helper()
	if _, err := k.owner.Exec(k.t.Context(), sql, args...); err != nil {
		k.t.Fatalf("%s: %v", sql, err)
	}
}

// event writes one that was recorded ago before now.
func (k *kept) event(seq int, ago time.Duration) error {
	_, err := k.worker.Exec(k.t.Context(), `insert into event (tenant_id, seq, event_id, type, occurred_at, recorded_at)
		values ('ten_LARK', $1::int, 'evt_' || $1::int, 'ping', now(), now() - $2::interval)`, seq, ago)
	return err
}

// keep calls KeepPartitions and returns what it did.
func (k *kept) keep() string {
	k.t.Helper()
	steps, err := migrations.KeepPartitions(k.t.Context(), k.worker)
	if err != nil {
		k.t.Fatal(err)
	}
	var did []string
	for _, step := range steps {
		did = append(did, strings.TrimSpace(fmt.Sprint(step.Done, " ", step.Problem)))
	}
	return strings.Join(did, ", ")
}

// events returns the seqs that the platform sees.
func (k *kept) events() string {
	k.t.Helper()
	return strings.Join(catalogue(k.t, k.worker, `select seq::text from event order by seq`), " ")
}

func (k *kept) strays() (n int64) {
	k.t.Helper()
	states, err := migrations.PartitionStates(k.t.Context(), k.worker)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, s := range states {
		if s.Parent == "event" {
			return s.Strays
		}
	}
	k.t.Fatal("events have no state")
	return 0
}

// Partitions are made ahead, and dropped when the time of what they hold is over.
func TestPartitionsComeAndGo(t *testing.T) {
	k := newKept(t)
	if did := k.keep(); did != "" {
		t.Errorf("a new database needed %s", did)
	}
	k.exec(`update partitioned set ahead = '35 days' where parent = 'event'`)
	if did := k.keep(); did != "made, made, made" {
		t.Errorf("three weeks more: %s", did)
	}
	states, err := migrations.PartitionStates(t.Context(), k.worker)
	events := slices.IndexFunc(states, func(s migrations.PartitionState) bool { return s.Parent == "event" })
	if err != nil || events < 0 || time.Until(states[events].ReadyUntil) < 35*24*time.Hour {
		t.Errorf("ready until %v, %v", states, err)
	}
	// Rows that found no partition get one, or are deleted if they are too old for any.
	day := 24 * time.Hour
	for seq, ago := range []time.Duration{0, 60 * day, 20 * day, 20*day - time.Second, 9 * day, 0} {
		if err := k.event(seq, ago); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.strays(); n != 4 {
		t.Errorf("%d rows are in the default partition, want 4", n)
	}
	if did := k.keep(); strings.Trim(did, "made, ") != "" || k.events() != "0 2 3 4 5" || k.strays() != 0 {
		t.Errorf("%s, and there are %s, %d of them astray", did, k.events(), k.strays())
	}
	// Within a partition a seq is there once.
	if err := k.event(5, 0); err == nil || !strings.Contains(err.Error(), "23505") {
		t.Errorf("one seq twice: %v", err)
	}
	k.exec(`update partitioned set kept = '10 days' where parent = 'event'`)
	if did := k.keep(); strings.Trim(did, "drope, ") != "" || k.events() != "4 5" && k.events() != "0 4 5" {
		t.Errorf("%s, and there are %s", did, k.events())
	}
}

// A step that cannot have its lock is put off: nobody waits for it, and the others are taken.
func TestPartitionsWaitForNobody(t *testing.T) {
	k := newKept(t)
	k.exec(`create table sample (at timestamptz not null, n int) partition by range (at)`)
	k.exec(`select partition_by_time('sample', '1 hour', '24 hours', '6 hours')`)
	if err := k.event(1, 20*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	k.keep()
	k.exec(`update partitioned set kept = '1 day' where parent = 'event'`)
	k.exec(`update partitioned set ahead = '7 hours' where parent = 'sample'`)
	reader, err := k.worker.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback(context.Background())
	if _, err := reader.Exec(t.Context(), `select from event`); err != nil {
		t.Fatal(err)
	}
	if did := k.keep(); !strings.HasPrefix(did, "made, canceling statement due to lock timeout") {
		t.Errorf("while somebody reads: %s", did)
	}
	if k.events() != "1" {
		t.Errorf("dropped under a reader: %s", k.events())
	}
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if did := k.keep(); !strings.Contains(did, "dropped") || k.events() != "" {
		t.Errorf("afterwards: %s, and there are %q", did, k.events())
	}
	// A table whose partitions cannot be kept is no other's harm.
	k.exec(`drop table sample_default`)
	k.exec(`update partitioned set ahead = '35 days' where parent = 'event'`)
	if did := k.keep(); !strings.Contains(did, "made, made") || !strings.Contains(did, "sample_default") {
		t.Errorf("beside a broken one: %s", did)
	}
}

// Many processes at once, with rows coming in: each row is there once.
func TestPartitionsAtOnce(t *testing.T) {
	k := newKept(t)
	k.exec(`update partitioned set ahead = '70 days' where parent = 'event'`)
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() {
			if _, err := migrations.KeepPartitions(t.Context(), k.worker); err != nil {
				t.Error(err)
			}
		})
	}
	working.Go(func() {
		for seq := range 200 {
			if err := k.event(seq, time.Duration(seq%40)*24*time.Hour); err != nil {
				t.Error(err)
			}
		}
	})
	working.Wait()
	k.keep()
	var twice, young int
	if err := k.worker.QueryRow(t.Context(), `select count(*) - count(distinct seq), count(*) filter (where recorded_at > now() - interval '34 days') from event`).Scan(&twice, &young); err != nil {
		t.Fatal(err)
	}
	if twice != 0 || young != 170 || k.strays() != 0 {
		t.Errorf("%d young events are there, want 170; %d are there twice, %d astray", young, twice, k.strays())
	}
}

// What a database of before has stays where it is, and back again.
func TestEventsFromBefore(t *testing.T) {
	ctx := t.Context()
	pool, err := pgxpool.New(ctx, dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	digest := func() map[string]string {
		all := dbtest.Digest(t, pool, "ten_LARK")
		return map[string]string{"event": all["event"], "delivery": all["delivery"]}
	}
	if _, err := provider.UpTo(ctx, 30); err != nil {
		t.Fatal(err)
	}
	exec(`insert into tenant (tenant_id, name) values ('ten_LARK', 'Lark')`)
	exec(`insert into tenant_live (tenant_id, event_seq) values ('ten_LARK', 500)`)
	// The last ones by a clock that was ahead.
	exec(`insert into event (tenant_id, seq, event_id, type, occurred_at, recorded_at)
		select 'ten_LARK', n, 'evt_' || n, 'ping', now(), now() - interval '30 days' + n * interval '90 minutes' from generate_series(1, 500) n`)
	exec(`insert into webhook_endpoint (endpoint_id, tenant_id, url, secret_sealed, from_seq) values ('ep_1', 'ten_LARK', 'https://example.com', '', 0)`)
	exec(`insert into delivery (delivery_id, tenant_id, endpoint_id, event_id, event_seq, ordering_key, state)
		select 'dlv_' || seq, tenant_id, 'ep_1', event_id, seq, event_id, 'delivered' from event`)
	before := digest()
	if !strings.HasPrefix(before["event"], "500 rows") || !strings.HasPrefix(before["delivery"], "500 rows") {
		t.Fatal(before)
	}
	for range 2 {
		if _, err := provider.UpTo(ctx, 31); err != nil {
			t.Fatal(err)
		}
		if after := digest(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("after the migration: %v, before: %v", after, before)
		}
		// The next event goes to a partition of its own time, not to the default one.
		exec(`insert into event (tenant_id, seq, event_id, type, occurred_at, recorded_at) values ('ten_LARK', 501, 'evt_501', 'ping', now(), now() + interval '13 days')`)
		var at string
		if err := pool.QueryRow(ctx, `select tableoid::regclass::text from event where seq = 501`).Scan(&at); err != nil || !strings.HasPrefix(at, "event_2") {
			t.Errorf("a new event is in %s, %v", at, err)
		}
		exec(`delete from event where seq = 501`)
		if _, err := provider.DownTo(ctx, 30); err != nil {
			t.Fatal(err)
		}
		if after := digest(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("taken back: %v, before: %v", after, before)
		}
	}
	if _, err := pool.Exec(ctx, `delete from event where seq = 3`); err == nil || !strings.Contains(err.Error(), "23503") {
		t.Errorf("deliveries do not hold their events any more: %v", err)
	}
}
