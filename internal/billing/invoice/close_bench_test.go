package invoice_test

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations"
	"github.com/hibari/hibari/migrations/privatepg"
)

var closeSegments = flag.Int("close.segments", 20_000, "how many segments a month has in the benchmark of its closing")

// BenchmarkClose closes a month of segments on a Postgres that writes to the disk: one
// whose segments are rolled up, as nodes do it in the course of the month, and one of
// which nothing is. Beside them the plainest SQL that comes to the same amounts: one pass
// over the month's segments.
func BenchmarkClose(b *testing.B) {
	l := durable(b)
	ctx := context.Background()
	for b.Loop() {
		rolled, raw := l.month(*closeSegments), l.month(*closeSegments)
		l.must(l.ledger.RollUp(ctx, rolled.Tenant()))
		l.exec(`analyze connection, usage_slot`)
		began := time.Now()
		heap := peakHeap(func() { l.closeThrough(rolled, "2026-06") })
		took := time.Since(began)
		began = time.Now()
		rawHeap := peakHeap(func() { l.closeThrough(raw, "2026-06") })
		rawTook := time.Since(began)
		began = time.Now()
		var minutes, bytes, amount int64
		l.must(l.pool.QueryRow(ctx, `
			select sum(m), sum(bytes_out), ceil(sum(m) / 10) * 10 + round(greatest(sum(bytes_out) / 1e9 - 10, 0) * 12.5)
			from (select greatest(1, ceil(extract(epoch from ended_at - connected_at) / 60)) as m, bytes_out from connection
				where tenant_id = $1 and connected_at >= $2 and connected_at < $3) s`,
			raw.Tenant(), at(tokyo, "2026-06-01"), at(tokyo, "2026-07-01")).Scan(&minutes, &bytes, &amount))
		plain := time.Since(began)
		for _, scope := range []tenantScope{rolled, raw} {
			if i := l.invoice(scope, "2026-06"); i.Lines[0].Usage.Minutes != minutes || i.Lines[1].Usage.BytesOut != bytes || i.Subtotal != amount {
				b.Fatalf("%+v, %d minutes, %d bytes, %d", i.Lines, minutes, bytes, amount)
			}
		}
		n := float64(*closeSegments)
		b.ReportMetric(took.Seconds()*1000, "rolled-ms")
		b.ReportMetric(rawTook.Seconds()*1000, "raw-ms")
		b.ReportMetric(plain.Seconds()*1000, "plain-ms")
		b.ReportMetric(n/took.Seconds(), "rolled-rows/s")
		b.ReportMetric(n/rawTook.Seconds(), "raw-rows/s")
		b.ReportMetric(n/plain.Seconds(), "plain-rows/s")
		b.ReportMetric(heap, "rolled-MB")
		b.ReportMetric(rawHeap, "raw-MB")
	}
	b.ReportMetric(0, "ns/op")
}

// month is a tenant with so many segments in June 2026: in 200 channels, of 20 minutes on
// average.
func (b *bench) month(n int) tenantScope {
	b.t.Helper()
	scope := b.newTenant(tokyo, "2026-06-01")
	b.give(scope, "2026-06-01", "metered")
	b.exec(`
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
			opened_at, connected_at, metered_through, ended_at, end_reason, bytes_out)
		select $1 || '-' || n, $1, 'room-' || n % 200, $1, $2, case when n % 3 = 0 then 'sendonly' else 'recvonly' end, 'c', 'sora',
			at, at, at + length, at + length, 'client', 40000000 + n % 1000000
		from (
			select n, $3::timestamptz + n * (interval '29 days' / $4) as at,
				-ln(1 - (hashint4(n::int) & 65535) / 65536.0) * interval '20 minutes' as length
			from generate_series(0, $4 - 1) as n
		) s`, scope.Tenant(), b.node, at(tokyo, "2026-06-01"), n)
	return scope
}

// durable is a bench on a Postgres of its own, with its disk.
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
	config, err := pgxpool.ParseConfig(c.URL())
	if err != nil {
		b.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["role"] = tenant.WorkerRole
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return newBenchOn(b, pool)
}

// peakHeap returns how many MB the heap grows by at most while f runs.
func peakHeap(f func()) float64 {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var over atomic.Bool
	most := make(chan uint64)
	go func() {
		var now runtime.MemStats
		peak := uint64(0)
		for !over.Load() {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
			time.Sleep(5 * time.Millisecond) // how often it looks, not a wait for anything
		}
		most <- peak
	}()
	f()
	over.Store(true)
	return max(0, float64(<-most)-float64(before.HeapAlloc)) / (1 << 20)
}
