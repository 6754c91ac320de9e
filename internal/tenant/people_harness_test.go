package tenant_test

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// mailbox is where mail arrives. What its fail says happens instead.
type mailbox struct {
	mu sync.Mutex
	// Guarded by mu
	mails []tenant.Message
	tries int
	fail  error
}

func (b *mailbox) Send(_ context.Context, m tenant.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if b.fail != nil {
		return b.fail
	}
	b.mails = append(b.mails, m)
	return nil
}

func (b *mailbox) count() (mails, tries int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mails), b.tries
}

func (b *mailbox) failing(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

// newPostalHouse is a house that writes mail, and sends it while the test runs.
func newPostalHouse(t *testing.T) (*house, *mailbox) {
	t.Helper()
	h, box := newHouse(t), &mailbox{}
	h.store.UsePost(tenant.Post{Mailer: box, Delivers: true, PublicURL: "https://hibari.example/"})
	ctx, cancel := context.WithCancel(context.Background())
	var postman sync.WaitGroup
	postman.Go(func() { h.store.RunMail(ctx) })
	t.Cleanup(func() { cancel(); postman.Wait() })
	return h, box
}

// next waits for the n-th mail, counted from 1, and returns it.
func (b *mailbox) next(t testing.TB, n int) tenant.Message {
	t.Helper()
	var m tenant.Message
	until(t, "the mail is there", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.mails) < n {
			return false
		}
		m = b.mails[n-1]
		return true
	})
	return m
}

// token returns what the only link of a mail carries; the link must be one of
// the public URL to path.
func (h *house) tokenIn(m tenant.Message, path string) string {
	h.t.Helper()
	links := regexp.MustCompile(`https?://\S+`).FindAllString(m.Text, -1)
	if len(links) != 1 {
		h.t.Fatalf("the mail has the links %q:\n%s", links, m.Text)
	}
	u, err := url.Parse(links[0])
	if err != nil || u.Scheme != "https" || u.Host != "hibari.example" || u.Path != path {
		h.t.Fatalf("the mail leads to %s, want %s", links[0], path)
	}
	h.log.secret(u.Query().Get("t"))
	return u.Query().Get("t")
}

// login logs in by password and returns what the session opens.
func (h *house) login(email, password string) tenant.Login {
	h.t.Helper()
	cookie, _, err := h.store.LogIn(context.Background(), email, password, "192.0.2.1", "Firefox")
	if err != nil {
		h.t.Fatal(err)
	}
	return h.session(cookie)
}

func (h *house) session(cookie string) tenant.Login {
	h.t.Helper()
	h.log.secret(cookie)
	login, err := h.store.Session(context.Background(), cookie)
	if err != nil {
		h.t.Fatal(err)
	}
	return login
}

// join makes a member of the house's tenant by an invitation.
func (h *house) join(email string, role tenant.MemberRole) tenant.Login {
	h.t.Helper()
	link, _, err := h.store.Invite(context.Background(), h.scope, email, role)
	if err != nil {
		h.t.Fatal(err)
	}
	_, token, _ := strings.Cut(link, "?t=")
	h.log.secret(token)
	cookie, _, err := h.store.AcceptInvitation(context.Background(), token, password, "192.0.2.1", "Firefox")
	if err != nil {
		h.t.Fatal(err)
	}
	return h.session(cookie)
}

// wantErr fails the test unless err is want.
func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// audited returns the actions in the tenant's audit log, oldest first.
func (h *house) audited() (actions []string) {
	h.t.Helper()
	entries, _, err := h.store.SearchAudit(context.Background(), h.scope, tenant.AuditQuery{}, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		actions = append([]string{e.Action}, actions...)
	}
	return actions
}
