package ui_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

func TestConnectionsTable(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	if empty := p.get("/console/connections").want(http.StatusOK); !strings.Contains(empty.body, "/demo/hello?role=publish") {
		t.Error("the empty page does not say what to do")
	}
	id, _ := p.open("hello world/50%", tenant.SendOnly)
	root := p.get("/console/connections").want(http.StatusOK).page()
	tables := all(root, tag("table"))
	if len(tables) != 1 {
		t.Fatalf("%d tables", len(tables))
	}
	rows := all(all(tables[0], tag("tbody"))[0], tag("tr"))
	if len(rows) != 1 || value(rows[0], "data-connection") != id {
		t.Fatalf("%d rows", len(rows))
	}
	for _, want := range []string{"hello world/50%", "publishes", id[:8], "client-of-hello world/50%", "Disconnect"} {
		if !strings.Contains(words(rows[0]), want) {
			t.Errorf("the row %q lacks %q", words(rows[0]), want)
		}
	}
	if buttons := all(rows[0], tag("button")); words(buttons[len(buttons)-1]) != "Disconnect" {
		t.Errorf("the last button is %q", words(buttons[len(buttons)-1]))
	}
	// The channel's page is found again, whatever its name.
	link := value(all(rows[0], tag("a"))[0], "href")
	if page := p.get(link).want(http.StatusOK); !strings.Contains(page.body, "<h1>hello world/50%</h1>") || !strings.Contains(page.body, id) {
		t.Errorf("%s does not show the channel", link)
	}
}

// Of a peer-to-peer call the platform knows no bytes, and does not say that there
// were none.
func TestPeerToPeerConnection(t *testing.T) {
	t.Parallel()
	p := newSite(t).owner(t, "Skylark")
	id, _ := p.openBy("ayame", "room", tenant.SendRecv)
	for _, path := range []string{"/console/connections", "/console/connections/" + id} {
		text := words(p.get(path).want(http.StatusOK).page())
		if !strings.Contains(text, "peer to peer") || strings.Contains(text, "0 B") {
			t.Errorf("%s says %q", path, text)
		}
	}
	if text := words(p.get("/console/connections/" + id).page()); !strings.Contains(text, "Signalling Ayame (peer to peer)") {
		t.Errorf("the page says %q", text)
	}
	if text := words(p.get("/console/connections/" + id + "/disconnect").want(http.StatusOK).page()); !strings.Contains(text, "The other side is ended, too") {
		t.Errorf("the question says %q", text)
	}
}

// Without script: the button leads to a page that asks, its form does it.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	id, token := p.open("hello", tenant.SendOnly)
	path := "/console/connections/" + id + "/disconnect"

	root := p.get(path).want(http.StatusOK).page()
	boxes := all(root, func(n *html.Node) bool { return n.Data == "input" && value(n, "type") == "checkbox" })
	if len(boxes) != 1 {
		t.Fatalf("%d boxes", len(boxes))
	}
	if _, checked := attr(boxes[0], "checked"); !checked || words(boxes[0].Parent) != "Also bar this access token until it expires" {
		t.Errorf("the box: %q, checked %v", words(boxes[0].Parent), checked)
	}
	if s.endOf(id) != "" {
		t.Fatal("asking has disconnected")
	}
	p.post(path, value(boxes[0], "name"), value(boxes[0], "value")).wantTo("/console/connections?done=disconnect-ban")
	if s.endOf(id) != tenant.EndConsole {
		t.Errorf("ended %q", s.endOf(id))
	}
	_, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.SendOnly})
	if refusal := (*tenant.Refusal)(nil); !errors.As(err, &refusal) || refusal.Code != tenant.Banned {
		t.Errorf("the token on return: %v", err)
	}
	if body := p.get("/console/connections").body; strings.Contains(body, id) {
		t.Error("the row is still there")
	}
	if body := p.get("/console/connections/" + id).want(http.StatusOK).body; !strings.Contains(body, "ended in the console") {
		t.Error("the connection's page does not say how it ended")
	}
	if body := p.get("/console/audit").want(http.StatusOK).body; !strings.Contains(body, "connection.disconnected") || !strings.Contains(body, "skylark@example.com") {
		t.Error("the audit log does not say who did it")
	}
	if body := p.get("/console/bans").want(http.StatusOK).body; !strings.Contains(body, "disconnected in the console") {
		t.Error("the bar is not listed")
	}
	p.get(path).want(http.StatusNotFound) // it has ended
}

func TestDisconnectWithoutBar(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	id, token := p.open("hello", tenant.RecvOnly)
	p.post("/console/connections/" + id + "/disconnect").wantTo("/console/connections?done=disconnect")
	if s.endOf(id) != tenant.EndConsole {
		t.Errorf("ended %q", s.endOf(id))
	}
	if _, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.RecvOnly}); err != nil {
		t.Errorf("the token on return: %v", err)
	}
	// Somebody else may have been quicker; that is no error.
	p.post("/console/connections/"+id+"/disconnect", "ban", "token").want(http.StatusSeeOther)
}

// With script: the same form as a fragment, and a sentence for an answer.
func TestDisconnectByScript(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	id, _ := p.open("hello", tenant.SendOnly)
	path := "/console/connections/" + id + "/disconnect"
	form := p.do("GET", path, nil, "X-Hibari-Fragment", "1").want(http.StatusOK)
	if !strings.HasPrefix(form.body, "<form") || strings.Contains(form.body, "<html") {
		t.Errorf("the fragment is %.60q", form.body)
	}
	buttons := all(form.page(), tag("button"))
	if len(buttons) != 1 || words(buttons[0]) != "Disconnect" {
		t.Errorf("%d buttons", len(buttons))
	}
	said := p.do("POST", path, map[string][]string{"ban": {"token"}}, "X-Hibari-Fragment", "1", "Sec-Fetch-Site", "same-origin").want(http.StatusOK)
	if !strings.Contains(said.body, `{"message":"Disconnecting.`) {
		t.Errorf("answer %q", said.body)
	}
	gone := p.do("GET", "/console/connections/"+tenant.NewID()+"/disconnect", nil, "X-Hibari-Fragment", "1").want(http.StatusNotFound)
	if !strings.Contains(gone.body, `"message"`) {
		t.Errorf("answer %q", gone.body)
	}
	stranger := s.stranger(t).do("GET", path, nil, "X-Hibari-Fragment", "1").want(http.StatusUnauthorized)
	if !strings.Contains(stranger.body, "Log in again") {
		t.Errorf("answer %q", stranger.body)
	}
}

func TestEndChannel(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	var tokens []string
	for range 3 {
		_, token := p.open("hello", tenant.RecvOnly)
		tokens = append(tokens, token)
	}
	other, _ := p.open("other", tenant.RecvOnly)
	p.get("/console/channels/hello/disconnect").want(http.StatusOK)
	p.post("/console/channels/hello/disconnect", "ban", "token").wantTo("/console/channels/hello?done=end-channel")
	rows, _, err := s.ledger.Live(t.Context(), p.scope, billing.LiveQuery{})
	if err != nil || len(rows) != 1 || rows[0].ConnectionID != other {
		t.Errorf("%d rows are left, %v", len(rows), err)
	}
	for _, token := range tokens {
		if _, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.RecvOnly}); err == nil {
			t.Error("a token of the channel is let in again")
		}
	}
}
