package tenant_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// TestWrongTokens is the list of what must be refused, each by its name.
func TestWrongTokens(t *testing.T) {
	h := newHouse(t)
	other := h.newTenant("Other", "other@example.com")
	header := func(changes map[string]any) map[string]any {
		fields := map[string]any{"alg": "HS256", "typ": "JWT", "kid": h.made.SigningKeyID}
		for name, value := range changes {
			if fields[name] = value; value == nil {
				delete(fields, name)
			}
		}
		return fields
	}
	key, fine := h.made.SigningKey, h.token(good())
	parts := strings.Split(fine, ".")
	now := time.Now()
	suffixed := with(map[string]any{"channel_id": "room@" + string(h.made.Tenant)})

	for _, test := range []struct {
		name  string
		token any
		code  tenant.Code
		says  string
	}{
		// Form.
		{"absent", nil, tenant.TokenInvalid, "no access token"},
		{"empty", "", tenant.TokenInvalid, "no access token"},
		{"a number", float64(42), tenant.TokenInvalid, "must be a JSON string"},
		{"an object", map[string]any{"access_token": fine}, tenant.TokenInvalid, "must be a JSON string"},
		{"a list", []any{fine}, tenant.TokenInvalid, "must be a JSON string"},
		{"raw JSON", json.RawMessage(`"x"`), tenant.TokenInvalid, "must be a JSON string"},
		{"no JWT", "let me in", tenant.TokenInvalid, "no JWT"},
		{"two parts", parts[0] + "." + parts[1], tenant.TokenInvalid, "no JWT"},
		{"four parts", fine + ".x", tenant.TokenInvalid, "no JWT"},
		{"only dots", "..", tenant.TokenInvalid, "header"},
		{"a line end after it", fine + "\n", tenant.TokenInvalid, "nothing else"},
		{"a line end in the signature", parts[0] + "." + parts[1] + "." + parts[2][:9] + "\r\n" + parts[2][9:], tenant.TokenInvalid, "nothing else"},
		{"padding", fine + "=", tenant.TokenInvalid, "nothing else"},
		{"huge", h.token(with(map[string]any{"x": strings.Repeat("x", 8<<10)})), tenant.TokenInvalid, "the most is 8192"},
		{"a megabyte of dots", strings.Repeat(".", 1<<20), tenant.TokenInvalid, "the most is 8192"},
		{"not base64", "a." + parts[1] + "." + parts[2], tenant.TokenInvalid, "header"},
		{"NUL", "\x00.\x00.\x00", tenant.TokenInvalid, "no JWT"},
		{"header no object", sign("[]", good(), key), tenant.TokenInvalid, "header"},
		{"header null", sign("null", good(), key), tenant.TokenInvalid, "header"},
		{"claims no object", h.token("[]"), tenant.TokenInvalid, "JSON objects"},
		{"claims null", h.token("null"), tenant.TokenInvalid, "JSON objects"},
		{"deep claims", h.token(strings.Repeat("[", 5000)), tenant.TokenInvalid, "JSON objects"},

		// Algorithm and key.
		{"alg none, unsigned", encode(header(map[string]any{"alg": "none"})) + "." + parts[1] + ".", tenant.TokenInvalid, "HS256"},
		{"alg None", encode(header(map[string]any{"alg": "None"})) + "." + parts[1] + ".", tenant.TokenInvalid, "HS256"},
		{"alg none without kid", encode(map[string]any{"alg": "none"}) + "." + encode(suffixed) + ".", tenant.TokenInvalid, "HS256"},
		{"alg absent", sign(header(map[string]any{"alg": nil}), good(), key), tenant.TokenInvalid, "HS256"},
		{"alg a list", sign(header(map[string]any{"alg": []string{"HS256"}}), good(), key), tenant.TokenInvalid, "HS256"},
		{"alg HS512", sign(header(map[string]any{"alg": "HS512"}), good(), key), tenant.TokenInvalid, "HS256"},
		{"alg RS256", sign(header(map[string]any{"alg": "RS256"}), good(), key), tenant.TokenInvalid, "HS256"},
		{"signature missing", parts[0] + "." + parts[1] + ".", tenant.TokenInvalid, "signature is wrong"},
		{"signature of other claims", parts[0] + "." + encode(with(map[string]any{"channel_id": "*"})) + "." + parts[2], tenant.TokenInvalid, "signature is wrong"},
		{"signed with another tenant's key", sign(header(nil), good(), other.SigningKey), tenant.TokenInvalid, "signature is wrong"},
		{"signed with the decoded secret", sign(header(nil), good(), decoded(t, key)), tenant.TokenInvalid, "used as text"},
		{"signed with nothing", sign(header(nil), good(), ""), tenant.TokenInvalid, "signature is wrong"},
		{"loose base64 at the end", loose(fine), tenant.TokenInvalid, ""},
		{"crit", sign(header(map[string]any{"crit": []string{"b64"}, "b64": false}), good(), key), tenant.TokenInvalid, "crit"},
		{"jwk in the header", sign(header(map[string]any{"jwk": map[string]string{"kty": "oct", "k": "AAAA"}}), good(), "\x00\x00\x00"), tenant.TokenInvalid, "signature is wrong"},

		// kid.
		{"kid absent", sign(header(map[string]any{"kid": nil}), good(), key), tenant.TokenInvalid, "set kid"},
		{"KID", sign(map[string]any{"alg": "HS256", "KID": h.made.SigningKeyID}, good(), key), tenant.TokenInvalid, "set kid"},
		{"kid unknown", sign(header(map[string]any{"kid": "key_" + tenant.NewID()}), good(), key), tenant.TokenInvalid, "no active signing key"},
		{"kid empty", sign(header(map[string]any{"kid": ""}), good(), key), tenant.TokenInvalid, "copy one"},
		{"kid a number", sign(header(map[string]any{"kid": 1}), good(), key), tenant.TokenInvalid, "must be a string"},
		{"kid an object", sign(header(map[string]any{"kid": map[string]any{"$ne": 1}}), good(), key), tenant.TokenInvalid, "must be a string"},
		{"kid SQL", sign(header(map[string]any{"kid": "key_' or '1'='1"}), good(), key), tenant.TokenInvalid, "copy one"},
		{"kid a path", sign(header(map[string]any{"kid": "../../../../dev/null"}), good(), ""), tenant.TokenInvalid, "copy one"},
		{"kid with NUL", sign(header(map[string]any{"kid": h.made.SigningKeyID[:29] + "\x00"}), good(), key), tenant.TokenInvalid, "copy one"},
		{"kid long", sign(header(map[string]any{"kid": strings.Repeat("k", 5000)}), good(), key), tenant.TokenInvalid, "copy one"},
		{"kid with a line end", sign(header(map[string]any{"kid": h.made.SigningKeyID + "\n"}), good(), key), tenant.TokenInvalid, "copy one"},
		{"no kid, another tenant's suffix", sign(header(map[string]any{"kid": nil}), with(map[string]any{"channel_id": "room@" + string(other.Tenant)}), key), tenant.TokenInvalid, "signature is wrong"},
		{"no kid, nobody's suffix", sign(header(map[string]any{"kid": nil}), with(map[string]any{"channel_id": "room@ten_" + tenant.NewID()}), key), tenant.TokenInvalid, "no tenant"},
		{"no kid, SQL for a suffix", sign(header(map[string]any{"kid": nil}), with(map[string]any{"channel_id": "room@ten_' or '1'='1"}), key), tenant.TokenInvalid, "set kid"},
		{"no kid, signed with nothing", sign(header(map[string]any{"kid": nil}), suffixed, ""), tenant.TokenInvalid, "signature is wrong"},

		// Times.
		{"expired just now", h.token(with(map[string]any{"exp": now.Unix()})), tenant.TokenExpired, "sign a new token"},
		{"expired 5 s ago", h.token(with(map[string]any{"exp": now.Add(-5 * time.Second).Unix()})), tenant.TokenExpired, now.Add(-5 * time.Second).UTC().Format("exp was 15:04:05Z, ")},
		{"expired last year", h.token(with(map[string]any{"exp": now.AddDate(-1, 0, 0).Unix()})), tenant.TokenExpired, now.AddDate(-1, 0, 0).UTC().Format("2006-01-02T")},
		{"exp 0", h.token(with(map[string]any{"exp": 0})), tenant.TokenExpired, "before 1970"},
		{"exp negative", h.token(with(map[string]any{"exp": -1e300})), tenant.TokenExpired, "before 1970"},
		{"exp missing", h.token(with(map[string]any{"exp": nil})), tenant.TokenInvalid, "exp is missing"},
		{"exp null", h.token(`{"aud":"hibari","channel_id":"room","exp":null}`), tenant.TokenInvalid, "exp is missing"},
		{"exp a string", h.token(with(map[string]any{"exp": "2099-01-01"})), tenant.TokenInvalid, "must be a number"},
		{"exp too far", h.token(with(map[string]any{"exp": now.Add(25 * time.Hour).Unix()})), tenant.TokenInvalid, "the most is 24 h"},
		{"exp in milliseconds", h.token(with(map[string]any{"exp": now.UnixMilli()})), tenant.TokenInvalid, "not milliseconds"},
		{"exp 1e300", h.token(`{"aud":"hibari","channel_id":"room","exp":1e300}`), tenant.TokenInvalid, "not milliseconds"},
		{"exp 1e999", h.token(`{"aud":"hibari","channel_id":"room","exp":1e999}`), tenant.TokenInvalid, "must be a number"},
		{"nbf ahead", h.token(with(map[string]any{"nbf": now.Add(45 * time.Second).Unix()})), tenant.TokenInvalid, "set the signer's clock"},
		{"nbf a string", h.token(with(map[string]any{"nbf": "now"})), tenant.TokenInvalid, "must be a number"},
		{"nbf in milliseconds", h.token(with(map[string]any{"nbf": now.UnixMilli()})), tenant.TokenInvalid, "not milliseconds"},

		// The other claims.
		{"aud of another service", h.token(with(map[string]any{"aud": "sora"})), tenant.TokenInvalid, "aud"},
		{"aud a list without us", h.token(with(map[string]any{"aud": []string{"a", "b"}})), tenant.TokenInvalid, "aud"},
		{"aud a number", h.token(with(map[string]any{"aud": 1})), tenant.TokenInvalid, "aud"},
		{"aud in capitals", h.token(with(map[string]any{"aud": "Hibari"})), tenant.TokenInvalid, "aud"},
		{"neither aud nor channel", h.token(with(map[string]any{"aud": nil, "channel_id": nil})), tenant.TokenInvalid, "neither"},
		{"channel_id a list", h.token(with(map[string]any{"channel_id": []string{"room"}})), tenant.TokenInvalid, "channel_id must be a string"},
		{"channel_id empty", h.token(with(map[string]any{"channel_id": ""})), tenant.TokenInvalid, "channel_id is empty"},
		{"channel_id long", h.token(with(map[string]any{"channel_id": strings.Repeat("r", 256)})), tenant.TokenInvalid, "the most is 255"},
		{"channel_id with NUL", h.token(with(map[string]any{"channel_id": "room\x00"})), tenant.TokenInvalid, "control characters"},
		{"client_id with NUL", h.token(with(map[string]any{"client_id": "\x00"})), tenant.TokenInvalid, "control characters"},
		{"client_id a number", h.token(with(map[string]any{"client_id": 7})), tenant.TokenInvalid, "client_id must be a string"},
		{"a claim of a wrong type", h.token(with(map[string]any{"simulcast": "yes"})), tenant.TokenInvalid, "the claim simulcast must be true or false"},
		{"a claim inside another", h.token(with(map[string]any{"video": map[string]any{"bit_rate": 0}})), tenant.TokenInvalid, "the claim video.bit_rate must be"},
		{"a claim of a wrong size", h.token(with(map[string]any{"connection_lifetime": 3e9})), tenant.TokenInvalid, "the claim connection_lifetime must be"},
		{"two sets of claims", h.token(`{"exp":` + inAMinute() + `,"channel_id":"room"}{"video":false}`), tenant.TokenInvalid, "JSON object"},
		{"role unknown", h.token(with(map[string]any{"role": "admin"})), tenant.TokenInvalid, "unknown role"},
		{"role a list of numbers", h.token(with(map[string]any{"role": []int{1}})), tenant.TokenInvalid, "unknown role"},
		{"role an empty list", h.token(with(map[string]any{"role": []string{}})), tenant.TokenInvalid, "leave it out"},
		{"role a number", h.token(with(map[string]any{"role": 1})), tenant.TokenInvalid, "leave it out"},
		{"max_duration 0", h.token(with(map[string]any{"max_duration": 0})), tenant.TokenInvalid, "max_duration"},
		{"max_duration negative", h.token(with(map[string]any{"max_duration": -1})), tenant.TokenInvalid, "max_duration"},
		{"max_duration a century", h.token(with(map[string]any{"max_duration": 3e9})), tenant.TokenInvalid, "max_duration"},
		{"max_duration a string", h.token(with(map[string]any{"max_duration": "1h"})), tenant.TokenInvalid, "max_duration"},
		{"metadata a string", h.token(with(map[string]any{"metadata": "x"})), tenant.TokenInvalid, "JSON object"},
		{"metadata a list", h.token(with(map[string]any{"metadata": []int{1}})), tenant.TokenInvalid, "JSON object"},
		{"metadata too big", h.token(with(map[string]any{"metadata": map[string]string{"x": strings.Repeat("x", 4<<10)}})), tenant.TokenInvalid, "the most is 4096"},
		{"metadata with NUL", h.token(with(map[string]any{"metadata": map[string]string{"x": "\x00"}})), tenant.TokenInvalid, `\u0000`},
		{"metadata with a NUL name", h.token(with(map[string]any{"metadata": map[string]string{"\x00": "x"}})), tenant.TokenInvalid, `\u0000`},
		{"metadata with 1e999999", h.token(`{"exp":` + inAMinute() + `,"channel_id":"room","metadata":{"x":[1e999999]}}`), tenant.TokenInvalid, "huge numbers"},
		{"metadata deep", h.token(`{"exp":` + inAMinute() + `,"channel_id":"room","metadata":{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}`), tenant.TokenInvalid, "levels"},

		// What is wanted.
		{"another channel", h.token(with(map[string]any{"channel_id": "lobby"})), tenant.ChannelDenied, `"lobby"`},
		{"another prefix", h.token(with(map[string]any{"channel_id": "lobby-*"})), tenant.ChannelDenied, `"lobby-*"`},
		{"a star that is not last", h.token(with(map[string]any{"channel_id": "*om"})), tenant.ChannelDenied, ""},
		{"a longer channel", h.token(with(map[string]any{"channel_id": "room1"})), tenant.ChannelDenied, ""},
		{"another case", h.token(with(map[string]any{"channel_id": "Room"})), tenant.ChannelDenied, ""},
		{"a very long channel", h.token(with(map[string]any{"channel_id": strings.Repeat("雲", 85)})), tenant.ChannelDenied, "雲…"},
		{"another role", h.token(with(map[string]any{"role": "recvonly"})), tenant.RoleDenied, "recvonly only"},
		{"another role of 2015", h.token(with(map[string]any{"role": "downstream"})), tenant.RoleDenied, "recvonly only"},
		{"another role of a list", h.token(with(map[string]any{"role": []string{"recvonly", "sendrecv"}})), tenant.RoleDenied, "recvonly, sendrecv only"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h.t = t
			detail := h.refuses(h.store, test.token, "room", tenant.SendOnly, test.code)
			if !strings.Contains(detail, test.says) {
				t.Errorf("detail = %q, want it to say %q", detail, test.says)
			}
			if reason := string(test.code) + ": " + detail; len(reason) > 123 {
				t.Errorf("a WebSocket close reason holds 123 bytes, not %d: %s", len(reason), reason)
			}
		})
	}
	h.t = t
	h.accepts(h.store, fine, "room", tenant.SendOnly) // nothing else was disturbed
}

