package ui_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// everyPage is each page's path, with something to show on it.
func everyPage(t *testing.T, p *person) []string {
	t.Helper()
	id, _ := p.open("hello", tenant.SendOnly)
	p.open("<b>&\"'", tenant.RecvOnly)
	_, endpoint, err := p.site.hooks.CreateEndpoint(t.Context(), p.scope, "http://127.0.0.1:1/", webhooks.Choice{Types: []string{"connection.created"}})
	if err != nil {
		t.Fatal(err)
	}
	delivery, err := p.site.hooks.SendTest(t.Context(), p.scope, endpoint.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.member(tenant.Developer)
	if _, _, err := p.site.tenants.Invite(t.Context(), p.scope, "invited@example.com", tenant.Viewer); err != nil {
		t.Fatal(err)
	}
	p.post("/console/profile/second-step/begin").wantTo("/console/profile/second-step")
	return []string{
		"/console", "/console/start", "/console/connections", "/console/connections?channel=hello", "/console/connections/" + id, "/console/connections/" + id + "?range=24h", "/console/connections/" + id + "?range=x",
		"/console/connections/" + id + "/disconnect", "/console/channels", "/console/channels/hello", "/console/channels/nobody-here",
		"/console/channels/%3Cb%3E&%22%27", "/console/channels/hello/disconnect", "/console/keys", "/console/bans", "/console/bans?ban=client&subject=%3Cb%3E&kind=token&find=x", "/console/keys/signing/" + p.signed.SigningKeyID + "/rotate", "/console/webhooks",
		"/console/webhooks/" + endpoint.ID, "/console/webhooks/" + endpoint.ID + "?state=dead", "/console/webhooks/" + endpoint.ID + "/delete",
		"/console/auth", "/console/auth?range=14d&decision=timeout&channel=%3Cb%3E",
		"/console/events", "/console/events?type=ping&channel=%3Cb%3E", "/console/events?before=2", "/console/events/1",
		"/console/webhooks/" + endpoint.ID + "/edit", "/console/webhooks/" + endpoint.ID + "/health", "/console/webhooks/" + endpoint.ID + "/health?window=30d",
		"/console/webhooks/health", "/console/webhooks/health?window=24h", "/console/webhooks/" + endpoint.ID + "?type=ping&answer=none&since=1h&about=hello&before=dlv_x&test=" + delivery,
		"/console/deliveries/" + delivery, "/console/usage", "/console/usage?range=12m", "/console/licence", "/console/licence?connections=350&company=on&peaks=30d", "/console/licence?connections=x&peaks=24h", "/console/licence/change/400", "/console/plan", "/console/plan?connections=5&minutes=3&gb=1&recording=9", "/console/plan?connections=x", "/console/audit", "/console/audit?text=x", "/console/audit/1", "/demo/hello", "/console/no-such-page",
		"/console/members", "/console/members/" + p.signed.MemberID + "/remove", "/console/profile", "/console/profile/second-step", "/console/prove",
	}
}

// operatorPages are pages of the operator's console.
func operatorPages(s *site, owner *person) []string {
	return []string{"/operator", "/operator/tenants", "/operator/tenants?text=%3Cscript%3Ealert(1)", "/operator/tenants?text=nobody",
		"/operator/tenants/" + string(owner.signed.Tenant), "/operator/tenants/" + string(owner.signed.Tenant) + "/disconnect",
		"/operator/tenants/" + string(owner.signed.Tenant) + "/plan", "/operator/plans", "/operator/plans/standard",
		"/operator/nodes", "/operator/nodes/" + s.node.ID() + "/drain", "/operator/operators", "/operator/audit", "/operator/audit/1",
		"/operator/audit?from=x", "/operator/no-such-page"}
}

func TestEveryPageIsWellMade(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stranger, owner := s.stranger(t), s.owner(t, "<script>alert(1)</script>")
	for _, path := range []string{"/", "/signup", "/login", "/forgot", "/signup/sent", "/no-such-page"} {
		if path != "/no-such-page" {
			checkPage(t, path, stranger.get(path))
		}
	}
	for _, path := range everyPage(t, owner) {
		checkPage(t, path, owner.get(path))
	}
	keeper := s.keeper(t, "keeper@example.com")
	for _, path := range operatorPages(s, owner) {
		a := keeper.get(path)
		checkPage(t, path, a)
		if strings.Contains(a.body, "<script>alert") {
			t.Errorf("%s writes a name as HTML", path)
		}
	}
	checkPage(t, "/operator/login", stranger.get("/operator/login"))
	checkPage(t, "the refused tenant", keeper.post("/operator/tenants", "name", "", "email", "x"))
	checkPage(t, "the refused sign-up", stranger.post("/signup", "organization", "", "email", "x", "password", "y"))
	checkPage(t, "the refused endpoint", owner.post("/console/webhooks", "url", "ftp://x"))
}

// checkPage holds a page to what every page must be.
func checkPage(t *testing.T, path string, a answer) {
	t.Helper()
	if a.status >= 500 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("%s: status %d, type %q", path, a.status, a.header.Get("Content-Type"))
		return
	}
	checkHeaders(t, path, a.header)
	root := a.page()
	ids := map[string]int{}
	for _, n := range all(root, func(*html.Node) bool { return true }) {
		if id, ok := attr(n, "id"); ok {
			ids[id]++
		}
		for _, at := range n.Attr {
			if at.Key == "style" || strings.HasPrefix(at.Key, "on") {
				t.Errorf("%s: inline %s on <%s>", path, at.Key, n.Data)
			}
			if strings.HasPrefix(at.Val, "javascript:") {
				t.Errorf("%s: %s=%q", path, at.Key, at.Val)
			}
		}
		if n.Data == "style" || n.Data == "script" && (value(n, "src") == "" || n.FirstChild != nil) {
			t.Errorf("%s: inline <%s>", path, n.Data)
		}
	}
	for id, times := range ids {
		if times > 1 {
			t.Errorf("%s: %d elements have the id %s", path, times, id)
		}
	}
	checkNames(t, path, root, ids)
	checkFrame(t, path, root)
}

