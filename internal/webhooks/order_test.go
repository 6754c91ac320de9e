package webhooks_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// quick is a schedule for tests in which receivers fail by chance: so many
// tries that none is the last by bad luck.
func quick() webhooks.Schedule {
	s := make(webhooks.Schedule, 60)
	for i := range s[1:] {
		s[i+1] = time.Millisecond
	}
	return s
}

// checkOrder fails unless each connection's events were accepted in order:
// seq only grows, except that a repetition may follow its first acceptance.
func checkOrder(t *testing.T, accepted []received) map[string]int64 {
	t.Helper()
	last := map[string]int64{}
	for _, r := range accepted {
		if r.event.Seq < last[r.event.ConnectionID] {
			t.Errorf("%s: seq %d came after %d", r.event.ConnectionID, r.event.Seq, last[r.event.ConnectionID])
		}
		last[r.event.ConnectionID] = r.event.Seq
	}
	return last
}

// TestConservation: whatever receivers do and processes die, every event is
// delivered, and in order per connection.
func TestConservation(t *testing.T) {
	config := webhooks.Config{Schedule: quick()}
	w := newWorld(t, config)
	s := w.tenant()
	var mu sync.Mutex
	var accepted []received
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, got received) {
		switch rand.IntN(5) {
		case 0:
			rw.WriteHeader(500)
		case 1:
			panic(http.ErrAbortHandler)
		default:
			mu.Lock()
			accepted = append(accepted, got)
			mu.Unlock()
			if rand.IntN(10) == 0 {
				panic(http.ErrAbortHandler) // accepted, but the answer is lost
			}
		}
	})
	healthy := newReceiver(t, nil)
	id, _ := w.endpoint(s, rec.URL, webhooks.Types...)
	w.endpoint(s, healthy.URL)
	// The events are written by a process that delivers nothing itself.
	writer := webhooks.New(w.pool, w.store, webhooks.Config{})
	const connections, rounds = 12, 8
	var told sync.WaitGroup
	for c := range connections {
		told.Go(func() {
			for range rounds {
				w.tellBy(writer, s, event(tenant.ConnectionUpdated, fmt.Sprint(c)), event(tenant.ConnectionCreated, fmt.Sprint(c)))
			}
		})
	}
	for range 3 { // processes come and go meanwhile
		seen := len(rec.got())
		eventually(t, "progress", func() bool { return len(rec.got()) >= seen+10 })
		w.stop()
		w.start(config)
	}
	told.Wait()
	w.hooks.Wake(s.Tenant())
	want := connections * rounds * 2
	eventually(t, "everything delivered", func() bool {
		list := w.deliveries(s, id)
		for _, d := range list {
			if d.State != webhooks.Delivered {
				return false
			}
		}
		return len(list) == want
	})
	mu.Lock()
	defer mu.Unlock()
	checkOrder(t, accepted)
	ids := map[string]bool{}
	for _, r := range accepted {
		ids[r.event.ID] = true
	}
	if len(ids) != want {
		t.Errorf("%d different events arrived, want %d", len(ids), want)
	}
	eventually(t, "the healthy one has all but the updates", func() bool { return len(healthy.got()) >= want/2 })
	for _, r := range healthy.got() {
		if r.event.Type == tenant.ConnectionUpdated {
			t.Fatal("connection.updated was sent unasked")
		}
	}
}

func TestFollowersWaitForAFailingHead(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	var mu sync.Mutex
	broken := true
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, got received) {
		mu.Lock()
		defer mu.Unlock()
		if broken && got.event.ConnectionID == "C1" {
			rw.WriteHeader(500)
		}
	})
	id, _ := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ConnectionConnecting, "C1"))
	rec.wait(t, 1)
	w.tell(s, event(tenant.ConnectionCreated, "C1"), event(tenant.ConnectionDestroyed, "C1"), event(tenant.ConnectionCreated, "C2"))
	eventually(t, "the other connection's event", func() bool {
		list := rec.got()
		return list[len(list)-1].event.ConnectionID == "C2"
	})
	mu.Lock()
	broken = false
	mu.Unlock()
	eventually(t, "the head's failure recorded", func() bool { return w.deliveries(s, id)[0].Attempts == 1 })
	w.exec(`update delivery set due = clock_timestamp() where state = 'pending'`)
	got := rec.wait(t, 5)
	var types []tenant.EventType
	for _, r := range got {
		if r.event.ConnectionID == "C1" {
			types = append(types, r.event.Type)
		}
	}
	if want := "[connection.connecting connection.connecting connection.created connection.destroyed]"; fmt.Sprint(types) != want {
		t.Errorf("C1 got %v, want %s", types, want)
	}
}

