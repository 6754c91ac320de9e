package webhooks_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

func TestEndpointsAreTheTenantsOwn(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s, other := w.tenant(), w.tenant()
	rec := newReceiver(t, nil)
	secret, made, err := w.hooks.CreateEndpoint(t.Context(), s, rec.URL, webhooks.Choice{Types: []string{"channel.started", "channel.ended", "channel.started"}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 24 {
		t.Errorf("secret has %d bytes, %v", len(key), err)
	}
	if !slices.Equal(made.Types, []string{"channel.ended", "channel.started"}) || made.Status != "enabled" {
		t.Errorf("endpoint is %+v", made)
	}
	for name, call := range map[string]func() error{
		"Endpoint":        func() error { _, err := w.hooks.Endpoint(t.Context(), other, made.ID); return err },
		"DeleteEndpoint":  func() error { return w.hooks.DeleteEndpoint(t.Context(), other, made.ID) },
		"EnableEndpoint":  func() error { return w.hooks.EnableEndpoint(t.Context(), other, made.ID) },
		"DisableEndpoint": func() error { return w.hooks.DisableEndpoint(t.Context(), other, made.ID) },
		"RotateSecret":    func() error { _, _, err := w.hooks.RotateSecret(t.Context(), other, made.ID, 0); return err },
		"SendTest":        func() error { _, err := w.hooks.SendTest(t.Context(), other, made.ID); return err },
	} {
		if err := call(); !errors.Is(err, webhooks.ErrNotFound) || !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%s by another tenant: %v", name, err)
		}
	}
	if list, err := w.hooks.Endpoints(t.Context(), other); err != nil || len(list) != 0 {
		t.Errorf("another tenant sees %v, %v", list, err)
	}
	if list, err := w.hooks.Endpoints(t.Context(), s); err != nil || len(list) != 1 || list[0].ID != made.ID {
		t.Errorf("the tenant sees %v, %v", list, err)
	}
	w.tell(other, event(tenant.ChannelStarted, ""))
	w.tell(s, event(tenant.ChannelStarted, ""))
	if got := rec.wait(t, 1)[0]; got.event.Tenant != s.Tenant() {
		t.Errorf("got an event of %s", got.event.Tenant)
	}
	if list, err := w.hooks.Deliveries(t.Context(), other, webhooks.DeliveryQuery{Endpoint: made.ID}); err != nil || len(list) != 0 {
		t.Errorf("another tenant sees deliveries %v, %v", list, err)
	}
}

func TestEndpointGetsOnlyWhatComesAfterIt(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	w.tell(s, event(tenant.ChannelStarted, ""))
	rec := newReceiver(t, nil)
	first, _ := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ChannelEnded, ""))
	rec.wait(t, 1)
	second, _ := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ConnectionCreated, "C"), event(tenant.ConnectionUpdated, "C"))
	rec.wait(t, 3)
	eventually(t, "both lists", func() bool { return len(w.deliveries(s, first)) == 2 && len(w.deliveries(s, second)) == 1 })
}

func TestPingGoesToOneEndpointOnly(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	one, two := newReceiver(t, nil), newReceiver(t, nil)
	id, secret := w.endpoint(s, one.URL, "channel.started")
	w.endpoint(s, two.URL, webhooks.Types...)
	delivery, err := w.hooks.SendTest(t.Context(), s, id)
	if err != nil {
		t.Fatal(err)
	}
	got := one.wait(t, 1)[0]
	verify(t, secret, got)
	if got.event.Type != tenant.Ping || got.event.Seq != 1 {
		t.Errorf("got %s", got.body)
	}
	if d := w.only(s, id); d.ID != delivery {
		t.Errorf("delivery %s, want %s", d.ID, delivery)
	}
	w.tell(s, event(tenant.ChannelStarted, ""))
	if first := two.wait(t, 1)[0]; first.event.Type != tenant.ChannelStarted {
		t.Errorf("the other endpoint got %s", first.event.Type)
	}
}

