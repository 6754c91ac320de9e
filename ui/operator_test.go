package ui_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/ui"
)

const operatorPassword = "the lark's own keeper"

// operatorMatrix is every route behind the operator's log-in.
var operatorMatrix = []string{
	"GET /operator", "GET /operator/tenants", "POST /operator/tenants", "GET /operator/tenants/{tenant}",
	"POST /operator/tenants/{tenant}/suspend", "POST /operator/tenants/{tenant}/resume", "POST /operator/tenants/{tenant}/licence",
	"GET /operator/tenants/{tenant}/disconnect", "POST /operator/tenants/{tenant}/disconnect",
	"GET /operator/tenants/{tenant}/plan", "POST /operator/tenants/{tenant}/plan", "POST /operator/tenants/{tenant}/plan/{day}/withdraw",
	"GET /operator/plans", "POST /operator/plans", "GET /operator/plans/{plan}", "POST /operator/plans/{plan}/versions", "POST /operator/plans/{plan}/versions/{version}/drop",
	"GET /operator/tenants/{tenant}/invoices", "POST /operator/tenants/{tenant}/invoices/credit",
	"GET /operator/tenants/{tenant}/invoices/credit/{grant}/withdraw", "POST /operator/tenants/{tenant}/invoices/credit/{grant}/withdraw",
	"GET /operator/invoices", "GET /operator/invoices/{invoice}", "GET /operator/invoices/{invoice}/lines/{line}", "GET /operator/invoices/{invoice}/pdf",
	"GET /operator/invoices/{invoice}/finalise", "POST /operator/invoices/{invoice}/finalise", "POST /operator/invoices/{invoice}/hold",
	"POST /operator/invoices/{invoice}/release", "POST /operator/invoices/{invoice}/recompute", "POST /operator/invoices/{invoice}/lines",
	"POST /operator/invoices/{invoice}/lines/{line}/drop", "GET /operator/invoices/{invoice}/credit-note", "POST /operator/invoices/{invoice}/credit-note",
	"GET /operator/issuer", "POST /operator/issuer",
	"GET /operator/nodes", "GET /operator/nodes/{node}/drain", "POST /operator/nodes/{node}/drain", "POST /operator/nodes/{node}/undrain",
	"GET /operator/operators", "POST /operator/operators", "GET /operator/operators/{operator}/remove", "POST /operator/operators/{operator}/remove",
	"GET /operator/audit", "GET /operator/audit/{entry}", "GET /operator/*",
}

// operatorPublic need no log-in.
var operatorPublic = []string{"GET /operator/login", "POST /operator/login", "POST /operator/logout"}

// keeper is an operator who has logged in by the form.
func (s *site) keeper(t *testing.T, email string) *person {
	t.Helper()
	if _, err := s.tenants.AddOperator(t.Context(), tenant.CommandLine(), email, operatorPassword); err != nil {
		t.Fatal(err)
	}
	p := s.stranger(t)
	p.post("/operator/login", "email", email, "password", operatorPassword).wantTo("/operator")
	p.wantCookies("hibari-operator")
	return p
}

// cookie returns the value of one of the person's cookies.
func (p *person) cookie(name string) string {
	p.t.Helper()
	home, err := url.Parse(p.site.server.URL)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, cookie := range p.client.Jar.Cookies(home) {
		if cookie.Name == name {
			return cookie.Value
		}
	}
	p.t.Fatalf("no cookie %s", name)
	return ""
}

