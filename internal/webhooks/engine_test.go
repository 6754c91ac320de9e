package webhooks_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// What a process held when it was killed is its successor's at once, and nobody else's.
func TestProcessTakesOverFromItsPredecessor(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	w.stop()
	rec := newReceiver(t, nil)
	died, lives := w.tenant(), w.tenant()
	for _, s := range []tenant.Scope{died, lives} {
		w.endpoint(s, rec.URL)
		w.tell(s, event(tenant.ConnectionCreated, "C1"))
	}
	const hold = `update webhook_cursor set holder = $1, held_until = clock_timestamp() + interval '1 hour', next_due = null where tenant_id = $2`
	w.exec(hold, "this/first", died.Tenant())
	w.exec(hold, "other/first", lives.Tenant())
	w.start(webhooks.Config{Instance: "this"})
	rec.wait(t, 1)
	if got := rec.got(); got[0].event.Tenant != died.Tenant() {
		t.Errorf("delivered was %s", got[0].body)
	}
	if n := w.rows("webhook_cursor where holder = 'other/first' and tenant_id = $1", lives.Tenant()); n != 1 {
		t.Error("the hold of another instance was taken")
	}
}

// TestLimitsHoldOverTwoProcesses: however many processes deliver, an endpoint has at
// most 8 requests open and a tenant 64, nothing is sent twice, and what one process
// held goes on in the other when it stops.
func TestLimitsHoldOverTwoProcesses(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	stopFirst, first := w.stop, w.hooks
	w.start(webhooks.Config{})
	second := w.hooks
	s := w.tenant()
	var open, most atomic.Int64
	var perEndpoint [10]atomic.Int64
	var mostOfOne atomic.Int64
	highest := func(of *atomic.Int64, n int64) {
		for old := of.Load(); n > old && !of.CompareAndSwap(old, n); old = of.Load() {
		}
	}
	gate := make(chan struct{})
	rec := newReceiver(t, func(rw http.ResponseWriter, r *http.Request, _ received) {
		one := &perEndpoint[r.URL.Path[1]-'0']
		highest(&most, open.Add(1))
		highest(&mostOfOne, one.Add(1))
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		one.Add(-1)
		open.Add(-1)
	})
	for i := range 10 {
		w.endpoint(s, fmt.Sprint(rec.URL, "/", i))
	}
	const events = 40
	for i := range events { // both write, both want to deliver
		w.tellBy([]*webhooks.Webhooks{first, second}[i%2], s, event(tenant.ConnectionCreated, fmt.Sprint("C", i)))
	}
	rec.wait(t, 64)
	w.tellBy(first, s, event(tenant.ChannelStarted, ""))
	w.tellBy(second, s, event(tenant.ChannelStarted, ""))
	eventually(t, "all fanned out", func() bool { return w.behind(s) == 0 })
	if n := len(rec.got()); n != 64 {
		t.Errorf("%d requests, want 64", n)
	}
	close(gate)
	seen := len(rec.got())
	rec.wait(t, seen+20)
	stopFirst()
	eventually(t, "all delivered", func() bool { return w.rows("delivery") == 0 && w.behind(s) == 0 })
	if most.Load() > 64 || mostOfOne.Load() > 8 {
		t.Errorf("%d requests at once, %d at one endpoint; want at most 64 and 8", most.Load(), mostOfOne.Load())
	}
	sent := map[string]int{}
	for _, r := range rec.got() {
		sent[r.header.Get("webhook-id")]++
	}
	for id, n := range sent {
		if n != 10 {
			t.Errorf("%s was sent %d times, want once to each of 10 endpoints", id, n)
		}
	}
	if len(sent) != events+2 {
		t.Errorf("%d events were sent, want %d", len(sent), events+2)
	}
}

// TestLongBacklogSlowsNobody: 50,000 due deliveries of one endpoint that hangs make
// another tenant's, and another endpoint's of the same tenant, no slower.
func TestLongBacklogSlowsNobody(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s, other := w.tenant(), w.tenant()
	hanging := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ received) { <-r.Context().Done() })
	healthy := newReceiver(t, nil)
	id, _ := w.endpoint(s, hanging.URL, string(tenant.ConnectionCreated))
	w.endpoint(s, healthy.URL, string(tenant.ConnectionDestroyed))
	w.endpoint(other, healthy.URL, string(tenant.ConnectionDestroyed))
	w.tell(s, event(tenant.ConnectionCreated, "C"))
	hanging.wait(t, 1)
	w.exec(`insert into delivery (tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, ordering_key, state, replay)
		select tenant_id, 'dlv_' || n, endpoint_id, event_id, event_seq, event_at, event_type, 'line/' || n, 'pending', n
		from delivery, generate_series(1, 50000) as n where endpoint_id = $1`, id)
	w.nudge()
	hanging.wait(t, 8)
	for i := range 20 {
		for k, of := range []tenant.Scope{s, other} {
			began := time.Now()
			w.tell(of, event(tenant.ConnectionDestroyed, fmt.Sprint(i, k)))
			got := healthy.wait(t, 2*i+k+1)
			if took := got[2*i+k].at.Sub(began); took > 3*time.Second {
				t.Errorf("event %d took %v", i, took)
			}
		}
	}
	if n := len(hanging.got()); n != 8 {
		t.Errorf("%d requests at the hanging endpoint, want 8", n)
	}
	w.stop()
}

// TestResultsWaitForLockedRows: what receivers answered while their rows could not
// be written is written later; each is sent once, and others go on meanwhile.
func TestResultsWaitForLockedRows(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	gate := make(chan struct{})
	rec := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ received) { <-gate })
	id, _ := w.endpoint(s, rec.URL)
	for i := range 6 {
		w.tell(s, event(tenant.ConnectionCreated, fmt.Sprint("C", i)))
	}
	rec.wait(t, 6)
	// Somebody has the rows for himself, longer than any statement waits.
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select from delivery for update`); err != nil {
		t.Fatal(err)
	}
	close(gate)
	eventually(t, "the writing tried", func() bool { return w.hooks.Stats().Waiting == 0 && w.hooks.Stats().InFlight == 0 })
	other := w.tenant()
	healthy := newReceiver(t, nil)
	w.endpoint(other, healthy.URL)
	w.tell(other, event(tenant.ConnectionCreated, "O"))
	healthy.wait(t, 1) // others go on meanwhile
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all recorded", func() bool { return w.rows(`delivery_done where endpoint_id = $1`, id) == 6 && w.rows("delivery") == 0 })
	if n := len(rec.got()); n != 6 {
		t.Errorf("%d requests, want 6: each once", n)
	}
}