func TestDeletedEndpointGetsNothing(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	doomed, kept := newReceiver(t, status(500)), newReceiver(t, nil)
	id, _ := w.endpoint(s, doomed.URL)
	w.endpoint(s, kept.URL)
	w.tell(s, event(tenant.ChannelStarted, ""))
	eventually(t, "a failure recorded", func() bool {
		list := w.deliveries(s, id)
		return len(list) == 1 && list[0].Attempts == 1
	})
	if err := w.hooks.DeleteEndpoint(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	w.tell(s, event(tenant.ChannelEnded, ""))
	kept.wait(t, 2)
	if n := len(doomed.got()); n != 1 {
		t.Errorf("the deleted endpoint was called %d times, want 1", n)
	}
	if n := len(w.deliveries(s, id)); n != 0 {
		t.Errorf("%d deliveries are left", n)
	}
}

// TestDeletingABusyEndpoint: attempts, fan-out and replays lock the same rows;
// none of them may make the deletion fail, nor leave anything behind.
func TestDeletingABusyEndpoint(t *testing.T) {
	w := newWorld(t, webhooks.Config{Schedule: quick()})
	s := w.tenant()
	rec := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) { rw.WriteHeader(200 + 300*rand.IntN(2)) })
	for range 8 {
		id, _ := w.endpoint(s, rec.URL)
		seen := len(rec.got())
		var busy sync.WaitGroup
		for c := range 3 {
			busy.Go(func() {
				for range 10 {
					w.tell(s, event(tenant.ConnectionCreated, fmt.Sprint(c)), event(tenant.ConnectionDestroyed, fmt.Sprint(c)))
				}
			})
		}
		busy.Go(func() {
			for _, d := range w.deliveries(s, id) {
				if _, err := w.hooks.Replay(t.Context(), s, d.ID); err != nil && !errors.Is(err, webhooks.ErrNotFound) {
					t.Error(err)
				}
			}
		})
		rec.wait(t, seen+5)
		if err := w.hooks.DeleteEndpoint(t.Context(), s, id); err != nil {
			t.Error(err)
		}
		busy.Wait()
		if n := len(w.deliveries(s, id)); n != 0 {
			t.Errorf("%d deliveries are left", n)
		}
	}
}

// TestReplaysAtOnce: each gets its own number.
func TestReplaysAtOnce(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, _ := w.endpoint(s, rec.URL)
	w.tell(s, event(tenant.ConnectionCreated, "C"))
	rec.wait(t, 1)
	original := w.only(s, id).ID
	var replays sync.WaitGroup
	for range 8 {
		replays.Go(func() {
			if _, err := w.hooks.Replay(t.Context(), s, original); err != nil {
				t.Error(err)
			}
		})
	}
	replays.Wait()
	rec.wait(t, 9)
}

func TestEndpointInputIsChecked(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	var field *tenant.FieldError
	if _, _, err := w.hooks.CreateEndpoint(t.Context(), s, "nonsense", webhooks.Choice{}); !errors.As(err, &field) || field.Field != "url" {
		t.Errorf("url: %v", err)
	}
	if _, _, err := w.hooks.CreateEndpoint(t.Context(), s, "http://127.0.0.1", webhooks.Choice{Types: []string{"everything"}}); !errors.As(err, &field) || field.Field != "types" {
		t.Errorf("types: %v", err)
	}
	for i := range webhooks.MaxEndpoints {
		w.endpoint(s, fmt.Sprintf("http://127.0.0.1/%d", i))
	}
	if _, _, err := w.hooks.CreateEndpoint(t.Context(), s, "http://127.0.0.1/", webhooks.Choice{}); !errors.Is(err, webhooks.ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
}

func TestDeliveriesArePagedNewestFirst(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, _ := w.endpoint(s, rec.URL)
	for i := range 7 {
		w.tell(s, event(tenant.ConnectionCreated, fmt.Sprint(i)))
		rec.wait(t, i+1)
	}
	eventually(t, "all delivered", func() bool {
		list, err := w.hooks.Deliveries(t.Context(), s, webhooks.DeliveryQuery{State: webhooks.Delivered})
		return err == nil && len(list) == 7
	})
	var seqs []int64
	before := ""
	for {
		page, err := w.hooks.Deliveries(t.Context(), s, webhooks.DeliveryQuery{Endpoint: id, Before: before, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			seqs = append(seqs, d.EventSeq)
		}
		before = page[len(page)-1].ID
	}
	if !slices.Equal(seqs, []int64{7, 6, 5, 4, 3, 2, 1}) {
		t.Errorf("pages have %v", seqs)
	}
}

func TestSweepKeepsWhatIsYoung(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, status(500))
	id, _ := w.endpoint(s, rec.URL)
	for i := range 3 {
		w.tell(s, event(tenant.ConnectionCreated, "line"), event(tenant.ConnectionCreated, fmt.Sprint(i)))
	}
	eventually(t, "all tried", func() bool { return w.rows("delivery where attempts > 0") == 4 })
	w.stop()
	// An endpoint that was disabled for a month: the head of a line goes, its follower
	// must not wait for ever.
	w.exec(`update delivery set event_at = event_at - interval '31 days' where event_seq <= 2`)
	if err := w.hooks.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, d := range w.deliveries(s, id) {
		states = append(states, fmt.Sprintf("%d %s", d.EventSeq, d.State))
	}
	if want := []string{"3 pending", "4 pending", "5 waiting", "6 pending"}; !slices.Equal(states, want) {
		t.Errorf("deliveries are %v, want %v", states, want)
	}
}
