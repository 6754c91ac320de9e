package webhooks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// mailbox is where the mails of a test arrive.
type mailbox struct {
	mu    sync.Mutex
	mails []tenant.Message // Guarded by mu
}

func (b *mailbox) Send(_ context.Context, m tenant.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, m)
	return nil
}

// about returns the mails with this in their subject.
func (b *mailbox) about(subject string) (found []tenant.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.mails {
		if strings.Contains(m.Subject, subject) {
			found = append(found, m)
		}
	}
	return found
}

// postal lets the world's store write mail, and sends it while the test runs.
func (w *world) postal() *mailbox {
	box := &mailbox{}
	w.store.UsePost(tenant.Post{Mailer: box, Delivers: true, PublicURL: "https://hibari.example"})
	ctx, cancel := context.WithCancel(context.Background())
	var postman sync.WaitGroup
	postman.Go(func() { w.store.RunMail(ctx) })
	w.t.Cleanup(func() { cancel(); postman.Wait() })
	return box
}

// people gives the tenant one member more of each role, and returns their addresses.
func (w *world) people(s tenant.Scope) map[tenant.MemberRole]string {
	w.t.Helper()
	addresses := map[tenant.MemberRole]string{}
	for _, role := range tenant.Everyone {
		address := fmt.Sprintf("%s-%s@example.com", role, strings.ToLower(tenant.NewID()))
		link, _, err := w.store.Invite(w.t.Context(), s, address, role)
		if err != nil {
			w.t.Fatal(err)
		}
		_, token, _ := strings.Cut(link, "?t=")
		if _, _, err := w.store.AcceptInvitation(w.t.Context(), token, "correct horse battery", "192.0.2.1", "Firefox"); err != nil {
			w.t.Fatal(err)
		}
		addresses[role] = address
	}
	return addresses
}

// another runs one more process on the world's database.
func (w *world) another(c webhooks.Config) *webhooks.Webhooks {
	w.t.Helper()
	first := w.hooks
	w.start(c)
	second := w.hooks
	w.hooks = first
	return second
}

func (w *world) find(s tenant.Scope, endpoint string) webhooks.Endpoint {
	w.t.Helper()
	e, err := w.hooks.Endpoint(w.t.Context(), s, endpoint)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) countOf(query string, args ...any) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), query, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// crowd are events of n connections.
func crowd(n int, kind tenant.EventType) (events []tenant.Event) {
	for i := range n {
		events = append(events, event(kind, fmt.Sprint("C", i)))
	}
	return events
}

