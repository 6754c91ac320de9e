package ui_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// Somebody sets a URL, tries it, and looks at what clients were asked about.
func TestAuthWebhookPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	viewer := p.member(tenant.Viewer)
	var answer atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, *answer.Load())
	}))
	t.Cleanup(server.Close)
	if body := p.get("/console/auth").want(http.StatusOK).body; !strings.Contains(body, "Nobody else is asked") {
		t.Error("the page does not say that nobody is asked")
	}
	p.post("/console/auth/test").want(http.StatusNotFound)
	p.post("/console/settings/auth", "url", server.URL).wantTo("/console/settings?done=auth-url")
	p.get("/console/settings") // the secret, once

	for said, wants := range map[string][]string{
		`{"allowed":true,"video_bit_rate":300,"metadata":"hidden"}`: {"would come in, with these settings", "&#34;video_bit_rate&#34;: 300", "[not kept]"},
		`{}`:                                     {"would come in, with what it asks for"},
		`{"allowed":false,"reason":"<b>NO</b>"}`: {"would be refused", "&lt;b&gt;NO&lt;/b&gt;"},
		`{"video_bit_rate":"many"}`:              {"would be refused", "auth_unavailable", "bad_answer", "video_bit_rate"},
	} {
		answer.Store(&said)
		page := p.post("/console/auth/test").want(http.StatusOK)
		checkPage(t, "the answer "+said, page)
		for _, want := range wants {
			if !strings.Contains(page.body, want) {
				t.Errorf("of %s the page lacks %q", said, want)
			}
		}
		if strings.Contains(page.body, ">hidden<") || strings.Contains(page.body, "&#34;hidden&#34;,") {
			t.Error("metadata is in the answer's head")
		}
	}
	viewer.post("/console/auth/test").want(http.StatusForbidden)

	hook, err := s.tenants.AuthWebhook(t.Context(), p.scope)
	if err != nil {
		t.Fatal(err)
	}
	answer.Store(new(`{"allowed":false,"reason":"NO-SEAT"}`))
	for i := range 55 {
		if _, err := s.hooks.Authorize(t.Context(), hook, tenant.Arrival{Opening: tenant.Opening{ConnectionID: tenant.NewID(), Tenant: p.scope.Tenant(),
			Channel: "hello", Role: tenant.SendOnly, ClientID: "client-" + strconv.Itoa(i), Protocol: "sora"}}); err == nil {
			t.Fatal("a client came in")
		}
	}
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(p.get("/console/auth?range=1h").body, "client-54"); {
		if time.Now().After(deadline) {
			t.Fatal("the log does not have them")
		}
	}
	page := p.get("/console/auth?range=1h").want(http.StatusOK)
	checkPage(t, "the full page", page)
	for _, want := range []string{"client-54", "NO-SEAT", "Load more", "p99", "Time to the answer", "Over time", "rejected"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page.body, "client-4<") {
		t.Error("all are on one page")
	}
	_, rest, _ := strings.Cut(page.body, `data-more="#auth-rows" href="`)
	more, _, _ := strings.Cut(rest, `"`)
	if body := p.get(strings.ReplaceAll(more, "&amp;", "&")).want(http.StatusOK).body; !strings.Contains(body, "client-4<") || strings.Contains(body, "client-54<") {
		t.Error("the second page has not the rest")
	}
	if body := viewer.get("/console/auth?client=client-7&decision=rejected").want(http.StatusOK).body; strings.Count(body, `id="aut_`) != 1 || strings.Contains(body, "Send a test") {
		t.Error("the filter does not find one, or a viewer may ask")
	}
	if body := p.get("/console/auth?decision=timeout").want(http.StatusOK).body; !strings.Contains(body, "No such question") {
		t.Error("what is not there is not said")
	}
	p.get("/console/auth?before=x").want(http.StatusNotFound)
	_, rest, _ = strings.Cut(page.body, `href="/console/auth/aut_`)
	id, _, _ := strings.Cut(rest, `"`)
	detail := viewer.get("/console/auth/aut_" + id).want(http.StatusOK)
	checkPage(t, "one question", detail)
	if !strings.Contains(detail.body, "NO-SEAT") || !strings.Contains(detail.body, "client-54") {
		t.Error("the detail lacks who, or why")
	}
	server.Close()
	for range 6 {
		s.hooks.Authorize(t.Context(), hook, tenant.Arrival{Opening: tenant.Opening{ConnectionID: tenant.NewID(), Tenant: p.scope.Tenant(), Channel: "hello", Role: tenant.SendOnly}})
	}
	if body := p.get("/console/auth").body; !strings.Contains(body, "has not answered five questions") {
		t.Error("the page does not say that the server is taken for dead")
	}
}
