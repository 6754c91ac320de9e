package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

func TestLogIn(t *testing.T) {
	h := newHouse(t)
	for _, email := range []string{"owner@example.com", " Owner@Example.COM "} {
		cookie, m, err := h.store.LogIn(t.Context(), email, password, "192.0.2.1:4711", "Firefox\x00"+strings.Repeat("雲", 200))
		if err != nil {
			t.Fatal(err)
		}
		h.log.secret(cookie)
		if m.ID != h.made.MemberID || m.Tenant != h.made.Tenant || m.Email != "owner@example.com" || m.Role != tenant.Owner {
			t.Errorf("member = %+v", m)
		}
		login, err := h.store.Session(t.Context(), cookie)
		if err != nil {
			t.Fatal(err)
		}
		if login.Member != m || login.Scope.Tenant() != h.made.Tenant || login.Scope.Actor() != "member:"+m.ID {
			t.Errorf("login = %+v, want the member %+v", login, m)
		}
		if err := h.store.LogOut(t.Context(), cookie); err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Session(t.Context(), cookie); !errors.Is(err, tenant.ErrNoSession) {
			t.Errorf("after log-out: %v, want ErrNoSession", err)
		}
		if err := h.store.LogOut(t.Context(), cookie); err != nil {
			t.Errorf("the second log-out failed: %v", err)
		}
	}
}