// No member's session opens a page of the operator's, and no operator's a
// member's, whatever cookie it is sent in.
func TestOperatorsAndMembersAreApart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner, keeper := s.owner(t, "Skylark"), s.keeper(t, "keeper@example.com")
	router := chi.NewRouter()
	s.console.Routes(router)
	err := chi.Walk(router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		name := method + " " + route
		if strings.HasPrefix(route, "/operator") && method != http.MethodHead && !slices.Contains(operatorMatrix, name) && !slices.Contains(operatorPublic, name) {
			t.Errorf("nobody has said that %s is behind the operator's log-in", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{tenant}", string(owner.signed.Tenant), "{node}", s.node.ID(), "{operator}", "opr_none", "{entry}", "1", "*", "nowhere",
		"{connection}", tenant.NewID(), "{channel}", "hello", "{key}", "key_none", "{endpoint}", "ep_none", "{delivery}", "dlv_none")
	ask := func(p *person, name string, header ...string) answer {
		t.Helper()
		method, path, _ := strings.Cut(fill.Replace(name), " ")
		if method == http.MethodPost {
			return p.do(method, path, url.Values{"reason": {"x"}}, append([]string{"Sec-Fetch-Site", "same-origin"}, header...)...)
		}
		return p.do(method, path, nil, header...)
	}
	stolen := s.stranger(t)
	for _, name := range operatorMatrix {
		for who, a := range map[string]answer{
			"nobody":                    ask(s.stranger(t), name),
			"an owner":                  ask(owner, name),
			"an owner, as operator":     ask(stolen, name, "Cookie", "hibari-operator="+owner.cookie("hibari")),
			"an operator, as a member":  ask(stolen, name, "Cookie", "hibari="+keeper.cookie("hibari-operator")),
			"somebody who made one up":  ask(stolen, name, "Cookie", "hibari-operator=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
			"somebody with an old name": ask(stolen, name, "Cookie", "hibari-operator="),
		} {
			if a.status != http.StatusSeeOther || !strings.HasPrefix(a.location, "/operator/login") {
				t.Errorf("%s: %s: status %d to %q", who, name, a.status, a.location)
			}
		}
		if a := ask(keeper, name); a.status == http.StatusSeeOther && strings.HasPrefix(a.location, "/operator/login") || a.status >= 500 {
			t.Errorf("an operator: %s: status %d to %q", name, a.status, a.location)
		}
	}
	for name := range matrix {
		if strings.Contains(name, "/live/") {
			continue // they answer 200 with a stream that says "gone"
		}
		for who, a := range map[string]answer{
			"an operator":              ask(keeper, name),
			"an operator, as a member": ask(stolen, name, "Cookie", "hibari="+keeper.cookie("hibari-operator")),
		} {
			if a.status != http.StatusSeeOther || !strings.HasPrefix(a.location, "/login") {
				t.Errorf("%s: %s: status %d to %q", who, name, a.status, a.location)
			}
		}
	}
	// Both at once, in one browser.
	both := s.stranger(t)
	cookies := "hibari=" + owner.cookie("hibari") + "; hibari-operator=" + keeper.cookie("hibari-operator")
	if a := both.do("GET", "/console", nil, "Cookie", cookies).want(http.StatusOK); strings.Contains(a.body, "keeper@example.com") {
		t.Error("the member's console shows the operator")
	}
	if a := both.do("GET", "/operator", nil, "Cookie", cookies).want(http.StatusOK); !strings.Contains(a.body, "keeper@example.com") || strings.Contains(a.body, emailOf("Skylark")) {
		t.Error("the operator's console is somebody else's")
	}
	keeper.post("/operator/logout").wantTo("/operator/login?done=bye")
	if a := both.do("GET", "/operator", nil, "Cookie", cookies); a.status != http.StatusSeeOther {
		t.Error("who logged out is still in")
	}
	// Another site's form is refused here, too.
	again := s.keeper(t, "second@example.com")
	again.do("POST", "/operator/tenants", url.Values{"name": {"x"}}, "Sec-Fetch-Site", "cross-site").want(http.StatusForbidden)
}

func TestOperatorLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.keeper(t, "keeper@example.com")
	p := s.stranger(t)
	p.post("/operator/login", "email", "keeper@example.com", "password", "wrong").want(http.StatusUnprocessableEntity)
	p.post("/operator/login", "email", "nobody@example.com", "password", operatorPassword).want(http.StatusUnprocessableEntity)
	p.wantCookies()
	p.post("/operator/login", "email", "KEEPER@example.com", "password", operatorPassword, "next", "https://evil.example/").wantTo("/operator")
	for next, want := range map[string]string{"/operator/nodes": "/operator/nodes", "//evil.example": "/operator", "/console": "/operator", "/operator/logout": "/operator"} {
		p := s.stranger(t)
		p.post("/operator/login", "email", "keeper@example.com", "password", operatorPassword, "next", next).wantTo(want)
	}
	if to := s.stranger(t).get("/operator/tenants?text=x").location; to != "/operator/login?next=%2Foperator%2Ftenants%3Ftext%3Dx" {
		t.Errorf("a stranger is sent to %q", to)
	}
	// A member's address is another account, and so is what its wrong log-ins use up.
	owner := s.owner(t, "Skylark")
	thief := s.stranger(t)
	for range tenant.LoginsPerAccount + 2 {
		thief.post("/operator/login", "email", owner.signed.Email, "password", "wrong")
	}
	thief.post("/operator/login", "email", owner.signed.Email, "password", "wrong").want(http.StatusTooManyRequests)
	thief.post("/login", "email", owner.signed.Email, "password", password).wantTo("/console")
	// Members cannot log in there, nor operators here.
	s.stranger(t).post("/operator/login", "email", "second@example.com", "password", password).want(http.StatusUnprocessableEntity)
	s.stranger(t).post("/login", "email", "keeper@example.com", "password", operatorPassword).want(http.StatusUnprocessableEntity)
}

// field returns what a page's facts say of a name.
func (a answer) fact(name string) string {
	a.t.Helper()
	for _, dt := range all(a.page(), tag("dt")) {
		if words(dt) == name {
			for n := dt.NextSibling; n != nil; n = n.NextSibling {
				if n.Type == html.ElementNode {
					return words(n)
				}
			}
		}
	}
	return ""
}

// An operator's day: a tenant is made, gets its licence, is suspended and emptied,
// and comes back; both logs tell of it.
func TestOperatorTenants(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	k := s.keeper(t, "keeper@example.com")

	k.post("/operator/tenants", "name", "", "email", "lark@example.com").want(http.StatusUnprocessableEntity)
	k.post("/operator/tenants", "name", "Lark", "email", "nonsense").want(http.StatusUnprocessableEntity)
	k.post("/operator/tenants", "name", "Lark", "email", "lark@example.com", "licence", "many").want(http.StatusUnprocessableEntity)
	path, _, _ := strings.Cut(k.post("/operator/tenants", "name", "Lark", "email", "lark@example.com", "licence", "100").want(http.StatusSeeOther).location, "?")
	k.post("/operator/tenants", "name", "Other", "email", "Lark@example.com").want(http.StatusUnprocessableEntity)
	shown := k.get(path).want(http.StatusOK).shown()
	if again := k.get(path).shown(); len(again) != 0 || len(shown) != 5 {
		t.Fatalf("shown %d secrets, then %d", len(shown), len(again))
	}
	owner := s.stranger(t)
	owner.post("/login", "email", "lark@example.com", "password", shown["Password"]).wantTo("/console")
	owner.scope = tenant.OperatorScope(tenant.ID(strings.TrimPrefix(path, "/operator/tenants/")))

	k.post(path+"/licence", "connections", "5", "per_channel", "x").want(http.StatusUnprocessableEntity)
	k.post(path+"/licence", "connections", "5", "per_channel", "3").wantTo(path + "?done=licence-set")
	k.post(path+"/licence", "connections", "5", "per_channel", "3", "discount", "friend").want(http.StatusUnprocessableEntity)
	if live := k.get(path).fact("Live"); live != "0 of 5 connections" {
		t.Errorf("the licence is %q", live)
	}
	first, token := owner.open("hello", tenant.SendOnly)
	second, _ := owner.open("hall", tenant.RecvOnly)
	verify := func() error {
		_, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.SendOnly})
		return err
	}
	k.post(path+"/suspend", "reason", " ").want(http.StatusUnprocessableEntity)
	k.post(path+"/suspend", "reason", "the invoice of May is open").wantTo(path + "?done=suspended")
	if err := verify(); err == nil || !strings.Contains(err.Error(), string(tenant.TenantSuspended)) {
		t.Errorf("a suspended tenant's token: %v", err)
	}
	if s.endOf(first) != "" {
		t.Error("suspending has ended a call")
	}
	if page := owner.get("/console").want(http.StatusOK); !strings.Contains(page.body, "the invoice of May is open") {
		t.Error("the members are not told why")
	}
	k.get(path + "/disconnect").want(http.StatusOK)
	k.post(path + "/disconnect").wantTo(path + "?done=all-ended")
	if s.endOf(first) != tenant.EndConsole || s.endOf(second) != tenant.EndConsole {
		t.Errorf("ended %q and %q", s.endOf(first), s.endOf(second))
	}
	k.post(path + "/resume").wantTo(path + "?done=resumed")
	if err := verify(); err != nil {
		t.Errorf("after the suspension: %v", err)
	}

	for _, log := range []answer{k.get("/operator/audit"), owner.get("/console/audit")} {
		for _, action := range []string{"tenant.resumed", "tenant.disconnected", "tenant.suspended", "tenant.created"} {
			if !slices.Contains(log.want(http.StatusOK).auditRows(), action) {
				t.Errorf("a log lacks %s: %v", action, log.auditRows())
			}
		}
		if !strings.Contains(log.body, "operator keeper@example.com") {
			t.Error("a log does not name the operator")
		}
	}
	if !slices.Contains(k.get("/operator/audit").auditRows(), "licence.set") {
		t.Error("the operators' log lacks the licence")
	}
	entry := all(k.get("/operator/audit?action=tenant.suspended").page(), func(n *html.Node) bool { return strings.HasPrefix(value(n, "href"), "/operator/audit/") })
	if said := words(k.get(value(entry[0], "href")).want(http.StatusOK).page()); !strings.Contains(said, "status active suspended") || !strings.Contains(said, "the invoice of May is open") {
		t.Errorf("the entry says %s", said)
	}
	for _, missing := range []string{"", "/disconnect"} {
		k.get("/operator/tenants/ten_none" + missing).want(http.StatusNotFound)
	}
	for _, missing := range []string{"/suspend", "/resume", "/disconnect", "/licence"} {
		k.post("/operator/tenants/ten_none"+missing, "reason", "x", "connections", "1", "per_channel", "1").want(http.StatusNotFound)
	}
	secrets := []string{operatorPassword, k.cookie("hibari-operator")}
	for name, secret := range shown {
		if name != "Email" && name != "Signing key id" {
			secrets = append(secrets, secret)
		}
	}
	s.wantNoSecret(t, secrets...)
}

