package webhooks_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

func TestDeliveryIsSigned(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, secret := w.endpoint(s, rec.URL+"/hooks?x=1")
	w.tell(s, event(tenant.ConnectionCreated, "C1"))
	got := rec.wait(t, 1)[0]
	verify(t, secret, got)
	if got.header.Get("webhook-id") != got.event.ID || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers are %v", got.header)
	}
	for name := range got.header {
		if strings.Contains(name, "Idempotency") {
			t.Errorf("%s was sent", name)
		}
	}
	if got.event.Type != tenant.ConnectionCreated || got.event.Seq != 1 || got.event.Tenant != s.Tenant() || got.event.Channel != "sora" {
		t.Errorf("envelope is %s", got.body)
	}
	eventually(t, "delivered", func() bool { return w.only(s, id).State == webhooks.Delivered })
	d := w.only(s, id)
	if d.Attempts != 1 || d.LastStatus != 204 || d.LastError != "" || d.FinishedAt == nil || d.EventType != tenant.ConnectionCreated {
		t.Errorf("delivery is %+v", d)
	}
	e, err := w.hooks.Endpoint(t.Context(), s, id)
	if err != nil || e.LastSuccessAt == nil || e.FailingSince != nil {
		t.Errorf("endpoint is %+v, %v", e, err)
	}
}

// TestDeliveryIsPromptWhenWoken: without the wake-up two polls of a second
// each would lie in between.
func TestDeliveryIsPromptWhenWoken(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	w.endpoint(s, rec.URL)
	var took []time.Duration
	for i := range 9 {
		began := time.Now()
		w.tell(s, event(tenant.ConnectionCreated, "C1"))
		took = append(took, rec.wait(t, i+1)[i].at.Sub(began))
	}
	slices.Sort(took)
	t.Log("from before the commit to the receiver:", took)
	if median := took[len(took)/2]; median > 300*time.Millisecond {
		t.Errorf("the median delivery took %v", median)
	}
}

// TestPublishedSchedule walks a failing delivery through all twelve tries, by
// moving its due date instead of waiting for it.
func TestPublishedSchedule(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
		rw.WriteHeader(500)
		rw.Write([]byte(strings.Repeat("x", 5000)))
	})
	id, secret := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ConnectionCreated, "C1"), event(tenant.ConnectionDestroyed, "C1"))
	steps := []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}
	for i, step := range steps {
		var head webhooks.Delivery
		eventually(t, "an attempt recorded", func() bool {
			list := w.deliveries(s, id)
			if len(list) == 2 {
				head = list[0]
			}
			return head.Attempts == i+1
		})
		if head.State != webhooks.Pending || head.LastError != "answered 500 Internal Server Error" {
			t.Fatalf("after try %d: %+v", i+1, head)
		}
		wait := time.Until(head.Due)
		if wait < step*8/10-5*time.Second || wait > step*12/10+time.Second {
			t.Errorf("after try %d: due in %v, want %v ±20 %%", i+1, wait, step)
		}
		if next := w.deliveries(s, id)[1]; next.State != webhooks.Waiting {
			t.Fatalf("the next of the connection is %s", next.State)
		}
		w.exec(`update delivery set due = clock_timestamp() where delivery_id = $1`, head.ID)
		w.hooks.EnableEndpoint(t.Context(), s, id) // wakes the lanes
	}
	eventually(t, "dead after 12 tries", func() bool { return w.deliveries(s, id)[0].State == webhooks.Dead })
	got := rec.wait(t, 13)
	for i, r := range got[:12] {
		if r.body != got[0].body || r.header.Get("webhook-id") != got[0].header.Get("webhook-id") {
			t.Errorf("try %d differs", i+1)
		}
		verify(t, secret, r)
	}
	if got[12].event.Type != tenant.ConnectionDestroyed {
		t.Errorf("after the dead head comes %s", got[12].event.Type)
	}
	attempts, err := w.hooks.Attempts(t.Context(), s, w.deliveries(s, id)[0].ID)
	if err != nil || len(attempts) != 12 || attempts[11].Number != 12 || attempts[0].Status != 500 || len(attempts[0].ResponseHead) != 4096 {
		t.Errorf("attempts are %d, %v", len(attempts), err)
	}
	want := webhooks.Stats{Failed: 12, Dead: 1} // eleven of the head's and one of its follower's
	want.FailedBy[slices.Index(webhooks.ErrorClasses[:], webhooks.FailedHTTPStatus)] = 13
	eventually(t, "every attempt to be counted", func() bool { return w.hooks.Stats() == want })
}

