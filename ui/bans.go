package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// bansData is the page of bans: those that stand, and the form for a new one.
type bansData struct {
	bans  []tenant.Ban
	query tenant.BanQuery
	next  string // what continues the list; "": nothing
	form  banForm
}

// banForm is a new ban as a person fills it in.
type banForm struct {
	Kind, Subject, Channel, Span, Reason string
	Field, Problem                       string // which field is wrong, and why; "": none
	Open                                 bool   // it was asked for
}

// option is one choice of a list.
type option struct{ Value, Name string }

var banKinds = []option{
	{"client", "Client (client_id)"},
	{"channel", "Channel"},
	{"connection", "Connection: its token and client_id, in its channel"},
	{"token", "Access token, or its SHA-256"},
}

// banFilterKinds are what the list may be narrowed to.
var banFilterKinds = []option{{"client", "Clients"}, {"channel", "Channels"}, {"connection", "Connections"}, {"token", "Tokens"}}

// banSpans are how long a ban may be chosen to last.
var banSpans = []option{{"1h", "1 hour"}, {"24h", "1 day"}, {"168h", "7 days"}, {"720h", "30 days"}, {"8760h", "365 days"}}

const banPageSize = 50

func (c *Console) bans(w http.ResponseWriter, r *http.Request, v *visit) error {
	q := r.URL.Query()
	form := banForm{Kind: q.Get("ban"), Subject: q.Get("subject"), Channel: q.Get("channel"), Span: "24h"}
	form.Open = form.Kind != ""
	if form.Kind == "" {
		form.Kind = string(tenant.ClientBan)
	}
	return c.showBans(w, r, v, http.StatusOK, form)
}

func (c *Console) showBans(w http.ResponseWriter, r *http.Request, v *visit, status int, form banForm) (err error) {
	q := r.URL.Query()
	d := bansData{form: form, query: tenant.BanQuery{
		Kind: tenant.BanKind(q.Get("kind")), Find: strings.TrimSpace(q.Get("find")), After: q.Get("after"), Limit: banPageSize}}
	d.bans, d.next, err = c.Tenants.Bans(r.Context(), v.login.Scope, d.query)
	var field *tenant.FieldError
	if errors.As(err, &field) { // a link that was cut short
		return tenant.ErrNotFound
	}
	if err != nil {
		return err
	}
	return v.page(w, r, status, bansPage(v, d))
}

// filtered reports whether the list is not of all bans.
func (d bansData) filtered() bool { return d.query.Kind != "" || d.query.Find != "" }

// more is the path of what comes after.
func (d bansData) more() string {
	return "/console/bans?" + url.Values{"kind": {string(d.query.Kind)}, "find": {d.query.Find}, "after": {d.next}}.Encode()
}

// newBanPath leads to the form, filled in.
func newBanPath(kind tenant.BanKind, subject string) string {
	return "/console/bans?" + url.Values{"ban": {string(kind)}, "subject": {subject}}.Encode() + "#new-ban"
}

func (c *Console) createBan(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	f := r.PostForm
	form := banForm{Kind: f.Get("kind"), Subject: strings.TrimSpace(f.Get("subject")), Channel: strings.TrimSpace(f.Get("channel")),
		Span: f.Get("span"), Reason: strings.TrimSpace(f.Get("reason")), Open: true}
	span, _ := time.ParseDuration(form.Span) // 0: the store says what is wrong
	_, err := c.Tenants.Ban(r.Context(), v.login.Scope, tenant.NewBan{
		Kind: tenant.BanKind(form.Kind), Subject: form.Subject, Channel: form.Channel, Until: time.Now().Add(span), Reason: form.Reason})
	var field *tenant.FieldError
	switch {
	case errors.As(err, &field):
		form.Field, form.Problem = field.Field, "It "+strings.TrimSuffix(field.Problem, ".")+"."
	case errors.Is(err, tenant.ErrNotFound):
		form.Field, form.Problem = "subject", "There is no such connection."
	case errors.Is(err, tenant.ErrTooManyBans):
		form.Field, form.Problem = "subject", "There are as many bans as there may be. Lift some first."
	case err != nil:
		return err
	default:
		return v.finish(w, r, "/console/bans", "ban")
	}
	if form.Kind == string(tenant.TokenBan) && strings.Count(form.Subject, ".") == 2 {
		form.Subject = "" // a token is not shown again
	}
	return c.showBans(w, r, v, http.StatusUnprocessableEntity, form)
}

// problem is what is wrong with a field of the form; "": nothing.
func (f banForm) problem(field string) string {
	if f.Field == field {
		return f.Problem
	}
	return ""
}

// askLiftBan asks once whether to lift a ban.
func (c *Console) askLiftBan(w http.ResponseWriter, r *http.Request, v *visit) error {
	ban, err := c.Tenants.BanByID(r.Context(), v.login.Scope, param(r, "ban"))
	if err != nil {
		return err
	}
	return v.ask(w, r, question{
		Title: "Lift this ban?", Text: "Whom it names may come in again at once.",
		Facts:   [][2]string{{"What", banKindWord(ban.Kind)}, {"Who", ban.Subject}, {"Where", banPlace(ban)}, {"Reason", orDash(ban.Reason)}},
		Confirm: "Lift", Action: "/console/bans/" + ban.ID + "/lift", Back: "/console/bans",
	})
}

func (c *Console) liftBan(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.Unban(r.Context(), v.login.Scope, param(r, "ban")); err != nil {
		return err
	}
	return v.finish(w, r, "/console/bans", "lift")
}

func banKindWord(kind tenant.BanKind) string {
	switch kind {
	case tenant.TokenBan:
		return "token"
	case tenant.ClientBan:
		return "client"
	case tenant.ChannelBan:
		return "channel"
	}
	return "connection"
}

// banPlace says where a ban holds.
func banPlace(b tenant.Ban) string {
	switch {
	case b.Kind == tenant.ChannelBan:
		return b.Subject
	case b.Channel == "":
		return "all channels"
	}
	return b.Channel
}
