package webhooks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
)

// bench is the engine on a database of its own, with one tenant.
type bench struct {
	*testing.B
	world
	s tenant.Scope
}

func newBench(b *testing.B) *bench {
	pool := dbtest.New(b)
	store, err := tenant.NewStore(pool, []byte(strings.Repeat("k", 32)), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	w := &bench{B: b, world: world{pool: pool, store: store}}
	w.hooks = webhooks.New(pool, store, webhooks.Config{EgressAllow: []netip.Prefix{loopback}, Log: slog.New(slog.DiscardHandler)})
	made, err := store.CreateTenant(b.Context(), tenant.NewTenant{Name: "bench", Email: "bench@example.com"})
	if err != nil {
		b.Fatal(err)
	}
	w.s = tenant.OperatorScope(made.Tenant)
	return w
}

// run starts the engine until the benchmark ends.
func (w *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { w.hooks.Run(ctx) })
	w.B.Cleanup(func() {
		cancel()
		ended.Wait()
	})
}

func (w *bench) endpoint(url string, types ...string) {
	if _, _, err := w.hooks.CreateEndpoint(w.B.Context(), w.s, url, webhooks.Choice{Types: types}); err != nil {
		w.B.Fatal(err)
	}
}

// write appends n events of as many connections in transactions of 100.
func (w *bench) write(kind tenant.EventType, n int, wake bool) {
	for i := 0; i < n; i += 100 {
		var events []tenant.Event
		for k := range min(100, n-i) {
			e := event(kind, fmt.Sprintf("C%d", i+k))
			e.Tenant, e.Timestamp = w.s.Tenant(), time.Now()
			events = append(events, e)
		}
		if err := pgx.BeginFunc(w.B.Context(), w.pool, func(tx pgx.Tx) error { return w.hooks.Append(w.B.Context(), tx, events...) }); err != nil {
			w.B.Fatal(err)
		}
		if wake {
			w.hooks.Wake(w.s.Tenant())
		}
	}
}

// sink is a receiver that counts, and notes how long each event took to come.
type sink struct {
	*httptest.Server
	n    atomic.Int64
	mu   sync.Mutex
	took []time.Duration // Guarded by mu
}

func newSink(b *testing.B) *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		now := time.Now()
		var got struct{ Timestamp time.Time }
		if json.Unmarshal(body, &got) == nil {
			s.mu.Lock()
			s.took = append(s.took, now.Sub(got.Timestamp))
			s.mu.Unlock()
		}
		s.n.Add(1)
		rw.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(s.Close)
	return s
}

func (s *sink) wait(b *testing.B, n int) {
	deadline := time.Now().Add(2 * time.Minute)
	for s.n.Load() < int64(n) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d came", s.n.Load(), n)
		}
		time.Sleep(time.Millisecond)
	}
}

