package billing_test

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

var meterSegments = flag.Int("meter.segments", 20_000, "how many segments a month has in the benchmarks of roll-ups and reports")

// benchMonth is the month that they are about.
var benchMonth = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// fill gives the tenant a month of n ended segments: in 200 channels, two thirds of them
// viewers, of 20 minutes on average, a few of hours.
func (b *bench) fill(scope tenant.Scope, n int) {
	b.t.Helper()
	b.exec(`insert into channel_session (session_id, tenant_id, channel_id, ended_at) values ($1, $1, 'all', clock_timestamp())`, scope.Tenant())
	b.exec(`
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
			opened_at, connected_at, metered_through, ended_at, end_reason, bytes_in, bytes_out)
		select $1 || '-' || n, $1, 'room-' || n % 200, $1, $2, case when n % 3 = 0 then 'sendonly' else 'recvonly' end, 'c', 'sora',
			at, at, at + length, at + length, 'client', n % 1000000, 40000000 + n % 1000000
		from (
			select n, $3::timestamptz + n * (interval '29 days' / $4) as at,
				-ln(1 - (hashint4(n::int) & 65535) / 65536.0) * interval '20 minutes' as length
			from generate_series(0, $4 - 1) as n
		) s`, scope.Tenant(), b.node, benchMonth, n)
	b.exec(`analyze connection`)
}

// plainly times the plainest SQL that does the same.
func (b *bench) plainly(sql string, args ...any) time.Duration {
	b.t.Helper()
	began := time.Now()
	b.exec(sql, args...)
	return time.Since(began)
}

// peakHeap returns the largest heap that there is while f runs, more than before.
func peakHeap(f func()) float64 {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var over atomic.Bool
	most := make(chan uint64)
	go func() {
		peak := uint64(0)
		for !over.Load() {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
			runtime.Gosched()
			time.Sleep(5 * time.Millisecond) // a sampling period, not a wait for anything
		}
		most <- peak
	}()
	f()
	over.Store(true)
	return max(0, float64(<-most)-float64(before.HeapAlloc)) / (1 << 20)
}

// BenchmarkBeat meters 5,000 live connections of 50 tenants, as a node does every ten
// seconds, on a Postgres that writes to the disk. Beside it a plain UPDATE of as many rows.
func BenchmarkBeat(b *testing.B) {
	l := durable(b)
	ctx := context.Background()
	const n = 5_000
	marks := make([]billing.Mark, n)
	ids := make([]string, n)
	for t := range 50 {
		scope := l.newTenant(n, n)
		l.exec(`insert into channel_session (session_id, tenant_id, channel_id) values ($1, $1, 'room')`, scope.Tenant())
		l.exec(`
			with opened as (
				insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol, connected_at, metered_through)
				select $1 || '-' || n, $1, 'room', $1, $2, 'sendrecv', 'c', 'sora', clock_timestamp(), clock_timestamp()
				from generate_series(0, $3 - 1) as n returning *
			) insert into live_connection (connection_id, tenant_id, channel_id, node_id, role) select connection_id, tenant_id, channel_id, node_id, role from opened`,
			scope.Tenant(), l.node, n/50)
		for i := range n / 50 {
			ids[t*n/50+i] = fmt.Sprintf("%s-%d", scope.Tenant(), i)
		}
	}
	l.exec(`update connection set minutes_told = 1000000`) // their events are another benchmark's
	// vacuum needs the owner; a beat's rows find room on their pages as in the product
	var metered, plain time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		for i := range marks {
			marks[i] = billing.Mark{ConnectionID: ids[i], Connected: time.Duration(rounds) * 10 * time.Second, BytesIn: int64(rounds) * 1000, BytesOut: int64(rounds) * 3000}
		}
		began := time.Now()
		if err := l.Beat(ctx, l.node, marks); err != nil {
			b.Fatal(err)
		}
		metered += time.Since(began)
		plain += l.plainly(`update connection set bytes_in = bytes_in + 1 where connection_id = any($1)`, ids)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(metered.Seconds()*1000/float64(rounds), "beat-ms")
	b.ReportMetric(plain.Seconds()*1000/float64(rounds), "plain-ms")
	b.ReportMetric(float64(n*rounds)/metered.Seconds(), "rows/s")
	l.exec(`select pg_stat_force_next_flush()`)
	b.ReportMetric(one[float64](l, `select 100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0) from pg_stat_user_tables where relname = 'connection'`), "hot-%")
}

