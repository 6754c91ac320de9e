package ui_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/ui"
)

// matrixOfPeople is the part of matrix that is about people.
var matrixOfPeople = map[string][]tenant.MemberRole{
	"GET /console/members":                                  keepers,
	"POST /console/members/invitations":                     keepers,
	"POST /console/members/invitations/{invitation}/again":  keepers,
	"POST /console/members/invitations/{invitation}/cancel": keepers,
	"POST /console/members/{member}/role":                   keepers,
	"GET /console/members/{member}/remove":                  keepers,
	"POST /console/members/{member}/remove":                 keepers,
	"GET /console/members/{member}/second-step":             keepers,
	"POST /console/members/{member}/second-step":            keepers,
	"GET /console/profile":                                  everyone,
	"POST /console/profile/email":                           everyone,
	"POST /console/profile/password":                        everyone,
	"GET /console/profile/second-step":                      everyone,
	"POST /console/profile/second-step":                     everyone,
	"POST /console/profile/second-step/begin":               everyone,
	"POST /console/profile/second-step/codes":               everyone,
	"POST /console/profile/second-step/off":                 everyone,
	"POST /console/profile/sessions/{session}/end":          everyone,
	"POST /console/profile/sessions/end":                    everyone,
	"GET /console/prove":                                    everyone,
	"POST /console/prove":                                   everyone,
}

func init() { maps.Copy(matrix, matrixOfPeople) }

// mailbox is where the site's mail arrives.
type mailbox struct {
	mu    sync.Mutex
	mails []tenant.Message // guarded by mu
}

func (b *mailbox) Send(_ context.Context, m tenant.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, m)
	return nil
}

// newPostalSite is a site whose mail reaches people.
func newPostalSite(t *testing.T, change ...func(*ui.Config)) (*site, *mailbox) {
	t.Helper()
	s, box := newSite(t, change...), &mailbox{}
	s.tenants.UsePost(tenant.Post{Mailer: box, Delivers: true, PublicURL: "http://hibari.test"})
	ctx, cancel := context.WithCancel(context.Background())
	var postman sync.WaitGroup
	postman.Go(func() { s.tenants.RunMail(ctx) })
	t.Cleanup(func() { cancel(); postman.Wait() })
	return s, box
}

// next waits for the n-th mail, counted from 1, and returns the path that its
// last link leads to.
func (b *mailbox) next(t *testing.T, n int) (to, path string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // between two looks
		b.mu.Lock()
		if len(b.mails) >= n {
			m := b.mails[n-1]
			b.mu.Unlock()
			links := regexp.MustCompile(`http://hibari\.test(/\S*)`).FindAllStringSubmatch(m.Text, -1)
			if len(links) == 0 {
				t.Fatalf("the mail has no link: %s", m.Text)
			}
			return m.To, links[len(links)-1][1]
		}
		b.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("the mail %d did not come", n)
		}
	}
}

// send posts the form of the page at path with its hidden fields and these.
func (p *person) send(path string, fields ...string) answer {
	p.t.Helper()
	page := p.get(path).want(http.StatusOK)
	forms := all(page.page(), func(n *html.Node) bool {
		return n.Data == "form" && value(n, "method") == "post" && value(n, "action") != "/logout"
	})
	if len(forms) != 1 {
		p.t.Fatalf("%s has %d forms", path, len(forms))
	}
	for _, n := range all(forms[0], tag("input")) {
		if value(n, "type") == "hidden" {
			fields = append(fields, value(n, "name"), value(n, "value"))
		}
	}
	return p.post(value(forms[0], "action"), fields...)
}

