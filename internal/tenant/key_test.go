package tenant_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

func TestAPIKey(t *testing.T) {
	h := newHouse(t)
	secret, key, err := h.store.CreateAPIKey(t.Context(), h.scope, "server", tenant.Developer)
	if err != nil {
		t.Fatal(err)
	}
	h.log.secret(secret)
	if !strings.HasPrefix(secret, "hib_live_"+key.ID+"_") || !strings.HasSuffix(secret, key.Last4) || len(key.Last4) != 4 {
		t.Errorf("key = %+v does not describe %s", key, secret)
	}
	for _, bearer := range []string{secret, "Bearer " + secret, "bearer " + secret} {
		scope, err := h.store.AuthenticateAPIKey(t.Context(), bearer)
		if err != nil || scope.Tenant() != h.made.Tenant || scope.Actor() != "api_key:"+key.ID {
			t.Errorf("AuthenticateAPIKey = %v, %v", scope, err)
		}
	}
	keys, err := h.store.APIKeys(t.Context(), h.scope)
	if err != nil || len(keys) != 2 || keys[0].ID != key.ID || keys[0].LastUsedAt == nil || keys[1].LastUsedAt != nil {
		t.Errorf("APIKeys = %+v, %v", keys, err)
	}
	var stored int
	err = h.pool.QueryRow(t.Context(), `select count(*) from api_key k where k::text like '%' || $1 || '%'`, secret[36:70]).Scan(&stored)
	if err != nil || stored != 0 {
		t.Errorf("the secret itself is stored: %d, %v", stored, err)
	}

	other := h.newTenant("Other", "other@example.com")
	if err := h.store.RevokeAPIKey(t.Context(), tenant.OperatorScope(other.Tenant), key.ID); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("another tenant revoked it: %v", err)
	}
	if err := h.store.RevokeAPIKey(t.Context(), h.scope, key.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.AuthenticateAPIKey(t.Context(), secret); !errors.Is(err, tenant.ErrAPIKey) {
		t.Errorf("a revoked key: %v, want ErrAPIKey", err)
	}
	for _, id := range []string{key.ID, "", "\x00", "' or 1=1 --"} {
		if err := h.store.RevokeAPIKey(t.Context(), h.scope, id); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("RevokeAPIKey(%q) = %v, want ErrNotFound", id, err)
		}
	}
}

// A key that was good a moment ago is not looked up again, and what another
// node did to it is seen soon.
func TestAPIKeyIsRememberedForAMoment(t *testing.T) {
	h := newHouse(t)
	pool := h.secondPool()
	node := h.newStore(pool)
	if _, err := node.AuthenticateAPIKey(t.Context(), h.made.APIKey); err != nil {
		t.Fatal(err)
	}
	keys, err := h.store.APIKeys(t.Context(), h.scope)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := h.store.RevokeAPIKey(t.Context(), h.scope, keys[0].ID); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := node.AuthenticateAPIKey(t.Context(), h.made.APIKey)
		if errors.Is(err, tenant.ErrAPIKey) {
			break
		}
		if err != nil || time.Since(began) > tenant.APIKeyMemory+5*time.Second {
			t.Fatalf("%v after it was revoked: %v", time.Since(began), err)
		}
	}
	// Without a database the memory serves, for as long as it lasts.
	fresh := h.newTenant("Fresh", "fresh@example.com").APIKey
	if _, err := node.AuthenticateAPIKey(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if _, err := node.AuthenticateAPIKey(t.Context(), fresh); err != nil {
		t.Errorf("it was looked up again at once: %v", err)
	}
	changed := fresh[:len(fresh)-7] + "x" + fresh[len(fresh)-6:]
	if _, err := node.AuthenticateAPIKey(t.Context(), changed); err == nil {
		t.Error("a changed key was taken for the one remembered")
	}
}

