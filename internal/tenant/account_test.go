package tenant_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

const nextPassword = "another good one"

func TestReset(t *testing.T) {
	h, box := newPostalHouse(t)
	h.log.secret(nextPassword)
	cookie, err := h.store.StartSession(t.Context(), h.made.MemberID, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.AskReset(t.Context(), "nobody@example.com", "192.0.2.1"); err != nil {
		t.Fatalf("the answer for nobody: %v", err)
	}
	if err := h.store.AskReset(t.Context(), " OWNER@example.com", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	first := h.tokenIn(box.next(t, 1), "/reset") // nobody got none
	if err := h.store.AskReset(t.Context(), "owner@example.com", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	token := h.tokenIn(box.next(t, 2), "/reset")
	wantErr(t, "the link before", h.store.ResetPassword(t.Context(), first, nextPassword, ""), tenant.ErrLink)
	if email, err := h.store.ResetFor(t.Context(), token); err != nil || email != "owner@example.com" {
		t.Errorf("ResetFor = %q, %v", email, err)
	}
	if err := h.store.ResetPassword(t.Context(), token, "short", ""); !isField(err, "password") {
		t.Errorf("a short password: %v", err)
	}
	var used, dead int
	var mu sync.Mutex
	var resets sync.WaitGroup
	for range 4 {
		resets.Go(func() {
			err := h.store.ResetPassword(t.Context(), token, nextPassword, "192.0.2.1")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				used++
			} else if errors.Is(err, tenant.ErrLink) {
				dead++
			}
		})
	}
	resets.Wait()
	if used != 1 || dead != 3 {
		t.Errorf("the link worked %d times and was dead %d times", used, dead)
	}
	wantErr(t, "a session of before", third(h.store.Session(t.Context(), cookie)), tenant.ErrNoSession)
	wantErr(t, "the old password", second(h.store.LogIn(t.Context(), "owner@example.com", password, "", "")), tenant.ErrLogin)
	h.login("owner@example.com", nextPassword)
	if told := box.next(t, 3); told.To != "owner@example.com" || !strings.Contains(told.Text, "has just been changed") {
		t.Errorf("mail %+v", told)
	}
	for _, action := range []string{"member.reset_asked", "member.password_reset"} {
		if !slices.Contains(h.audited(), action) {
			t.Errorf("no %s in %q", action, h.audited())
		}
	}
}

func third(_ tenant.Login, err error) error { return err }

func TestWithoutMail(t *testing.T) {
	h := newHouse(t)
	wantErr(t, "AskReset", h.store.AskReset(t.Context(), "owner@example.com", ""), tenant.ErrNoMail)
	wantErr(t, "AskEmail", h.store.AskEmail(t.Context(), h.login("owner@example.com", password), "a@example.com"), tenant.ErrNoMail)
	_, err := h.store.BeginSignup(t.Context(), newcomer, "")
	wantErr(t, "BeginSignup", err, tenant.ErrNoMail)
	if h.store.CanMail() || h.store.Delivers() {
		t.Error("it says it can mail")
	}
}

func TestChangePassword(t *testing.T) {
	h := newHouse(t)
	h.log.secret(nextPassword)
	here, there := h.login("owner@example.com", password), h.login("owner@example.com", password)
	wantErr(t, "a wrong old password", firstOf(h.store.ChangePassword(t.Context(), here, "wrong", nextPassword, "192.0.2.1")), tenant.ErrLogin)
	if err := firstOf(h.store.ChangePassword(t.Context(), here, password, "short", "192.0.2.1")); !isField(err, "password") {
		t.Errorf("a short one: %v", err)
	}
	cookie, err := h.store.ChangePassword(t.Context(), here, password, nextPassword, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if again := h.session(cookie); again.Session != here.Session {
		t.Errorf("this session became %s, was %s", again.Session, here.Session)
	}
	sessions, err := h.store.Sessions(t.Context(), here)
	if err != nil || len(sessions) != 1 || sessions[0].ID != here.Session || sessions[0].ID == there.Session {
		t.Errorf("sessions %+v, %v", sessions, err)
	}
	// Guessing the old password counts as guessing at the log-in does.
	here = h.session(cookie)
	for i := 0; err == nil || errors.Is(err, tenant.ErrLogin); i++ {
		if i > 2*tenant.LoginsPerAccount {
			t.Fatal("every guess was looked at")
		}
		err = firstOf(h.store.ChangePassword(t.Context(), here, "guess", nextPassword, "192.0.2.1"))
	}
	h.refusal(err, tenant.RateLimited)
}

func firstOf(_ string, err error) error { return err }

func TestProve(t *testing.T) {
	h := newHouse(t)
	cookie, _, err := h.store.LogIn(t.Context(), "owner@example.com", password, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if l := h.session(cookie); !l.Fresh() {
		t.Errorf("a new log-in is not fresh: %s", l.Proved)
	}
	h.exec(`update login_session set proved_at = proved_at - interval '15 minutes'`)
	old := h.session(cookie)
	if old.Fresh() {
		t.Errorf("still fresh after %s", old.Proved)
	}
	wantErr(t, "a wrong password", firstOf(h.store.Prove(t.Context(), old, "wrong", "")), tenant.ErrLogin)
	renewed, err := h.store.Prove(t.Context(), old, password, "")
	if err != nil {
		t.Fatal(err)
	}
	if l := h.session(renewed); !l.Fresh() || l.Session != old.Session {
		t.Errorf("login %+v", l)
	}
	wantErr(t, "the cookie before", third(h.store.Session(t.Context(), cookie)), tenant.ErrNoSession)
}

func TestSessions(t *testing.T) {
	h := newHouse(t)
	here, there := h.login("owner@example.com", password), h.login("owner@example.com", password)
	h.newTenant("Other", "other@example.com")
	theirs := h.login("other@example.com", password)
	list, err := h.store.Sessions(t.Context(), here)
	if err != nil || len(list) != 2 || list[0].ID != there.Session || list[1].ID != here.Session || list[0].UserAgent != "Firefox" || list[0].Address != "192.0.2.1" {
		t.Fatalf("sessions %+v, %v", list, err)
	}
	wantErr(t, "another's session", h.store.EndSession(t.Context(), theirs, here.Session), tenant.ErrNotFound)
	wantErr(t, "no session", h.store.EndSession(t.Context(), here, "ses_none"), tenant.ErrNotFound)
	if err := h.store.EndSession(t.Context(), here, there.Session); err != nil {
		t.Error(err)
	}
	if list, err = h.store.Sessions(t.Context(), here); err != nil || len(list) != 1 {
		t.Errorf("sessions %+v, %v", list, err)
	}
	if err := h.store.EndAllSessions(t.Context(), here); err != nil {
		t.Error(err)
	}
	if list, err = h.store.Sessions(t.Context(), here); err != nil || len(list) != 0 {
		t.Errorf("sessions %+v, %v", list, err)
	}
	if list, err = h.store.Sessions(t.Context(), theirs); err != nil || len(list) != 1 {
		t.Errorf("another's sessions %+v, %v", list, err)
	}
}

func TestChangeEmail(t *testing.T) {
	h, box := newPostalHouse(t)
	login := h.login("owner@example.com", password)
	if err := h.store.AskEmail(t.Context(), login, "no address"); !isField(err, "email") {
		t.Errorf("no address: %v", err)
	}
	h.newTenant("Other", "other@example.com")
	if err := h.store.AskEmail(t.Context(), login, "other@example.com"); err != nil {
		t.Fatalf("an address that is taken: %v", err)
	}
	taken := h.tokenIn(box.next(t, 1), "/email")
	wantErr(t, "a taken address", h.store.ChangeEmail(t.Context(), taken, ""), tenant.ErrEmailTaken)
	if err := h.store.AskEmail(t.Context(), login, "fresh@example.com"); err != nil {
		t.Fatal(err)
	}
	token := h.tokenIn(box.next(t, 2), "/email")
	wantErr(t, "the older link", h.store.ChangeEmail(t.Context(), taken, ""), tenant.ErrLink)
	if err := h.store.ChangeEmail(t.Context(), token, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the link again", h.store.ChangeEmail(t.Context(), token, ""), tenant.ErrLink)
	if told := box.next(t, 3); told.To != "owner@example.com" {
		t.Errorf("the old address is not told: %+v", told)
	}
	h.login("fresh@example.com", password)
	wantErr(t, "the old address", second(h.store.LogIn(t.Context(), "owner@example.com", password, "", "")), tenant.ErrLogin)
}