// TestCrashedProcessLosesNothing: a delivery claimed by a process that died is
// sent by the next once its lease has ended, and not before.
func TestCrashedProcessLosesNothing(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	hold := make(chan struct{})
	rec := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ received) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	id, _ := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ConnectionCreated, "C1"), event(tenant.ConnectionDestroyed, "C1"))
	rec.wait(t, 1) // claimed and sent; no answer yet
	var leased bool
	if err := w.pool.QueryRow(t.Context(), `select lease_until > clock_timestamp() + interval '50 s' from delivery
		where state = 'pending'`).Scan(&leased); err != nil || !leased {
		t.Fatalf("no lease of a minute: %v", err)
	}
	// The process is stopped; what a crash leaves is then put back by hand: the lease.
	w.stop()
	w.exec(`update delivery set lease_until = clock_timestamp() + interval '60 s', due = clock_timestamp() - interval '1 s' where state = 'pending'`)
	close(hold)
	w.start(webhooks.Config{})
	other := newReceiver(t, nil)
	otherID, _ := w.endpoint(s, other.URL)
	if _, err := w.hooks.SendTest(t.Context(), s, otherID); err != nil {
		t.Fatal(err)
	}
	other.wait(t, 1) // the new process works
	if n := len(rec.got()); n != 1 {
		t.Fatalf("%d requests while the lease lasts, want 1", n)
	}
	w.exec(`update delivery set lease_until = clock_timestamp() where state = 'pending'`)
	got := rec.wait(t, 3)
	if got[1].event.ID != got[0].event.ID || got[2].event.Type != tenant.ConnectionDestroyed {
		t.Errorf("after the lease came %s, %s", got[1].event.Type, got[2].event.Type)
	}
	eventually(t, "both delivered", func() bool {
		list := w.deliveries(s, id)
		return list[0].State == webhooks.Delivered && list[1].State == webhooks.Delivered
	})
}

func TestStopGivesBackWhatIsInFlight(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ received) { <-r.Context().Done() })
	id, _ := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ConnectionCreated, "C1"))
	rec.wait(t, 1)
	w.stop()
	d := w.only(s, id)
	var free bool
	if err := w.pool.QueryRow(t.Context(), `select lease_until is null from delivery`).Scan(&free); err != nil || !free {
		t.Errorf("the lease was kept: %v", err)
	}
	if d.Attempts != 0 || d.State != webhooks.Pending {
		t.Errorf("our own stop counts as an attempt: %+v", d)
	}
}

// TestHangingEndpointDelaysNobody: an endpoint that never answers, with a long
// backlog, takes no more than its own slots.
func TestHangingEndpointDelaysNobody(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	hanging := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ received) { <-r.Context().Done() })
	healthy := newReceiver(t, nil)
	w.endpoint(s, hanging.URL, string(tenant.ConnectionCreated), string(tenant.ConnectionDestroyed))
	w.endpoint(s, healthy.URL, string(tenant.ConnectionDestroyed))
	var backlog []tenant.Event
	for i := range 1500 {
		backlog = append(backlog, event(tenant.ConnectionCreated, fmt.Sprintf("B%d", i)))
	}
	w.tell(s, backlog...)
	hanging.wait(t, 8)
	for i := range 20 {
		began := time.Now()
		w.tell(s, event(tenant.ConnectionDestroyed, fmt.Sprintf("H%d", i)))
		got := healthy.wait(t, i+1)
		if took := got[i].at.Sub(began); took > 3*time.Second {
			t.Errorf("event %d took %v behind a hanging endpoint", i, took)
		}
	}
	if n := len(hanging.got()); n != 8 {
		t.Errorf("%d requests in flight at the hanging endpoint, want 8", n)
	}
	// The receiver's handlers end with their connections.
	w.stop()
}

func TestTenantHasAtMost64InFlight(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s, other := w.tenant(), w.tenant()
	hanging := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ received) { <-r.Context().Done() })
	for range 10 {
		w.endpoint(s, hanging.URL)
	}
	var events []tenant.Event
	for i := range 20 {
		events = append(events, event(tenant.ConnectionCreated, fmt.Sprint(i)))
	}
	w.tell(s, events...)
	hanging.wait(t, 64)
	healthy := newReceiver(t, nil)
	w.endpoint(other, healthy.URL)
	w.tell(other, event(tenant.ConnectionCreated, "C1"))
	healthy.wait(t, 1)
	w.tell(other, event(tenant.ConnectionCreated, "C2"))
	healthy.wait(t, 2)
	if n := len(hanging.got()); n != 64 {
		t.Errorf("%d requests in flight for one tenant, want 64", n)
	}
	w.stop()
}