// BenchmarkRollUp rolls up a month of segments that nobody has rolled up, in batches. The
// plain SQL beside it counts the same segments by the quarter in which they began, into a
// table, and notes on each that it did.
func BenchmarkRollUp(b *testing.B) {
	l := durable(b)
	for b.Loop() {
		scope, other := l.newTenant(1, 1), l.newTenant(1, 1)
		l.fill(scope, *meterSegments)
		l.fill(other, *meterSegments)
		began := time.Now()
		heap := peakHeap(func() { l.must(l.RollUp(context.Background(), scope.Tenant())) })
		took := time.Since(began)
		plain := l.plainly(`
			with counted as (
				insert into usage_slot (tenant_id, slot, channel_id, role, recorded_at, connections, seconds, minutes, billed_seconds, bytes_in, bytes_out)
				select tenant_id, date_bin('15 minutes', connected_at, 'epoch'), channel_id, role, clock_timestamp(), count(*),
					sum(floor(extract(epoch from ended_at - connected_at))), sum(ceil(extract(epoch from ended_at - connected_at) / 60)), 0,
					sum(bytes_in), sum(bytes_out)
				from connection where tenant_id = $1 group by 1, 2, 3, 4
			) update connection set rolled_at = clock_timestamp(), increment_s = 60, minimum_s = 60 where tenant_id = $1`, other.Tenant())
		if n := one[int](l, `select sum(connections) from usage_slot where tenant_id = $1`, scope.Tenant()); n != *meterSegments {
			b.Fatalf("rolled up %d segments", n)
		}
		b.ReportMetric(float64(*meterSegments)/took.Seconds(), "rows/s")
		b.ReportMetric(float64(*meterSegments)/plain.Seconds(), "plain-rows/s")
		b.ReportMetric(heap, "MB")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkReport reads a month by days: from the roll-ups and, before there are any, from
// the connections. Beside it a plain GROUP BY of the connections by the day they began.
func BenchmarkReport(b *testing.B) {
	l := durable(b)
	ctx := context.Background()
	scope := l.newTenant(1, 1)
	l.fill(scope, *meterSegments)
	read := func() (took time.Duration, heap float64) {
		began := time.Now()
		heap = peakHeap(func() {
			rows, err := l.Usage(ctx, scope, benchMonth, benchMonth.AddDate(0, 1, 0), billing.ByDay)
			l.must(err)
			var n int64
			for _, row := range rows {
				n += row.Connections
			}
			if n != int64(*meterSegments) {
				b.Fatalf("the report counts %d connections", n)
			}
		})
		return time.Since(began), heap
	}
	raw, rawHeap := read()
	l.must(l.RollUp(ctx, scope.Tenant()))
	l.exec(`analyze connection, usage_slot`)
	var took, plain time.Duration
	var heap float64
	rounds := 0
	for b.Loop() {
		rounds++
		t, h := read()
		took, heap = took+t, max(heap, h)
		plain += l.plainly(`
			select date_trunc('day', connected_at, 'Asia/Tokyo') as day, count(*), sum(floor(extract(epoch from ended_at - connected_at))),
				sum(ceil(extract(epoch from ended_at - connected_at) / 60)), sum(bytes_in), sum(bytes_out)
			from connection where tenant_id = $1 and connected_at >= $2 and connected_at < $3 group by 1`,
			scope.Tenant(), benchMonth, benchMonth.AddDate(0, 1, 0))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took.Seconds()*1000/float64(rounds), "rolled-ms")
	b.ReportMetric(plain.Seconds()*1000/float64(rounds), "plain-ms")
	b.ReportMetric(raw.Seconds()*1000, "raw-ms")
	b.ReportMetric(float64(one[int](l, `select count(*) from usage_slot`)), "slots")
	b.ReportMetric(heap, "MB")
	b.ReportMetric(rawHeap, "raw-MB")
}