func TestSignUpWithACheckOfTheAddress(t *testing.T) {
	t.Parallel()
	s, box := newPostalSite(t)
	p := s.stranger(t)
	sent := p.post("/signup", "organization", "Skylark", "email", "mika@example.com", "password", password, "time_zone", "Europe/Berlin").wantTo("/signup/sent")
	p.get("/console").wantTo("/login?next=%2Fconsole")
	to, link := box.next(t, 1)
	if to != "mika@example.com" || !strings.HasPrefix(link, "/verify?t=") {
		t.Fatalf("mail to %s with %s", to, link)
	}
	// What looks through mail only reads: nothing happens by that.
	for range 2 {
		checkPage(t, link, s.stranger(t).get(link).want(http.StatusOK))
	}
	if page := p.get(link).body; !strings.Contains(page, "Skylark") || strings.Contains(page, "field-password") {
		t.Error("the browser that signed up is asked for the password, or not told what is set up")
	}
	p.send(link).wantTo("/console")
	if first := p.get("/console").want(http.StatusOK); !strings.Contains(first.body, "hib_live_") || !strings.Contains(first.body, "Europe/Berlin") {
		t.Error("the first page lacks the first keys")
	}
	p.wantCookies("hibari")
	p.get(link).want(http.StatusGone)
	p.post("/verify", "t", strings.TrimPrefix(link, "/verify?t=")).want(http.StatusGone)

	// An address with an account gets the same answer, and another mail.
	again := s.stranger(t).post("/signup", "organization", "Second", "email", "MIKA@example.com", "password", password).wantTo(sent.location)
	if again.status != sent.status || (again.header.Get("Set-Cookie") == "") != (sent.header.Get("Set-Cookie") == "") {
		t.Error("the answer tells whether an address has an account")
	}
	for n := 2; ; n++ {
		if to, link := box.next(t, n); to == "MIKA@example.com" {
			if link != "/forgot" {
				t.Errorf("mail with %s", link)
			}
			break
		}
	}
}

func TestSignUpConfirmedInAnotherBrowser(t *testing.T) {
	t.Parallel()
	s, box := newPostalSite(t)
	s.stranger(t).post("/signup", "organization", "Skylark", "email", "mika@example.com", "password", password).wantTo("/signup/sent")
	_, link := box.next(t, 1)
	p := s.stranger(t)
	if a := p.send(link, "password", "not this one").want(http.StatusUnprocessableEntity); !strings.Contains(a.body, "not your password") {
		t.Error("the page does not say what is wrong")
	}
	p.send(link, "password", password).wantTo("/console")
}

func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	s, box := newPostalSite(t)
	owner := s.owner(t, "Skylark")
	p := s.stranger(t)
	p.post("/forgot", "email", "nobody@example.com").wantTo("/login?done=forgot")
	p.post("/forgot", "email", "skylark@example.com").wantTo("/login?done=forgot")
	if a := p.get("/login?done=forgot"); !strings.Contains(a.body, "on its way") {
		t.Error("the page does not say what happens")
	}
	p.post("/forgot", "email", "nonsense").want(http.StatusUnprocessableEntity)
	to, link := box.next(t, 1)
	if to != "skylark@example.com" {
		t.Errorf("mail to %s", to)
	}
	checkPage(t, link, p.get(link).want(http.StatusOK))
	if a := p.send(link, "password", "short").want(http.StatusUnprocessableEntity); !strings.Contains(a.body, "field-password-problem") {
		t.Error("the field does not say what is wrong")
	}
	p.send(link, "password", "a new one, long").wantTo("/login?done=reset")
	p.get(link).want(http.StatusGone)
	owner.get("/console").wantTo("/login?next=%2Fconsole") // their session has ended
	p.post("/login", "email", "skylark@example.com", "password", password).want(http.StatusUnprocessableEntity)
	p.post("/login", "email", "skylark@example.com", "password", "a new one, long").wantTo("/console")
}

func TestForgottenPasswordWithoutMail(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.stranger(t)
	if a := p.get("/forgot").want(http.StatusOK); !strings.Contains(a.body, "No mail is sent here") || len(all(a.page(), tag("form"))) != 0 {
		t.Error("the page offers what cannot be done")
	}
	p.post("/forgot", "email", "a@example.com").want(http.StatusConflict)
}

// secretOf reads what the set-up page of the second step shows.
func (p *person) secretOf() string {
	p.t.Helper()
	for _, n := range all(p.get("/console/profile/second-step").want(http.StatusOK).page(), tag("code")) {
		if _, ok := attr(n, "data-totp-secret"); ok {
			return words(n)
		}
	}
	p.t.Fatal("no secret on the page")
	return ""
}

