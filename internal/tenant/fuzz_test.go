package tenant_test

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/tenant"
)

// FuzzVerify shows Verify any text as a token. It must never panic, always
// answer with a Refusal or a claim, and a claim only for a token that carries
// the tenant's own signature, checked here with nothing but crypto/hmac.
func FuzzVerify(f *testing.F) {
	h := newHouse(f)
	if err := h.store.Refresh(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.Add(h.token(good()), "room")
	f.Add(sign(map[string]any{"alg": "HS256"}, with(map[string]any{"channel_id": "room@" + string(h.made.Tenant)}), h.made.SigningKey), "room")
	f.Add(encode(map[string]any{"alg": "none", "kid": h.made.SigningKeyID})+"."+encode(good())+".", "room")
	f.Add("..", "")
	f.Add("", "\x00")
	f.Fuzz(func(t *testing.T, token, channel string) {
		claim, _, err := h.store.Verify(context.Background(), tenant.TokenWish{Token: token, Channel: channel, Role: tenant.SendOnly})
		var refusal *tenant.Refusal
		if err != nil && (!errors.As(err, &refusal) || refusal.Detail == "") {
			t.Fatalf("Verify(%q) = %v, want a Refusal that says what to do", token, err)
		}
		if claim.Tenant == "" {
			if err == nil {
				t.Fatalf("Verify(%q) let nobody in", token)
			}
			return
		}
		input, signature, _ := cutLast(token)
		got, decodeErr := base64.RawURLEncoding.DecodeString(signature)
		if decodeErr != nil || !hmac.Equal(got, mac(input, h.made.SigningKey)) {
			t.Fatalf("Verify(%q) took a token that nobody signed: %v", token, err)
		}
	})
}

// FuzzClaims signs any text as claims: whatever a tenant signs, Verify answers
// with a Refusal or with a claim that keeps the promises of Claim.
func FuzzClaims(f *testing.F) {
	h := newHouse(f)
	f.Add(`{"exp":`+inAMinute()+`,"channel_id":"room"}`, "room")
	f.Add(`{"exp":1e300,"nbf":-1e300,"channel_id":"*","role":["upstream"],"metadata":{"a":[1,{"b":null}]}}`, "room")
	f.Add(`{"exp":`+inAMinute()+`,"aud":["hibari"],"max_duration":1e-9,"metadata":{"\ud800":1e-400},"client_id":"x"}`, "a")
	f.Add(`null`, "")
	header := map[string]any{"alg": "HS256", "kid": h.made.SigningKeyID}
	f.Fuzz(func(t *testing.T, claims, channel string) {
		token := sign(header, claims, h.made.SigningKey)
		c, name, err := h.store.Verify(context.Background(), tenant.TokenWish{Token: token, Channel: channel, Role: tenant.SendOnly})
		if err != nil {
			return
		}
		if left := time.Until(c.ExpiresAt); left < -time.Minute || left > tenant.MaxTokenTTL+time.Minute {
			t.Errorf("a token that lives %s was taken: %s", left, claims)
		}
		if name == "" || len(name) > tenant.MaxNameBytes || len(c.Grant.ClientID) > tenant.MaxNameBytes || c.MaxDuration < 0 {
			t.Errorf("claim = %+v for channel %q", c, name)
		}
		if c.Metadata == nil {
			return
		}
		var object map[string]any
		if err := json.Unmarshal(c.Metadata, &object); err != nil || len(c.Metadata) > tenant.MaxMetadataBytes || object == nil {
			t.Errorf("metadata = %q, %v", c.Metadata, err)
		}
		if _, err := h.pool.Exec(context.Background(), `select $1::jsonb`, c.Metadata); err != nil {
			t.Errorf("Postgres does not take the metadata %q: %v", c.Metadata, err)
		}
	})
}

// FuzzAPIKey shows any text as an API key: only the ones we made open anything.
func FuzzAPIKey(f *testing.F) {
	h := newHouse(f)
	f.Add(h.made.APIKey)
	f.Add("Bearer " + h.made.APIKey)
	f.Add("hib_live_" + strings.Repeat("0", 26) + "_" + strings.Repeat("0", 49))
	f.Fuzz(func(t *testing.T, bearer string) {
		scope, err := h.store.AuthenticateAPIKey(context.Background(), bearer)
		if err == nil && (scope.Tenant() != h.made.Tenant || !strings.HasSuffix(bearer, h.made.APIKey)) {
			t.Fatalf("AuthenticateAPIKey(%q) opens %s", bearer, scope.Tenant())
		}
		if err != nil && (!errors.Is(err, tenant.ErrAPIKey) || scope != (tenant.Scope{})) {
			t.Fatalf("AuthenticateAPIKey(%q) = %v, %v", bearer, scope, err)
		}
	})
}

func cutLast(token string) (before, after string, ok bool) {
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return token, "", false
	}
	return token[:i], token[i+1:], true
}

// Whatever a stranger sends, what is kept of it is one short line of UTF-8, and
// plain text stays as it was.
func FuzzPrintable(f *testing.F) {
	f.Add("Mozilla/5.0 (雲雀)", 12)
	f.Add("a\x00b\r\nc\u0085\xff\xe2\x82", 255)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(0, min(most, 1<<10))
		kept := tenant.Printable(s, most)
		if len(kept) > most || !utf8.ValidString(kept) || strings.ContainsFunc(kept, unicode.IsControl) {
			t.Errorf("kept %q of %q", kept, s)
		}
		if again := tenant.Printable(kept, most); again != kept {
			t.Errorf("%q became %q the second time", kept, again)
		}
		if plain := utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl); plain && !strings.HasPrefix(s, kept) || plain && len(s) <= most && kept != s {
			t.Errorf("plain %q became %q", s, kept)
		}
	})
}