func checkHeaders(t *testing.T, path string, h http.Header) {
	t.Helper()
	policy := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%s: the policy lacks %s", path, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("%s: unsafe policy %s", path, policy)
	}
	referrer := "same-origin"
	if strings.Contains(path, "?t=") {
		referrer = "no-referrer"
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": referrer, "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin"} {
		if h.Get(name) != want {
			t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
		}
	}
}

// checkNames: whoever does not see the page must be told what everything is.
func checkNames(t *testing.T, path string, root *html.Node, ids map[string]int) {
	t.Helper()
	labelled := map[string]bool{}
	for _, label := range all(root, tag("label")) {
		if words(label) == "" {
			t.Errorf("%s: an empty label", path)
		}
		target, ok := attr(label, "for")
		if ok && ids[target] == 0 {
			t.Errorf("%s: a label for %q, which is not there", path, target)
		}
		labelled[target] = true
	}
	for _, input := range all(root, tag("input", "select", "textarea")) {
		wrapped := false
		for parent := range input.Ancestors() {
			wrapped = wrapped || parent.Data == "label"
		}
		if value(input, "type") != "hidden" && !labelled[value(input, "id")] && !wrapped {
			t.Errorf("%s: the field %q has no label", path, value(input, "name"))
		}
		for _, id := range strings.Fields(value(input, "aria-describedby")) {
			if ids[id] != 1 {
				t.Errorf("%s: the field %q is described by %q, which is not there", path, value(input, "name"), id)
			}
		}
	}
	for _, n := range all(root, tag("button", "a")) {
		if words(n) == "" && value(n, "aria-label") == "" && len(all(n, tag("img"))) == 0 {
			t.Errorf("%s: a nameless <%s> %s", path, n.Data, value(n, "href"))
		}
		if kind, ok := attr(n, "type"); n.Data == "button" && (!ok || kind != "button" && kind != "submit") {
			t.Errorf("%s: the button %q does not say its type", path, words(n))
		}
	}
	for _, n := range all(root, tag("img")) {
		if _, ok := attr(n, "alt"); !ok {
			t.Errorf("%s: an image without alt", path)
		}
	}
	for _, n := range all(root, tag("table")) {
		if len(all(n, tag("caption"))) != 1 {
			t.Errorf("%s: a table without caption", path)
		}
		for _, th := range all(n, tag("th")) {
			if value(th, "scope") == "" || words(th) == "" {
				t.Errorf("%s: a header cell %q without scope or words", path, words(th))
			}
		}
	}
	for _, n := range all(root, tag("svg")) {
		if value(n, "aria-hidden") != "true" && value(n, "aria-label") == "" {
			t.Errorf("%s: a drawing that is neither hidden nor named", path)
		}
	}
}

