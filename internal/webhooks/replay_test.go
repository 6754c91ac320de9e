package webhooks_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// replayed waits until a replay has ended, and returns it.
func (w *world) replayed(s tenant.Scope, id string) (r webhooks.Replay) {
	w.t.Helper()
	eventually(w.t, "the replay to end", func() bool {
		var err error
		if r, err = w.hooks.FindReplay(w.t.Context(), s, id); err != nil {
			w.t.Fatal(err)
		}
		return r.State != webhooks.ReplayRunning
	})
	return r
}

// times counts the requests for each event.
func times(list []received) map[int64]int {
	counts := map[int64]int{}
	for _, r := range list {
		counts[r.event.Seq]++
	}
	return counts
}

// TestReplayOfARange: what was delivered, given up and missed is told apart, and each
// is sent once more by whom it was asked for.
func TestReplayOfARange(t *testing.T) {
	w := newWorld(t, webhooks.Config{Schedule: webhooks.Schedule{0}}) // one try, then dead
	s, stranger := w.tenant(), w.tenant()
	var broken atomic.Bool
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
		if broken.Load() {
			rw.WriteHeader(500)
		}
	})
	early := newReceiver(t, nil)
	w.endpoint(s, early.URL)
	w.tell(s, crowd(10, tenant.ConnectionConnecting)...) // 1 to 10: before the endpoint is there
	early.wait(t, 10)
	id, secret := w.endpoint(s, rec.URL)
	state := func(state string, n int) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " ", state), func() bool {
			n := n
			for _, d := range w.deliveries(s, id) {
				if d.State == state {
					n--
				}
			}
			return n == 0
		})
	}
	w.tell(s, crowd(10, tenant.ConnectionCreated)...) // 11 to 20: delivered
	state(webhooks.Delivered, 10)
	broken.Store(true)
	w.tell(s, crowd(10, tenant.ConnectionDestroyed)...) // 21 to 30: dead
	state(webhooks.Dead, 10)
	broken.Store(false)
	before := len(rec.got())
	disable, enable := false, true
	if _, err := w.hooks.ChangeEndpoint(t.Context(), s, id, webhooks.EndpointChange{Enabled: &disable}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.hooks.ReplayRange(t.Context(), s, id, webhooks.Range{}); !errors.Is(err, webhooks.ErrDisabled) {
		t.Errorf("to a disabled endpoint: %v", err)
	}
	w.tell(s, append(crowd(5, tenant.ChannelStarted), crowd(5, tenant.ConnectionUpdated)...)...) // 31 to 40: missed, or not wanted
	early.wait(t, 35)
	if _, err := w.hooks.ChangeEndpoint(t.Context(), s, id, webhooks.EndpointChange{Enabled: &enable}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of   webhooks.Range
		want map[string]int64
	}{
		{webhooks.Range{}, map[string]int64{webhooks.Dead: 10, webhooks.Missed: 15}},
		{webhooks.Range{States: webhooks.ReplayStates}, map[string]int64{webhooks.Dead: 10, webhooks.Missed: 15, webhooks.Delivered: 10}},
		{webhooks.Range{FromSeq: 16, ToSeq: 25, States: webhooks.ReplayStates}, map[string]int64{webhooks.Dead: 5, webhooks.Missed: 0, webhooks.Delivered: 5}},
		{webhooks.Range{Types: []string{string(tenant.ConnectionUpdated)}}, map[string]int64{webhooks.Dead: 0, webhooks.Missed: 5}},
		{webhooks.Range{From: time.Now().Add(time.Hour)}, map[string]int64{webhooks.Dead: 0, webhooks.Missed: 0}},
		{webhooks.Range{To: time.Now().Add(-time.Hour)}, map[string]int64{webhooks.Dead: 0, webhooks.Missed: 0}},
		{webhooks.Range{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)}, map[string]int64{webhooks.Dead: 10, webhooks.Missed: 15}},
	} {
		p, err := w.hooks.PreviewReplay(t.Context(), s, id, c.of)
		if err != nil || fmt.Sprint(p.Counts) != fmt.Sprint(c.want) || p.Partial {
			t.Errorf("preview of %+v: %+v, %v; want %v", c.of, p, err, c.want)
		}
	}
	for field, of := range map[string]webhooks.Range{
		"states": {States: []string{"waiting"}}, "types": {Types: []string{"nothing"}}, "to_seq": {FromSeq: 5, ToSeq: 4}, "from_seq": {FromSeq: -1},
		"to": {From: time.Now(), To: time.Now().Add(-time.Second)},
	} {
		var wrong *tenant.FieldError
		if _, err := w.hooks.ReplayRange(t.Context(), s, id, of); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%+v: %v, want a refusal of %s", of, err, field)
		}
	}
	// The seq of the middle of the range by its time.
	var middle time.Time
	if err := w.pool.QueryRow(t.Context(), `select recorded_at from event where tenant_id = $1 and seq = 26`, s.Tenant()).Scan(&middle); err != nil {
		t.Fatal(err)
	}
	if p, err := w.hooks.PreviewReplay(t.Context(), s, id, webhooks.Range{From: middle, States: []string{webhooks.Dead}}); err != nil || p.FromSeq > 26 || p.FromSeq < 21 {
		t.Errorf("from the time of 26: %+v, %v", p, err)
	}
	r, err := w.hooks.ReplayRange(t.Context(), s, id, webhooks.Range{})
	if err != nil || r.State != webhooks.ReplayRunning && r.State != webhooks.ReplayDone || r.FromSeq != 1 || r.ToSeq != 40 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := w.hooks.FindReplay(t.Context(), stranger, r.ID); !errors.Is(err, webhooks.ErrNotFound) {
		t.Errorf("another tenant's replay: %v", err)
	}
	if _, err := w.hooks.CancelReplay(t.Context(), stranger, r.ID); !errors.Is(err, webhooks.ErrNotFound) {
		t.Errorf("another tenant cancels: %v", err)
	}
	if _, err := w.hooks.ReplayRange(t.Context(), stranger, id, webhooks.Range{}); !errors.Is(err, webhooks.ErrNotFound) {
		t.Errorf("another tenant replays: %v", err)
	}
	if r = w.replayed(s, r.ID); r.State != webhooks.ReplayDone || r.Queued != 25 || r.Delivered != 25 || r.Dead != 0 || r.Progress() != 1 || r.FinishedAt == nil {
		t.Errorf("done, it is %+v", r)
	}
	got := rec.got()[before:]
	for _, one := range got {
		verify(t, secret, one)
		if one.header.Get("webhook-replay") != "true" || one.header.Get("webhook-id") != one.event.ID {
			t.Errorf("headers are %v", one.header)
		}
	}
	counts := times(got)
	for seq := int64(1); seq <= 40; seq++ {
		want := 1
		if seq > 10 && seq <= 20 || seq > 35 {
			want = 0
		}
		if counts[seq] != want {
			t.Errorf("event %d was sent %d times, want %d", seq, counts[seq], want)
		}
	}
	// Nothing is left to mend, and one is sent again however often.
	if p, err := w.hooks.PreviewReplay(t.Context(), s, id, webhooks.Range{}); err != nil || p.Total() != 0 {
		t.Errorf("after it: %+v, %v", p, err)
	}
	list, err := w.hooks.Replays(t.Context(), s, id, 10)
	if err != nil || len(list) != 1 || list[0].ID != r.ID {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if n := w.countOf(`select count(*) from audit_entry where action = 'webhook_endpoint.replayed' and target = $1`, id); n != 1 {
		t.Errorf("%d audit entries", n)
	}
}

