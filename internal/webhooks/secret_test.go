package webhooks_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// accepts asks the official library whether a request is good by a secret.
func accepts(t *testing.T, secret string, r received) bool {
	t.Helper()
	oracle, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return oracle.Verify([]byte(r.body), r.header) == nil
}

// tested sends a test event and returns the request that came of it.
func (w *world) tested(s tenant.Scope, id string, rec *receiver) received {
	w.t.Helper()
	n := len(rec.got())
	if _, err := w.hooks.SendTest(w.t.Context(), s, id); err != nil {
		w.t.Fatal(err)
	}
	return rec.wait(w.t, n+1)[n]
}

func TestBothSecretsSignWhileTheyOverlap(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, old := w.endpoint(s, rec.URL)
	began := time.Now()
	fresh, e, err := w.hooks.RotateSecret(t.Context(), s, id, webhooks.SecretOverlap)
	if err != nil || fresh == old || !strings.HasPrefix(fresh, "whsec_") || e.PreviousSecretUntil == nil {
		t.Fatalf("rotation: %+v, %v", e, err)
	}
	if ends := e.PreviousSecretUntil.Sub(began); ends < 24*time.Hour-time.Minute || ends > 24*time.Hour+time.Minute {
		t.Errorf("the old secret ends in %v", ends)
	}
	r := w.tested(s, id, rec)
	if !accepts(t, old, r) || !accepts(t, fresh, r) {
		t.Error("one of the two secrets does not verify")
	}
	signatures := strings.Fields(r.header.Get("webhook-signature"))
	only := r
	only.header = r.header.Clone()
	only.header.Set("webhook-signature", signatures[0])
	if len(signatures) != 2 || !accepts(t, fresh, only) || accepts(t, old, only) {
		t.Errorf("%d signatures, or the new secret's is not the first", len(signatures))
	}

	// A third takes the place of the second, which takes that of the first.
	third, _, err := w.hooks.RotateSecret(t.Context(), s, id, webhooks.SecretOverlap)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.tested(s, id, rec); !accepts(t, third, r) || !accepts(t, fresh, r) || accepts(t, old, r) {
		t.Error("after a second rotation not the newest two secrets sign")
	}

	if err := w.hooks.EndOverlap(t.Context(), s, id); err != nil {
		t.Fatal(err)
	}
	if r := w.tested(s, id, rec); !accepts(t, third, r) || accepts(t, fresh, r) {
		t.Error("an overlap that was ended goes on")
	}
	if e, err := w.hooks.Endpoint(t.Context(), s, id); err != nil || e.PreviousSecretUntil != nil {
		t.Errorf("after the end: %+v, %v", e, err)
	}
	if err := w.hooks.EndOverlap(t.Context(), w.tenant(), id); !errors.Is(err, webhooks.ErrNotFound) {
		t.Errorf("another tenant's end: %v", err)
	}
}

func TestLeakedSecretEndsAtOnce(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, old := w.endpoint(s, rec.URL)
	between, _, err := w.hooks.RotateSecret(t.Context(), s, id, webhooks.SecretOverlap)
	if err != nil {
		t.Fatal(err)
	}
	fresh, e, err := w.hooks.RotateSecret(t.Context(), s, id, 0)
	if err != nil || e.PreviousSecretUntil != nil {
		t.Fatalf("rotation: %+v, %v", e, err)
	}
	r := w.tested(s, id, rec)
	if !accepts(t, fresh, r) || accepts(t, between, r) || accepts(t, old, r) {
		t.Error("a leaked secret still verifies, or the new one does not")
	}
	var kept int
	var stored string
	if err := w.pool.QueryRow(t.Context(), `select count(previous_secret_sealed), min(encode(secret_sealed, 'escape')) from webhook_endpoint`).Scan(&kept, &stored); err != nil {
		t.Fatal(err)
	}
	if kept != 0 || strings.Contains(stored, fresh[6:20]) {
		t.Errorf("%d leaked secrets are kept, or the new one lies open in the database", kept)
	}
}

