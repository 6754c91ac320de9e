package ui_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// The whole story of an auth webhook, as somebody at the console lives it.
func TestAuthWebhookSettings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	hook := func() *tenant.AuthWebhook {
		t.Helper()
		token, err := s.tenants.SignToken(t.Context(), p.scope, tenant.TokenRequest{Channel: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		claim, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.SendOnly})
		if err != nil {
			t.Fatal(err)
		}
		return claim.AuthWebhook
	}
	if hook() != nil {
		t.Fatal("somebody is asked by default")
	}
	p.get("/console/settings/auth/rotate").want(http.StatusNotFound)

	for _, wrong := range []string{"example", "ftp://example.com/", "http://10.0.0.1/", "https://example.com/#x", "https://a:b@example.com/"} {
		a := p.post("/console/settings/auth", "url", wrong).want(http.StatusUnprocessableEntity)
		if !strings.Contains(a.body, `aria-invalid="true"`) || !strings.Contains(a.body, `value="`+wrong+`"`) {
			t.Errorf("%s: the form does not say what is wrong", wrong)
		}
	}
	p.post("/console/settings/auth", "url", " http://127.0.0.1:1/auth ").wantTo("/console/settings?done=auth-url")
	secret := p.get("/console/settings").want(http.StatusOK).shown()["Auth webhook secret"]
	if h := hook(); h == nil || *h != (tenant.AuthWebhook{URL: "http://127.0.0.1:1/auth", Secret: secret}) {
		t.Errorf("asked is %+v, with the secret %q shown", h, secret)
	}
	again := p.get("/console/settings")
	if strings.Contains(again.body, "whsec_") || !strings.Contains(again.body, "http://127.0.0.1:1/auth") {
		t.Error("the secret is shown twice, or the URL is not")
	}
	p.post("/console/settings/auth", "url", "http://127.0.0.1:2/auth").wantTo("/console/settings?done=auth-url")
	if h := hook(); h.Secret != secret || len(p.get("/console/settings").shown()) != 0 {
		t.Error("another URL has another secret")
	}
	p.get("/console/settings/auth/rotate").want(http.StatusOK)
	if hook().Secret != secret {
		t.Fatal("asking has replaced the secret")
	}
	p.post("/console/settings/auth/rotate").wantTo("/console/settings?done=auth-rotate")
	if shown := p.get("/console/settings").shown()["Auth webhook secret"]; shown == secret || shown != hook().Secret {
		t.Errorf("the new secret shown is %q", shown)
	}
	p.post("/console/settings/auth", "url", "").wantTo("/console/settings?done=auth-none")
	if hook() != nil {
		t.Error("somebody is asked all the same")
	}
	if log := p.get("/console/audit").want(http.StatusOK).body; strings.Count(log, "<code>settings.changed</code>") != 4 {
		t.Errorf("the audit log has %d entries", strings.Count(log, "<code>settings.changed</code>"))
	}
}

// While signing secrets are tokens, whoever looks at the console sees it.
func TestSigningSecretSetting(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	viewer := p.member(tenant.Viewer)
	accepted := func() bool {
		_, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{
			Token: p.signed.SigningKey, Channel: "hello@" + string(p.signed.Tenant), Role: tenant.SendOnly})
		return err == nil
	}
	warned := func(on bool) {
		t.Helper()
		if accepted() != on {
			t.Errorf("the secret is accepted: %v", !on)
		}
		for _, body := range []string{p.get("/console").body, p.get("/console/settings").body, viewer.get("/console").body} {
			if strings.Contains(body, `id="secret-warning"`) != on {
				t.Errorf("a page warns of it: %v", !on)
			}
		}
		if strings.Contains(viewer.get("/console").body, "/console/settings") {
			t.Error("a viewer is led to the settings")
		}
	}
	warned(false)
	p.get("/console/settings/signing-secret").want(http.StatusOK)
	warned(false)
	p.post("/console/settings/signing-secret").wantTo("/console/settings?done=secret-on")
	warned(true)
	p.post("/console/settings/signing-secret/off").wantTo("/console/settings?done=secret-off")
	warned(false)
}
