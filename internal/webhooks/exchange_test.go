package webhooks_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// attempt returns the n-th attempt of an endpoint's only delivery.
func (w *world) attempt(s tenant.Scope, endpoint string, n int) webhooks.Attempt {
	w.t.Helper()
	var attempts []webhooks.Attempt
	eventually(w.t, "an attempt recorded", func() bool {
		var err error
		if list := w.deliveries(s, endpoint); len(list) == 1 {
			if attempts, err = w.hooks.Attempts(w.t.Context(), s, list[0].ID); err != nil {
				w.t.Fatal(err)
			}
		}
		return len(attempts) >= n
	})
	return attempts[n-1]
}

// The log has what went over the wire, and not the secret.
func TestLogHasTheExchange(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
		time.Sleep(30 * time.Millisecond) // the receiver's own time
		rw.Header().Set("X-Trace", "abc é")
		rw.Header()["X-Twice"] = []string{"one", "two"}
		for i := range 5 {
			rw.Header().Set("X-Long-"+string(rune('A'+i)), strings.Repeat("x", 3000))
		}
		rw.WriteHeader(http.StatusOK)
		rw.Write([]byte(strings.Repeat("é", 5000)))
	})
	id, secret := w.endpoint(s, rec.URL+"/hooks")
	w.tell(s, event(tenant.ConnectionCreated, "C1"))
	a := w.attempt(s, id, 1)
	got := rec.got()[0]
	x := a.Exchange
	if a.Error != "" || x == nil {
		t.Fatalf("attempt %+v", a)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "Hibari-Webhooks/1", "Webhook-Attempt": "1", "Webhook-Id": got.header.Get("webhook-id"),
		"Webhook-Signature": got.header.Get("webhook-signature"), "Webhook-Timestamp": got.header.Get("webhook-timestamp"),
		"Host": strings.TrimPrefix(rec.URL, "http://"),
	} {
		if x.Sent[name] != want {
			t.Errorf("sent %s: %q, want %q", name, x.Sent[name], want)
		}
	}
	if _, ok := x.Sent["Idempotency-Key"]; ok {
		t.Error("a header is shown that is not sent")
	}
	if x.Remote != rec.Listener.Addr().String() || x.Protocol != "HTTP/1.1" || x.Reused {
		t.Errorf("remote %q, %q, reused %v", x.Remote, x.Protocol, x.Reused)
	}
	if x.Answer["X-Twice"] != "one, two" || x.Answer["X-Long-A"] == "" || x.Answer["X-Long-E"] != "" || !x.AnswerCut {
		t.Errorf("answer's header, cut %v: %d fields", x.AnswerCut, len(x.Answer))
	}
	size := 0
	for name, value := range x.Answer {
		size += len(name) + len(value)
	}
	if size > 8<<10 {
		t.Errorf("%d bytes of the answer's header are kept", size)
	}
	if x.AnswerBytes != 10000 || len(a.ResponseHead) > 4098 || !strings.HasPrefix(a.ResponseHead, "ééé") {
		t.Errorf("%d bytes of body, %d kept", x.AnswerBytes, len(a.ResponseHead))
	}
	if x.Timing.Wait < 30_000 || x.Timing.Total < x.Timing.Wait+x.Timing.Connect || x.Timing.Connect <= 0 || x.Timing.TLS != 0 || x.Timing.DNS != 0 {
		t.Errorf("timing %+v", x.Timing)
	}
	text, err := json.Marshal(a)
	if err != nil || strings.Contains(string(text), strings.TrimPrefix(secret, "whsec_")) {
		t.Errorf("the log has the secret, %v", err)
	}
}