// The old secret signs nothing after its time, and is then deleted.
func TestOldSecretIsForgotten(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, old := w.endpoint(s, rec.URL)
	fresh, _, err := w.hooks.RotateSecret(t.Context(), s, id, webhooks.SecretOverlap)
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`update webhook_endpoint set previous_secret_until = clock_timestamp()`)
	w.exec(`update webhook_cursor set next_due = clock_timestamp()`) // as whoever changes an endpoint does
	if r := w.tested(s, id, rec); !accepts(t, fresh, r) || accepts(t, old, r) {
		t.Error("the old secret signs after its time")
	}
	eventually(t, "the old secret is deleted", func() bool {
		var kept int
		if err := w.pool.QueryRow(t.Context(), `select count(previous_secret_sealed) from webhook_endpoint`).Scan(&kept); err != nil {
			t.Fatal(err)
		}
		return kept == 0
	})
}

// The official library refuses what is not as we sent it.
func TestChangedRequestIsRefused(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	id, old := w.endpoint(s, rec.URL)
	if _, _, err := w.hooks.RotateSecret(t.Context(), s, id, webhooks.SecretOverlap); err != nil {
		t.Fatal(err)
	}
	r := w.tested(s, id, rec)
	if !accepts(t, old, r) {
		t.Fatal("the request as it is does not verify")
	}
	for name, change := range map[string]func(*received){
		"body":      func(r *received) { r.body = strings.Replace(r.body, "ping", "pong", 1) },
		"id":        func(r *received) { r.header.Set("webhook-id", "evt_other") },
		"timestamp": func(r *received) { r.header.Set("webhook-timestamp", "1800000000") },
		"signature": func(r *received) { r.header.Del("webhook-signature") },
	} {
		changed := r
		changed.header = http.Header(r.header.Clone())
		change(&changed)
		if accepts(t, old, changed) {
			t.Errorf("with another %s it verifies", name)
		}
	}
}

func TestChannelPrefixFilters(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	rec := newReceiver(t, nil)
	_, e, err := w.hooks.CreateEndpoint(t.Context(), s, rec.URL, webhooks.Choice{ChannelPrefix: "lobby-"})
	if err != nil || e.ChannelPrefix != "lobby-" || e.FilterFromSeq != 1 {
		t.Fatalf("made %+v, %v", e, err)
	}
	at := func(channel string) tenant.Event { return tenant.Event{Type: tenant.ChannelStarted, Channel: channel} }
	w.tell(s, at("lobby-1"), at("sora"), at(""), at("lobby-"), at("lobby"))
	got := rec.wait(t, 3)
	eventually(t, "all delivered", func() bool {
		list := w.deliveries(s, e.ID)
		return len(list) == 3 && list[0].State == webhooks.Delivered && list[1].State == webhooks.Delivered && list[2].State == webhooks.Delivered
	})
	seen := map[string]bool{}
	for _, r := range got {
		seen[r.event.Channel] = true
	}
	if len(got) != 3 || !seen["lobby-1"] || !seen[""] || !seen["lobby-"] {
		t.Errorf("got events of %v", seen)
	}

	// A change counts from a seq that it names, and no event is lost in between.
	e, err = w.hooks.ChangeEndpoint(t.Context(), s, e.ID, webhooks.EndpointChange{Prefix: new("sora"), Types: &[]string{"channel.ended"}})
	if err != nil || e.FilterFromSeq != 6 || e.ChannelPrefix != "sora" {
		t.Fatalf("changed %+v, %v", e, err)
	}
	if same, err := w.hooks.ChangeEndpoint(t.Context(), s, e.ID, webhooks.EndpointChange{Prefix: new("sora")}); err != nil || same.FilterFromSeq != 6 {
		t.Errorf("a change to what it was moves the filter: %+v, %v", same, err)
	}
	w.tell(s, at("sora-2"), tenant.Event{Type: tenant.ChannelEnded, Channel: "sora-2"}, tenant.Event{Type: tenant.ChannelEnded, Channel: "lobby-1"})
	if last := rec.wait(t, 4)[3].event; last.Type != tenant.ChannelEnded || last.Channel != "sora-2" || last.Seq != 7 {
		t.Errorf("got %+v", last)
	}
	var field *tenant.FieldError
	for _, wrong := range []string{strings.Repeat("x", 256), "\xff", "a\x00b"} {
		if _, err := w.hooks.ChangeEndpoint(t.Context(), s, e.ID, webhooks.EndpointChange{Prefix: &wrong}); !errors.As(err, &field) || field.Field != "channel_prefix" {
			t.Errorf("prefix %q: %v", wrong, err)
		}
	}
}