// TestWrongAPIKeys wants no query for a key whose checksum is wrong: the pool
// is closed.
func TestWrongAPIKeys(t *testing.T) {
	h := newHouse(t)
	pool := h.secondPool()
	away := h.newStore(pool)
	pool.Close()
	key := h.made.APIKey
	for _, wrong := range []string{"", "Bearer ", "hib_live_", key[:len(key)-1], key + "x", strings.ToUpper(key), " " + key,
		strings.Replace(key, "live", "test", 1), key[:40] + "\x00" + key[41:], key[:len(key)-6] + "000000", strings.Repeat("x", 1<<20)} {
		if _, err := away.AuthenticateAPIKey(t.Context(), wrong); !errors.Is(err, tenant.ErrAPIKey) {
			t.Errorf("AuthenticateAPIKey(%.90q) = %v, want ErrAPIKey", wrong, err)
		}
	}
	for i := range key {
		wrong := []byte(key)
		if wrong[i]++; wrong[i] == key[i] {
			t.Fatal("nothing changed")
		}
		if _, err := away.AuthenticateAPIKey(t.Context(), string(wrong)); !errors.Is(err, tenant.ErrAPIKey) {
			t.Errorf("letter %d changed: %v, want ErrAPIKey", i, err)
		}
	}
	if _, err := away.AuthenticateAPIKey(t.Context(), key); err == nil || errors.Is(err, tenant.ErrAPIKey) {
		t.Errorf("a good key without a database: %v, want another error than ErrAPIKey", err)
	}
	// The right id and form with another secret.
	other := h.newTenant("Other", "other@example.com")
	h.exec(`update api_key set secret_hash = (select secret_hash from api_key where tenant_id = $1) where tenant_id = $2`, other.Tenant, h.made.Tenant)
	if _, err := h.store.AuthenticateAPIKey(t.Context(), key); !errors.Is(err, tenant.ErrAPIKey) {
		t.Errorf("a key whose hash differs: %v, want ErrAPIKey", err)
	}
}

func TestSigningKeys(t *testing.T) {
	h := newHouse(t)
	secret, key, err := h.store.CreateSigningKey(t.Context(), h.scope, "second")
	if err != nil {
		t.Fatal(err)
	}
	h.log.secret(secret)
	if len(secret) != 43 || key.Algorithm != "HS256" || key.Name != "second" {
		t.Errorf("key = %+v with a secret of %d letters", key, len(secret))
	}
	keys, err := h.store.SigningKeys(t.Context(), h.scope)
	if err != nil || len(keys) != 2 || keys[0] != key {
		t.Errorf("SigningKeys = %+v, %v", keys, err)
	}
	token, err := h.store.SignToken(t.Context(), h.scope, tenant.TokenRequest{Channel: "room"})
	if err != nil {
		t.Fatal(err)
	}
	if claim := h.accepts(h.store, h.confide(token), "room", tenant.RecvOnly); claim.KeyID != key.ID {
		t.Errorf("signed with %s, want the newest, %s", claim.KeyID, key.ID)
	}
	other := h.newTenant("Other", "other@example.com")
	if err := h.store.RevokeSigningKey(t.Context(), tenant.OperatorScope(other.Tenant), key.ID); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("another tenant revoked it: %v", err)
	}
	for _, id := range []string{key.ID, h.made.SigningKeyID} {
		if err := h.store.RevokeSigningKey(t.Context(), h.scope, id); err != nil {
			t.Fatal(err)
		}
		if err := h.store.RevokeSigningKey(t.Context(), h.scope, id); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("revoked twice: %v", err)
		}
	}
	h.refuses(h.store, token, "room", tenant.RecvOnly, tenant.TokenInvalid)
	if _, err := h.store.SignToken(t.Context(), h.scope, tenant.TokenRequest{Channel: "room"}); !errors.Is(err, tenant.ErrNoSigningKey) {
		t.Errorf("SignToken without a key = %v, want ErrNoSigningKey", err)
	}
	var stored int
	err = h.pool.QueryRow(t.Context(), `select count(*) from signing_key where position($1::bytea in secret_sealed) > 0`, []byte(secret)).Scan(&stored)
	if err != nil || stored != 0 {
		t.Errorf("the secret itself is stored: %d, %v", stored, err)
	}
}

