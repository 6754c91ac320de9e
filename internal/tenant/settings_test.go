package tenant_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

const authURL = "https://example.com/may-they?key=1"

// What is set is there at once, on another node soon, with one entry in the
// audit log for each change, and gone when it is taken back.
func TestSettings(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.secondPool())
	if err := h.store.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, node)
	token := h.token(good())
	asked := func(store *tenant.Store) *tenant.AuthWebhook {
		return h.accepts(store, token, "room", tenant.SendOnly).AuthWebhook
	}
	settings := func() tenant.Settings {
		t.Helper()
		set, err := h.store.Settings(t.Context(), h.scope)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	if set := settings(); set != (tenant.Settings{Duplicates: tenant.DuplicatesAllow}) || asked(h.store) != nil {
		t.Errorf("by default: %+v", set)
	}

	first, err := h.store.SetAuthURL(t.Context(), h.scope, authURL)
	if err != nil || !strings.HasPrefix(first, tenant.WebhookSecretPrefix) {
		t.Fatalf("a first URL: secret %q, %v", first, err)
	}
	h.log.secret(first)
	for range 2 { // the second time there is nothing to do
		if secret, err := h.store.SetAuthURL(t.Context(), h.scope, authURL+"2"); err != nil || secret != "" {
			t.Fatalf("another URL: secret %q, %v, want the first to stay", secret, err)
		}
	}
	if set := settings(); set.AuthURL != authURL+"2" {
		t.Errorf("the URL is %q", set.AuthURL)
	}
	if hook := asked(h.store); hook == nil || *hook != (tenant.AuthWebhook{URL: authURL + "2", Secret: first}) {
		t.Errorf("asked is %+v", hook)
	}
	until(t, "the URL on the other node", func() bool { hook := asked(node); return hook != nil && hook.Secret == first })

	second, err := h.store.RotateAuthSecret(t.Context(), h.scope)
	if err != nil || second == first {
		t.Fatalf("another secret: %v", err)
	}
	h.log.secret(second)
	if hook := asked(h.store); hook.Secret != second {
		t.Error("the old secret is in use")
	}
	until(t, "the secret on the other node", func() bool { return asked(node).Secret == second })

	if secret, err := h.store.SetAuthURL(t.Context(), h.scope, ""); err != nil || secret != "" {
		t.Fatalf("no URL: %q, %v", secret, err)
	}
	if asked(h.store) != nil {
		t.Error("somebody is asked all the same")
	}
	if _, err := h.store.RotateAuthSecret(t.Context(), h.scope); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("a secret without a URL: %v", err)
	}
	until(t, "no URL on the other node", func() bool { return asked(node) == nil })

	entries, _, err := h.store.SearchAudit(t.Context(), h.scope, tenant.AuditQuery{}, 4)
	if err != nil {
		t.Fatal(err)
	}
	told := func(key string) string { return `"` + strings.Replace(authURL, "=1", "="+key, 1) + `"` }
	for i, want := range []string{`{"auth_url": [` + told("redacted") + `, ""]}`, `{"auth_secret": ["[redacted]", "[redacted]"]}`,
		`{"auth_url": [` + told("redacted") + `, ` + told("redacted") + `]}`, `{"auth_url": ["", ` + told("redacted") + `]}`} {
		if e := entries[i]; e.Action != "settings.changed" || string(e.Diff) != want || e.Actor != h.scope.Actor() {
			t.Errorf("entry %d is %s %s, want %s", i, e.Action, e.Diff, want)
		}
	}
	var stored int
	err = h.pool.QueryRow(t.Context(), `select count(*) from tenant_setting s where s::text like '%whsec%'`).Scan(&stored)
	if err != nil || stored != 0 {
		t.Errorf("the secret itself is stored: %d, %v", stored, err)
	}
}