func (p *person) totp(secret string, ahead time.Duration) string {
	p.t.Helper()
	code, err := tenant.TOTP(secret, time.Now().Add(ahead))
	if err != nil {
		p.t.Fatal(err)
	}
	return code
}

func TestSecondStepInTheConsole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	p.get("/console/profile/second-step").wantTo("/console/profile") // nothing to show yet
	p.post("/console/profile/second-step/begin").wantTo("/console/profile/second-step")
	secret := p.secretOf()
	if a := p.get("/console/profile/second-step"); len(all(a.page(), func(n *html.Node) bool { return n.Data == "svg" && value(n, "class") == "qr" })) != 1 {
		t.Error("no QR code")
	}
	p.post("/console/profile/second-step", "code", "000000").want(http.StatusUnprocessableEntity)
	p.post("/console/profile/second-step", "code", p.totp(secret, -30*time.Second)).wantTo("/console/profile?done=second-on")
	shown := p.get("/console/profile?done=second-on").want(http.StatusOK).shown()
	codes := strings.Fields(shown["Recovery codes"])
	if len(codes) != tenant.RecoveryCodes || len(p.get("/console/profile").shown()) != 0 {
		t.Errorf("recovery codes %q, or shown twice", shown)
	}

	other := s.stranger(t)
	other.get("/login/code").wantTo("/login")
	other.post("/login", "email", "skylark@example.com", "password", password, "next", "/console/usage").wantTo("/login/code?next=%2Fconsole%2Fusage")
	other.get("/console").wantTo("/login?next=%2Fconsole")
	checkPage(t, "/login/code", other.get("/login/code?next=%2Fconsole%2Fusage").want(http.StatusOK))
	if a := other.post("/login/code", "code", "000000", "next", "/console/usage").want(http.StatusUnprocessableEntity); !strings.Contains(a.body, "field-code-problem") {
		t.Error("the field does not say what is wrong")
	}
	other.post("/login/code", "code", p.totp(secret, 0), "next", "https://evil.example/").wantTo("/console")
	other.wantCookies("hibari")
	third := s.stranger(t)
	third.post("/login", "email", "skylark@example.com", "password", password).wantTo("/login/code?next=%2Fconsole")
	third.post("/login/code", "code", codes[0]).wantTo("/console")
	s.stranger(t).post("/login/code", "code", p.totp(secret, 30*time.Second)).wantTo("/login?done=late&next=%2Fconsole")

	p.post("/console/profile/second-step/off", "old", "wrong").want(http.StatusUnprocessableEntity)
	p.post("/console/profile/second-step/off", "old", password).wantTo("/console/profile?done=second-off")
	s.stranger(t).post("/login", "email", "skylark@example.com", "password", password).wantTo("/console")
}

func TestInvitationByMail(t *testing.T) {
	t.Parallel()
	s, box := newPostalSite(t)
	owner := s.owner(t, "Skylark")
	owner.post("/console/members/invitations", "email", "dev@example.com", "role", "developer").wantTo("/console/members?done=invited")
	to, link := box.next(t, 1)
	if to != "dev@example.com" || strings.Contains(owner.get("/console/members").body, link) {
		t.Errorf("mail to %s, or the link is shown to the inviter", to)
	}
	guest := s.stranger(t)
	page := guest.get(link).want(http.StatusOK)
	checkPage(t, link, page)
	if !strings.Contains(page.body, "Skylark") || !strings.Contains(page.body, "developer") || !strings.Contains(page.body, "dev@example.com") {
		t.Error("the page does not say what one joins")
	}
	guest.send(link, "password", "short").want(http.StatusUnprocessableEntity)
	guest.send(link, "password", password).wantTo("/console?done=joined")
	guest.get("/console/keys").want(http.StatusOK)
	guest.get("/console/members").want(http.StatusForbidden)
	guest.get(link).want(http.StatusGone)
	if body := owner.get("/console/members").body; !strings.Contains(body, "dev@example.com") || strings.Contains(body, "inv_") {
		t.Error("the members are not as they are")
	}
}

