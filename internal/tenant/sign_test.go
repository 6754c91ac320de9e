package tenant_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/tenant"
)

// TestSignedTokensVerify signs what SignToken takes and wants Verify to give
// the same back.
func TestSignedTokensVerify(t *testing.T) {
	h := newHouse(t)
	text := rapid.StringMatching(`[a-zA-Z0-9雲@*._ -]{1,40}`)
	rapid.Check(t, func(t *rapid.T) {
		r := tenant.TokenRequest{
			Channel:     text.Draw(t, "channel"),
			Roles:       rapid.SliceOfN(rapid.SampledFrom([]string{"sendonly", "recvonly", "sendrecv", "upstream", "downstream"}), 0, 4).Draw(t, "roles"),
			ClientID:    rapid.OneOf(rapid.Just(""), text).Draw(t, "client id"),
			TTL:         time.Duration(rapid.IntRange(1, 24*3600).Draw(t, "ttl")) * time.Second,
			MaxDuration: time.Duration(rapid.IntRange(0, 3600).Draw(t, "max duration")) * time.Second,

			MaxChannelConnections: rapid.IntRange(0, tenant.MaxChannelConnections).Draw(t, "max channel connections"),
			Duplicates:            rapid.SampledFrom([]tenant.Duplicates{"", tenant.DuplicatesAllow, tenant.DuplicatesRefuse, tenant.DuplicatesReplace}).Draw(t, "duplicates"),
		}
		metadata := rapid.MapOfN(text, rapid.OneOf(text.AsAny(), rapid.Float64().AsAny(), rapid.Bool().AsAny()), 0, 5).Draw(t, "metadata")
		if len(metadata) > 0 {
			r.Metadata = metadata
		}
		token, err := h.store.SignToken(t.Context(), h.scope, r)
		if err != nil {
			t.Fatal(err)
		}
		role := tenant.SendRecv
		var roles []tenant.Role
		for _, word := range r.Roles {
			role, _ = tenant.ParseRole(word)
			roles = append(roles, role)
		}
		claim, channel, err := h.store.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: strings.TrimSuffix(r.Channel, "*") + "x"[:strings.Count(r.Channel[len(r.Channel)-1:], "*")], Role: role})
		if err != nil {
			t.Fatalf("a token signed for %q, %s: %v", r.Channel, role, err)
		}
		if claim.Channel != r.Channel || claim.Grant.ClientID != r.ClientID || claim.MaxDuration != r.MaxDuration || claim.JTI == "" ||
			!slices.Equal(claim.Roles, roles) || claim.Grant.MaxChannelConnections != r.MaxChannelConnections || claim.Grant.Duplicates != r.Duplicates {
			t.Fatalf("claim = %+v of %+v for %q", claim, r, channel)
		}
		if ttl := time.Until(claim.ExpiresAt); ttl > r.TTL+time.Second || ttl < r.TTL-10*time.Second {
			t.Fatalf("the token lives %s, want %s", ttl, r.TTL)
		}
		var got map[string]any
		if len(metadata) > 0 {
			if err := json.Unmarshal(claim.Metadata, &got); err != nil || !reflect.DeepEqual(got, metadata) {
				t.Fatalf("metadata = %s, %v, want %v", claim.Metadata, err, metadata)
			}
		} else if claim.Metadata != nil {
			t.Fatalf("metadata = %s, want none", claim.Metadata)
		}
	})
}

// TestChannelPatterns holds Verify against the definition: a pattern allows
// what begins like it, a name only itself, and the tenant's suffix is no part
// of either.
func TestChannelPatterns(t *testing.T) {
	h := newHouse(t)
	suffix := "@" + string(h.made.Tenant)
	name := rapid.StringMatching(`[ab*@]{0,4}`)
	rapid.Check(t, func(t *rapid.T) {
		allowed, wished := name.Draw(t, "allowed"), name.Draw(t, "wished")
		pattern := rapid.Bool().Draw(t, "pattern")
		if pattern {
			allowed += "*"
		}
		if allowed == "" || wished == "" {
			return
		}
		want := wished == allowed
		if strings.HasSuffix(allowed, "*") {
			want = len(wished) >= len(allowed)-1 && wished[:len(allowed)-1] == allowed[:len(allowed)-1]
		}
		claimed, asked := allowed, wished
		if rapid.Bool().Draw(t, "suffix in the token") {
			claimed += suffix
		}
		if rapid.Bool().Draw(t, "suffix in the wish") {
			asked += suffix
		}
		_, channel, err := h.store.Verify(t.Context(), tenant.TokenWish{Token: h.token(with(map[string]any{"channel_id": claimed})), Channel: asked, Role: tenant.SendOnly})
		if (err == nil) != want {
			t.Fatalf("a token for %q and the channel %q: %v, want allowed = %t", claimed, asked, err, want)
		}
		if err == nil && channel != wished {
			t.Fatalf("channel = %q, want %q", channel, wished)
		}
	})
}

func TestSignTokenMistakes(t *testing.T) {
	h := newHouse(t)
	for _, test := range []struct {
		field string
		r     tenant.TokenRequest
	}{
		{"channel", tenant.TokenRequest{}},
		{"channel", tenant.TokenRequest{Channel: "a\nb"}},
		{"channel", tenant.TokenRequest{Channel: strings.Repeat("r", 256)}},
		{"role", tenant.TokenRequest{Channel: "room", Roles: []string{"admin"}}},
		{"role", tenant.TokenRequest{Channel: "room", Roles: []string{"sendonly", ""}}},
		{"role", tenant.TokenRequest{Channel: "room", Roles: slices.Repeat([]string{"sendonly"}, 17)}},
		{"max_channel_connections", tenant.TokenRequest{Channel: "room", MaxChannelConnections: -1}},
		{"max_channel_connections", tenant.TokenRequest{Channel: "room", MaxChannelConnections: tenant.MaxChannelConnections + 1}},
		{"duplicate_client_id", tenant.TokenRequest{Channel: "room", Duplicates: "fight"}},
		{"ttl", tenant.TokenRequest{Channel: "room", TTL: 25 * time.Hour}},
		{"ttl", tenant.TokenRequest{Channel: "room", TTL: -time.Second}},
		{"client_id", tenant.TokenRequest{Channel: "room", ClientID: "\x00"}},
		{"max_duration", tenant.TokenRequest{Channel: "room", MaxDuration: -1}},
		{"max_duration", tenant.TokenRequest{Channel: "room", MaxDuration: 1000 * time.Hour}},
		{"metadata", tenant.TokenRequest{Channel: "room", Metadata: "text"}},
		{"metadata", tenant.TokenRequest{Channel: "room", Metadata: func() {}}},
		{"metadata", tenant.TokenRequest{Channel: "room", Metadata: map[string]string{"x": "\x00"}}},
		{"metadata", tenant.TokenRequest{Channel: "room", Metadata: map[string]string{"x": strings.Repeat("x", 4096)}}},
	} {
		if token, err := h.store.SignToken(t.Context(), h.scope, test.r); !isField(err, test.field) {
			t.Errorf("SignToken(%+.60v) = %q, %v, want a FieldError of %s", test.r, token, err, test.field)
		}
	}
	token, err := h.store.SignToken(t.Context(), h.scope, tenant.TokenRequest{Channel: "room"})
	if err != nil {
		t.Fatal(err)
	}
	claim := h.accepts(h.store, h.confide(token), "room", tenant.SendOnly)
	if ttl := time.Until(claim.ExpiresAt); ttl < 9*time.Minute || ttl > 11*time.Minute {
		t.Errorf("a token lives %s by default, want 10 minutes", ttl)
	}
}
