package billing_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// hold keeps a tenant's row locked until the returned function is called, so
// that whoever comes meanwhile has to wait.
func (b *bench) hold(scope tenant.Scope) (release func()) {
	b.t.Helper()
	tx, err := b.pool.Begin(b.t.Context())
	b.must(err)
	_, err = tx.Exec(b.t.Context(), `select from tenant_live where tenant_id = $1 for update`, scope.Tenant())
	b.must(err)
	return func() { b.must(tx.Rollback(context.Background())) }
}

// waiting returns when so many transactions wait for a lock.
func (b *bench) waiting(n int) {
	b.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for one[int](b, `select count(distinct pid) from pg_locks l join pg_stat_activity using (pid) where datname = current_database() and not l.granted`) < n {
		if time.Now().After(deadline) {
			b.t.Fatalf("never %d transactions waited", n)
		}
	}
}

// Those who wait for the same row are admitted together, and each finds what it
// would have found alone: its place in the row of counts, its session, its event.
func TestCrowdIsAdmittedTogether(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(1000, 1000)
	b.open(scope, "old", tenant.RecvOnly)
	transactions := 0
	b.OnChange(func(tenant.ID) { transactions++ }) // by one goroutine
	release := b.hold(scope)
	const crowd = 60
	opened := make([]tenant.Opened, crowd)
	channels, roles := []string{"old", "new", "newer"}, []tenant.Role{tenant.SendOnly, tenant.RecvOnly}
	ids := make([]string, crowd)
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() {
			o := opening(scope, channels[i%3], roles[i%2])
			o.Metadata = json.RawMessage(`{"n":1}`)
			ids[i] = o.ConnectionID
			var err error
			if opened[i], err = b.Open(t.Context(), b.node, o); err != nil {
				t.Error(err)
			}
		})
	}
	b.waiting(1)
	release()
	wg.Wait()
	if transactions >= crowd {
		t.Errorf("%d transactions for %d", transactions, crowd)
	}
	for k, channel := range channels {
		var seen []int
		sessions := map[string]bool{}
		for i := k; i < crowd; i += 3 {
			seen = append(seen, opened[i].Counts.Connections)
			sessions[opened[i].SessionID] = true
			if c := opened[i].Counts; c.Connections != c.SendOnly+c.RecvOnly {
				t.Errorf("%s: %+v", channel, c)
			}
		}
		slices.Sort(seen)
		there := 0
		if channel == "old" {
			there = 1
		}
		for i, n := range seen {
			if n != there+i+1 {
				t.Fatalf("%s: counts %v", channel, seen)
			}
		}
		if len(sessions) != 1 {
			t.Errorf("%s has %d sessions", channel, len(sessions))
		}
	}
	started := 0
	for _, e := range b.events(scope) {
		if e.Type == tenant.ChannelStarted {
			started++
		}
	}
	if started != 3 {
		t.Errorf("%d channels started, want 3", started)
	}
	b.check(scope)

	transactions = 0
	release = b.hold(scope)
	for _, id := range ids {
		wg.Go(func() {
			if err := b.Connected(t.Context(), id, time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	b.waiting(1)
	release()
	wg.Wait()
	if n := one[int](b, `select count(*) from connection where tenant_id = $1 and connected_at is not null`, scope.Tenant()); n != crowd {
		t.Errorf("%d have connected", n)
	}
	if transactions >= crowd {
		t.Errorf("%d transactions for %d that connected", transactions, crowd)
	}
	b.check(scope)

	transactions = 0
	release = b.hold(scope)
	for i, id := range ids {
		wg.Go(func() {
			e := tenant.Ending{Reason: []string{tenant.EndClient, tenant.EndAPI}[i%2], Duration: time.Duration(i+2) * time.Second, BytesOut: int64(i)}
			if err := b.Close(t.Context(), id, e); err != nil {
				t.Error(err)
			}
		})
	}
	b.waiting(1)
	release()
	wg.Wait()
	if transactions >= crowd {
		t.Errorf("%d transactions for %d that left", transactions, crowd)
	}
	for i, id := range ids { // each by its own end
		reason, bytes := []string{tenant.EndClient, tenant.EndAPI}[i%2], int64(i)
		if got := one[string](b, `select end_reason from connection where connection_id = $1`, id); got != reason {
			t.Errorf("%d ended as %s", i, got)
		}
		if got := one[int64](b, `select bytes_out from connection where connection_id = $1`, id); got != bytes {
			t.Errorf("%d got %d bytes", i, got)
		}
		if got := one[float64](b, `select extract(epoch from ended_at - connected_at)::float8 from connection where connection_id = $1`, id); got != float64(i+2) {
			t.Errorf("%d lasted %v s", i, got)
		}
	}
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 1 {
		t.Errorf("%+v, %v", licence, err)
	}
	b.check(scope)
}

// Who cannot be admitted is told why, and keeps nobody else out.
func TestOneOfACrowdIsRefused(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(1000, 1000)
	first := b.open(scope, "room", tenant.RecvOnly)
	release := b.hold(scope)
	bad := opening(scope, "room", tenant.RecvOnly)
	bad.Metadata = json.RawMessage(`{"a":"\u0000"}`)
	again := opening(scope, "room", tenant.RecvOnly)
	again.ConnectionID = first
	other := opening(scope, "another room", tenant.RecvOnly)
	other.ConnectionID = first
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := b.Open(t.Context(), b.node, opening(scope, "room", tenant.RecvOnly)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		var r *tenant.Refusal
		if _, err := b.Open(t.Context(), b.node, bad); !errors.As(err, &r) || r.Code != tenant.BadMessage {
			t.Errorf("bad metadata: %v", err)
		}
	})
	wg.Go(func() {
		if opened, err := b.Open(t.Context(), b.node, again); err != nil || opened.SessionID == "" {
			t.Errorf("opening again: %+v, %v", opened, err)
		}
	})
	wg.Go(func() {
		if _, err := b.Open(t.Context(), b.node, other); !errors.Is(err, billing.ErrConnectionUsed) {
			t.Errorf("opening what is used: %v", err)
		}
	})
	b.waiting(1)
	release()
	wg.Wait()
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 11 {
		t.Errorf("%+v, %v", licence, err)
	}
	b.check(scope)
}

// A client that gives up while it waits gets no place later, and others of its
// crowd get theirs.
func TestGivenUpOpeningTakesNoPlace(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(1000, 1000)
	for range 5 {
		release := b.hold(scope)
		ctx, giveUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var left []tenant.Opening
		for i := range 9 {
			o, c := opening(scope, "room", tenant.RecvOnly), t.Context()
			if i%3 == 1 {
				left, c = append(left, o), ctx
			}
			wg.Go(func() {
				_, err := b.Open(c, b.node, o)
				if (err != nil) != (c == ctx) {
					t.Errorf("Open: %v", err)
				}
			})
			b.waiting(1) // the first is under way, the others wait for it
		}
		giveUp()
		abandoned := make(chan struct{})
		go func() {
			defer close(abandoned)
			for _, o := range left {
				if err := b.Abandon(t.Context(), o, tenant.Ending{Reason: tenant.EndFailed}); err != nil {
					t.Error(err)
				}
			}
		}()
		b.waiting(1)
		release()
		wg.Wait()
		<-abandoned
		for _, o := range left {
			if n := one[int](b, `select count(*) from live_connection where connection_id = $1`, o.ConnectionID); n != 0 {
				t.Error("a client that gave up has a place")
			}
		}
	}
	b.check(scope)
}

// BenchmarkJoin is what the books of one join cost, of many at once.
func BenchmarkJoin(b *testing.B) {
	l := newBench(b)
	scope := l.newTenant(1<<30, 1<<30)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			o := opening(scope, "room", tenant.RecvOnly)
			if _, err := l.Open(context.Background(), l.node, o); err != nil {
				b.Error(err)
			}
			if err := l.Connected(context.Background(), o.ConnectionID, 0); err != nil {
				b.Error(err)
			}
		}
	})
}
