package webhooks_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
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
	eventually(t, "everything delivered", func() bool { return w.rows(`delivery where endpoint_id = $1`, id) == 0 && w.behind(s) == 0 })
	mu.Lock()
	defer mu.Unlock()
	last := checkOrder(t, accepted)
	created := map[string]bool{}
	for _, r := range accepted {
		if r.event.Type == tenant.ConnectionCreated {
			created[r.event.ID] = true
		}
	}
	const want = connections * rounds
	if len(created) != want {
		t.Errorf("%d different events arrived, want %d", len(created), want)
	}
	// Of the updates those may be missing that a newer one replaced: of each connection the
	// last event came.
	events, err := w.hooks.Events(t.Context(), s, 0, 0)
	if err != nil || len(events) != 2*want {
		t.Fatalf("%d events, %v", len(events), err)
	}
	newest := map[string]int64{}
	for _, e := range events {
		newest[e.ConnectionID] = e.Seq
	}
	for c, seq := range newest {
		if last[c] != seq {
			t.Errorf("%s ended with %d, want %d", c, last[c], seq)
		}
	}
	eventually(t, "the healthy one has all but the updates", func() bool { return len(healthy.got()) >= want })
	for _, r := range healthy.got() {
		if r.event.Type == tenant.ConnectionUpdated {
			t.Fatal("connection.updated was sent unasked")
		}
	}
	for _, d := range w.deliveries(s, id) {
		if d.State != webhooks.Delivered {
			t.Errorf("delivery is %+v", d)
		}
	}
	if n := w.rows(`(select from delivery_done group by tenant_id, endpoint_id, event_seq, replay having count(*) > 1) as doubled`); n != 0 {
		t.Errorf("%d deliveries are in the log twice", n)
	}
}

// TestNewerUpdateReplacesAWaitingOne: of the updates that wait behind a failing head
// only the last is sent, and nothing else is left out.
func TestNewerUpdateReplacesAWaitingOne(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	var broken atomic.Bool
	broken.Store(true)
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
		if broken.Load() {
			rw.WriteHeader(500)
		}
	})
	id, _ := w.endpoint(s, rec.URL, webhooks.Types...)
	update := func(c string, minutes int) tenant.Event {
		e := event(tenant.ConnectionUpdated, c)
		e.Data = json.RawMessage(fmt.Sprintf(`{"minutes":%d}`, minutes))
		return e
	}
	w.tell(s, event(tenant.ConnectionCreated, "C1"))
	eventually(t, "the head's failure recorded", func() bool { list := w.deliveries(s, id); return len(list) == 1 && list[0].Attempts == 1 })
	w.tell(s, update("C1", 1))
	w.tell(s, update("C1", 2), update("C2", 1), update("C1", 3))
	w.tell(s, event(tenant.ConnectionDestroyed, "C1"))
	eventually(t, "the waiting ones replaced", func() bool { return w.behind(s) == 0 && len(w.deliveries(s, id)) == 4 })
	eventually(t, "C2's failure recorded", func() bool { return w.rows(`delivery where attempts = 1`) == 2 })
	broken.Store(false)
	w.hurry()
	eventually(t, "all delivered", func() bool { return w.rows("delivery") == 0 })
	var got []string
	for _, r := range rec.got()[2:] {
		if r.event.ConnectionID == "C1" {
			got = append(got, fmt.Sprint(r.event.Type, string(r.event.Data)))
		}
	}
	const data = `{"role":"sendonly","channel_connections":1}`
	want := "[connection.created" + data + ` connection.updated{"minutes":3} connection.destroyed` + data + "]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
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
	w.hurry()
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

// TestCrashedProcessLosesNothing: what a process had in its hands that died is sent by
// the next once the time is over for which it held the tenant, and not before; other
// tenants do not wait.
func TestCrashedProcessLosesNothing(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s, other := w.tenant(), w.tenant()
	hold := make(chan struct{})
	rec := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ received) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	id, _ := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ConnectionCreated, "C1"), event(tenant.ConnectionDestroyed, "C1"))
	rec.wait(t, 1) // sent; no answer yet
	var holder string
	if err := w.pool.QueryRow(t.Context(), `select holder from webhook_cursor
		where tenant_id = $1 and held_until > clock_timestamp() + interval '20 s'`, s.Tenant()).Scan(&holder); err != nil {
		t.Fatalf("nobody holds the tenant: %v", err)
	}
	// The process is stopped; what a crash leaves is then put back by hand: the hold.
	w.stop()
	w.exec(`update webhook_cursor set holder = $1, held_until = clock_timestamp() + interval '30 s', next_due = null where tenant_id = $2`, holder, s.Tenant())
	close(hold)
	w.start(webhooks.Config{})
	healthy := newReceiver(t, nil)
	otherID, _ := w.endpoint(other, healthy.URL)
	if _, err := w.hooks.SendTest(t.Context(), other, otherID); err != nil {
		t.Fatal(err)
	}
	healthy.wait(t, 1) // the new process works
	w.tell(s, event(tenant.ConnectionCreated, "C2"))
	w.tell(other, event(tenant.ConnectionCreated, "C3"))
	healthy.wait(t, 2)
	if n := len(rec.got()); n != 1 {
		t.Fatalf("%d requests while the tenant is held, want 1", n)
	}
	w.exec(`update webhook_cursor set held_until = clock_timestamp() where tenant_id = $1`, s.Tenant())
	got := rec.wait(t, 4)
	var line []received
	for _, r := range got {
		if r.event.ConnectionID == "C1" {
			line = append(line, r)
		}
	}
	if len(line) != 3 || line[1].event.ID != line[0].event.ID || line[2].event.Type != tenant.ConnectionDestroyed {
		t.Errorf("of the line came %d", len(line))
	}
	eventually(t, "all delivered", func() bool {
		list := w.deliveries(s, id)
		return len(list) == 3 && list[0].State == webhooks.Delivered && list[1].State == webhooks.Delivered && list[2].State == webhooks.Delivered
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
	if n := w.rows(`webhook_cursor where holder is null and next_due <= clock_timestamp()`); n != 1 {
		t.Error("the tenant was kept")
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