// TestKeysAreBounded asks for more keys at once than a tenant may have.
func TestKeysAreBounded(t *testing.T) {
	h := newHouse(t)
	results := make(chan error, tenant.MaxActiveSigningKeys+5)
	var asking sync.WaitGroup
	for i := range cap(results) {
		asking.Go(func() {
			_, _, err := h.store.CreateSigningKey(t.Context(), h.scope, fmt.Sprint(i))
			results <- err
		})
	}
	asking.Wait()
	close(results)
	made := 1 // by sign-up
	for err := range results {
		if err == nil {
			made++
		} else if !errors.Is(err, tenant.ErrTooManyKeys) {
			t.Errorf("CreateSigningKey = %v, want ErrTooManyKeys", err)
		}
	}
	if made != tenant.MaxActiveSigningKeys {
		t.Errorf("%d keys, want %d", made, tenant.MaxActiveSigningKeys)
	}
	if err := h.store.RevokeSigningKey(t.Context(), h.scope, h.made.SigningKeyID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.store.CreateSigningKey(t.Context(), h.scope, "after a revocation"); err != nil {
		t.Error(err)
	}
	for range tenant.MaxActiveAPIKeys - 1 {
		if _, _, err := h.store.CreateAPIKey(t.Context(), h.scope, "", tenant.Developer); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.store.CreateAPIKey(t.Context(), h.scope, "", tenant.Developer); !errors.Is(err, tenant.ErrTooManyKeys) {
		t.Errorf("CreateAPIKey = %v, want ErrTooManyKeys", err)
	}
	if _, _, err := h.store.CreateAPIKey(t.Context(), tenant.OperatorScope("ten_x"), "", tenant.Developer); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("CreateAPIKey for nobody = %v, want ErrNotFound", err)
	}
}

// TestAudit wants every change in the log with who made it, and nothing of what
// was confided.
func TestAudit(t *testing.T) {
	h := newHouse(t)
	cookie, _, err := h.store.LogIn(t.Context(), "owner@example.com", password, "192.0.2.7", "")
	if err != nil {
		t.Fatal(err)
	}
	login, err := h.store.Session(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	apiKey, key, err := h.store.CreateAPIKey(t.Context(), login.Scope, "server", tenant.Developer)
	if err != nil {
		t.Fatal(err)
	}
	h.log.secret(cookie, apiKey)
	if err := h.store.RevokeAPIKey(t.Context(), login.Scope, key.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.store.LogIn(t.Context(), "owner@example.com", "wrong password", "192.0.2.8", ""); err == nil {
		t.Fatal("a wrong password logged in")
	}
	// A change that is rolled back leaves no entry.
	tx, err := h.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.Audit(t.Context(), tx, login.Scope, "undone", "", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.store.Audit(t.Context(), h.pool, login.Scope, "connection.disconnected", "c1", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}

	entries, _, err := h.store.SearchAudit(t.Context(), h.scope, tenant.AuditQuery{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, e := range entries {
		actions = append(actions, e.Action)
		if e.Actor != "member:"+h.made.MemberID {
			t.Errorf("%s by %s, want the owner", e.Action, e.Actor)
		}
	}
	want := []string{"connection.disconnected", "login.failed", "api_key.revoked", "api_key.created", "login", "tenant.created"}
	if !slices.Equal(actions, want) {
		t.Errorf("actions = %v, want %v", actions, want)
	}
	if e := entries[1]; e.Address != "192.0.2.8" {
		t.Errorf("the failed log-in came from %q", e.Address)
	}
	page, _, err := h.store.SearchAudit(t.Context(), h.scope, tenant.AuditQuery{Before: entries[1].ID}, 2)
	if err != nil || len(page) != 2 || page[0].ID != entries[2].ID {
		t.Errorf("the page after the second entry = %+v, %v", page, err)
	}
	other := h.newTenant("Other", "other@example.com")
	foreign, _, err := h.store.SearchAudit(t.Context(), tenant.OperatorScope(other.Tenant), tenant.AuditQuery{}, 100)
	if err != nil || len(foreign) != 1 {
		t.Errorf("another tenant sees %+v, %v", foreign, err)
	}
	document, err := json.Marshal(append(entries, foreign...))
	if err != nil {
		t.Fatal(err)
	}
	h.log.Write(document) // and so the harness looks for secrets in it
}
