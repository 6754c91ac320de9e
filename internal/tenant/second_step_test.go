package tenant_test

import (
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// The vectors of RFC 6238, appendix B, for SHA-1: 8 digits, of which apps show
// the last 6.
func TestTOTPVectors(t *testing.T) {
	secret := base32.StdEncoding.EncodeToString([]byte("12345678901234567890"))
	for seconds, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got, err := tenant.TOTP(secret, time.Unix(seconds, 0)); err != nil || got != want[2:] {
			t.Errorf("at %d: %s, %v, want %s", seconds, got, err, want[2:])
		}
	}
	if _, err := tenant.TOTP("not base32!", time.Now()); err == nil {
		t.Error("nonsense is a secret")
	}
}

// app is an authenticator app with one secret.
type app struct {
	h      *house
	secret string
}

func (a app) code(ahead time.Duration) string {
	a.h.t.Helper()
	code, err := tenant.TOTP(a.secret, time.Now().Add(ahead))
	if err != nil {
		a.h.t.Fatal(err)
	}
	return code
}

// enrol turns a member's second step on.
func (h *house) enrol(l tenant.Login) (app, []string) {
	h.t.Helper()
	if err := h.store.BeginSecondStep(h.t.Context(), l); err != nil {
		h.t.Fatal(err)
	}
	secret, uri, err := h.store.PendingSecondStep(h.t.Context(), l)
	if err != nil {
		h.t.Fatal(err)
	}
	h.log.secret(secret)
	if !strings.HasPrefix(uri, "otpauth://totp/Hibari:"+strings.ReplaceAll(l.Member.Email, "@", "%40")+"?") && !strings.HasPrefix(uri, "otpauth://totp/Hibari:"+l.Member.Email+"?") ||
		!strings.Contains(uri, "secret="+secret) || !strings.Contains(uri, "issuer=Hibari") {
		h.t.Errorf("URI %s", uri)
	}
	a := app{h, secret}
	codes, err := h.store.ConfirmSecondStep(h.t.Context(), l, a.code(-30*time.Second)) // leaves the newer codes for log-ins
	if err != nil {
		h.t.Fatal(err)
	}
	return a, codes
}

// halfLogin logs in by password and returns the proof that a code is needed.
func (h *house) halfLogin(email, password string) string {
	h.t.Helper()
	cookie, _, err := h.store.LogIn(h.t.Context(), email, password, "192.0.2.1", "Firefox")
	var needed *tenant.CodeNeeded
	if !errors.As(err, &needed) || cookie != "" {
		h.t.Fatalf("LogIn = %q, %v, want CodeNeeded", cookie, err)
	}
	h.log.secret(needed.Proof)
	return needed.Proof
}

func (h *house) finish(proof, code string) error {
	h.t.Helper()
	cookie, _, err := h.store.FinishLogIn(h.t.Context(), proof, code, "192.0.2.1", "Firefox")
	if err == nil {
		h.session(cookie)
	}
	return err
}

func TestSecondStep(t *testing.T) {
	h := newHouse(t)
	other := h.login("owner@example.com", password)
	l := h.login("owner@example.com", password)
	wantErr(t, "a code before there is a secret", firstCodes(h.store.ConfirmSecondStep(t.Context(), l, "000000")), tenant.ErrCode)
	wantErr(t, "codes before there is a secret", firstCodes(h.store.NewRecoveryCodes(t.Context(), l)), tenant.ErrNotFound)
	a, codes := h.enrol(l)
	if state, err := h.store.SecondStepOf(t.Context(), l); err != nil || !state.On || state.Codes != tenant.RecoveryCodes || len(codes) != tenant.RecoveryCodes {
		t.Errorf("state %+v, %d codes, %v", state, len(codes), err)
	}
	if sessions, err := h.store.Sessions(t.Context(), l); err != nil || len(sessions) != 1 || sessions[0].ID == other.Session {
		t.Errorf("sessions %+v, %v", sessions, err)
	}
	wantErr(t, "a second one", h.store.BeginSecondStep(t.Context(), l), tenant.ErrSecondStep)

	proof := h.halfLogin("owner@example.com", password)
	wantErr(t, "a wrong code", h.finish(proof, "123 45"), tenant.ErrCode)
	code := a.code(0)
	if err := h.finish(proof, code[:3]+" "+code[3:]); err != nil {
		t.Error(err)
	}
	wantErr(t, "the same code", h.finish(proof, code), tenant.ErrCode)
	wantErr(t, "a code of before", h.finish(proof, a.code(-30*time.Second)), tenant.ErrCode)
	if err := h.finish(proof, a.code(30*time.Second)); err != nil {
		t.Errorf("a phone that is half a minute ahead: %v", err)
	}
	if err := h.finish(proof, strings.ToLower(codes[0])); err != nil {
		t.Errorf("a recovery code: %v", err)
	}
	wantErr(t, "the recovery code again", h.finish(proof, codes[0]), tenant.ErrCode)
	fresh, err := h.store.NewRecoveryCodes(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "an old recovery code", h.finish(proof, codes[1]), tenant.ErrCode)
	h.exec(`delete from throttle`)
	if err := h.finish(proof, strings.ReplaceAll(fresh[1], "-", "")); err != nil {
		t.Errorf("a new recovery code: %v", err)
	}
	wantErr(t, "off by a wrong password", h.store.EndSecondStep(t.Context(), l, "wrong", ""), tenant.ErrLogin)
	if err := h.store.EndSecondStep(t.Context(), l, password, ""); err != nil {
		t.Fatal(err)
	}
	h.login("owner@example.com", password)
	for _, action := range []string{"second_step.on", "second_step.recovery_codes", "second_step.off", "login.failed"} {
		if !slices.Contains(h.audited(), action) {
			t.Errorf("no %s in %q", action, h.audited())
		}
	}
}