func TestWrongLogIn(t *testing.T) {
	h := newHouse(t)
	for _, test := range []struct{ email, password string }{
		{"owner@example.com", "wrong"},
		{"owner@example.com", ""},
		{"owner@example.com", password + " "},
		{"owner@example.com", strings.Repeat("x", 1<<20)},
		{"nobody@example.com", password},
		{"", ""},
		{"owner@example.com\x00", password},
		{"' or 1=1 --", password},
		{strings.Repeat("a", 1<<20) + "@example.com", password},
		{"\xff@example.com", password},
	} {
		if _, _, err := h.store.LogIn(t.Context(), test.email, test.password, "192.0.2.1", ""); !errors.Is(err, tenant.ErrLogin) {
			t.Errorf("LogIn(%.30q, %.30q) = %v, want ErrLogin", test.email, test.password, err)
		}
	}
	silent, err := h.store.CreateTenant(t.Context(), tenant.NewTenant{Name: "Silent", Email: "silent@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.store.LogIn(t.Context(), silent.Email, "", "192.0.2.1", ""); !errors.Is(err, tenant.ErrLogin) {
		t.Errorf("an owner without a password logged in: %v", err)
	}
}

// TestUnknownAccountTakesAsLong compares times generously: without a hash to
// compare with, an unknown account would be a hundred times faster.
func TestUnknownAccountTakesAsLong(t *testing.T) {
	h := newHouse(t)
	fastest := func(email string) time.Duration {
		best := time.Hour
		for range 3 {
			begin := time.Now()
			if _, _, err := h.store.LogIn(t.Context(), email, "wrong", "192.0.2.1", ""); !errors.Is(err, tenant.ErrLogin) {
				t.Fatal(err)
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	known, unknown := fastest("owner@example.com"), fastest("nobody@example.com")
	if unknown < known/4 {
		t.Errorf("an unknown account is refused in %s, a known one in %s", unknown, known)
	}
}

// TestLogInLimits guesses at one account, all at once, and then from one
// address.
func TestLogInLimits(t *testing.T) {
	h := newHouse(t)
	var wrong, limited atomic.Int32
	attempt := func(email, password, address string) {
		_, _, err := h.store.LogIn(context.Background(), email, password, address, "")
		var refusal *tenant.Refusal
		switch {
		case errors.Is(err, tenant.ErrLogin):
			wrong.Add(1)
		case errors.As(err, &refusal) && refusal.Code == tenant.RateLimited:
			limited.Add(1)
		default:
			t.Errorf("LogIn = %v", err)
		}
	}
	h.newTenant("Neighbour", "neighbour@example.com")
	begin := time.Now()
	var guesses sync.WaitGroup
	const tries = 3 * tenant.LoginsPerAccount
	for i := range tries {
		guesses.Go(func() { attempt("owner@example.com", "guess", fmt.Sprintf("198.51.100.%d:1234", i)) })
	}
	guesses.Wait()
	refilled := int32(time.Since(begin) / tenant.LoginsPerAccountRefill)
	if n := wrong.Load(); n < tenant.LoginsPerAccount || n > tenant.LoginsPerAccount+refilled || n+limited.Load() != tries {
		t.Errorf("of %d guesses at once %d were checked and %d refused, want %d checked", tries, n, limited.Load(), tenant.LoginsPerAccount)
	}
	_, _, err := h.store.LogIn(t.Context(), "OWNER@example.com", password, "203.0.113.1", "")
	if detail := h.refusal(err, tenant.RateLimited); !strings.Contains(detail, "try again in") {
		t.Errorf("detail = %q, want it to say when", detail)
	}

	wrong.Store(0)
	limited.Store(0)
	begin = time.Now()
	for i := 0; limited.Load() == 0; i++ {
		attempt(fmt.Sprintf("a%d@example.com", i), "guess", fmt.Sprintf("[2001:db8::%x]:99", i))
	}
	refilled = int32(time.Since(begin) / tenant.LoginsPerAddressRefill)
	if n := wrong.Load(); n < tenant.LoginsPerAddress || n > tenant.LoginsPerAddress+refilled {
		t.Errorf("%d guesses were checked, want %d", n, tenant.LoginsPerAddress)
	}
	_, _, err = h.store.LogIn(t.Context(), "neighbour@example.com", password, "2001:db8::ffff", "")
	h.refusal(err, tenant.RateLimited)
	if _, _, err = h.store.LogIn(t.Context(), "neighbour@example.com", password, "2001:db8:0:1::1", ""); err != nil {
		t.Errorf("another network is refused too: %v", err)
	}
}

// TestRightLogInsAreFree logs in far more often than anybody may fail.
func TestRightLogInsAreFree(t *testing.T) {
	h := newHouse(t)
	for range tenant.LoginsPerAccount + 2 {
		if _, _, err := h.store.LogIn(t.Context(), "owner@example.com", password, "192.0.2.1", ""); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSessionEnds(t *testing.T) {
	h := newHouse(t)
	ends := func(what, sql string) {
		t.Helper()
		cookie, err := h.store.StartSession(t.Context(), h.made.MemberID, "192.0.2.1", "Firefox")
		if err != nil {
			t.Fatal(err)
		}
		h.log.secret(cookie)
		if _, err := h.store.Session(t.Context(), cookie); err != nil {
			t.Fatal(err)
		}
		h.exec(sql)
		if _, err := h.store.Session(t.Context(), cookie); !errors.Is(err, tenant.ErrNoSession) {
			t.Errorf("%s: %v, want ErrNoSession", what, err)
		}
	}
	ends("idle for 12 h", `update login_session set last_seen_at = last_seen_at - interval '12 hours 1 second'`)
	ends("7 days old", `update login_session set expires_at = expires_at - interval '7 days'`)
	ends("signed out elsewhere", `delete from login_session`)

	for _, cookie := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 1<<20), "\x00", "' or 1=1 --"} {
		if _, err := h.store.Session(t.Context(), cookie); !errors.Is(err, tenant.ErrNoSession) {
			t.Errorf("Session(%.20q) = %v, want ErrNoSession", cookie, err)
		}
	}
	if _, err := h.store.StartSession(t.Context(), "mem_nobody", "", ""); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("StartSession for nobody = %v, want ErrNotFound", err)
	}
}

// TestSessionStaysAlive uses a session after 11 idle hours: the 12 count anew.
func TestSessionStaysAlive(t *testing.T) {
	h := newHouse(t)
	cookie, err := h.store.StartSession(t.Context(), h.made.MemberID, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.exec(`update login_session set last_seen_at = last_seen_at - interval '11 hours'`)
		if _, err := h.store.Session(t.Context(), cookie); err != nil {
			t.Fatal(err)
		}
	}
	var stored int
	if err := h.pool.QueryRow(t.Context(), `select count(*) from login_session l where l::text like '%' || $1 || '%'`, cookie).Scan(&stored); err != nil || stored != 0 {
		t.Errorf("the cookie itself is stored: %d, %v", stored, err)
	}
}

func TestSetPassword(t *testing.T) {
	h := newHouse(t)
	cookie, _, err := h.store.LogIn(t.Context(), "owner@example.com", password, "", "")
	if err != nil {
		t.Fatal(err)
	}
	const next = "another good one"
	h.log.secret(next)
	other := h.newTenant("Other", "other@example.com")
	if err := h.store.SetPassword(t.Context(), tenant.OperatorScope(other.Tenant), h.made.MemberID, next); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("another tenant set the password: %v", err)
	}
	if err := h.store.SetPassword(t.Context(), h.scope, h.made.MemberID, "short"); !isField(err, "password") {
		t.Errorf("a short password: %v, want a FieldError", err)
	}
	if err := h.store.SetPassword(t.Context(), h.scope, h.made.MemberID, next); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Session(t.Context(), cookie); !errors.Is(err, tenant.ErrNoSession) {
		t.Errorf("a session outlived the password: %v", err)
	}
	if _, _, err := h.store.LogIn(t.Context(), "owner@example.com", password, "", ""); !errors.Is(err, tenant.ErrLogin) {
		t.Errorf("the old password: %v, want ErrLogin", err)
	}
	if _, _, err := h.store.LogIn(t.Context(), "owner@example.com", next, "", ""); err != nil {
		t.Error(err)
	}
}

func isField(err error, field string) bool {
	var f *tenant.FieldError
	return errors.As(err, &f) && f.Field == field && f.Problem != ""
}
