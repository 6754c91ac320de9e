package billing_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

func TestLiveShowsWhatWasOpened(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	o := tenant.Opening{ConnectionID: tenant.NewID(), Tenant: scope.Tenant(), Channel: "room", Role: tenant.RecvOnly,
		ClientID: "me", Protocol: "whep", KeyID: "kid", TokenHash: sha256.Sum256([]byte("token")),
		TokenExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Metadata: json.RawMessage(`{"a": 1}`),
		RemoteAddress: "192.0.2.1:5", UserAgent: "browser"}
	opened, err := b.Open(t.Context(), b.node, o)
	b.must(err)
	b.exec(`update connection set opened_at = opened_at - interval '1 minute' where connection_id = $1`, o.ConnectionID)
	b.must(b.Connected(t.Context(), o.ConnectionID, 10*time.Second))
	live, next, err := b.Live(t.Context(), scope, billing.LiveQuery{})
	if err != nil || next != "" || len(live) != 1 {
		t.Fatal(live, next, err)
	}
	c := live[0]
	if c.ConnectionID != o.ConnectionID || c.Channel != o.Channel || c.SessionID != opened.SessionID || c.NodeID != b.node ||
		c.Role != o.Role || c.ClientID != o.ClientID || c.Protocol != o.Protocol || c.KeyID != o.KeyID ||
		c.TokenHash != o.TokenHash || !c.TokenExpiresAt.Equal(o.TokenExpiresAt) || string(c.Metadata) != string(o.Metadata) ||
		c.RemoteAddress != o.RemoteAddress || c.UserAgent != o.UserAgent || c.OpenedAt.IsZero() ||
		c.ConnectedAt.IsZero() || c.Seconds < 10 || c.Seconds > 60 {
		t.Fatalf("%+v", c)
	}
	h, err := b.Connection(t.Context(), scope, o.ConnectionID)
	if err != nil || h.ConnectionID != o.ConnectionID || !h.EndedAt.IsZero() || h.Minutes != 1 {
		t.Fatal(h, err)
	}
	channels, err := b.Channels(t.Context(), scope)
	if err != nil || len(channels) != 1 || channels[0].Channel != "room" || channels[0].SessionID != opened.SessionID ||
		channels[0].StartedAt.IsZero() || channels[0].Counts != opened.Counts {
		t.Fatal(channels, err)
	}
}

func TestLiveByPages(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(50, 50)
	var ids []string
	for i := range 7 {
		ids = append(ids, b.open(scope, []string{"a", "b"}[i%2], tenant.RecvOnly))
	}
	slices.Reverse(ids) // newest first
	pages := func(q billing.LiveQuery) (all []string) {
		for {
			live, next, err := b.Live(t.Context(), scope, q)
			b.must(err)
			if len(live) > q.Limit {
				t.Fatalf("%d rows for a limit of %d", len(live), q.Limit)
			}
			for _, c := range live {
				all = append(all, c.ConnectionID)
			}
			if next == "" {
				return all
			}
			q.After = next
		}
	}
	for limit := 1; limit <= 8; limit++ {
		if got := pages(billing.LiveQuery{Limit: limit}); !slices.Equal(got, ids) {
			t.Fatalf("limit %d: %v, want %v", limit, got, ids)
		}
	}
	if got, want := pages(billing.LiveQuery{Channel: "b", Limit: 2}), []string{ids[1], ids[3], ids[5]}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	_, next, err := b.Live(t.Context(), scope, billing.LiveQuery{Limit: 3})
	b.must(err)
	b.must(b.Close(t.Context(), next, tenant.Ending{Reason: tenant.EndClient})) // the cursor's own connection ends
	if got := pages(billing.LiveQuery{Limit: 3, After: next}); !slices.Equal(got, ids[3:]) {
		t.Fatalf("%v, want %v", got, ids[3:])
	}
}

func TestScopes(t *testing.T) {
	b := newBench(t)
	scope, other := b.newTenant(5, 5), b.newTenant(5, 5)
	id := b.open(scope, "room", tenant.RecvOnly)
	if live, _, err := b.Live(t.Context(), other, billing.LiveQuery{After: id}); err != nil || len(live) != 0 {
		t.Fatal("another tenant sees", live, err)
	}
	if _, err := b.Connection(t.Context(), other, id); !errors.Is(err, billing.ErrNotFound) {
		t.Fatal(err)
	}
	if channels, err := b.Channels(t.Context(), other); err != nil || len(channels) != 0 {
		t.Fatal("another tenant sees", channels, err)
	}
	var zero tenant.Scope
	_, _, live := b.Live(t.Context(), zero, billing.LiveQuery{})
	_, channels := b.Channels(t.Context(), zero)
	_, connection := b.Connection(t.Context(), zero, id)
	_, licence := b.Licence(t.Context(), zero)
	_, usage := b.Usage(t.Context(), zero, time.Now(), time.Now().Add(1), billing.ByDay)
	for _, err := range []error{live, channels, connection, licence, usage, b.SetLicence(t.Context(), zero, 1, 1)} {
		if !errors.Is(err, tenant.ErrScope) {
			t.Error("the zero scope:", err)
		}
	}
	unknown := tenant.OperatorScope("ten_unknown")
	_, licence = b.Licence(t.Context(), unknown)
	_, usage = b.Usage(t.Context(), unknown, time.Now(), time.Now().Add(1), billing.ByDay)
	for _, err := range []error{licence, usage, b.SetLicence(t.Context(), unknown, 1, 1)} {
		if !errors.Is(err, billing.ErrNotFound) {
			t.Error("an unknown tenant:", err)
		}
	}
	if err := b.SetLicence(t.Context(), scope, -1, 5); err == nil {
		t.Error("a licence of -1 was taken")
	}
}