func TestOperatorSearchesTenants(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	k := s.keeper(t, "keeper@example.com")
	if page := k.get("/operator/tenants").want(http.StatusOK); !strings.Contains(page.body, "No tenants yet") {
		t.Error("an empty platform says nothing")
	}
	lark := s.owner(t, "Skylark")
	s.owner(t, "Magpie")
	if _, err := s.pool.Exec(t.Context(), `insert into tenant (tenant_id, name) select 'ten_' || n, 'Many ' || n from generate_series(1, 120) n`); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"skylark": 1, "magpie@": 1, string(lark.signed.Tenant): 1, "nobody": 0, "": 50, "many 11": 11} {
		page := k.get("/operator/tenants?text=" + url.QueryEscape(text)).want(http.StatusOK).page()
		rows := all(page, func(n *html.Node) bool { return value(n, "data-label") == "Tenant" })
		if len(rows) != want {
			t.Errorf("%q finds %d, want %d", text, len(rows), want)
		}
	}
	seen := map[string]bool{}
	for next := "/operator/tenants"; next != ""; {
		page := k.get(next).want(http.StatusOK).page()
		for _, link := range all(page, func(n *html.Node) bool { return strings.HasPrefix(value(n, "href"), "/operator/tenants/") }) {
			if seen[value(link, "href")] {
				t.Errorf("%s is listed twice", value(link, "href"))
			}
			seen[value(link, "href")] = true
		}
		next = ""
		for _, link := range all(page, func(n *html.Node) bool { _, ok := attr(n, "data-more"); return ok }) {
			next = value(link, "href")
		}
	}
	if len(seen) != 122 {
		t.Errorf("%d tenants are listed, want 122", len(seen))
	}
}