// TestFailingEndpointIsDisabledOnce: five days of 500, two processes that see it, and
// one word about it to everybody.
func TestFailingEndpointIsDisabledOnce(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	w.stop()
	box := w.postal()
	c := webhooks.Config{Notifier: w.store}
	w.start(c)
	w.another(c)
	s := w.tenant()
	people := w.people(s)
	var broken atomic.Bool
	broken.Store(true)
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
		if broken.Load() {
			rw.WriteHeader(500)
		}
	})
	other := newReceiver(t, nil)
	id, _ := w.endpoint(s, rec.URL+"/hooks?token=hunter2", string(tenant.ConnectionCreated))
	w.endpoint(s, other.URL, string(tenant.EndpointDisabled))
	w.tell(s, crowd(40, tenant.ConnectionCreated)...)
	eventually(t, "every delivery failed once", func() bool {
		list := w.deliveries(s, id)
		return len(list) == 40 && !slices.ContainsFunc(list, func(d webhooks.Delivery) bool { return d.Attempts == 0 })
	})
	if e := w.find(s, id); e.FailingSince == nil || e.Status != "enabled" || e.LastError != "answered 500 Internal Server Error" {
		t.Fatalf("endpoint is %+v", e)
	}
	if list, err := w.hooks.Troubles(t.Context(), s); err != nil || len(list) != 0 {
		t.Errorf("troubles %+v, %v", list, err)
	}
	w.pass(id, 5*24*time.Hour)
	eventually(t, "disabled", func() bool { return w.find(s, id).Status == "disabled" })
	got := other.wait(t, 1)[0].event
	var data struct {
		EndpointID   string `json:"endpoint_id"`
		URL, Reason  string
		LastStatus   int       `json:"last_status"`
		LastError    string    `json:"last_error"`
		FailingSince time.Time `json:"failing_since"`
	}
	if err := json.Unmarshal(got.Data, &data); err != nil || got.Type != tenant.EndpointDisabled || data.EndpointID != id || data.Reason != "failing" ||
		data.LastStatus != 500 || data.LastError != "answered 500 Internal Server Error" || time.Since(data.FailingSince) < 5*24*time.Hour || got.ConnectionID != "" {
		t.Errorf("the event is %+v, %v", got, err)
	}
	for _, role := range tenant.Builders {
		eventually(t, "the mail to the "+string(role), func() bool {
			return slices.ContainsFunc(box.about("disabled"), func(m tenant.Message) bool { return m.To == people[role] })
		})
	}
	mails := box.about("disabled")
	if len(mails) != len(tenant.Builders)+1 { // the tenant's first owner, too
		t.Errorf("%d mails: %+v", len(mails), mails)
	}
	for _, want := range []string{"https://hibari.example/console/webhooks/" + id, rec.URL + "/hooks", "answered 500", data.FailingSince.Format("2 January 2006, 15:04 UTC")} {
		if !strings.Contains(mails[0].Text, want) {
			t.Errorf("the mail does not say %q:\n%s", want, mails[0].Text)
		}
	}
	if strings.Contains(mails[0].Text, "hunter2") {
		t.Errorf("the mail has a secret of the URL:\n%s", mails[0].Text)
	}
	once := func(times int) {
		t.Helper()
		if n := w.countOf(`select count(*) from event where tenant_id = $1 and type = 'endpoint.disabled'`, s.Tenant()); n != times {
			t.Errorf("%d events, want %d", n, times)
		}
		if n := w.countOf(`select count(*) from audit_entry where tenant_id = $1 and action = 'webhook_endpoint.disabled' and actor = 'system' and target = $2`, s.Tenant(), id); n != times {
			t.Errorf("%d audit entries, want %d", n, times)
		}
	}
	once(1)
	list, err := w.hooks.Troubles(t.Context(), s)
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Reason != webhooks.DisabledFailing {
		t.Errorf("troubles %+v, %v", list, err)
	}
	// Enabled again, and failing again: told again, but not by mail on the same day.
	if err := w.hooks.EnableEndpoint(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	if e := w.find(s, id); e.DisabledReason != "" || e.DisabledAt == nil || e.Breaker != webhooks.Closed {
		t.Errorf("enabled again, it is %+v", e)
	}
	w.makeDue(id)
	eventually(t, "failing again", func() bool { return w.find(s, id).FailingSince != nil })
	w.pass(id, 5*24*time.Hour)
	eventually(t, "disabled again", func() bool { return w.find(s, id).Status == "disabled" })
	once(2)
	if n := w.countOf(`select count(*) from mail_outbox`); n != 0 || len(box.about("disabled")) != len(mails) {
		t.Error("a second mail on the same day")
	}
	broken.Store(false)
	if err := w.hooks.EnableEndpoint(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what waited is delivered", func() bool {
		w.makeDue(id) // again: a try that was under way when it was disabled may fail late, and put the next off
		return !slices.ContainsFunc(w.deliveries(s, id), func(d webhooks.Delivery) bool { return d.State != webhooks.Delivered })
	})
}

// pass lets time go by for an endpoint that is failing, and makes a try of it due.
func (w *world) pass(endpoint string, d time.Duration) {
	w.t.Helper()
	w.exec(`update webhook_endpoint set failing_since = failing_since - $2::interval, failed_at = clock_timestamp() - interval '2 hours'
		where endpoint_id = $1`, endpoint, d)
	w.makeDue(endpoint)
}

// makeDue makes everything that waits for an endpoint due.
func (w *world) makeDue(endpoint string) {
	w.t.Helper()
	w.exec(`update delivery set due = clock_timestamp() where endpoint_id = $1 and state = 'pending'`, endpoint)
	w.nudge()
}

// TestSporadicFailuresDisableNothing: neither failures with a success between them, nor
// two failures of an endpoint that is seldom told anything.
func TestSporadicFailuresDisableNothing(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	answers := make(chan int, 10)
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) { rw.WriteHeader(<-answers) })
	id, _ := w.endpoint(s, rec.URL)
	tried := func(n int) {
		t.Helper()
		eventually(t, "the attempt recorded", func() bool { list := w.deliveries(s, id); return len(list) == 1 && list[0].Attempts == n })
	}
	answers <- 500
	w.tell(s, event(tenant.ChannelStarted, ""))
	tried(1)
	// Tried last three days ago: the time starts anew.
	w.exec(`update webhook_endpoint set failing_since = clock_timestamp() - interval '9 days', failed_at = clock_timestamp() - interval '3 days'`)
	answers <- 500
	w.makeDue(id)
	tried(2)
	if e := w.find(s, id); e.Status != "enabled" || e.FailingSince == nil || time.Since(*e.FailingSince) > time.Minute {
		t.Errorf("after two failures far apart: %+v", e)
	}
	// Failing for nearly five days, then one success.
	w.exec(`update webhook_endpoint set failing_since = clock_timestamp() - interval '4 days 23 hours', failed_at = clock_timestamp() - interval '2 hours'`)
	answers <- 500
	w.makeDue(id)
	tried(3)
	if e := w.find(s, id); e.Status != "enabled" || time.Since(*e.FailingSince) < 4*24*time.Hour {
		t.Errorf("before the five days are over: %+v", e)
	}
	answers <- 200
	w.makeDue(id)
	tried(4)
	if e := w.find(s, id); e.Status != "enabled" || e.FailingSince != nil {
		t.Errorf("after a success: %+v", e)
	}
	if n := w.countOf(`select count(*) from event where type = 'endpoint.disabled'`); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestGoneIsToldOnce(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	w.another(webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, status(410))
	id, _ := w.endpoint(s, rec.URL)
	w.tell(s, crowd(30, tenant.ConnectionCreated)...) // several in flight at once
	eventually(t, "disabled", func() bool { return w.find(s, id).Status == "disabled" })
	e := w.find(s, id)
	if e.DisabledReason != webhooks.DisabledGone || e.DisabledAt == nil || e.LastError != "answered 410 Gone" {
		t.Errorf("endpoint is %+v", e)
	}
	var reason string
	if err := w.pool.QueryRow(t.Context(), `select data->>'reason' from event where type = 'endpoint.disabled'`).Scan(&reason); err != nil || reason != "gone" {
		t.Errorf("reason %q, %v", reason, err)
	}
	if n := w.countOf(`select count(*) from event where type = 'endpoint.disabled'`); n != 1 {
		t.Errorf("%d events", n)
	}
	if n := w.countOf(`select count(*) from audit_entry where action = 'webhook_endpoint.disabled'`); n != 1 {
		t.Errorf("%d audit entries", n)
	}
}

