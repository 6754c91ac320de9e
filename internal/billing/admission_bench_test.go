package billing_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations"
	"github.com/hibari/hibari/migrations/privatepg"
)

const (
	benchClients = 256                    // who come at once
	benchSlice   = 300 * time.Millisecond // how long one kind of work is measured before the next
)

// durable returns a bench on a Postgres of its own that writes to the disk before it
// answers, with as many connections as the product has, and the table of plain rows.
func durable(b *testing.B) *bench {
	b.Helper()
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "hibari-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	c, err := privatepg.Open(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	owner, err := pgxpool.New(ctx, c.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer owner.Close()
	if _, err := migrations.Apply(ctx, owner); err != nil {
		b.Fatal(err)
	}
	if _, err := owner.Exec(ctx, `
		create table plain (id text primary key, tenant_id text not null, at timestamptz not null default clock_timestamp());
		grant insert on plain to hibari_worker`); err != nil {
		b.Fatal(err)
	}
	config, err := pgxpool.ParseConfig(c.URL())
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = 16
	config.ConnConfig.RuntimeParams["role"] = tenant.WorkerRole
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	l := &bench{billing.NewLedger(pool, new(webhooks.Webhooks).Queue, slog.New(slog.DiscardHandler)), b, pool, ""}
	if fsync := one[string](l, `show fsync`) + one[string](l, `show synchronous_commit`); fsync != "onon" {
		b.Fatal("the Postgres does not write to the disk: ", fsync)
	}
	l.node = l.newNode()
	return l
}

// rate has benchClients do work at once for a while, each again and again, and returns
// how much is done in a second.
func rate(b *testing.B, work func(client, n int) error) float64 {
	b.Helper()
	var done atomic.Int64
	begun := time.Now()
	var wg sync.WaitGroup
	for client := range benchClients {
		wg.Go(func() {
			for n := 0; time.Since(begun) < benchSlice; n++ {
				if err := work(client, n); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(begun).Seconds()
}

// BenchmarkAdmissions is how many connections a second are opened, each with its place,
// its row and its event on the disk: of one tenant, and of 50. Beside it, in turns on the
// same Postgres and by as many clients, a plain INSERT of one row with a primary key.
func BenchmarkAdmissions(b *testing.B) {
	l := durable(b)
	ctx := context.Background()
	insert := func(int, int) error {
		_, err := l.pool.Exec(ctx, `insert into plain (id, tenant_id) values ($1, $2)`, tenant.NewID(), "ten")
		return err
	}
	admit := func(tenants int) func(client, n int) error {
		scopes := make([]tenant.Scope, tenants)
		for i := range scopes {
			scopes[i] = l.newTenant(1<<30, 1<<30)
		}
		return func(client, n int) error {
			o := opening(scopes[(client+n)%tenants], fmt.Sprintf("room-%d", n%20), tenant.RecvOnly)
			_, err := l.Open(ctx, l.node, o)
			return err
		}
	}
	kinds := []struct {
		name  string
		work  func(client, n int) error
		rates []float64
	}{{name: "insert", work: insert}, {name: "one", work: admit(1)}, {name: "many", work: admit(50)}}
	for b.Loop() {
		for i := range kinds {
			kinds[i].rates = append(kinds[i].rates, rate(b, kinds[i].work))
		}
	}
	b.ReportMetric(0, "ns/op")
	var inserts float64
	for _, k := range kinds {
		slices.Sort(k.rates)
		median := k.rates[len(k.rates)/2]
		b.ReportMetric(median, k.name+"/s")
		if k.name == "insert" {
			inserts = median
		} else {
			b.ReportMetric(median/inserts, k.name+"/insert")
		}
	}
}