func inAMinute() string {
	text, _ := json.Marshal(time.Now().Add(time.Minute).Unix())
	return string(text)
}

func decoded(t *testing.T, secret string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// loose changes the unused low bits of the last letter: a lax decoder reads the
// same signature from another text.
func loose(token string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(letters, token[len(token)-1])
	return token[:len(token)-1] + string(letters[last^1])
}

// TestGoodTokens is what must be let in, and as what.
func TestGoodTokens(t *testing.T) {
	h := newHouse(t)
	now := time.Now()
	for _, test := range []struct {
		name    string
		claims  any
		channel string
		role    tenant.Role
		want    func(tenant.Claim) bool
	}{
		{"the least", map[string]any{"exp": now.Add(time.Minute).Unix(), "channel_id": "room"}, "room", tenant.SendOnly,
			func(c tenant.Claim) bool {
				return c.Channel == "room" && c.Roles == nil && c.Grant.ClientID == "" && c.Metadata == nil
			}},
		{"aud in a list", with(map[string]any{"aud": []string{"x", "hibari"}}), "room", tenant.SendRecv, nil},
		{"no channel_id: any", with(map[string]any{"channel_id": nil}), "anywhere", tenant.RecvOnly,
			func(c tenant.Claim) bool { return c.Channel == "*" }},
		{"a prefix", with(map[string]any{"channel_id": "room-*"}), "room-12", tenant.RecvOnly, nil},
		{"a prefix alone", with(map[string]any{"channel_id": "room-*"}), "room-", tenant.RecvOnly, nil},
		{"any channel", with(map[string]any{"channel_id": "*"}), "雲雀", tenant.RecvOnly, nil},
		{"the tenant's suffix in the token", with(map[string]any{"channel_id": "room@" + string(h.made.Tenant)}), "room", tenant.RecvOnly,
			func(c tenant.Claim) bool { return c.Channel == "room" }},
		{"the tenant's suffix in the wish", good(), "room@" + string(h.made.Tenant), tenant.RecvOnly, nil},
		{"nbf within the leeway", with(map[string]any{"nbf": now.Add(20 * time.Second).Unix()}), "room", tenant.SendOnly, nil},
		{"nbf in the past", with(map[string]any{"nbf": now.Add(-time.Hour).Unix()}), "room", tenant.SendOnly, nil},
		{"exp in 24 h", with(map[string]any{"exp": now.Add(24 * time.Hour).Unix()}), "room", tenant.SendOnly, nil},
		{"exp with a fraction", with(map[string]any{"exp": float64(now.Unix()) + 60.5}), "room", tenant.SendOnly, nil},
		{"role of 2015", with(map[string]any{"role": "upstream"}), "room", tenant.SendOnly,
			func(c tenant.Claim) bool { return slices.Equal(c.Roles, []tenant.Role{tenant.SendOnly}) }},
		{"a list of roles", with(map[string]any{"role": []string{"downstream", "sendonly"}}), "room", tenant.SendOnly,
			func(c tenant.Claim) bool { return len(c.Roles) == 2 }},
		{"role null", with(map[string]any{"role": json.RawMessage("null")}), "room", tenant.SendOnly, nil},
		{"unknown claims", with(map[string]any{"sub": "x", "turn_tcp_only": true, "iat": now.Unix()}), "room", tenant.SendOnly, nil},
		{"everything", with(map[string]any{"client_id": "anna", "jti": "j1", "max_duration": 1.5,
			"metadata": map[string]any{"name": "<雲雀>", "n": json.Number("12345678901234567890")}}), "room", tenant.SendOnly,
			func(c tenant.Claim) bool {
				return c.Grant.ClientID == "anna" && c.JTI == "j1" && c.MaxDuration == 1500*time.Millisecond &&
					string(c.Metadata) == `{"n":12345678901234567890,"name":"<雲雀>"}` && c.Grant.Metadata == nil
			}},
		{"what an auth webhook may set", with(map[string]any{"simulcast": true, "video": map[string]any{"bit_rate": 500}, "event_metadata": 1}), "room", tenant.SendOnly,
			func(c tenant.Claim) bool {
				return reflect.DeepEqual(c.Grant, tenant.Grant{Simulcast: new(true), Video: new(true), VideoBitRate: 500, EventMetadata: json.RawMessage("1")})
			}},
		{"lone surrogates in metadata", `{"exp":` + inAMinute() + `,"channel_id":"room","metadata":{"x":"\ud800"}}`, "room", tenant.SendOnly,
			func(c tenant.Claim) bool { return string(c.Metadata) == `{"x":"`+"\uFFFD"+`"}` }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h.t = t
			token := h.token(test.claims)
			claim, channel, err := h.store.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: test.channel, Role: test.role})
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(test.channel, "@"+string(h.made.Tenant)); channel != want {
				t.Errorf("channel = %q, want %q", channel, want)
			}
			if claim.Tenant != h.made.Tenant || claim.KeyID != h.made.SigningKeyID || claim.TokenHash != sha256.Sum256([]byte(token)) {
				t.Errorf("claim = %+v, want tenant, key and hash of the token", claim)
			}
			if claim.ExpiresAt.Before(now) {
				t.Errorf("ExpiresAt = %v, want the token's exp", claim.ExpiresAt)
			}
			if test.want != nil && !test.want(claim) {
				t.Errorf("claim = %+v", claim)
			}
			var ok bool
			if err := h.pool.QueryRow(t.Context(), `select $1::jsonb is not distinct from $1::jsonb`, claim.Metadata).Scan(&ok); err != nil || !ok {
				t.Errorf("Postgres does not take the metadata: %v", err)
			}
		})
	}
}