// TestBreakerProbes: when an endpoint fails and fails, one delivery at a time asks
// whether it is back, and the others keep their tries.
func TestBreakerProbes(t *testing.T) {
	var skew atomic.Int64 // seconds
	w := newWorld(t, webhooks.Config{})
	w.stop()
	w.starting = func(hooks *webhooks.Webhooks) {
		hooks.SetNow(func() time.Time { return time.Now().Add(time.Duration(skew.Load()) * time.Second) })
	}
	w.start(webhooks.Config{})
	s := w.tenant()
	var broken atomic.Bool
	broken.Store(true)
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
		if broken.Load() {
			rw.WriteHeader(500)
		}
	})
	const events = 30
	id, _ := w.endpoint(s, rec.URL)
	tried := func() (n int) {
		for _, d := range w.deliveries(s, id) {
			n += d.Attempts
		}
		return n
	}
	w.tell(s, crowd(events, tenant.ConnectionCreated)...)
	eventually(t, "every delivery failed once", func() bool { return tried() >= events })
	if e := w.find(s, id); e.Breaker != webhooks.Closed {
		t.Fatalf("a moment's trouble opened the breaker: %+v", e)
	}
	skew.Store(12)
	w.makeDue(id)
	eventually(t, "the breaker open", func() bool { return w.find(s, id).Breaker == webhooks.Open })
	var quiet int // until nothing is in flight: a straggler may end after the breaker opened
	eventually(t, "nothing in flight", func() bool {
		quiet = len(rec.got())
		return tried() == quiet && w.find(s, id).Breaker == webhooks.Open
	})
	e := w.find(s, id)
	if wait := time.Until(*e.NextProbeAt); wait < 15*time.Second || wait > 36*time.Second || e.OpenSince == nil {
		t.Errorf("the first probe is in %v", wait)
	}
	probe := func(failed int, step time.Duration) {
		t.Helper()
		before := len(rec.got())
		w.makeDue(id)
		w.exec(`update webhook_endpoint set breaker_until = clock_timestamp() where endpoint_id = $1`, id)
		w.nudge()
		rec.wait(t, before+1)
		eventually(t, "the probe recorded", func() bool { return w.find(s, id).Breaker == webhooks.Open && tried() == before+1 })
		if n := len(rec.got()); n != before+1 {
			t.Errorf("%d requests, want one", n-before)
		}
		if wait := time.Until(*w.find(s, id).NextProbeAt); wait < step*8/10-5*time.Second || wait > step*12/10 {
			t.Errorf("after %d failed probes the next is in %v, want about %v", failed, wait, step)
		}
	}
	probe(1, time.Minute)
	probe(2, 2*time.Minute)
	w.exec(`update webhook_endpoint set breaker_opened_at = breaker_opened_at - interval '2 hours' where endpoint_id = $1`, id)
	if list, err := w.hooks.Troubles(t.Context(), s); err != nil || len(list) != 1 || list[0].Reason != "" {
		t.Errorf("troubles %+v, %v", list, err)
	}
	broken.Store(false)
	w.makeDue(id)
	w.exec(`update webhook_endpoint set breaker_until = clock_timestamp() where endpoint_id = $1`, id)
	w.nudge()
	eventually(t, "the breaker closed", func() bool { e := w.find(s, id); return e.Breaker == webhooks.Closed && e.FailingSince == nil })
	w.makeDue(id)
	eventually(t, "everything delivered", func() bool {
		return !slices.ContainsFunc(w.deliveries(s, id), func(d webhooks.Delivery) bool { return d.State != webhooks.Delivered })
	})
	if got := w.hooks.Stats(); got.BreakersOpened != 1 || got.EndpointsDisabled != 0 || got.Dead != 0 {
		t.Errorf("stats are %+v", got)
	}
}