// percentiles reports p50 and p99 in ms.
func percentiles(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	if len(took) > 0 {
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
}

// BenchmarkDeliveries: a backlog of events of as many connections goes to receivers
// on this machine through the whole engine, Postgres included, beside plain loops
// that sign and POST an event of the same size with the same client: one request at a
// time, and eight at a time for each endpoint. The percentiles are of the requests.
func BenchmarkDeliveries(b *testing.B) {
	for _, endpoints := range []int{1, 5} {
		b.Run(fmt.Sprint("endpoints=", endpoints), func(b *testing.B) {
			const deliveries = 20_000
			events := deliveries / endpoints
			for b.Loop() {
				w := newBench(b)
				s := newSink(b)
				for i := range endpoints {
					w.endpoint(fmt.Sprint(s.URL, "/", i))
				}
				w.write(tenant.ConnectionCreated, events, false)
				began := time.Now()
				w.run()
				s.wait(b, deliveries)
				engine := deliveries / time.Since(began).Seconds()
				one, took := plain(b, 1, deliveries)
				eight, took8 := plain(b, 8*endpoints, deliveries)
				b.ReportMetric(engine, "deliveries/s")
				b.ReportMetric(one, "loop/s")
				b.ReportMetric(eight, "loop-8/s")
				b.ReportMetric(engine/one, "of-loop")
				b.ReportMetric(engine/eight, "of-loop-8")
				w.report("request", `select (a.exchange->'timing'->>'total')::float8 / 1000 from delivery_attempt a`)
				percentiles(b, "loop", took)
				percentiles(b, "loop-8", took8)
			}
		})
	}
}

// report reports the percentiles of what a query returns, in ms.
func (w *bench) report(name, sql string) {
	rows, err := w.pool.Query(w.B.Context(), sql)
	if err != nil {
		w.B.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[float64])
	if err != nil {
		w.B.Fatal(err)
	}
	took := make([]time.Duration, len(list))
	for i, ms := range list {
		took[i] = time.Duration(ms * float64(time.Millisecond))
	}
	percentiles(w.B, name, took)
}

// plain is the rate of n signed POSTs, so many at a time, and how long each took.
func plain(b *testing.B, at, n int) (rate float64, took []time.Duration) {
	s := newSink(b)
	client := webhooks.NewGuardedClient(webhooks.Egress{Allow: []netip.Prefix{loopback}, IdlePerHost: 64})
	secret := tenant.WebhookSecretPrefix + "bm90aGluZyBhdCBhbGwgYnV0IGEgc2VjcmV0"
	e := event(tenant.ConnectionCreated, tenant.NewID())
	e.ID, e.Timestamp = "evt_"+tenant.NewID(), time.Now()
	took = make([]time.Duration, n)
	var next atomic.Int64
	began := time.Now()
	var loops sync.WaitGroup
	for range at {
		loops.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(n) {
					return
				}
				start := time.Now()
				if err := webhooks.PlainPost(b.Context(), client, s.URL, secret, e); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	loops.Wait()
	return float64(n) / time.Since(began).Seconds(), took
}

// BenchmarkLatency: single events, from before their transaction to the receiver.
func BenchmarkLatency(b *testing.B) {
	w := newBench(b)
	s := newSink(b)
	w.endpoint(s.URL)
	w.run()
	n := 0
	for b.Loop() {
		w.write(tenant.ConnectionCreated, 1, true)
		n++
		s.wait(b, n)
	}
	percentiles(b, "event-to-receiver", s.took)
	// From the event's row to the row of its delivery.
	w.report("fan-out", `select extract(epoch from created_at - event_at)::float8 * 1000 from delivery_all`)
}

// BenchmarkFanOut: how fast events become deliveries, beside one statement that
// inserts as many rows.
func BenchmarkFanOut(b *testing.B) {
	for _, endpoints := range []int{1, 5} {
		b.Run(fmt.Sprint("endpoints=", endpoints), func(b *testing.B) {
			const events = 5000
			for b.Loop() {
				w := newBench(b)
				hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
				}))
				b.Cleanup(hang.Close)
				for range endpoints {
					w.endpoint(hang.URL)
				}
				w.write(tenant.ConnectionCreated, events, false)
				began := time.Now()
				w.run()
				for left := 1; left > 0; time.Sleep(time.Millisecond) {
					if err := w.pool.QueryRow(b.Context(), `select l.event_seq - c.seq from webhook_cursor c join tenant_live l using (tenant_id)`).Scan(&left); err != nil {
						b.Fatal(err)
					}
				}
				rate := events / time.Since(began).Seconds()
				began = time.Now()
				if _, err := w.pool.Exec(b.Context(), `insert into delivery (tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, ordering_key, state, replay)
					select tenant_id, 'copy_' || delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, 'copy/' || ordering_key, 'waiting', 1 from delivery`); err != nil {
					b.Fatal(err)
				}
				plain := events / time.Since(began).Seconds()
				b.ReportMetric(rate, "events/s")
				b.ReportMetric(plain, "insert-select/s")
				b.ReportMetric(rate/plain, "of-insert-select")
			}
		})
	}
}

// BenchmarkHanging: five endpoints that answer beside one that never does and has
// 5,000 events waiting; single events, and how long they take to come.
func BenchmarkHanging(b *testing.B) {
	w := newBench(b)
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	b.Cleanup(hang.Close)
	w.endpoint(hang.URL, string(tenant.ConnectionConnecting), string(tenant.ConnectionCreated))
	s := newSink(b)
	for i := range 5 {
		w.endpoint(fmt.Sprint(s.URL, "/", i), string(tenant.ConnectionCreated))
	}
	w.write(tenant.ConnectionConnecting, 5000, false)
	w.run()
	n := 0
	for b.Loop() {
		w.write(tenant.ConnectionCreated, 1, true)
		n += 5
		s.wait(b, n)
	}
	percentiles(b, "healthy", s.took)
}
