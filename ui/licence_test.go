package ui_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/tenant"
)

// ask returns the words of a question and what its form sends.
func (a answer) ask() (said string, fields []string) {
	a.t.Helper()
	form := all(a.want(http.StatusOK).page(), func(n *html.Node) bool { return n.Data == "form" && strings.HasPrefix(value(n, "action"), "/console/") })
	if len(form) != 1 {
		a.t.Fatalf("%d forms in the question", len(form))
	}
	for _, n := range all(form[0], tag("input")) {
		fields = append(fields, value(n, "name"), value(n, "value"))
	}
	return words(form[0]), fields
}

// has fails the test unless the page says all of it.
func (a answer) has(texts ...string) answer {
	a.t.Helper()
	said := words(a.page())
	for _, text := range texts {
		if !strings.Contains(said, text) {
			a.t.Errorf("the page does not say %q:\n%s", text, said)
		}
	}
	return a
}

// A new tenant tries for a month, takes a licence, a larger one, and then a smaller
// one that it calls off. Each question says what it costs and when it holds, and is
// answered once.
func TestLicenceFromTrialOn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.stranger(t)
	p.post("/signup", "organization", "Skylark", "email", "owner@example.com", "password", password).wantTo("/console")
	p.get("/console/licence").has("Your trial ends in 30 days", "0 of 300", "at most 150", "300 and 2 packs of 100 3,600,000 3,960,000 at once, a whole year")

	said, fields := p.get("/console/licence/change/300").ask()
	for _, want := range []string{"300 → 300", "JPY 2,640,000 with tax, for a year", "Instead of 0 connections"} {
		if !strings.Contains(said, want) {
			t.Errorf("the question does not say %q: %s", want, said)
		}
	}
	p.post("/console/licence/change/300", fields...).wantTo("/console/licence?done=licence-now")
	p.post("/console/licence/change/500", fields...).want(http.StatusConflict).has("The licence has been changed meanwhile")
	p.get("/console/licence?done=licence-now").has("The licence is changed", "renewed on", "300 connections 300 2,400,000 2,640,000 what you have")

	said, fields = p.get("/console/licence/change/500").ask()
	if !strings.Contains(said, "JPY 1,320,000 with tax, for 365 of 365 days") {
		t.Errorf("the question about a larger one: %s", said)
	}
	p.post("/console/licence/change/500", fields...).wantTo("/console/licence?done=licence-now")
	p.get("/console/licence").has("0 of 500", "400 connections: the event")

	said, fields = p.get("/console/licence/change/400").ask()
	if !strings.Contains(said, "waits for that") || strings.Contains(said, "Costs now") {
		t.Errorf("the question about a smaller one: %s", said)
	}
	p.post("/console/licence/change/400", fields...).wantTo("/console/licence?done=licence-later")
	p.get("/console/licence").has("the licence is for 400 connections", "Call it off", "0 of 500", "to come")
	if said, _ := p.get("/console/licence/cancel").ask(); !strings.Contains(said, "500 connections") {
		t.Errorf("the question about calling it off: %s", said)
	}
	p.post("/console/licence/cancel").wantTo("/console/licence?done=licence-kept")
	p.get("/console/licence/cancel").want(http.StatusNotFound)
	p.post("/console/licence/cancel").want(http.StatusNotFound)

	said, fields = p.get("/console/licence/change/0").ask()
	if !strings.Contains(said, "Costs nothing more") {
		t.Errorf("the question about the end: %s", said)
	}
	p.post("/console/licence/change/0", fields...).wantTo("/console/licence?done=licence-later")
	p.get("/console/licence").has("The licence ends on")

	for path, status := range map[string]int{"450": http.StatusUnprocessableEntity, "5000": http.StatusUnprocessableEntity, "500": http.StatusUnprocessableEntity, "x": 404, "-1": 404} {
		p.get("/console/licence/change/" + path).want(status)
	}
}

// The calculator says what anybody would pay, and the page shows peaks as a drawing
// and a table.
func TestLicencePage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := s.owner(t, "Skylark")
	owner.get("/console/licence?connections=500&company=on&case=on").want(200).has(
		"Base, 300 connections 2,400,000", "Discount on the base -480,000", "2 packs of 100 1,200,000", "Subtotal 3,120,000", "Tax, 10 % 312,000", "Total, a year JPY 3,432,000")
	owner.get("/console/licence?connections=350").want(200).has("350 connections take a licence for 400")
	for _, wrong := range []string{"", "0", "1001", "many"} {
		owner.get("/console/licence?connections=" + wrong).want(http.StatusUnprocessableEntity).has("Say how many connections: 1 to 1,000")
	}
	owner.get("/console/licence").has("Nobody connected in this time", "Set by the operator", "without an end")
	owner.open("hello", tenant.SendOnly)
	owner.open("hello", tenant.RecvOnly)
	for _, peaks := range []string{"24h", "7d", "30d", "12m", "other"} {
		root := owner.get("/console/licence?peaks=" + peaks).want(200).page()
		if n := len(all(root, tag("polyline"))); n != 1 {
			t.Errorf("%s: %d lines of the licence", peaks, n)
		}
		tables := all(root, func(n *html.Node) bool { return value(n, "id") == "peaks-table" })
		if len(tables) != 1 || !strings.Contains(words(tables[0]), " 2 300") {
			t.Errorf("%s: the table does not have the peak of 2", peaks)
		}
	}
	viewer := owner.member(tenant.Viewer)
	if a := viewer.get("/console/licence"); strings.Contains(a.body, "/console/licence/change/") {
		t.Error("a viewer is offered to change the licence")
	}
	s.owner(t, "Other").get("/console/licence").has("0 of 300")
}

// An operator raises the limit of a channel and grants discounts: the tenant's year
// goes on. Another number of connections, or the wish for it, is a licence of its own.
func TestOperatorGrantsLicence(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, k := s.owner(t, "Skylark"), s.keeper(t, "keeper@example.com")
	path := "/operator/tenants/" + string(p.signed.Tenant)
	p.post("/console/licence/change/500").wantTo("/console/licence?done=licence-now")
	k.get(path).has("Standard, renewed on")
	k.post(path+"/licence", "connections", "500", "per_channel", "300", "discount", "case", "discount", "company").wantTo(path + "?done=licence-set")
	p.get("/console/licence").has("renewed on", "at most 300", "10 % for a published case", "3,432,000 JPY with tax")
	p.post("/console/licence/change/300").wantTo("/console/licence?done=licence-later")
	k.get(path).has("Standard, 300 from")
	k.post(path+"/licence", "connections", "500", "per_channel", "300", "custom", "on").wantTo(path + "?done=licence-set")
	k.get(path).has("Set by the operator")
	p.get("/console/licence").has("Set by the operator", "without an end", "the operator")
}
