package tenant_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

var masterKey = bytes.Repeat([]byte{7}, 32)

const password = "correct horse battery"

// house is a platform with one tenant. When the test ends, nothing that was
// confided to it may stand in the log.
type house struct {
	t     testing.TB
	pool  *pgxpool.Pool
	store *tenant.Store
	made  tenant.Created
	scope tenant.Scope
	log   *logBuffer
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, pool: dbtest.New(t), log: &logBuffer{}}
	h.store = h.newStore(h.pool)
	h.made = h.newTenant("Skylark", "owner@example.com")
	h.scope = tenant.OperatorScope(h.made.Tenant)
	h.log.secret(password)
	t.Cleanup(func() { h.log.check(t) })
	return h
}

// newStore is another node on the same database.
func (h *house) newStore(pool *pgxpool.Pool) *tenant.Store {
	h.t.Helper()
	store, err := tenant.NewStore(pool, masterKey, slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		h.t.Fatal(err)
	}
	return store
}

func (h *house) newTenant(name, email string) tenant.Created {
	h.t.Helper()
	made, err := h.store.CreateTenant(context.Background(), tenant.NewTenant{Name: name, Email: email, Password: password})
	if err != nil {
		h.t.Fatal(err)
	}
	h.log.secret(made.APIKey, made.SigningKey)
	return made
}

// secondPool is a pool that a test can close to have Postgres away.
func (h *house) secondPool() *pgxpool.Pool {
	h.t.Helper()
	pool, err := pgxpool.NewWithConfig(context.Background(), h.pool.Config().Copy())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(pool.Close)
	return pool
}

func (h *house) exec(sql string, arguments ...any) {
	h.t.Helper()
	if _, err := h.pool.Exec(context.Background(), sql, arguments...); err != nil {
		h.t.Fatal(err)
	}
}

// good returns claims that allow channel "room" in any role.
func good() map[string]any {
	return map[string]any{"aud": "hibari", "exp": time.Now().Add(time.Minute).Unix(), "channel_id": "room"}
}

// with returns good claims, changed.
func with(changes map[string]any) map[string]any {
	claims := good()
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// token signs claims with the tenant's key, without any JWT library.
func (h *house) token(claims any) string {
	return h.confide(sign(map[string]any{"alg": "HS256", "typ": "JWT", "kid": h.made.SigningKeyID}, claims, h.made.SigningKey))
}

// confide registers a token as a secret.
func (h *house) confide(token string) string {
	h.log.secret(token)
	return token
}

// sign is RFC 7515 with HS256, by hand: the oracle.
func sign(header, claims any, secret string) string {
	text := encode(header) + "." + encode(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(mac(text, secret))
}

// encode writes JSON as base64url; a string is taken as JSON that is written
// already.
func encode(v any) string {
	if raw, ok := v.(string); ok {
		return base64.RawURLEncoding.EncodeToString([]byte(raw))
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func mac(text, secret string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// accepts wants a token to open a channel and returns its claim.
func (h *house) accepts(store *tenant.Store, token any, channel string, role tenant.Role) tenant.Claim {
	h.t.Helper()
	claim, _, err := store.Verify(context.Background(), tenant.TokenWish{Token: token, Channel: channel, Role: role})
	if err != nil {
		h.t.Fatalf("Verify(%q, %s) = %v, want a claim", channel, role, err)
	}
	return claim
}

// refuses wants a refusal with this code and returns its detail.
func (h *house) refuses(store *tenant.Store, token any, channel string, role tenant.Role, code tenant.Code) string {
	h.t.Helper()
	_, _, err := store.Verify(context.Background(), tenant.TokenWish{Token: token, Channel: channel, Role: role})
	return h.refusal(err, code)
}

func (h *house) refusal(err error, code tenant.Code) string {
	h.t.Helper()
	var refusal *tenant.Refusal
	if !errors.As(err, &refusal) {
		h.t.Fatalf("error = %v, want a refusal with code %s", err, code)
	}
	if refusal.Code != code {
		h.t.Fatalf("refusal = %v, want code %s", refusal, code)
	}
	h.log.Write([]byte(refusal.Error())) // a refusal may hold no secret either
	return refusal.Detail
}

// logBuffer is a log that knows what must not be in it.
type logBuffer struct {
	mu      sync.Mutex
	text    strings.Builder
	secrets []string
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.text.WriteByte('\n')
	return len(p), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logBuffer) secret(secrets ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.secrets = append(l.secrets, secrets...)
}

func (l *logBuffer) check(t testing.TB) {
	t.Helper()
	text := l.String()
	for _, secret := range l.secrets {
		for _, part := range strings.Split(secret, ".") {
			if len(part) >= 16 && strings.Contains(text, part) {
				t.Errorf("a secret stands in the log or in a refusal: %q", part)
			}
		}
	}
}

// until polls a condition that another goroutine brings about.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("%s did not happen within 10 s", what)
		case <-tick.C:
		}
	}
}