// TestReplaysOfARangeAtOnce: two replays of the same range each send everything once.
func TestReplaysOfARangeAtOnce(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	w.another(webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, _ := w.endpoint(s, rec.URL)
	const events = 300
	w.tell(s, crowd(events, tenant.ConnectionCreated)...)
	rec.wait(t, events)
	eventually(t, "all delivered", func() bool {
		return w.countOf(`select count(*) from delivery_all where endpoint_id = $1 and state = 'delivered'`, id) == events
	})
	var started sync.WaitGroup
	ids := make([]string, 2)
	for i := range ids {
		started.Go(func() {
			r, err := w.hooks.ReplayRange(t.Context(), s, id, webhooks.Range{States: []string{webhooks.Delivered}})
			if err != nil {
				t.Error(err)
			}
			ids[i] = r.ID
		})
	}
	started.Wait()
	for _, one := range ids {
		if r := w.replayed(s, one); r.Queued != events || r.Delivered != events {
			t.Errorf("%+v", r)
		}
	}
	for seq, n := range times(rec.got()) {
		if n != 3 {
			t.Errorf("event %d was sent %d times, want 3", seq, n)
		}
	}
	if n := w.countOf(`select count(distinct (event_seq, replay)) from delivery_all where endpoint_id = $1`, id); n != 3*events {
		t.Errorf("%d numbers of replays, want %d", n, 3*events)
	}
}

// TestReplayGoesOnAfterACrash: processes come and go in the middle of a replay, and it
// queues each event exactly once; what is live does not wait for it.
func TestReplayGoesOnAfterACrash(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	var mu sync.Mutex
	gate := make(chan struct{}) // open at first
	close(gate)
	rec := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, got received) {
		mu.Lock()
		wait := gate
		mu.Unlock()
		if got.header.Get("webhook-replay") == "true" {
			select {
			case <-wait:
			case <-r.Context().Done():
			}
		}
	})
	id, _ := w.endpoint(s, rec.URL)
	const events = 700 // several windows
	w.tell(s, crowd(events, tenant.ConnectionCreated)...)
	eventually(t, "all delivered", func() bool {
		return w.countOf(`select count(*) from delivery_all where endpoint_id = $1 and state = 'delivered'`, id) == events
	})
	r, err := w.hooks.ReplayRange(t.Context(), s, id, webhooks.Range{States: []string{webhooks.Delivered}})
	if err != nil {
		t.Fatal(err)
	}
	for stop := 1; stop <= 3; stop++ {
		eventually(t, "progress", func() bool {
			now, err := w.hooks.FindReplay(t.Context(), s, r.ID)
			return err == nil && now.Queued >= int64(stop*150) || now.State == webhooks.ReplayDone
		})
		w.stop()
		w.start(webhooks.Config{})
	}
	r = w.replayed(s, r.ID)
	if r.State != webhooks.ReplayDone || r.Queued != events || r.Delivered != events {
		t.Errorf("%+v", r)
	}
	if n := w.countOf(`select count(*) from delivery_all where replay_job = $1`, r.ID); n != events {
		t.Errorf("%d deliveries, want %d", n, events)
	}
	for seq, n := range times(rec.got()) { // an attempt cut off by a stop is made again
		if n < 2 || n > 2+3 {
			t.Errorf("event %d was sent %d times", seq, n)
		}
	}

	// A replay whose deliveries hang is cancelled, and what is live goes out at once.
	mu.Lock()
	gate = make(chan struct{})
	mu.Unlock()
	t.Cleanup(func() { close(gate) })
	r, err = w.hooks.ReplayRange(t.Context(), s, id, webhooks.Range{States: []string{webhooks.Delivered}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "some under way", func() bool { return w.countOf(`select count(*) from delivery where replay_job = $1`, r.ID) > 0 })
	if r, err = w.hooks.CancelReplay(t.Context(), s, r.ID); err != nil || r.State != webhooks.ReplayCancelled {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := w.countOf(`select count(*) from delivery where replay_job = $1`, r.ID); n != 0 {
		t.Errorf("%d deliveries of a cancelled replay wait", n)
	}
	if again, err := w.hooks.CancelReplay(t.Context(), s, r.ID); err != nil || !again.FinishedAt.Equal(*r.FinishedAt) {
		t.Errorf("cancelled twice: %+v, %v", again, err)
	}
}

// TestReplaysHaveAnEnd: only so many run at once.
func TestReplaysHaveAnEnd(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	w.stop() // nobody goes on with them
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, _ := w.endpoint(s, rec.URL)
	for range webhooks.MaxReplays {
		if _, err := w.hooks.ReplayRange(t.Context(), s, id, webhooks.Range{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.hooks.ReplayRange(t.Context(), s, id, webhooks.Range{}); !errors.Is(err, webhooks.ErrTooManyReplays) {
		t.Errorf("one more: %v", err)
	}
	list, err := w.hooks.Replays(t.Context(), s, id, 3)
	if err != nil || len(list) != 3 || !slices.IsSortedFunc(list, func(a, b webhooks.Replay) int { return b.CreatedAt.Compare(a.CreatedAt) }) {
		t.Errorf("%+v, %v", list, err)
	}
}
