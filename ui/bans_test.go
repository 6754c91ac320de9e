package ui_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// Somebody is barred by a form, found by the filter, and let in again.
func TestBansPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	if body := p.get("/console/bans").want(http.StatusOK).body; !strings.Contains(body, "Nobody is barred") {
		t.Error("the empty page does not say that it is")
	}
	id, _ := p.open("hello", tenant.SendOnly)
	if body := p.get("/console/connections/" + id).want(http.StatusOK).body; !strings.Contains(body, "/console/bans?ban=connection&amp;subject="+id+"#new-ban") {
		t.Error("the connection's page does not lead to the form")
	}
	if body := p.get("/console/bans?ban=connection&subject=" + id).want(http.StatusOK).body; !strings.Contains(body, `value="`+id+`"`) || !strings.Contains(body, `value="connection" selected`) {
		t.Error("the form is not filled in")
	}
	who := func(channel, client string) tenant.Subject {
		return tenant.Subject{Tenant: p.scope.Tenant(), Channel: channel, ConnectionID: "C", ClientID: client}
	}
	ban := func(kind, subject, channel, reason string) {
		t.Helper()
		p.post("/console/bans", "kind", kind, "subject", subject, "channel", channel, "span", "24h", "reason", reason).wantTo("/console/bans?done=ban")
	}
	ban("connection", id, "", "rude")
	ban("client", "mallory", "hello", "<spam>")
	ban("channel", "closed", "", "")
	ban("token", strings.Repeat("ab", 32), "", "leaked")
	for _, barred := range []tenant.Subject{who("hello", "mallory"), who("closed", "anybody")} {
		if r := s.tenants.Barred(barred); r == nil {
			t.Errorf("%+v may come in", barred)
		}
	}
	if s.tenants.Barred(who("lobby", "mallory")) != nil {
		t.Error("the ban holds outside its channel")
	}
	for query, want := range map[string]int{"": 4, "?kind=client": 1, "?find=LEAKED": 1, "?find=" + url.QueryEscape("<spam>"): 1, "?kind=token&find=spam": 0, "?kind=nonsense": 0} {
		body := p.get("/console/bans" + query).want(http.StatusOK).body
		if n := strings.Count(body, "/lift"); n != want {
			t.Errorf("%q lists %d bans, want %d", query, n, want)
		}
	}
	for _, wrong := range [][2]string{{"client", ""}, {"person", "x"}, {"connection", tenant.NewID()}, {"token", "a.b.c"}} {
		a := p.post("/console/bans", "kind", wrong[0], "subject", wrong[1], "span", "24h").want(http.StatusUnprocessableEntity)
		if !strings.Contains(a.body, `role="alert"`) || strings.Contains(a.body, "a.b.c") {
			t.Errorf("%v: the form does not say what is wrong, or repeats a token", wrong)
		}
	}
	p.post("/console/bans", "kind", "client", "subject", "x", "span", "9y").want(http.StatusUnprocessableEntity)

	bans, _, err := s.tenants.Bans(t.Context(), p.scope, tenant.BanQuery{Kind: tenant.ClientBan})
	if err != nil || len(bans) != 1 || bans[0].CreatedBy == "" || time.Until(bans[0].ExpiresAt) > 24*time.Hour {
		t.Fatalf("bans %+v, %v", bans, err)
	}
	lift := "/console/bans/" + bans[0].ID + "/lift"
	if text := words(p.get(lift).want(http.StatusOK).page()); !strings.Contains(text, "mallory") {
		t.Errorf("the question says %q", text)
	}
	stranger := s.owner(t, "Stranger")
	stranger.get(lift).want(http.StatusNotFound)
	stranger.post(lift).want(http.StatusNotFound)
	p.post(lift).wantTo("/console/bans?done=lift")
	p.post(lift).want(http.StatusNotFound)
	if s.tenants.Barred(who("hello", "mallory")) != nil {
		t.Error("the ban was lifted and still bars")
	}
	log := p.get("/console/audit").want(http.StatusOK).body
	if strings.Count(log, "<code>ban.created</code>") != 4 || strings.Count(log, "<code>ban.lifted</code>") != 1 {
		t.Error("the audit log does not have every ban")
	}
}

