package ui_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/tenant"
)

// shown returns the secrets that a page shows, by name.
func (a answer) shown() map[string]string {
	secrets := map[string]string{}
	for _, n := range all(a.page(), tag("code")) {
		if name, ok := attr(n, "data-secret"); ok {
			secrets[name] = words(n)
		}
	}
	return secrets
}

func TestKeysAreShownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")

	p.post("/console/keys/api", "name", "server").wantTo("/console/keys")
	if other := p.get("/console/usage").want(http.StatusOK); len(other.shown()) != 0 {
		t.Error("another page shows the secret")
	}
	shown := p.get("/console/keys").want(http.StatusOK).shown()
	if scope, err := s.tenants.AuthenticateAPIKey(t.Context(), shown["API key"]); err != nil || scope.Tenant() != p.signed.Tenant {
		t.Errorf("the API key shown does not work: %v", err)
	}
	again := p.get("/console/keys").want(http.StatusOK)
	if len(again.shown()) != 0 || strings.Contains(again.body, shown["API key"]) {
		t.Error("the API key is shown twice")
	}

	p.post("/console/keys/signing", "name", "app").wantTo("/console/keys")
	shown = p.get("/console/keys").want(http.StatusOK).shown()
	if len(shown["Signing key"]) < 32 || !strings.HasPrefix(shown["Signing key id"], "key_") {
		t.Errorf("shown %v", shown)
	}
	if again := p.get("/console/keys"); strings.Contains(again.body, shown["Signing key"]) {
		t.Error("the signing key is shown twice")
	}
}

// The sealed secret is for one member's eyes.
func TestSecretsAreForWhoMadeThem(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, thief := s.owner(t, "Skylark"), s.owner(t, "Magpie")
	a := p.post("/console/keys/api").wantTo("/console/keys")
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	if !strings.HasPrefix(cookie, "hibari-once=") || !strings.Contains(a.header.Get("Set-Cookie"), "HttpOnly") {
		t.Fatalf("cookie %q", a.header.Get("Set-Cookie"))
	}
	if got := thief.do("GET", "/console/keys", nil, "Cookie", cookie).want(http.StatusOK); len(got.shown()) != 0 {
		t.Error("another member opens the secret")
	}
	for _, broken := range []string{"hibari-once=", "hibari-once=AAAA", cookie + "A"} {
		if got := thief.do("GET", "/console/keys", nil, "Cookie", broken).want(http.StatusOK); len(got.shown()) != 0 {
			t.Errorf("%s opens", broken)
		}
	}
}

// The first steps are to be pasted: they name the key that somebody is most
// likely to have at hand, and never a revoked one.
func TestFirstStepsNameTheNewestKey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	_, newer, err := s.tenants.CreateSigningKey(t.Context(), p.scope, "newer")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ named, other string }{{newer.ID, p.signed.SigningKeyID}, {p.signed.SigningKeyID, newer.ID}} {
		page := p.get("/console/start").want(http.StatusOK).body
		if !strings.Contains(page, step.named) || strings.Contains(page, step.other) {
			t.Errorf("the page does not name %s alone", step.named)
		}
		p.post("/console/keys/signing/" + newer.ID + "/revoke")
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	keys, err := s.tenants.APIKeys(t.Context(), p.scope)
	if err != nil {
		t.Fatal(err)
	}
	path := "/console/keys/api/" + keys[0].ID + "/revoke"
	p.get(path).want(http.StatusOK)
	if _, err := s.tenants.AuthenticateAPIKey(t.Context(), p.signed.APIKey); err != nil {
		t.Fatal("asking has revoked")
	}
	p.post(path).wantTo("/console/keys?done=revoke-api")
	if _, err := s.tenants.AuthenticateAPIKey(t.Context(), p.signed.APIKey); err == nil {
		t.Error("the API key still works")
	}
	p.get(path).want(http.StatusNotFound)

	_, token := p.open("hello", tenant.SendOnly)
	p.post("/console/keys/signing/" + p.signed.SigningKeyID + "/revoke").wantTo("/console/keys?done=revoke-signing")
	if _, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.SendOnly}); err == nil {
		t.Error("a token of the revoked key is let in")
	}
	// Without a key the demo says what to do.
	if a := p.post("/demo/hello/token").want(http.StatusConflict); !strings.Contains(a.body, "no active signing key") {
		t.Errorf("answer %q", a.body)
	}
}

func TestDemoToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	page := p.get("/demo/big%2Froom").want(http.StatusOK).page()
	demo := all(page, func(n *html.Node) bool { return value(n, "id") == "demo" })
	if len(demo) != 1 || value(demo[0], "data-channel") != "big/room" {
		t.Fatalf("%d demos", len(demo))
	}
	for _, id := range []string{"publish", "watch", "stop", "status", "local", "stats", "codec", "source"} {
		if len(all(page, func(n *html.Node) bool { return value(n, "id") == id })) != 1 {
			t.Errorf("no #%s", id)
		}
	}
	var body struct{ Token string }
	p.post(value(demo[0], "data-token-url")).want(http.StatusOK).json(&body)
	for _, role := range []tenant.Role{tenant.SendOnly, tenant.RecvOnly} {
		claim, channel, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: body.Token, Channel: "big/room", Role: role})
		if err != nil || channel != "big/room" || claim.Tenant != p.signed.Tenant {
			t.Errorf("%s: %v", role, err)
		}
	}
	if _, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: body.Token, Channel: "other", Role: tenant.SendOnly}); err == nil {
		t.Error("the token is good for another channel")
	}
}