// Where no mail is sent, the inviter gets the link, once.
func TestInvitationWithoutMail(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.tenants.UsePost(tenant.Post{PublicURL: "http://hibari.test"})
	owner := s.owner(t, "Skylark")
	owner.post("/console/members/invitations", "email", "dev@example.com", "role", "viewer").wantTo("/console/members?done=invited-link")
	link := strings.TrimPrefix(owner.get("/console/members").want(http.StatusOK).shown()["Invitation link"], "http://hibari.test")
	if len(owner.get("/console/members").shown()) != 0 {
		t.Error("the link is shown twice")
	}
	root := owner.get("/console/members").page()
	var again string
	for _, form := range all(root, tag("form")) {
		if strings.HasSuffix(value(form, "action"), "/again") {
			again = value(form, "action")
		}
	}
	owner.post(again).wantTo("/console/members?done=invited-link")
	s.stranger(t).get(link).want(http.StatusGone)
	link = strings.TrimPrefix(owner.get("/console/members").shown()["Invitation link"], "http://hibari.test")
	s.stranger(t).get(link).want(http.StatusOK)
	owner.post(strings.TrimSuffix(again, "again") + "cancel").wantTo("/console/members?done=uninvited")
	s.stranger(t).get(link).want(http.StatusGone)
}

func TestMembers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := s.owner(t, "Skylark")
	dev, admin := owner.member(tenant.Developer), owner.member(tenant.Admin)
	devID, adminID := s.idOf(t, dev), s.idOf(t, admin)
	path := func(id, what string) string { return "/console/members/" + id + "/" + what }

	// The rules, told where the form was.
	for _, try := range []struct {
		who  *person
		path string
		form []string
		want string
	}{
		{owner, path(owner.signed.MemberID, "role"), []string{"role", "viewer"}, "needs an owner"},
		{owner, path(owner.signed.MemberID, "remove"), nil, "needs an owner"},
		{admin, path(adminID, "role"), []string{"role", "owner"}, "Only an owner"},
		{admin, path(owner.signed.MemberID, "role"), []string{"role", "viewer"}, "Only an owner"},
		{admin, path(owner.signed.MemberID, "remove"), nil, "Only an owner"},
		{admin, "/console/members/invitations", []string{"email", "a@example.com", "role", "owner"}, "Only an owner"},
		{owner, path(owner.signed.MemberID, "second-step"), nil, "your own account"},
	} {
		if a := try.who.post(try.path, try.form...).want(http.StatusConflict); !strings.Contains(a.body, try.want) {
			t.Errorf("%s %q does not say %q", try.path, try.form, try.want)
		}
	}
	owner.post(path(devID, "role"), "role", "emperor").want(http.StatusUnprocessableEntity)
	owner.post(path(devID, "role"), "role", "billing").wantTo("/console/members?done=role")
	dev.get("/console").wantTo("/login?next=%2Fconsole") // the new role comes with a new session

	owner.get(path(devID, "remove")).want(http.StatusOK)
	owner.post(path(devID, "remove")).wantTo("/console/members?done=removed")
	owner.get(path(devID, "remove")).want(http.StatusNotFound)
	admin.post(path(adminID, "remove")).wantTo("/login?done=bye") // one may leave
	admin.get("/console").wantTo("/login?next=%2Fconsole")
}

// idOf is the member's id.
func (s *site) idOf(t *testing.T, p *person) string {
	t.Helper()
	login, err := s.tenants.Session(t.Context(), p.cookie("hibari"))
	if err != nil {
		t.Fatal(err)
	}
	return login.Member.ID
}