func TestOperatorNodes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	k := s.keeper(t, "keeper@example.com")
	path := "/operator/nodes/" + s.node.ID()
	if page := k.get("/operator").want(http.StatusOK); !strings.Contains(page.body, "All is well") {
		t.Error("something is wrong on a fresh platform")
	}
	k.get(path + "/drain").want(http.StatusOK)
	k.post(path + "/drain").wantTo("/operator/nodes?done=drained")
	if page := k.get("/operator/nodes").want(http.StatusOK); !strings.Contains(page.body, "draining") || !strings.Contains(page.body, path+"/undrain") {
		t.Error("the node is not shown as draining")
	}
	k.post(path + "/undrain").wantTo("/operator/nodes?done=undrained")
	k.post("/operator/nodes/node_none/drain").want(http.StatusNotFound)
	k.get("/operator/nodes/node_none/drain").want(http.StatusNotFound)
	if rows := k.get("/operator/audit").auditRows(); !slices.Equal(rows[:2], []string{"node.undrained", "node.drained"}) {
		t.Errorf("the log says %v", rows)
	}
	if _, err := s.pool.Exec(t.Context(), `update node set lease_until = $1`, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if page := k.get("/operator").want(http.StatusOK); !strings.Contains(page.body, "has not renewed its lease") {
		t.Error("a late node is not told of")
	}
}