// TestTokenWithoutKid finds the tenant at the end of channel_id and tries its
// HS256 keys.
func TestTokenWithoutKid(t *testing.T) {
	h := newHouse(t)
	second, key, err := h.store.CreateSigningKey(t.Context(), h.scope, "second")
	if err != nil {
		t.Fatal(err)
	}
	suffix := "@" + string(h.made.Tenant)
	claims := with(map[string]any{"aud": nil, "channel_id": "sora-*" + suffix})
	header := map[string]any{"alg": "HS256"}
	for _, test := range []struct{ secret, kid, channel string }{
		{h.made.SigningKey, h.made.SigningKeyID, "sora-1"},
		{second, key.ID, "sora-2" + suffix},
	} {
		token := h.confide(sign(header, claims, test.secret))
		claim, channel, err := h.store.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: test.channel, Role: tenant.SendRecv})
		if err != nil {
			t.Fatal(err)
		}
		if claim.KeyID != test.kid || claim.Channel != "sora-*" || channel != strings.TrimSuffix(test.channel, suffix) {
			t.Errorf("claim = %+v for channel %q", claim, channel)
		}
	}
	// The suffix takes nothing from the name's length.
	long := strings.Repeat("雲", 85)
	h.accepts(h.store, sign(header, with(map[string]any{"channel_id": long + suffix}), h.made.SigningKey), long+suffix, tenant.SendRecv)
	detail := h.refuses(h.store, sign(header, with(map[string]any{"channel_id": long + "." + suffix}), h.made.SigningKey), long, tenant.SendRecv, tenant.TokenInvalid)
	if !strings.Contains(detail, "has 256 bytes") {
		t.Errorf("detail = %q", detail)
	}
	h.refuses(h.store, sign(header, claims, h.made.SigningKey), "lobby"+suffix, tenant.SendRecv, tenant.ChannelDenied)
	h.refuses(h.store, sign(header, claims, h.made.SigningKey), suffix, tenant.SendRecv, tenant.ChannelDenied)

	if err := h.store.RevokeSigningKey(t.Context(), h.scope, key.ID); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.store, sign(header, claims, second), "sora-1", tenant.SendRecv, tenant.TokenInvalid)
	h.accepts(h.store, sign(header, claims, h.made.SigningKey), "sora-1", tenant.SendRecv)
}

