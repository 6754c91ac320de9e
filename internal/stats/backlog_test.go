package stats_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations"
	"github.com/hibari/hibari/migrations/dbtest"
)

// TestSamplesWaitForTheDatabase: what could not be written is, later, with the times
// at which it was so; and a tenant that has too much loses its own oldest alone.
func TestSamplesWaitForTheDatabase(t *testing.T) {
	h := newHouse(t)
	config := h.pool.Config()
	config.ConnConfig.Host, config.ConnConfig.Port, config.ConnConfig.Fallbacks = "127.0.0.1", 1, nil // nobody listens there
	away, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	store := stats.New(away, slog.New(slog.DiscardHandler))
	const many = 30_000
	for i := range int64(many + 100) {
		store.Ended(sfu.Reading{Tenant: h.theirs.Tenant(), ConnectionID: fmt.Sprint("c", i), At: time.Now(), Connected: time.Second})
	}
	for i := int64(1); i <= 3; i++ {
		store.Ended(reading(h.ours, "viewer", 10*i, time.Duration(3-i)*10*time.Second))
	}
	if c := store.Counts(); c.Waiting != many+3 || c.Dropped != 100 {
		t.Fatalf("there wait %d, and %d were dropped", c.Waiting, c.Dropped)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); store.Run(ctx, quiet{}, same) }()
	eventually(t, "it has tried", func() bool { return store.Counts().Failed > 0 })
	cancel()
	<-ran
	if c := store.Counts(); c.Waiting != many+3 || c.Dropped != 100 || c.Written != 0 {
		t.Fatalf("after it failed there wait %d, and %d were dropped", c.Waiting, c.Dropped)
	}
	store.Use(h.pool) // it is back
	ctx, cancel = context.WithCancel(t.Context())
	ran = make(chan struct{})
	go func() { defer close(ran); store.Run(ctx, quiet{}, same) }()
	eventually(t, "all is written", func() bool { return store.Counts().Written == many+3 })
	cancel()
	<-ran
	got := h.series(h.ours, stats.SeriesQuery{ConnectionID: "viewer"}).Intervals
	if len(got) != 3 || got[2].At.Sub(got[0].At).Round(time.Second) != 20*time.Second {
		t.Errorf("written late are %+v", got)
	}
}

// TestSamplesGoAfterADay: by whole partitions.
func TestSamplesGoAfterADay(t *testing.T) {
	h := newHouse(t)
	for _, ago := range []time.Duration{26 * time.Hour, 23 * time.Hour, 0} {
		h.store.Ended(reading(h.ours, "viewer", 10, ago))
	}
	eventually(t, "they are written", func() bool { return h.store.Counts().Written == 3 })
	for range 3 { // one makes partitions for what was late, one drops
		if _, err := migrations.KeepPartitions(t.Context(), h.pool); err != nil {
			t.Fatal(err)
		}
	}
	var left int
	if err := h.pool.QueryRow(t.Context(), `select count(*) from connection_sample where connection_id = 'viewer'`).Scan(&left); err != nil || left != 2 {
		t.Errorf("%d samples are left, want 2 (%v)", left, err)
	}
}

// BenchmarkSampling is what it costs to sample 5,000 connections and write that.
func BenchmarkSampling(b *testing.B) {
	h := &house{pool: dbtest.New(b)}
	id := tenant.ID("ten_BENCH")
	if _, err := h.pool.Exec(b.Context(), `insert into tenant (tenant_id, name) values ($1, 'bench')`, id); err != nil {
		b.Fatal(err)
	}
	store := stats.New(h.pool, slog.New(slog.DiscardHandler))
	readings := make([]sfu.Reading, 5000)
	round := int64(0)
	b.Run("sample", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := &readings[0]
			*r = reading(tenant.Scope{}, "viewer", 10, 0)
			r.Tenant = id
			store.Sampled(*r)
			store.Forget()
		}
	})
	b.Run("write5000", func(b *testing.B) {
		for b.Loop() {
			round++
			for i := range readings {
				readings[i] = reading(tenant.Scope{}, fmt.Sprintf("9N5VY0Z8WJ4KQ2RGTX7D3%05d", i), 10*round, 0)
				readings[i].Tenant = id
				store.Sampled(readings[i])
			}
			if err := store.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		var bytes int64
		if err := h.pool.QueryRow(b.Context(), `
			select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'connection_sample'::regclass`).Scan(&bytes); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(bytes)/float64(round*5000), "bytes/sample")
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*5000), "µs/sample")
	})
}