// With another master key the webhook stays, without a secret: whoever asks it
// must not go unsigned.
func TestAuthSecretUnderAnotherMasterKey(t *testing.T) {
	h := newHouse(t)
	if _, err := h.store.SetAuthURL(t.Context(), h.scope, authURL); err != nil {
		t.Fatal(err)
	}
	h.exec(`update tenant_setting set auth_secret_sealed = '\x01'`)
	if err := h.store.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	hook := h.accepts(h.store, h.token(good()), "room", tenant.SendOnly).AuthWebhook
	if hook == nil || *hook != (tenant.AuthWebhook{URL: authURL}) {
		t.Errorf("asked is %+v", hook)
	}
	if !strings.Contains(h.log.String(), "auth webhook is unusable") {
		t.Errorf("nobody is told: %s", h.log)
	}
}

// A signing secret is a token only where the tenant says so, only of that tenant
// and only while the key is active.
func TestSigningSecretAsToken(t *testing.T) {
	h := newHouse(t)
	other := h.newTenant("Other", "other@example.com")
	room := "room@" + string(h.made.Tenant)
	secret := h.made.SigningKey
	h.refuses(h.store, secret, room, tenant.SendOnly, tenant.TokenInvalid) // off by default

	set := func(on bool) {
		t.Helper()
		for range 2 {
			if err := h.store.AcceptSigningSecret(t.Context(), h.scope, on); err != nil {
				t.Fatal(err)
			}
		}
		if set, err := h.store.Settings(t.Context(), h.scope); err != nil || set.AcceptSigningSecret != on {
			t.Errorf("settings = %+v, %v", set, err)
		}
	}
	set(true)
	claim, channel, err := h.store.Verify(t.Context(), tenant.TokenWish{Token: secret, Channel: room, Role: tenant.SendRecv})
	if err != nil || channel != "room" {
		t.Fatalf("channel %q, %v", channel, err)
	}
	if claim.Tenant != h.made.Tenant || claim.KeyID != h.made.SigningKeyID || len(claim.Roles) != 0 || claim.ExpiresAt.IsZero() {
		t.Errorf("claim = %+v", claim)
	}
	for _, role := range []tenant.Role{tenant.SendOnly, tenant.RecvOnly} {
		h.accepts(h.store, secret, "any@"+string(h.made.Tenant), role)
	}
	for name, wish := range map[string][2]string{
		"no tenant":                {secret, "room"},
		"another tenant":           {secret, "room@" + string(other.Tenant)},
		"another tenant's secret":  {other.SigningKey, room},
		"one letter less":          {secret[1:], room},
		"one letter more":          {secret + "A", room},
		"a line end":               {secret + "\n", room},
		"an API key":               {h.made.APIKey, room},
		"a tenant that is unknown": {secret, "room@ten_" + tenant.NewID()},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.refuses(h.store, wish[0], wish[1], tenant.SendOnly, tenant.TokenInvalid)
		})
	}
	h.t = t
	h.refuses(h.store, secret, "@"+string(h.made.Tenant), tenant.SendOnly, tenant.ChannelDenied)
	h.accepts(h.store, h.token(good()), "room", tenant.SendOnly) // tokens go on

	if err := h.store.BanToken(t.Context(), h.scope, claim.TokenHash, claim.ExpiresAt, "test"); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.store, secret, room, tenant.SendOnly, tenant.Banned)
	second, _, err := h.store.CreateSigningKey(t.Context(), h.scope, "second")
	if err != nil {
		t.Fatal(err)
	}
	h.log.secret(second)
	if claim := h.accepts(h.store, second, room, tenant.SendOnly); claim.KeyID == h.made.SigningKeyID {
		t.Error("the claim names the other key")
	}
	h.exec(`update tenant set status = 'suspended' where tenant_id = $1`, h.made.Tenant)
	if err := h.store.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.store, second, room, tenant.SendOnly, tenant.TenantSuspended)
	h.exec(`update tenant set status = 'active' where tenant_id = $1`, h.made.Tenant)
	if err := h.store.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.store.RevokeSigningKey(t.Context(), h.scope, claim.KeyID); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.store, secret, room, tenant.SendOnly, tenant.TokenInvalid)
	h.accepts(h.store, second, room, tenant.SendOnly)
	set(false)
	h.refuses(h.store, second, room, tenant.SendOnly, tenant.TokenInvalid)
}
