package tenant_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

var newcomer = tenant.NewTenant{Name: "Nightingale", Email: "New@Example.com", Password: "sings at night, too"}

func TestSignupIsMadeWhenTheAddressIsConfirmed(t *testing.T) {
	h, box := newPostalHouse(t)
	h.log.secret(newcomer.Password)
	browser, err := h.store.BeginSignup(t.Context(), newcomer, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	mail := box.next(t, 1)
	if mail.To != "New@Example.com" || strings.Contains(mail.Text, "Nightingale") {
		t.Errorf("mail %+v", mail)
	}
	token := h.tokenIn(mail, "/verify")
	if list, err := h.store.Tenants(t.Context()); err != nil || len(list) != 1 {
		t.Fatalf("a tenant before the address is confirmed: %+v, %v", list, err)
	}
	wantErr(t, "log-in before", second(h.store.LogIn(t.Context(), newcomer.Email, newcomer.Password, "192.0.2.1", "")), tenant.ErrLogin)
	pending, err := h.store.SignupFor(t.Context(), token, browser)
	if err != nil || pending != (tenant.PendingSignup{Name: "Nightingale", Email: "New@Example.com", SameBrowser: true}) {
		t.Errorf("SignupFor = %+v, %v", pending, err)
	}

	// Eight at once: one tenant.
	var made, dead int
	var mu sync.Mutex
	var finishing sync.WaitGroup
	for range 8 {
		finishing.Go(func() {
			created, err := h.store.FinishSignup(t.Context(), token, browser, "", "192.0.2.1")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
				h.log.secret(created.APIKey, created.SigningKey)
			case errors.Is(err, tenant.ErrLink) || errors.Is(err, tenant.ErrEmailTaken):
				dead++
			default:
				t.Errorf("FinishSignup = %v", err)
			}
		})
	}
	finishing.Wait()
	if list, err := h.store.Tenants(t.Context()); made != 1 || dead != 7 || err != nil || len(list) != 2 {
		t.Errorf("%d made, %d refused, tenants %+v, %v", made, dead, list, err)
	}
	h.login(newcomer.Email, newcomer.Password)
}

// second is the error of a log-in.
func second(_ string, _ tenant.Member, err error) error { return err }

