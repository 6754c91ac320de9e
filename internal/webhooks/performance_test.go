package webhooks_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

func TestPerformanceOfAnEndpoint(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	broken := make(chan struct{})
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, got received) {
		select {
		case <-broken:
			rw.WriteHeader(http.StatusTeapot)
		default:
		}
	})
	id, _ := w.endpoint(s, rec.URL)
	idle, _ := w.endpoint(s, rec.URL, "recording.ready")
	for range 10 {
		w.tell(s, event(tenant.ConnectionCreated, tenant.NewID()))
	}
	eventually(t, "ten delivered", func() bool { return len(rec.got()) == 10 })
	close(broken)
	w.tell(s, event(tenant.ConnectionCreated, "C1"), event(tenant.ConnectionDestroyed, "C1"))
	var p webhooks.Performance
	for _, window := range webhooks.Windows {
		eventually(t, "eleven attempts in "+window.Name, func() bool {
			var err error
			if p, err = w.hooks.Performance(t.Context(), s, id, window); err != nil {
				t.Fatal(err)
			}
			return p.Total.Attempts == 11
		})
		if len(p.Points) != window.Points || p.Window.Name != window.Name {
			t.Errorf("%s: %d points", window.Name, len(p.Points))
		}
		total := p.Total
		if total.Failures != 1 || total.Delivered != 10 || total.FailureRate() != 1.0/11 {
			t.Errorf("%s: %+v", window.Name, total)
		}
		if total.P50 <= 0 || total.P50 > total.P95 || total.P95 > total.P99 || total.P99 > total.Slowest || total.Slowest > 20*time.Second {
			t.Errorf("%s: delays %v %v %v %v", window.Name, total.P50, total.P95, total.P99, total.Slowest)
		}
		var attempts int64
		for i, point := range p.Points {
			attempts += point.Attempts
			if i > 0 && point.At.Sub(p.Points[i-1].At) != window.Step {
				t.Errorf("%s: point %d is at %v", window.Name, i, point.At)
			}
		}
		if attempts != 11 {
			t.Errorf("%s: the points have %d attempts", window.Name, attempts)
		}
	}
	if p.Backlog != 2 || p.Oldest == nil || p.Lag != 0 {
		t.Errorf("backlog %d since %v, lag %v; the failed one and its follower wait", p.Backlog, p.Oldest, p.Lag)
	}
	all, err := w.hooks.Performances(t.Context(), s, webhooks.Windows[0])
	if err != nil || len(all) != 2 || all[id].Total.Attempts != 11 || all[idle].Total.Attempts != 0 || all[idle].Oldest != nil {
		t.Errorf("all: %+v, %v", all, err)
	}
	if _, err := w.hooks.Performance(t.Context(), w.tenant(), id, webhooks.Windows[0]); err == nil {
		t.Error("another tenant sees it")
	}
}

// What is due and not tried, because nobody does, is lag.
func TestLagIsHowLongTheOldestWaits(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, _ := w.endpoint(s, rec.URL)
	w.stop()
	delivery, err := w.hooks.SendTest(t.Context(), s, id)
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`update delivery set due = clock_timestamp() - interval '90 seconds' where delivery_id = $1`, delivery)
	p, err := w.hooks.Performance(t.Context(), s, id, webhooks.Windows[0])
	if err != nil || p.Backlog != 1 || p.Lag < 90*time.Second || p.Lag > 2*time.Minute {
		t.Errorf("backlog %d, lag %v, %v", p.Backlog, p.Lag, err)
	}
}

// A quantile that is computed from counts lies in the bucket of the true one.
func TestQuantilesOfCountedDelays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		delays := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(rt, "delay") >> rapid.IntRange(0, 40).Draw(rt, "shift"))
		}), 1, 60).Draw(rt, "delays")
		quantiles := webhooks.Quantiles(delays)
		slices.Sort(delays)
		for i, q := range []float64{0.50, 0.95, 0.99} {
			rank := int(q * float64(len(delays)))
			if float64(rank) < q*float64(len(delays)) {
				rank++
			}
			truth := delays[max(rank, 1)-1]
			if webhooks.DelayBucket(quantiles[i]) > webhooks.DelayBucket(truth) || quantiles[i] > delays[len(delays)-1] ||
				quantiles[i] < 0 || i > 0 && quantiles[i] < quantiles[i-1] {
				rt.Fatalf("p%v of %v is %v, not %v", q, delays, quantiles[i], truth)
			}
		}
	})
}