// Long lists come page by page.
func TestManyBans(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	for i := range 53 {
		if _, err := s.tenants.Ban(t.Context(), p.scope, tenant.NewBan{Kind: tenant.ClientBan, Subject: fmt.Sprint("client-", i), Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	body := p.get("/console/bans?find=client").want(http.StatusOK).body
	_, after, ok := strings.Cut(body, `href="/console/bans?after=`)
	if n := strings.Count(body, "/lift"); n != 50 || !ok {
		t.Fatalf("the first page has %d bans, and leads on: %v", n, ok)
	}
	after, _, _ = strings.Cut(after, `"`)
	rest := p.get("/console/bans?after=" + strings.ReplaceAll(after, "&amp;", "&")).want(http.StatusOK).body
	if n := strings.Count(rest, "/lift"); n != 3 || strings.Contains(rest, "Load more") || !strings.Contains(rest, "client-0<") {
		t.Errorf("the second page has %d bans", n)
	}
	p.get("/console/bans?after=nonsense").want(http.StatusNotFound)
}

// A key is rotated: the page tells whether the old one is in use, and it stays.
func TestRotateKeyPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	path := "/console/keys/signing/" + p.signed.SigningKeyID
	if text := words(p.get(path + "/rotate").want(http.StatusOK).page()); !strings.Contains(text, "never") || !strings.Contains(text, "idle") {
		t.Errorf("the page says %q", text)
	}
	p.post(path+"/rotate", "retire", "24h").wantTo("/console/keys")
	shown := p.get("/console/keys").want(http.StatusOK)
	if secret := shown.shown()["Signing key"]; len(secret) != 43 || !strings.Contains(shown.body, "retires 20") {
		t.Errorf("the new key %q is not shown, or not that the old one retires", secret)
	}
	keys, err := s.tenants.SigningKeys(t.Context(), p.scope)
	if err != nil || len(keys) != 2 || !keys[1].Active(time.Now()) || keys[1].RetiresAt == nil || keys[0].RetiresAt != nil {
		t.Fatalf("keys %+v, %v", keys, err)
	}
	p.post(path+"/retire", "retire", "").wantTo("/console/keys?done=retire")
	if keys, err = s.tenants.SigningKeys(t.Context(), p.scope); err != nil || keys[1].RetiresAt != nil {
		t.Errorf("it retires all the same: %+v, %v", keys, err)
	}
	stranger := s.owner(t, "Stranger")
	stranger.get(path + "/rotate").want(http.StatusNotFound)
	stranger.post(path + "/rotate").want(http.StatusNotFound)
	stranger.post(path+"/retire", "retire", "1h").want(http.StatusNotFound)
}

// A public key is uploaded, and replaced by another; a private one is refused and
// not shown again.
func TestUploadKeyPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	secret := text("PRIVATE KEY", private, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	good := text("PUBLIC KEY", public, err)

	p.post("/console/keys/signing/public", "public_key", "").want(http.StatusUnprocessableEntity)
	a := p.post("/console/keys/signing/public", "name", "mine", "public_key", secret).want(http.StatusUnprocessableEntity)
	if !strings.Contains(a.body, "is a private key") || strings.Contains(a.body, strings.Split(secret, "\n")[1]) {
		t.Error("the form does not say that it is a private key, or shows it again")
	}
	p.post("/console/keys/signing/public", "name", "mine", "public_key", good).wantTo("/console/keys")
	id := p.get("/console/keys").want(http.StatusOK).shown()["Signing key id"]
	keys, err := s.tenants.SigningKeys(t.Context(), p.scope)
	if err != nil || len(keys) != 2 || keys[0].ID != id || keys[0].Algorithm != "ES256" || keys[0].Name != "mine" {
		t.Fatalf("keys %+v, %v", keys, err)
	}
	rotate := "/console/keys/signing/" + id + "/rotate"
	p.post(rotate, "retire", "1h").want(http.StatusUnprocessableEntity)
	if a := p.post(rotate, "public_key", secret).want(http.StatusUnprocessableEntity); strings.Contains(a.body, strings.Split(secret, "\n")[1]) {
		t.Error("a private key is shown again")
	}
	p.post(rotate, "public_key", good, "retire", "1h").wantTo("/console/keys")
	if keys, err = s.tenants.SigningKeys(t.Context(), p.scope); err != nil || len(keys) != 3 || keys[0].Name != "mine" || keys[1].RetiresAt == nil {
		t.Errorf("keys %+v, %v", keys, err)
	}
}

// The policy for duplicate client ids is set, and nothing else can be.
func TestDuplicatesSetting(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	p.post("/console/settings/duplicates", "policy", "replace").wantTo("/console/settings?done=duplicates")
	if body := p.get("/console/settings").want(http.StatusOK).body; !strings.Contains(body, `value="replace" selected`) {
		t.Error("the page does not show what is set")
	}
	p.post("/console/settings/duplicates", "policy", "kick").want(http.StatusBadRequest)
	if set, err := s.tenants.Settings(t.Context(), p.scope); err != nil || set.Duplicates != tenant.DuplicatesReplace {
		t.Errorf("settings %+v, %v", set, err)
	}
}
