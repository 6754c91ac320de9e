package ui_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hibari/hibari/ui"
)

// The labels and buttons are relied on by scripts.
func TestSignUpAndLogInHaveTheirNames(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for path, want := range map[string]struct {
		labels []string
		button string
	}{
		"/signup": {[]string{"Organization", "Email", "Password"}, "Sign up"},
		"/login":  {[]string{"Email", "Password"}, "Log in"},
	} {
		root := s.stranger(t).get(path).want(http.StatusOK).page()
		var labels []string
		for _, label := range all(root, tag("label")) {
			labels = append(labels, words(label))
		}
		if strings.Join(labels, ",") != strings.Join(want.labels, ",") {
			t.Errorf("%s has the labels %q, want %q", path, labels, want.labels)
		}
		forms := all(root, tag("form"))
		if len(forms) != 1 {
			t.Fatalf("%s has %d forms", path, len(forms))
		}
		if buttons := all(forms[0], tag("button")); len(buttons) != 1 || words(buttons[0]) != want.button {
			t.Errorf("%s lacks the button %q", path, want.button)
		}
	}
}

func TestSignUpLeadsIntoTheConsole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.stranger(t)
	p.get("/console").wantTo("/login?next=%2Fconsole")
	p.post("/signup", "organization", "Skylark", "email", "Mika@Example.com", "password", password, "time_zone", "Europe/Berlin").wantTo("/console")

	first := p.get("/console").want(http.StatusOK)
	for _, want := range []string{"hib_live_", "Signing key id", "Skylark", "Your first call in five minutes", "Europe/Berlin", "Welcome to Hibari"} {
		if !strings.Contains(first.body, want) {
			t.Errorf("the first page lacks %q", want)
		}
	}
	if again := p.get("/console").want(http.StatusOK); strings.Contains(again.body, "hib_live_") {
		t.Error("the secrets are shown a second time")
	}
	p.wantCookies("hibari")
	p.get("/").wantTo("/console")
	p.get("/login").wantTo("/console")

	p.post("/logout").wantTo("/login?done=bye")
	p.wantCookies()
	p.get("/console").wantTo("/login?next=%2Fconsole")
}

func TestSignUpSaysWhatIsWrongBesideTheField(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.owner(t, "First")
	for _, c := range []struct{ name, email, password, field string }{
		{"", "a@example.com", password, "field-organization"},
		{"Acme", "not an address", password, "field-email"},
		{"Acme", "first@example.com", password, "field-email"}, // taken
		{"Acme", "a@example.com", "short", "field-password"},
		{"Acme", "a@example.com", "", "field-password"},
	} {
		p := s.stranger(t)
		a := p.post("/signup", "organization", c.name, "email", c.email, "password", c.password).want(http.StatusUnprocessableEntity)
		var wrong []string
		root := a.page()
		for _, input := range all(root, tag("input")) {
			if value(input, "aria-invalid") == "true" {
				wrong = append(wrong, value(input, "id"))
				if value(input, "aria-describedby") != c.field+"-problem" {
					t.Errorf("%+v: the field does not name its problem", c)
				}
			}
		}
		if len(wrong) != 1 || wrong[0] != c.field {
			t.Errorf("%+v: marked %q", c, wrong)
		}
		if !strings.Contains(a.body, `value="`+c.email+`"`) {
			t.Errorf("%+v: what was typed is lost", c)
		}
		if c.password != "" && strings.Contains(a.body, c.password) {
			t.Errorf("%+v: the password is sent back", c)
		}
		p.get("/console").want(http.StatusSeeOther)
	}
}

func TestClosedSignUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *ui.Config) { c.SignupOpen = false })
	p := s.stranger(t)
	if a := p.get("/signup").want(http.StatusForbidden); !strings.Contains(a.body, "Sign-up is closed") {
		t.Error("the page does not say that sign-up is closed")
	}
	p.post("/signup", "organization", "Acme", "email", "a@example.com", "password", password).want(http.StatusForbidden)
	if tenants, err := s.tenants.Tenants(t.Context()); err != nil || len(tenants) != 0 {
		t.Errorf("%d tenants, %v", len(tenants), err)
	}
	if strings.Contains(p.get("/").body, "/signup") || strings.Contains(p.get("/login").body, "/signup") {
		t.Error("pages lead to a closed sign-up")
	}
}

func TestLogIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.owner(t, "Skylark")
	p := s.stranger(t)
	wrong := p.post("/login", "email", "skylark@example.com", "password", "something else").want(http.StatusUnprocessableEntity)
	unknown := p.post("/login", "email", "nobody@example.com", "password", "something else").want(http.StatusUnprocessableEntity)
	if strings.ReplaceAll(words(wrong.page()), "skylark@", "nobody@") != words(unknown.page()) {
		t.Error("the answer tells whether an address has an account")
	}
	a := p.post("/login", "email", "skylark@example.com", "password", password, "next", "/console/usage?range=7d").wantTo("/console/usage?range=7d")
	cookie := a.header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "hibari=") || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") || strings.Contains(cookie, "Secure") {
		t.Errorf("cookie %q", cookie)
	}
	p.get("/console/usage?range=7d").want(http.StatusOK)
}

func TestLogInLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.owner(t, "Skylark")
	for _, next := range []string{"https://evil.example/", "//evil.example/", "/\\evil.example", "/logout", "/consolex", "javascript:alert(1)", ""} {
		s.stranger(t).post("/login", "email", "skylark@example.com", "password", password, "next", next).wantTo("/console")
	}
}

func TestLogInIsRateLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.owner(t, "Skylark")
	p := s.stranger(t)
	for range 100 {
		a := p.post("/login", "email", "skylark@example.com", "password", "guess")
		if a.status == http.StatusTooManyRequests {
			return
		}
		a.want(http.StatusUnprocessableEntity)
	}
	t.Fatal("a hundred wrong passwords were all looked at")
}

func TestSecureCookies(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *ui.Config) { c.Secure = true; c.PublicURL = "https://hibari.test" })
	s.owner(t, "Skylark")
	a := s.stranger(t).post("/login", "email", "skylark@example.com", "password", password).wantTo("/console")
	cookie := a.header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-hibari=") || !strings.Contains(cookie, "; Secure") || !strings.Contains(cookie, "Path=/;") {
		t.Errorf("cookie %q", cookie)
	}
	if a.header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security")
	}
}

// Another site's form must not act in a member's name.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	for _, path := range []string{"/signup", "/login", "/logout", "/console/keys/api", "/demo/hello/token", "/login/code", "/verify", "/forgot", "/reset", "/email", "/invitation",
		"/console/members/invitations", "/console/profile/sessions/end", "/console/prove"} {
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
		} {
			if a := p.do("POST", path, map[string][]string{}, header...); a.status != http.StatusForbidden {
				t.Errorf("POST %s with %q: status %d", path, header, a.status)
			}
		}
	}
	if keys, err := s.tenants.APIKeys(t.Context(), p.scope); err != nil || len(keys) != 1 {
		t.Errorf("%d API keys, %v", len(keys), err)
	}
	p.get("/console").want(http.StatusOK) // still logged in
	// The public URL is ours, also when a proxy has changed the host.
	p.do("POST", "/console/keys/api", map[string][]string{"name": {"x"}}, "Origin", "http://hibari.test").want(http.StatusSeeOther)
}

func TestSuspendedTenantSeesWhy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	if _, err := s.pool.Exec(t.Context(), `update tenant set status = 'suspended' where tenant_id = $1`, p.signed.Tenant); err != nil {
		t.Fatal(err)
	}
	if a := p.get("/console").want(http.StatusOK); !strings.Contains(a.body, "suspended") {
		t.Error("the console does not say that the organisation is suspended")
	}
}
