package ui_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
)

// estate is all that a tenant can have.
type estate struct {
	connection, token string
	named             map[string]string // values of the parameters of routes, by "{name}" or, where it depends, by what stands before it
	marks             []string          // what must not be seen by others
}

// secretChannel is the name of its channel.
const secretChannel = "secret-channel"

// furnish gives p's tenant something of everything.
func furnish(t *testing.T, p *person) estate {
	t.Helper()
	ctx, s := t.Context(), p.site
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var e estate
	bill := p.bill()
	e.connection, e.token = p.open(secretChannel, tenant.SendOnly)
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	_, endpoint, err := s.hooks.CreateEndpoint(ctx, p.scope, receiver.URL, webhooks.Choice{Types: []string{string(tenant.Ping)}})
	must(err)
	delivery, err := s.hooks.SendTest(ctx, p.scope, endpoint.ID)
	must(err)
	settled := func() bool { // nothing changes by itself any longer
		list, err := s.hooks.Deliveries(ctx, p.scope, webhooks.DeliveryQuery{ID: delivery})
		must(err)
		var told bool
		must(s.pool.QueryRow(ctx, `select c.seq = l.event_seq from webhook_cursor c join tenant_live l using (tenant_id) where tenant_id = $1`,
			p.scope.Tenant()).Scan(&told))
		return told && list[0].State == webhooks.Delivered
	}
	for deadline := time.Now().Add(20 * time.Second); !settled(); {
		if time.Now().After(deadline) {
			t.Fatal("the events are not delivered")
		}
	}
	replay, err := s.hooks.ReplayRange(ctx, p.scope, endpoint.ID, webhooks.Range{States: []string{webhooks.Dead}})
	must(err)
	for deadline := time.Now().Add(20 * time.Second); replay.State != webhooks.ReplayDone; replay, err = s.hooks.FindReplay(ctx, p.scope, replay.ID) {
		if must(err); time.Now().After(deadline) {
			t.Fatal("the replay does not end")
		}
	}
	keys, err := s.tenants.APIKeys(ctx, p.scope)
	must(err)
	ban, err := s.tenants.Ban(ctx, p.scope, tenant.NewBan{Kind: tenant.ClientBan, Subject: "secret-client", Until: time.Now().Add(time.Hour)})
	must(err)
	_, err = s.tenants.SetAuthURL(ctx, p.scope, receiver.URL+"/secret-auth")
	must(err)
	hook, err := s.tenants.AuthWebhook(ctx, p.scope)
	must(err)
	trial, err := s.hooks.AskTest(ctx, p.scope, hook)
	must(err)
	for logged := false; !logged; { // nothing changes by itself any longer
		must(s.pool.QueryRow(ctx, `select exists (select from auth_attempt where auth_attempt_id = $1)`, trial.ID).Scan(&logged))
	}
	entries, _, err := s.tenants.SearchAudit(ctx, p.scope, tenant.AuditQuery{}, 1)
	must(err)
	_, invitation, err := s.tenants.Invite(ctx, p.scope, "secret-guest@example.com", tenant.Viewer)
	must(err)
	login, err := s.tenants.Session(ctx, p.cookie("hibari"))
	must(err)
	sessions, err := s.tenants.Sessions(ctx, login)
	must(err)
	last, err := s.hooks.LastSeq(ctx, p.scope)
	must(err)
	e.named = map[string]string{
		"{invoice}":     bill.invoice,
		"{line}":        "1",
		"{note}":        bill.note,
		"{connection}":  e.connection,
		"{channel}":     secretChannel,
		"api/{key}":     keys[0].ID,
		"signing/{key}": p.signed.SigningKeyID,
		"{endpoint}":    endpoint.ID,
		"{delivery}":    delivery,
		"{replay}":      replay.ID,
		"{ban}":         ban.ID,
		"{attempt}":     trial.ID,
		"{member}":      p.signed.MemberID,
		"{invitation}":  invitation.ID,
		"{session}":     sessions[0].ID,
		"{entry}":       strconv.FormatInt(entries[0].ID, 10),
		"{seq}":         strconv.FormatInt(last, 10),
		"{connections}": "400", // a size of licence: nobody's
	}
	e.marks = []string{e.connection, secretChannel, keys[0].ID, p.signed.SigningKeyID, endpoint.ID, delivery, replay.ID, ban.ID, "secret-client", "secret-auth", trial.ID,
		string(p.signed.Tenant), p.signed.MemberID, p.signed.Email,
		invitation.ID, "secret-guest", sessions[0].ID, bill.invoice, bill.note, bill.connection, "PO-117"}
	return e
}

var parameter = regexp.MustCompile(`[a-z-]+/\{[a-z_]+\}`)