func firstCodes(_ []string, err error) error { return err }

// A code works once, also for those who come with it at the same moment.
func TestCodeWorksOnce(t *testing.T) {
	h := newHouse(t)
	a, codes := h.enrol(h.login("owner@example.com", password))
	proof := h.halfLogin("owner@example.com", password)
	for _, code := range []string{a.code(30 * time.Second), codes[3]} {
		h.exec(`delete from throttle`)
		var in sync.WaitGroup
		var mu sync.Mutex
		right := 0
		for range tenant.CodesPerAccount {
			in.Go(func() {
				_, _, err := h.store.FinishLogIn(t.Context(), proof, code, "", "")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					right++
				} else if !errors.Is(err, tenant.ErrCode) {
					t.Errorf("FinishLogIn = %v", err)
				}
			})
		}
		in.Wait()
		if right != 1 {
			t.Errorf("the code worked %d times", right)
		}
	}
}

// Guesses count over all processes, and a right password does not help.
func TestCodesAreLimited(t *testing.T) {
	h := newHouse(t)
	a, _ := h.enrol(h.login("owner@example.com", password))
	other := h.newStore(h.secondPool())
	guessed := 0
	var err error
	for err == nil {
		store := []*tenant.Store{h.store, other}[guessed%2]
		_, _, err = store.FinishLogIn(t.Context(), h.halfLogin("owner@example.com", password), "000000", "", "")
		if errors.Is(err, tenant.ErrCode) {
			guessed, err = guessed+1, nil
		}
	}
	h.refusal(err, tenant.RateLimited)
	if guessed != tenant.CodesPerAccount {
		t.Errorf("%d guesses were looked at, want %d", guessed, tenant.CodesPerAccount)
	}
	_, _, err = other.FinishLogIn(t.Context(), h.halfLogin("owner@example.com", password), a.code(0), "", "")
	h.refusal(err, tenant.RateLimited)
}

func TestProofsEnd(t *testing.T) {
	h := newHouse(t)
	h.log.secret(nextPassword)
	a, _ := h.enrol(h.login("owner@example.com", password))
	proof := h.halfLogin("owner@example.com", password)
	for _, wrong := range []string{"", "x", proof[1:], proof + "A", strings.Repeat("A", 1<<16), "\x00"} {
		wantErr(t, "a wrong proof", h.finish(wrong, a.code(0)), tenant.ErrLoginOver)
	}
	if err := h.store.SetPassword(t.Context(), h.scope, h.made.MemberID, nextPassword); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a proof of the old password", h.finish(proof, a.code(0)), tenant.ErrLoginOver)
}

// A reset of the password leaves the second step as it is; an admin's reset of
// the second step ends it, and the sessions with it.
func TestResetSecondStep(t *testing.T) {
	h, box := newPostalHouse(t)
	h.log.secret(nextPassword)
	dev := h.join("dev@example.com", tenant.Developer)
	h.enrol(dev)
	if err := h.store.AskReset(t.Context(), "dev@example.com", ""); err != nil {
		t.Fatal(err)
	}
	if err := h.store.ResetPassword(t.Context(), h.tokenIn(box.next(t, 2), "/reset"), nextPassword, ""); err != nil {
		t.Fatal(err)
	}
	h.halfLogin("dev@example.com", nextPassword)

	admin := h.join("admin@example.com", tenant.Admin)
	wantErr(t, "without one", h.store.ResetSecondStep(t.Context(), dev.Scope, h.made.MemberID), tenant.ErrOwnersOnly)
	wantErr(t, "one's own", h.store.ResetSecondStep(t.Context(), admin.Scope, admin.Member.ID), tenant.ErrYourself)
	if err := h.store.ResetSecondStep(t.Context(), admin.Scope, dev.Member.ID); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "again", h.store.ResetSecondStep(t.Context(), admin.Scope, dev.Member.ID), tenant.ErrNotFound)
	h.login("dev@example.com", nextPassword)
	h.enrol(h.login("owner@example.com", password))
	wantErr(t, "an owner's", h.store.ResetSecondStep(t.Context(), admin.Scope, h.made.MemberID), tenant.ErrOwnersOnly)
}