// Somebody signs up with a stranger's address and a password of their own: the
// stranger who follows the link cannot be made to open that account.
func TestSignupOfAnotherBrowserNeedsThePassword(t *testing.T) {
	h, box := newPostalHouse(t)
	h.log.secret(newcomer.Password)
	if _, err := h.store.BeginSignup(t.Context(), newcomer, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	token := h.tokenIn(box.next(t, 1), "/verify")
	other, err := h.store.BeginSignup(t.Context(), tenant.NewTenant{Name: "Other", Email: "other@example.com", Password: password}, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, browser := range []string{"", "x", token, other} {
		if pending, err := h.store.SignupFor(t.Context(), token, browser); err != nil || pending.SameBrowser {
			t.Errorf("SignupFor(%.5q) = %+v, %v", browser, pending, err)
		}
		_, err := h.store.FinishSignup(t.Context(), token, browser, "not the password", "192.0.2.9")
		wantErr(t, "another browser without the password", err, tenant.ErrLogin)
	}
	if _, err := h.store.FinishSignup(t.Context(), token, "", newcomer.Password, "192.0.2.9"); err != nil {
		t.Error(err)
	}
}

func TestSignupTellsNobodyWhoHasAnAccount(t *testing.T) {
	h, box := newPostalHouse(t)
	taken := newcomer
	taken.Email = "Owner@example.com"
	browser, err := h.store.BeginSignup(t.Context(), taken, "192.0.2.1")
	if err != nil || browser == "" {
		t.Fatalf("BeginSignup = %q, %v", browser, err)
	}
	if mail := box.next(t, 1); mail.To != "Owner@example.com" || !strings.Contains(mail.Text, "account already") || strings.Contains(mail.Text, "?t=") {
		t.Errorf("mail %+v", mail)
	}
	var waiting int
	if err := h.pool.QueryRow(t.Context(), `select count(*) from signup`).Scan(&waiting); err != nil || waiting != 0 {
		t.Errorf("%d sign-ups wait, %v", waiting, err)
	}
	for _, bad := range []tenant.NewTenant{{Name: "", Email: "a@example.com", Password: password}, {Name: "A", Email: "a", Password: password}, {Name: "A", Email: "a@example.com"}} {
		var field *tenant.FieldError
		if _, err := h.store.BeginSignup(t.Context(), bad, "192.0.2.1"); !errors.As(err, &field) {
			t.Errorf("BeginSignup(%+v) = %v", bad, err)
		}
	}
}

// One address gets only so many mails, and a stranger learns nothing of it.
func TestMailsToOneAddressAreLimited(t *testing.T) {
	h, box := newPostalHouse(t)
	other := h.newStore(h.secondPool())
	other.UsePost(tenant.Post{Mailer: box, Delivers: true, PublicURL: "https://hibari.example"})
	for i := range 2 * tenant.MailsPerRecipient {
		store := []*tenant.Store{h.store, other}[i%2]
		if err := store.AskReset(t.Context(), "owner@example.com", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	box.next(t, tenant.MailsPerRecipient)
	until(t, "the outbox is empty", func() bool { return h.outbox() == 0 })
	if mails, _ := box.count(); mails != tenant.MailsPerRecipient {
		t.Errorf("%d mails, want %d", mails, tenant.MailsPerRecipient)
	}
	err := error(nil)
	for i := 0; err == nil && i < 2*tenant.StrangersPerAddress; i++ {
		err = h.store.AskReset(t.Context(), "nobody@example.com", "192.0.2.1")
	}
	h.refusal(err, tenant.RateLimited)
}

// outbox is how many mails wait.
func (h *house) outbox() (n int) {
	h.t.Helper()
	if err := h.pool.QueryRow(h.t.Context(), `select count(*) from mail_outbox`).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func TestLinksDie(t *testing.T) {
	h, box := newPostalHouse(t)
	h.log.secret(newcomer.Password)
	if _, err := h.store.BeginSignup(t.Context(), newcomer, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	signup := h.tokenIn(box.next(t, 1), "/verify")
	if err := h.store.AskReset(t.Context(), "owner@example.com", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	reset := h.tokenIn(box.next(t, 2), "/reset")
	if err := h.store.AskEmail(t.Context(), h.login("owner@example.com", password), "fresh@example.com"); err != nil {
		t.Fatal(err)
	}
	email := h.tokenIn(box.next(t, 3), "/email")
	if _, _, err := h.store.Invite(t.Context(), h.scope, "invited@example.com", tenant.Viewer); err != nil {
		t.Fatal(err)
	}
	invitation := h.tokenIn(box.next(t, 4), "/invitation")
	use := map[string]func(token string) error{
		signup:     func(token string) error { _, err := h.store.SignupFor(t.Context(), token, ""); return err },
		reset:      func(token string) error { _, err := h.store.ResetFor(t.Context(), token); return err },
		email:      func(token string) error { _, err := h.store.EmailFor(t.Context(), token); return err },
		invitation: func(token string) error { _, err := h.store.InvitationFor(t.Context(), token); return err },
	}
	for token, read := range use {
		if err := read(token); err != nil {
			t.Errorf("a good link: %v", err)
		}
		for _, wrong := range []string{"", "x", token + "A", token[1:], strings.Repeat("A", 43), strings.Repeat("A", 1<<16), "\x00"} {
			wantErr(t, "a wrong link", read(wrong), tenant.ErrLink)
		}
		for other := range use {
			if other != token {
				wantErr(t, "another kind's link", read(other), tenant.ErrLink)
			}
		}
	}
	for table, lifetime := range map[string]string{"signup": "24 hours", "invitation": "7 days"} {
		h.exec(`update ` + table + ` set expires_at = expires_at - interval '` + lifetime + `'`)
	}
	h.exec(`update member_token set expires_at = expires_at - case purpose when 'reset' then interval '1 hour' else interval '24 hours' end`)
	for token, read := range use {
		wantErr(t, "a link that has expired", read(token), tenant.ErrLink)
	}
	wantErr(t, "a password by a dead link", h.store.ResetPassword(t.Context(), reset, "another good one", ""), tenant.ErrLink)
	wantErr(t, "an address by a dead link", h.store.ChangeEmail(t.Context(), email, ""), tenant.ErrLink)
	// No link stands in the database as it was sent.
	for token := range use {
		for _, table := range []string{"signup", "member_token", "invitation", "mail_outbox"} {
			var found int
			if err := h.pool.QueryRow(t.Context(), `select count(*) from `+table+` x where x::text like '%' || $1 || '%'`, token).Scan(&found); err != nil || found != 0 {
				t.Errorf("%s holds a link as it is: %d, %v", table, found, err)
			}
		}
	}
}