func TestWhatCountsAsFailure(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	target := newReceiver(t, nil)
	refused := newReceiver(t, nil)
	refused.Close()
	for name, c := range map[string]struct {
		url    string
		answer func(http.ResponseWriter, *http.Request, received)
		status int
		want   string
	}{
		"redirect": {answer: func(rw http.ResponseWriter, r *http.Request, _ received) {
			http.Redirect(rw, r, target.URL, http.StatusTemporaryRedirect)
		}, status: 307, want: "answered 307 Temporary Redirect: redirects are not followed"},
		"not found":  {answer: status(404), status: 404, want: "answered 404 Not Found"},
		"odd status": {answer: status(799), status: 799, want: "answered 799"},
		"hang up":    {answer: func(http.ResponseWriter, *http.Request, received) { panic(http.ErrAbortHandler) }, want: "the connection was closed without a whole answer"},
		"refused":    {url: refused.URL, want: "connection refused"},
		"no TLS":     {url: strings.Replace(target.URL, "http:", "https:", 1), want: "the server does not speak TLS on this port"},
		"no such":    {url: "http://nothing.invalid/", want: "the host name nothing.invalid does not exist"},
		"huge header": {answer: func(rw http.ResponseWriter, _ *http.Request, _ received) {
			rw.Header().Set("X", strings.Repeat("x", 1<<17))
		}, want: "the header of the answer is longer than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			url := c.url
			if url == "" {
				url = newReceiver(t, c.answer).URL
			}
			id, _ := w.endpoint(s, url)
			if _, err := w.hooks.SendTest(t.Context(), s, id); err != nil {
				t.Fatal(err)
			}
			eventually(t, "an attempt", func() bool { list := w.deliveries(s, id); return len(list) == 1 && list[0].Attempts == 1 })
			d := w.only(s, id)
			if d.State != webhooks.Pending || d.LastStatus != c.status || d.LastError != c.want {
				t.Errorf("state %s, status %d, error %q; want %d, %q", d.State, d.LastStatus, d.LastError, c.status, c.want)
			}
			e, err := w.hooks.Endpoint(t.Context(), s, id)
			if err != nil || e.FailingSince == nil {
				t.Errorf("endpoint is %+v, %v", e, err)
			}
		})
	}
	if n := len(target.got()); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func TestPrivateAddressIsToldInTheLog(t *testing.T) {
	w := newWorld(t, webhooks.Config{EgressAllow: nil})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, _ := w.endpoint(s, rec.URL)
	w.exec(`update webhook_endpoint set url = 'http://10.0.0.1/' where endpoint_id = $1`, id)
	if _, err := w.hooks.SendTest(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an attempt", func() bool { list := w.deliveries(s, id); return len(list) == 1 && list[0].Attempts == 1 })
	if got := w.only(s, id).LastError; !strings.Contains(strings.ToLower(got), "address 10.0.0.1 is not public") {
		t.Errorf("error is %q", got)
	}
}

func TestRetryAfterIsHonouredWithinLimits(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	for header, want := range map[string]time.Duration{"1": 5 * time.Second, "7": 7 * time.Second, "86400": 10 * time.Second} {
		rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
			rw.Header().Set("Retry-After", header)
			rw.WriteHeader(503)
		})
		id, _ := w.endpoint(s, rec.URL)
		w.tell(s, event(tenant.ChannelStarted, ""))
		eventually(t, "an attempt", func() bool { list := w.deliveries(s, id); return len(list) == 1 && list[0].Attempts == 1 })
		d := w.only(s, id)
		attempts, err := w.hooks.Attempts(t.Context(), s, d.ID)
		if err != nil {
			t.Fatal(err)
		}
		wait := d.Due.Sub(attempts[0].At)
		if (wait - want).Abs() > time.Second {
			t.Errorf("Retry-After %s: due in %v, want %v", header, wait, want)
		}
		if err := w.hooks.DeleteEndpoint(t.Context(), s, id); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGoneDisablesAndEnableGoesOn(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	answer := make(chan int, 10)
	answer <- 410
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) { rw.WriteHeader(<-answer) })
	id, _ := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ChannelStarted, ""))
	eventually(t, "disabled", func() bool {
		e, err := w.hooks.Endpoint(t.Context(), s, id)
		return err == nil && e.Status == "disabled"
	})
	w.tell(s, event(tenant.ChannelEnded, "")) // while disabled: not for it
	if _, err := w.hooks.SendTest(t.Context(), s, id); !errors.Is(err, webhooks.ErrDisabled) {
		t.Errorf("SendTest to a disabled endpoint: %v", err)
	}
	w.exec(`update delivery set due = clock_timestamp()`)
	answer <- 200
	answer <- 200
	if err := w.hooks.EnableEndpoint(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	w.tell(s, event(tenant.ConnectionCreated, "C1"))
	eventually(t, "both delivered", func() bool {
		list := w.deliveries(s, id)
		return len(list) == 2 && list[0].State == webhooks.Delivered && list[1].State == webhooks.Delivered
	})
	if list := w.deliveries(s, id); list[0].EventType != tenant.ChannelStarted || list[1].EventType != tenant.ConnectionCreated {
		t.Errorf("delivered %s and %s", list[0].EventType, list[1].EventType)
	}
}

func TestReplayGoesOutAgainWithTheSameID(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s, other := w.tenant(), w.tenant()
	rec := newReceiver(t, nil)
	id, secret := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ConnectionCreated, "C1"))
	first := rec.wait(t, 1)[0]
	original := w.only(s, id).ID
	if _, err := w.hooks.Replay(t.Context(), other, original); !errors.Is(err, webhooks.ErrNotFound) {
		t.Errorf("another tenant's replay: %v", err)
	}
	if _, err := w.hooks.Attempts(t.Context(), other, original); !errors.Is(err, webhooks.ErrNotFound) {
		t.Errorf("another tenant's attempts: %v", err)
	}
	replayed, err := w.hooks.Replay(t.Context(), s, original)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.hooks.Replay(t.Context(), s, replayed); err != nil { // a replay can be replayed
		t.Fatal(err)
	}
	got := rec.wait(t, 3)
	for _, r := range got[1:] {
		verify(t, secret, r)
		if r.body != first.body || r.header.Get("webhook-replay") != "true" || r.header.Get("webhook-id") != first.event.ID {
			t.Errorf("replay differs: %v %s", r.header, r.body)
		}
	}
	if list := w.deliveries(s, id); len(list) != 3 {
		t.Errorf("%d rows in the log, want 3", len(list))
	}
}