func TestSessionsInTheProfile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	phone := s.stranger(t)
	phone.do("POST", "/login", url.Values{"email": {"skylark@example.com"}, "password": {password}},
		"User-Agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Mobile/15E148 Safari/604.1").wantTo("/console")
	page := p.get("/console/profile").want(http.StatusOK)
	if !strings.Contains(page.body, "Safari on iPhone") || strings.Count(page.body, "this one") != 1 {
		t.Error("the page does not tell the devices apart")
	}
	for _, form := range all(page.page(), tag("form")) {
		if action := value(form, "action"); strings.HasPrefix(action, "/console/profile/sessions/ses_") {
			p.post(action).wantTo("/console/profile?done=session")
		}
	}
	phone.get("/console").wantTo("/login?next=%2Fconsole")
	p.get("/console").want(http.StatusOK)
	p.post("/console/profile/sessions/end").wantTo("/login?done=everywhere")
	p.get("/console").wantTo("/login?next=%2Fconsole")
	p.wantCookies()
}

func TestPasswordAndAddressInTheProfile(t *testing.T) {
	t.Parallel()
	s, box := newPostalSite(t)
	p := s.owner(t, "Skylark")
	p.post("/console/profile/password", "old", "wrong", "password", "a new one, long").want(http.StatusUnprocessableEntity)
	before := p.cookie("hibari")
	p.post("/console/profile/password", "old", password, "password", "a new one, long").wantTo("/console/profile?done=password")
	if p.cookie("hibari") == before {
		t.Error("the session keeps its cookie")
	}
	p.get("/console/profile").want(http.StatusOK)
	if to, _ := box.next(t, 1); to != "skylark@example.com" {
		t.Errorf("mail to %s", to)
	}
	p.post("/console/profile/email", "email", "nonsense").want(http.StatusUnprocessableEntity)
	p.post("/console/profile/email", "email", "fresh@example.com").wantTo("/console/profile?done=email-asked")
	to, link := box.next(t, 2)
	if to != "fresh@example.com" {
		t.Errorf("mail to %s", to)
	}
	checkPage(t, link, p.get(link))
	p.send(link).wantTo("/console/profile?done=email")
	s.stranger(t).post("/login", "email", "fresh@example.com", "password", "a new one, long").wantTo("/console")
}

// What would let a passer-by at a forgotten screen stay in asks for the password
// again after a quarter of an hour.
func TestOldSessionsProveThemselves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	old := func() {
		if _, err := s.pool.Exec(t.Context(), `update login_session set proved_at = proved_at - interval '16 minutes'`); err != nil {
			t.Fatal(err)
		}
	}
	old()
	p.post("/console/members/invitations", "email", "a@example.com", "role", "viewer").wantTo("/console/prove?next=%2Fconsole%2Fmembers")
	p.post("/console/profile/second-step/begin").wantTo("/console/prove?next=%2Fconsole%2Fprofile")
	p.post("/console/profile/email", "email", "a@example.com").wantTo("/console/prove?next=%2Fconsole%2Fprofile")
	p.post("/console/keys/api", "name", "thief").wantTo("/console/prove?next=%2Fconsole%2Fkeys")
	p.post("/console/keys/signing", "name", "thief").wantTo("/console/prove?next=%2Fconsole%2Fkeys")
	if keys, err := s.tenants.APIKeys(t.Context(), p.scope); err != nil || len(keys) != 1 {
		t.Errorf("%d API keys, %v", len(keys), err)
	}
	remove := "/console/members/" + p.signed.MemberID + "/remove"
	p.get(remove).wantTo("/console/prove?next=" + url.QueryEscape(remove))
	if a := p.do("GET", remove, nil, "X-Hibari-Fragment", "1").want(http.StatusOK); !strings.Contains(a.body, "Is it still you?") {
		t.Error("a dialog does not ask for the password")
	}
	if list, err := s.tenants.Invitations(t.Context(), p.scope); err != nil || len(list) != 0 {
		t.Errorf("invited all the same: %+v, %v", list, err)
	}
	prove := "/console/prove?next=" + url.QueryEscape(remove)
	p.send(prove, "password", "wrong").want(http.StatusUnprocessableEntity)
	before := p.cookie("hibari")
	p.send(prove, "password", password).wantTo(remove)
	if p.cookie("hibari") == before {
		t.Error("the session keeps its cookie")
	}
	p.get(remove).want(http.StatusOK)
	old()
	p.send("/console/prove?next=https://evil.example/", "password", password).wantTo("/console")
}
