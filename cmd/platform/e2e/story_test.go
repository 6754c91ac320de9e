package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/hibari/hibari/internal/tenant"
)

// TestFirstBroadcast is what a newcomer does: sign up, publish in one tab,
// watch in another, see both live, end one with a click, find its token
// barred and its minutes counted, and the tenant's server told of it all.
func TestFirstBroadcast(t *testing.T) {
	s := newServer(t)
	b := newBrowser(t)
	console := b.signUp(s, "Lark")
	hook := newReceiver(t)
	hook.trust(console.addEndpoint(s, hook.url))

	live := b.open(s.url + "/console/connections")
	publisher := b.open(s.url + "/demo/hello?source=canvas")
	publisher.press("Publish")
	publisher.until("the publisher sends", "document.querySelector('#status').dataset.state === 'connected'")
	viewer := b.open(s.url + "/demo/hello")
	viewer.press("Watch")
	viewer.until("30 frames are decoded", "(document.querySelector('video.remote')?.getVideoPlaybackQuality().totalVideoFrames ?? 0) >= 30")

	// Both rows came by themselves; one goes within a second of the click.
	live.until("both are listed", "document.querySelectorAll('#connections tbody tr').length === 2")
	eval[bool](live, helpers)
	eval[bool](live, `(window.row = () => [...document.querySelectorAll('#connections tbody tr')]
		.find((r) => r.innerText.includes('hello') && r.dataset.role === 'sendonly'), true)`)
	eval[bool](live, "(button('Disconnect', row()).click(), true)")
	live.until("the dialog asks", "!!document.querySelector('dialog[open]')")
	if !eval[bool](live, "document.querySelector('dialog[open] input[type=checkbox]').checked") {
		t.Error("the box that bars the token is not checked")
	}
	eval[bool](live, "(button('Disconnect', document.querySelector('dialog[open]')).click(), true)")
	clicked := time.Now()
	live.until("the row is gone", "!row()")
	if took := time.Since(clicked); took > 3*time.Second { // a second, and what a busy machine adds
		t.Errorf("the row went after %s", took)
	}
	publisher.until("the publisher is told", "document.querySelector('#status').dataset.state !== 'connected'")

	// The same token does not walk back in.
	publisher.press("Publish")
	publisher.until("the token is refused", "/banned|barred/i.test(document.querySelector('#status').innerText)")

	viewer.press("Stop")
	live.until("nobody is left", "document.querySelectorAll('#connections tbody tr').length === 0")
	usage := b.open(s.url + "/console/usage")
	usage.until("two connections have two minutes", `/\b2\b/.test(document.querySelector('main table').innerText)`)

	created, destroyed := hook.wait(t, 2)
	slices.Sort(created)
	slices.Sort(destroyed)
	if !slices.Equal(created, destroyed) {
		t.Errorf("created %v, destroyed %v", created, destroyed)
	}
	deliveries := b.open(s.url + "/console/webhooks")
	deliveries.until("the endpoint is listed", "document.body.innerText.includes(%s)", hook.url)
}

// TestLogIn covers the way back in and the wrong password.
func TestLogIn(t *testing.T) {
	s := newServer(t)
	b := newBrowser(t)
	p := b.signUp(s, "Lark")
	p.press("Log out")
	p.until("signed out", "location.pathname !== '/console'")
	p = b.open(s.url + "/console")
	p.arrives("/login")
	p.fill("Email", "lark@example.com")
	p.fill("Password", "wrong "+password)
	p.press("Log in")
	p.until("the mistake is named", "/wrong/i.test(document.body.innerText)")
	p.fill("Password", password)
	p.press("Log in")
	p.arrives("/console")
}

// addEndpoint adds a webhook endpoint in the console and returns the secret
// that is shown once.
func (p *tab) addEndpoint(s *server, url string) string {
	p.t.Helper()
	p = p.browser.open(s.url + "/console/webhooks")
	p.fill("Endpoint URL", url)
	p.press("Add endpoint")
	p.until("the secret is shown", "/whsec_/.test(document.body.outerHTML)")
	return regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`).FindString(eval[string](p, "document.body.outerHTML"))
}

// receiver is a tenant's server: it checks signatures with the official
// library and fails the first request, so that retries are seen.
type receiver struct {
	t      *testing.T
	url    string
	mu     sync.Mutex // guards the rest
	secret string
	failed bool
	events []tenant.Event
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	site := httptest.NewServer(r)
	t.Cleanup(site.Close)
	r.url = site.URL + "/hook"
	return r
}

// trust sets the secret that deliveries must be signed with.
func (r *receiver) trust(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret = secret
}

// ServeHTTP takes one delivery.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed {
		r.failed = true
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	verifier, err := standardwebhooks.NewWebhook(r.secret)
	if err == nil {
		err = verifier.Verify(body, request.Header)
	}
	if err != nil {
		r.t.Errorf("the signature is wrong: %v", err)
	}
	var e tenant.Event
	if err := json.Unmarshal(body, &e); err != nil {
		r.t.Errorf("the body %q is no event: %v", body, err)
	}
	r.events = append(r.events, e)
}

// wait returns the connections created and destroyed, when there are n of
// each.
func (r *receiver) wait(t *testing.T, n int) (created, destroyed []string) {
	t.Helper()
	eventually(t, "the events are delivered", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		created, destroyed = nil, nil
		for _, e := range r.events {
			switch e.Type {
			case tenant.ConnectionCreated:
				created = append(created, e.ConnectionID)
			case tenant.ConnectionDestroyed:
				destroyed = append(destroyed, e.ConnectionID)
			}
		}
		return len(created) == n && len(destroyed) == n
	})
	return created, destroyed
}
