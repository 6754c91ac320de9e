package tenant_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

func TestBan(t *testing.T) {
	h := newHouse(t)
	other := h.newTenant("Other", "other@example.com")
	token, sibling := h.token(good()), h.token(with(map[string]any{"jti": "sibling"}))
	claim := h.accepts(h.store, token, "room", tenant.SendOnly)

	// Another tenant's ban of the same token is its own affair.
	if err := h.store.BanToken(t.Context(), tenant.OperatorScope(other.Tenant), claim.TokenHash, claim.ExpiresAt, ""); err != nil {
		t.Fatal(err)
	}
	h.accepts(h.store, token, "room", tenant.SendOnly)

	if err := h.store.BanToken(t.Context(), h.scope, claim.TokenHash, claim.ExpiresAt, "disconnected in the console"); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.store, token, "room", tenant.SendOnly, tenant.Banned)
	h.accepts(h.store, sibling, "room", tenant.SendOnly)
	if err := h.store.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.store, token, "room", tenant.SendOnly, tenant.Banned)

	bans, _, err := h.store.Bans(t.Context(), h.scope, tenant.BanQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if len(bans) != 1 || bans[0].Kind != "token" || bans[0].Reason != "disconnected in the console" ||
		bans[0].CreatedBy != "operator" || !bans[0].ExpiresAt.Equal(claim.ExpiresAt) {
		t.Errorf("bans = %+v", bans)
	}
}

// TestBanOnlyGrows bars a token twice: the later end stands, whichever came
// first, and a ban that has ended bars nothing.
func TestBanOnlyGrows(t *testing.T) {
	h := newHouse(t)
	token := h.token(good())
	claim := h.accepts(h.store, token, "room", tenant.SendOnly)
	ban := func(until time.Time) {
		t.Helper()
		if err := h.store.BanToken(t.Context(), h.scope, claim.TokenHash, until, ""); err != nil {
			t.Fatal(err)
		}
	}
	ban(time.Now().Add(-time.Hour))
	h.accepts(h.store, token, "room", tenant.SendOnly)
	if bans, _, err := h.store.Bans(t.Context(), h.scope, tenant.BanQuery{}); err != nil || len(bans) != 0 {
		t.Errorf("bans = %+v, %v, want none", bans, err)
	}
	ban(time.Now().Add(time.Hour))
	ban(time.Now().Add(time.Minute))
	bans, _, err := h.store.Bans(t.Context(), h.scope, tenant.BanQuery{})
	if err != nil || len(bans) != 1 || time.Until(bans[0].ExpiresAt) < 59*time.Minute {
		t.Fatalf("bans = %+v, %v, want one of an hour", bans, err)
	}
	h.refuses(h.store, token, "room", tenant.SendOnly, tenant.Banned)

	unknown := sha256.Sum256([]byte("a token whose end nobody knows"))
	if err := h.store.BanToken(t.Context(), h.scope, unknown, time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	if bans, _, _ = h.store.Bans(t.Context(), h.scope, tenant.BanQuery{}); len(bans) != 2 || time.Until(bans[0].ExpiresAt) < tenant.MaxTokenTTL {
		t.Errorf("bans = %+v, want one as long as the longest token", bans)
	}
}

// TestZeroScope wants every door closed to a scope that proves nothing.
func TestZeroScope(t *testing.T) {
	h := newHouse(t)
	ctx, s := t.Context(), h.store
	for name, f := range map[string]func(tenant.Scope) error{
		"Tenant":           func(z tenant.Scope) error { _, err := s.Tenant(ctx, z); return err },
		"MemberInfos":      func(z tenant.Scope) error { _, err := s.MemberInfos(ctx, z); return err },
		"SetPassword":      func(z tenant.Scope) error { return s.SetPassword(ctx, z, h.made.MemberID, password) },
		"CreateAPIKey":     func(z tenant.Scope) error { _, _, err := s.CreateAPIKey(ctx, z, "", tenant.Viewer); return err },
		"APIKeys":          func(z tenant.Scope) error { _, err := s.APIKeys(ctx, z); return err },
		"RevokeAPIKey":     func(z tenant.Scope) error { return s.RevokeAPIKey(ctx, z, tenant.NewID()) },
		"CreateSigningKey": func(z tenant.Scope) error { _, _, err := s.CreateSigningKey(ctx, z, ""); return err },
		"SigningKeys":      func(z tenant.Scope) error { _, err := s.SigningKeys(ctx, z); return err },
		"RevokeSigningKey": func(z tenant.Scope) error { return s.RevokeSigningKey(ctx, z, h.made.SigningKeyID) },
		"SignToken": func(z tenant.Scope) error {
			_, err := s.SignToken(ctx, z, tenant.TokenRequest{Channel: "room"})
			return err
		},
		"AddSigningKey": func(z tenant.Scope) error {
			_, _, err := s.AddSigningKey(ctx, z, tenant.NewSigningKey{})
			return err
		},
		"RetireSigningKey":    func(z tenant.Scope) error { return s.RetireSigningKey(ctx, z, h.made.SigningKeyID, time.Time{}) },
		"SetDuplicates":       func(z tenant.Scope) error { return s.SetDuplicates(ctx, z, tenant.DuplicatesRefuse) },
		"Settings":            func(z tenant.Scope) error { _, err := s.Settings(ctx, z); return err },
		"SetAuthURL":          func(z tenant.Scope) error { _, err := s.SetAuthURL(ctx, z, authURL); return err },
		"RotateAuthSecret":    func(z tenant.Scope) error { _, err := s.RotateAuthSecret(ctx, z); return err },
		"AcceptSigningSecret": func(z tenant.Scope) error { return s.AcceptSigningSecret(ctx, z, true) },
		"BanToken":            func(z tenant.Scope) error { return s.BanToken(ctx, z, [32]byte{}, time.Time{}, "") },
		"Ban":                 func(z tenant.Scope) error { _, err := s.Ban(ctx, z, tenant.NewBan{}); return err },
		"BanByID":             func(z tenant.Scope) error { _, err := s.BanByID(ctx, z, "ban_x"); return err },
		"Unban":               func(z tenant.Scope) error { return s.Unban(ctx, z, "ban_x") },
		"Bans":                func(z tenant.Scope) error { _, _, err := s.Bans(ctx, z, tenant.BanQuery{}); return err },
		"Audit":               func(z tenant.Scope) error { return s.Audit(ctx, h.pool, z, "x", "", nil) },
		"SearchAudit":         func(z tenant.Scope) error { _, _, err := s.SearchAudit(ctx, z, tenant.AuditQuery{}, 10); return err },
	} {
		if err := f(tenant.Scope{}); !errors.Is(err, tenant.ErrScope) {
			t.Errorf("%s with the zero scope = %v, want ErrScope", name, err)
		}
	}
}