// checkFrame: one title, one main heading, one main part, a way to skip to it.
func checkFrame(t *testing.T, path string, root *html.Node) {
	t.Helper()
	for name, where := range map[string]string{"title": "head", "main": "body"} {
		if n := len(all(all(root, tag(where))[0], tag(name))); n != 1 {
			t.Errorf("%s: %d <%s>", path, n, name)
		}
	}
	if n := len(all(root, tag("h1"))); n > 1 || n == 0 && !strings.HasSuffix(path, "/disconnect") && !strings.HasSuffix(path, "/delete") && !strings.HasSuffix(path, "/drain") && !strings.HasSuffix(path, "/remove") && !strings.Contains(path, "/change/") {
		t.Errorf("%s: %d <h1>", path, n)
	}
	links := all(root, tag("a"))
	if len(links) == 0 || value(links[0], "href") != "#main" {
		t.Errorf("%s: the first link does not skip to the content", path)
	}
	if value(all(root, tag("html"))[0], "lang") != "en" {
		t.Errorf("%s: no language", path)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "<script>alert(1)</script>")
	for _, path := range everyPage(t, p) {
		if body := p.get(path).body; strings.Contains(body, "<script>alert") || strings.Contains(body, "<b>&") {
			t.Errorf("%s writes a name as HTML", path)
		}
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.stranger(t)
	found := regexp.MustCompile(`"(/assets/[^"]+)"`).FindAllStringSubmatch(p.get("/").body, -1)
	if len(found) < 5 {
		t.Fatalf("%d assets", len(found))
	}
	var urls []string
	for _, m := range found {
		urls = append(urls, m[1])
	}
	sheet := urls[slices.IndexFunc(urls, func(u string) bool { return strings.HasSuffix(u, ".css") })]
	font := regexp.MustCompile(`url\("([^"]+)"\)`).FindStringSubmatch(p.get(sheet).body)
	if font == nil {
		t.Fatal("the style sheet has no font")
	}
	for _, u := range append(urls, font[1]) {
		a := p.get(u).want(http.StatusOK)
		if !regexp.MustCompile(`\.[0-9a-f]{12}\.`).MatchString(u) || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s cannot be kept for good: %q", u, a.header.Get("Cache-Control"))
		}
		if a.header.Get("X-Content-Type-Options") != "nosniff" || strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: headers %v", u, a.header)
		}
	}
	for _, u := range []string{"/assets/", "/assets/console.css", "/assets/../console.go", strings.Replace(sheet, ".css", ".js", 1)} {
		p.get(u).want(http.StatusNotFound)
	}
}

func TestNotFoundInTheSameDesign(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, p := range map[string]*person{"a stranger": s.stranger(t), "a member": s.owner(t, "Skylark")} {
		a := p.get("/console/no-such-page").want(http.StatusNotFound)
		if !strings.Contains(a.body, "There is no such page") || !strings.Contains(a.body, "console.") {
			t.Errorf("%s sees %s", name, a.body)
		}
	}
}