// at puts what the estate has into a route; false: a parameter has no value.
func (e estate) at(route string) (path string, ok bool) {
	ok = true
	path = parameter.ReplaceAllStringFunc(route, func(found string) string {
		before, name, _ := strings.Cut(found, "/")
		for _, key := range []string{found, name} {
			if value, known := e.named[key]; known {
				return before + "/" + value
			}
		}
		ok = false
		return found
	})
	return path, ok && !strings.Contains(path, "{")
}

// freeNames are the routes with a parameter that anybody may fill with anything,
// since it names what the asking tenant has or would have by that name.
var freeNames = map[string]string{
	"GET /console/channels/{channel}":             "the own channel of that name, with nobody in it",
	"GET /console/live/channels/{channel}":        "the same",
	"POST /console/channels/{channel}/disconnect": "ends whoever is in the own channel of that name",
	"GET /demo/{channel}":                         "publishes to the own channel of that name",
	"POST /demo/{channel}/token":                  "the same",
	"GET /console/licence/change/{connections}":   "a number",
	"POST /console/licence/change/{connections}":  "a number",
}

// Whatever a member asks for with the ids of another tenant is not there, and
// nothing of the other is shown or changed by anything.
func TestOtherTenantsAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	theirs, mine := s.owner(t, "Theirs"), s.owner(t, "Mine")
	estate := furnish(t, theirs)
	before := dbtest.Digest(t, s.pool, string(theirs.signed.Tenant))
	router := chi.NewRouter()
	s.console.Routes(router)
	tried := 0
	err := chi.Walk(router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		name := method + " " + route
		if strings.HasPrefix(route, "/operator") || strings.Contains(route, "*") || name == "POST /logout" || method == http.MethodHead {
			return nil // an operator's, or nobody's, or as GET
		}
		path, ok := estate.at(route)
		if !ok {
			t.Errorf("%s: furnish has nothing for its parameter", name)
			return nil
		}
		tried++
		// A log-in of its own: what is asked for may end the log-in.
		p := s.enter(t, mine.signed, mine.signed.MemberID)
		status, body := p.ask(method, path)
		_, free := freeNames[name]
		if names := path != route; names && !free && status != http.StatusNotFound {
			t.Errorf("%s with another tenant's id: status %d", name, status)
		}
		if status >= 500 {
			t.Errorf("%s: status %d", name, status)
		}
		for _, mark := range estate.marks {
			ownDeed := mark == secretChannel && strings.Contains(route, "audit") // it ended the channel that it has by that name
			if strings.Contains(body, mark) && !strings.Contains(path, mark) && !ownDeed {
				t.Errorf("%s shows %s of another tenant", name, mark)
			}
		}
		return nil
	})
	if err != nil || tried < len(matrix) {
		t.Fatalf("%d routes, %v", tried, err)
	}
	after := dbtest.Digest(t, s.pool, string(theirs.signed.Tenant))
	for table, was := range before {
		if after[table] != was {
			t.Errorf("another tenant changed %s: %s, it was %s", table, after[table], was)
		}
	}
	if reason := s.endOf(estate.connection); reason != "" {
		t.Errorf("another tenant ended a connection: %q", reason)
	}
	if _, _, err := s.tenants.Verify(t.Context(), tenant.TokenWish{Token: estate.token, Channel: secretChannel, Role: tenant.SendOnly}); err != nil {
		t.Errorf("the token is refused now: %v", err)
	}
	// The estate is there for whoever owns it, so that it was asked for in the right way.
	for _, route := range []string{"/console/connections/{connection}", "/console/webhooks/{endpoint}", "/console/deliveries/{delivery}", "/console/events/{seq}", "/console/auth/{attempt}",
		"/console/keys/api/{key}/revoke", "/console/keys/signing/{key}/revoke", "/console/audit/{entry}", "/console/invoices/{invoice}", "/console/credit-notes/{note}/pdf"} {
		path, _ := estate.at(route)
		theirs.get(path).want(http.StatusOK)
	}
}

// ask asks for a page; of one that stays open it reads the first event, "gone"
// being the same as 404.
func (p *person) ask(method, path string) (status int, body string) {
	p.t.Helper()
	if strings.Contains(path, "/live/") && method == http.MethodGet {
		events, stop := p.follow(path)
		defer stop()
		e := next(p.t, events, 20*time.Second)
		if e.name == "gone" {
			return http.StatusNotFound, e.data
		}
		return http.StatusOK, e.data
	}
	if method == http.MethodPost {
		a := p.post(path, "ban", "token")
		return a.status, a.body
	}
	a := p.do(method, path, nil)
	return a.status, a.body
}