func TestOperatorPeople(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	k := s.keeper(t, "keeper@example.com")
	k.post("/operator/operators", "email", "keeper@example.com", "password", operatorPassword).want(http.StatusUnprocessableEntity)
	k.post("/operator/operators", "email", "second@example.com", "password", "short").want(http.StatusUnprocessableEntity)
	k.post("/operator/operators", "email", "second@example.com", "password", operatorPassword).wantTo("/operator/operators?done=operator-added")
	second := s.stranger(t)
	second.post("/operator/login", "email", "second@example.com", "password", operatorPassword).wantTo("/operator")
	id := func(email string) (id string) {
		t.Helper()
		if err := s.pool.QueryRow(t.Context(), `select operator_id from operator where email = $1`, email).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	k.post("/operator/operators/" + id("keeper@example.com") + "/remove").want(http.StatusConflict)
	path := "/operator/operators/" + id("second@example.com") + "/remove"
	k.get(path).want(http.StatusOK)
	second.get("/operator").want(http.StatusOK)
	k.post(path).wantTo("/operator/operators?done=operator-removed")
	second.get("/operator").wantTo("/operator/login")
	k.post(path).want(http.StatusNotFound)
	if err := s.tenants.RemoveOperator(t.Context(), tenant.CommandLine(), id("keeper@example.com")); err != tenant.ErrLastOperator {
		t.Errorf("the last operator: %v", err)
	}
	for _, want := range []string{"operator.removed", "operator.added", "login"} {
		if rows := k.get("/operator/audit").auditRows(); !slices.Contains(rows, want) {
			t.Errorf("the log lacks %s: %v", want, rows)
		}
	}
	s.wantNoSecret(t, operatorPassword)
}

// Over HTTPS the browser is told to keep the cookie for this very host.
func TestOperatorCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *ui.Config) { c.Secure = true; c.PublicURL = "https://hibari.test" })
	if _, err := s.tenants.AddOperator(t.Context(), tenant.CommandLine(), "keeper@example.com", operatorPassword); err != nil {
		t.Fatal(err)
	}
	a := s.stranger(t).post("/operator/login", "email", "keeper@example.com", "password", operatorPassword).wantTo("/operator")
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"__Host-hibari-operator=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie %q has no %s", cookie, part)
		}
	}
	if strings.Contains(cookie, "Domain") {
		t.Errorf("the cookie %q is for other hosts, too", cookie)
	}
}
