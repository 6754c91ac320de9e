package webhooks_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// An example reaches the endpoint that is tested, signed like any other; the
// ledger and the other endpoints learn of a ping at most.
func TestExamplesGoToOneEndpoint(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	one, other := newReceiver(t, nil), newReceiver(t, nil)
	id, secret := w.endpoint(s, one.URL, "channel.started") // what it chose does not matter
	w.endpoint(s, other.URL, webhooks.Types...)
	n := 0
	for i, as := range webhooks.ExampleTypes() {
		delivery, err := w.hooks.SendExample(t.Context(), s, id, as)
		if err != nil {
			t.Fatal(err)
		}
		n++
		got := one.wait(t, n)[n-1]
		verify(t, secret, got)
		if got.event.Type != as || got.event.Seq != int64(i+1) || got.event.Tenant != s.Tenant() || got.event.ID == "" {
			t.Errorf("%s: %s", as, got.body)
		}
		var data struct{ Test bool }
		if err := json.Unmarshal(got.event.Data, &data); err != nil || data.Test != (as != tenant.Ping) {
			t.Errorf("%s is not marked: %s", as, got.body)
		}
		if as == tenant.ConnectionDestroyed {
			replayed, err := w.hooks.Replay(t.Context(), s, delivery)
			if err != nil || replayed == "" {
				t.Fatal(err)
			}
			n++
			if again := one.wait(t, n)[n-1]; again.body != got.body {
				t.Errorf("again it is %s", again.body)
			}
		}
	}
	events, err := w.hooks.Events(t.Context(), s, 0, 100)
	if err != nil || len(events) == 0 {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Type != tenant.Ping || e.ConnectionID != "" || e.Channel != "" {
			t.Errorf("the ledger has %+v", e)
		}
	}
	var field *tenant.FieldError
	if _, err := w.hooks.SendExample(t.Context(), s, id, "recording.ready"); !errors.As(err, &field) || field.Field != "type" {
		t.Errorf("a type that nothing writes: %v", err)
	}
	w.tell(s, event(tenant.ChannelStarted, ""))
	if first := other.wait(t, 1)[0]; first.event.Type != tenant.ChannelStarted {
		t.Errorf("the other endpoint got %s", first.event.Type)
	}
}