// TestRefusedClaim wants the claim beside the refusal where the token was good.
func TestRefusedClaim(t *testing.T) {
	h := newHouse(t)
	verify := func(token, channel string, role tenant.Role) (tenant.Claim, error) {
		claim, _, err := h.store.Verify(context.Background(), tenant.TokenWish{Token: token, Channel: channel, Role: role})
		return claim, err
	}
	token := h.token(with(map[string]any{"role": "sendonly"}))
	for _, test := range []struct {
		channel string
		role    tenant.Role
		code    tenant.Code
	}{
		{"lobby", tenant.SendOnly, tenant.ChannelDenied},
		{"", tenant.SendOnly, tenant.ChannelDenied},
		{"room\x00", tenant.SendOnly, tenant.ChannelDenied},
		{strings.Repeat("r", 256), tenant.SendOnly, tenant.ChannelDenied},
		{"room", tenant.RecvOnly, tenant.RoleDenied},
		{"room", "", tenant.RoleDenied},
		{"room", "publisher", tenant.RoleDenied},
	} {
		claim, err := verify(token, test.channel, test.role)
		h.refusal(err, test.code)
		if claim.Tenant != h.made.Tenant {
			t.Errorf("%s: claim = %+v, want the tenant's", test.code, claim)
		}
	}
	claim, err := verify(token+"x", "room", tenant.SendOnly)
	h.refusal(err, tenant.TokenInvalid)
	if claim.Tenant != "" {
		t.Errorf("a wrong token made a claim: %+v", claim)
	}
}