func TestLogHasTimingOfTLSAndOfFailures(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	id, _ := w.endpoint(s, server.URL) // whose certificate nobody trusts
	if _, err := w.hooks.SendTest(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	a := w.attempt(s, id, 1)
	if a.Class != webhooks.FailedTLS || a.Exchange == nil {
		t.Fatalf("attempt %+v", a)
	}
	if x := a.Exchange; x.Timing.TLS <= 0 || x.Timing.Connect <= 0 || x.Timing.Wait != 0 || x.Remote != server.Listener.Addr().String() || x.Sent["Webhook-Id"] == "" || len(x.Answer) != 0 {
		t.Errorf("exchange %+v", x)
	}
	other, _ := w.endpoint(s, "http://nothing.invalid/")
	if _, err := w.hooks.SendTest(t.Context(), s, other); err != nil {
		t.Fatal(err)
	}
	if a := w.attempt(s, other, 1); a.Class != webhooks.FailedDNS || a.Exchange.Remote != "" || a.Exchange.Timing.Connect != 0 {
		t.Errorf("attempt %+v, exchange %+v", a, a.Exchange)
	}
}

func TestDeliveriesAreFiltered(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, got received) {
		if got.event.Type == tenant.ConnectionDestroyed {
			rw.WriteHeader(http.StatusTeapot)
		}
	})
	id, _ := w.endpoint(s, rec.URL)
	began := time.Now()
	w.tell(s, event(tenant.ConnectionCreated, "C1"), event(tenant.ConnectionCreated, "C2"), event(tenant.ConnectionDestroyed, "C1"),
		tenant.Event{Type: tenant.ChannelEnded, Channel: "lark"})
	test, err := w.hooks.SendExample(t.Context(), s, id, tenant.ChannelStarted)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all attempted", func() bool {
		list := w.deliveries(s, id)
		for _, d := range list {
			if d.Attempts == 0 {
				return false
			}
		}
		return len(list) == 5
	})
	for name, c := range map[string]struct {
		q    webhooks.DeliveryQuery
		want int
	}{
		"none":             {webhooks.DeliveryQuery{}, 5},
		"state":            {webhooks.DeliveryQuery{State: webhooks.Pending}, 1},
		"type":             {webhooks.DeliveryQuery{Type: "connection.created"}, 2},
		"test":             {webhooks.DeliveryQuery{Type: "channel.started"}, 1},
		"ping":             {webhooks.DeliveryQuery{Type: "ping"}, 0},
		"channel":          {webhooks.DeliveryQuery{Channel: "lark"}, 1},
		"connection":       {webhooks.DeliveryQuery{Connection: "C1"}, 2},
		"2xx":              {webhooks.DeliveryQuery{Class: "2xx"}, 4},
		"4xx":              {webhooks.DeliveryQuery{Class: "4xx"}, 1},
		"no answer":        {webhooks.DeliveryQuery{Class: webhooks.NoAnswer}, 0},
		"from":             {webhooks.DeliveryQuery{From: began.Add(-time.Minute)}, 5},
		"until":            {webhooks.DeliveryQuery{Until: began.Add(-time.Minute)}, 0},
		"several":          {webhooks.DeliveryQuery{Connection: "C1", State: webhooks.Delivered, Class: "2xx"}, 1},
		"endpoint":         {webhooks.DeliveryQuery{Endpoint: "ep_other"}, 0},
		"another's number": {webhooks.DeliveryQuery{Connection: "' or true --"}, 0},
	} {
		list, err := w.hooks.Deliveries(t.Context(), s, c.q)
		if err != nil || len(list) != c.want {
			t.Errorf("%s: %d deliveries, want %d, %v", name, len(list), c.want, err)
		}
		for _, d := range list {
			if d.Test != (d.ID == test) {
				t.Errorf("%s of seq %d: test %v", d.EventType, d.EventSeq, d.Test)
			}
		}
	}
	// Page by page it is the same list.
	whole, err := w.hooks.Deliveries(t.Context(), s, webhooks.DeliveryQuery{Endpoint: id})
	if err != nil {
		t.Fatal(err)
	}
	before := ""
	for i, want := range whole {
		page, err := w.hooks.Deliveries(t.Context(), s, webhooks.DeliveryQuery{Endpoint: id, Before: before, Limit: 1})
		if err != nil || len(page) != 1 || page[0].ID != want.ID {
			t.Fatalf("page %d: %v, %v", i, page, err)
		}
		before = page[0].ID
	}
}
