package e2e

import (
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/hibari/hibari/internal/tenant"
)

// post is a mail server, and the links in the mails it was given by who they
// were for.
type post struct {
	url string

	mu sync.Mutex
	// Guarded by mu
	links map[string][]string
}

// postSession is one client's. Owned by its connection.
type postSession struct {
	post *post
	to   string
}

func (s *postSession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *postSession) Reset()                               {}
func (s *postSession) Logout() error                        { return nil }

func (s *postSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return nil
}

func (s *postSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	plain := strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(string(text)) // quoted-printable, as far as links need it
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	s.post.links[s.to] = append(s.post.links[s.to], regexp.MustCompile(`http://\S+`).FindAllString(plain, -1)...)
	return nil
}

func newPost(t *testing.T) *post {
	t.Helper()
	p := &post{links: map[string][]string{}}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &postSession{post: p}, nil }))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = "smtp://" + listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) })
	t.Cleanup(func() { server.Close(); serving.Wait() })
	return p
}

// link waits for a mail to somebody with a link to a path.
func (p *post) link(t *testing.T, to, path string) string {
	t.Helper()
	found := ""
	eventually(t, "a mail to "+to+" leads to "+path, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, link := range p.links[to] {
			if strings.Contains(link, path+"?t=") {
				found = link
			}
		}
		return found != ""
	})
	return found
}

// TestPeople is how people come in: a sign-up that is confirmed by mail, a
// second step, a forgotten password, and a colleague who is invited.
func TestPeople(t *testing.T) {
	post := newPost(t)
	s := newServer(t, "HIBARI_SMTP_URL="+post.url)
	b := newBrowser(t)
	p := b.open(s.url + "/signup")
	p.fill("Organization", "Lark")
	p.fill("Email", "lark@example.com")
	p.fill("Password", password)
	p.press("Sign up")
	p.arrives("/signup/sent")
	p = b.open(post.link(t, "lark@example.com", "/verify"))
	p.press("Set it up")
	p.arrives("/console")

	p = b.open(s.url + "/console/profile")
	p.press("Set it up")
	p.arrives("/console/profile/second-step")
	secret := eval[string](p, "document.querySelector('[data-totp-secret]').innerText")
	p.fill("Code", code(t, secret, -30*time.Second)) // leaves the next ones for the log-in
	p.press("Turn it on")
	p.arrives("/console/profile")
	p.until("the recovery codes are shown", "document.querySelector('[data-secret]')?.innerText.trim().split(/\\s+/).length === 10")

	p = b.open(s.url + "/console/members")
	p.fill("Email of a new member", "wren@example.com")
	p.press("Invite")
	p.until("the invitation is listed", "location.search.includes('invited') && document.body.innerText.includes('wren@example.com')")
	p.press("Log out")
	p.arrives("/login")

	p = b.open(post.link(t, "wren@example.com", "/invitation"))
	p.fill("Password", password)
	p.press("Join")
	p.arrives("/console")
	if !eval[bool](p, "document.body.innerText.includes('developer')") {
		t.Error("the new member is not what they were invited as")
	}
	p.press("Log out")
	p.arrives("/login")

	p = b.open(s.url + "/forgot")
	p.fill("Email", "lark@example.com")
	p.press("Send the link")
	p.arrives("/login")
	p = b.open(post.link(t, "lark@example.com", "/reset"))
	p.fill("New password", "another good one")
	p.press("Save the password")
	p.arrives("/login")
	p.fill("Email", "lark@example.com")
	p.fill("Password", "another good one")
	p.press("Log in")
	p.arrives("/login/code")
	p.fill("Code", code(t, secret, 0))
	p.press("Log in")
	p.arrives("/console")
	eventually(t, "four mails are sent", func() bool { // the last tells of the new password
		return s.metric(`hibari_mails_total{outcome="sent"}`) == "4"
	})
}

func code(t *testing.T, secret string, ahead time.Duration) string {
	t.Helper()
	code, err := tenant.TOTP(secret, time.Now().Add(ahead))
	if err != nil {
		t.Fatal(err)
	}
	return code
}
