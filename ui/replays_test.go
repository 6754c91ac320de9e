package ui_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// What the platform has disabled stands on every page of whoever can see webhooks,
// until it is mended.
func TestTroubleStandsOnEveryPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	url, _ := receiver(t, http.StatusGone)
	a := p.post("/console/webhooks", "url", url+"/?token=hunter2").want(http.StatusSeeOther)
	path, _, _ := strings.Cut(a.location, "?")
	id := strings.TrimPrefix(path, "/console/webhooks/")
	mark := `data-trouble="` + id + `"`
	if body := p.get("/console/usage").body; strings.Contains(body, mark) {
		t.Error("trouble before there is any")
	}
	p.post(path + "/test").want(http.StatusSeeOther)
	for deadline := time.Now().Add(20 * time.Second); ; {
		if e, err := s.hooks.Endpoint(t.Context(), p.scope, id); err == nil && e.Status == "disabled" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("410 disables nothing")
		}
	}
	for _, page := range []string{"/console", "/console/connections", "/console/usage", "/console/licence", "/console/audit", "/console/profile", "/console/webhooks", path} {
		body := p.get(page).want(http.StatusOK).body
		if !strings.Contains(body, mark) || !strings.Contains(body, "answered 410") {
			t.Errorf("%s does not tell of the disabled endpoint", page)
		}
		if banner, _, _ := strings.Cut(body[strings.Index(body, mark):], "</div>"); strings.Contains(banner, "hunter2") {
			t.Errorf("%s shows a secret of the URL in the banner", page)
		}
	}
	accountant := p.member(tenant.Billing)
	if body := accountant.get("/console/usage").want(http.StatusOK).body; strings.Contains(body, mark) {
		t.Error("somebody is told who cannot see webhooks")
	}
	p.post(path + "/enable").wantTo(path + "?done=enable")
	if body := p.get("/console/usage").body; strings.Contains(body, mark) {
		t.Error("it is told after it was mended")
	}
}

// A range is chosen, counted, sent again and seen to its end.
func TestReplayOfARange(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	first, _ := receiver(t, http.StatusOK)
	p.post("/console/webhooks", "url", first).want(http.StatusSeeOther)
	p.open("hello", tenant.SendOnly)
	url, got := receiver(t, http.StatusOK)
	a := p.post("/console/webhooks", "url", url).want(http.StatusSeeOther)
	path, _, _ := strings.Cut(a.location, "?")
	if body := p.get(path).want(http.StatusOK).body; !strings.Contains(body, path+"/replay") {
		t.Error("the page does not lead to the form")
	}
	if body := p.get(path + "/replay").want(http.StatusOK).body; strings.Contains(body, "data-preview") {
		t.Error("the empty form counts")
	}
	chosen := "?from=&to=&states=missed&types=connection.connecting"
	if body := p.get(path + "/replay" + chosen).want(http.StatusOK).body; !strings.Contains(body, `data-preview="1"`) {
		t.Errorf("the preview does not find the event that was missed:\n%s", body)
	}
	if body := p.get(path + "/replay?from=yesterday").body; !strings.Contains(body, "A time looks like") {
		t.Error("a wrong time is not said")
	}
	if body := p.get(path + "/replay?from=2026-01-02T10:00&to=2026-01-02T09:00").body; !strings.Contains(body, "not after the beginning") {
		t.Error("a wrong range is not said")
	}
	p.post(path+"/replay", "from", "", "to", "", "states", "missed", "types", "connection.connecting").wantTo(path + "?done=replay-range")
	select {
	case request := <-got:
		if request.header.Get("webhook-replay") != "true" {
			t.Errorf("headers are %v", request.header)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the range did not arrive")
	}
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(p.get(path).body, `data-replay="done"`); {
		if time.Now().After(deadline) {
			t.Fatal("the page does not show the end of the replay")
		}
	}
}
