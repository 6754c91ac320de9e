package api_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
)

// secretChannel is the name of the other tenant's channel.
const secretChannel = "secret-channel"

// estate is something of everything that a tenant can have.
type estate struct {
	connection string
	named      map[string]string // values of the parameters of paths, with what stands before them
	marks      []string          // what must not be seen by others
}

func furnish(t *testing.T, c *caller) estate {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var e estate
	invoiced, note := c.bill()
	e.connection, _ = c.open(secretChannel, tenant.SendOnly)
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	_, endpoint, err := c.hooks.CreateEndpoint(ctx, c.scope, receiver.URL, webhooks.Choice{Types: []string{string(tenant.Ping)}})
	must(err)
	delivery, err := c.hooks.SendTest(ctx, c.scope, endpoint.ID)
	must(err)
	settled := func() bool { // nothing changes by itself any longer
		list, err := c.hooks.Deliveries(ctx, c.scope, webhooks.DeliveryQuery{ID: delivery})
		must(err)
		var told bool
		must(c.pool.QueryRow(ctx, `select c.seq = l.event_seq from webhook_cursor c join tenant_live l using (tenant_id) where tenant_id = $1`,
			c.scope.Tenant()).Scan(&told))
		return told && list[0].State == webhooks.Delivered
	}
	for deadline := time.Now().Add(20 * time.Second); !settled(); {
		if time.Now().After(deadline) {
			t.Fatal("the events are not delivered")
		}
	}
	replay, err := c.hooks.ReplayRange(ctx, c.scope, endpoint.ID, webhooks.Range{States: []string{webhooks.Dead}})
	must(err)
	for deadline := time.Now().Add(20 * time.Second); replay.State != webhooks.ReplayDone; replay, err = c.hooks.FindReplay(ctx, c.scope, replay.ID) {
		if must(err); time.Now().After(deadline) {
			t.Fatal("the replay does not end")
		}
	}
	keys, err := c.tenants.APIKeys(ctx, c.scope)
	must(err)
	ban, err := c.tenants.Ban(ctx, c.scope, tenant.NewBan{Kind: tenant.ClientBan, Subject: "secret-client", Until: time.Now().Add(time.Hour)})
	must(err)
	_, err = c.tenants.SetAuthURL(ctx, c.scope, receiver.URL+"/secret-auth")
	must(err)
	hook, err := c.tenants.AuthWebhook(ctx, c.scope)
	must(err)
	trial, err := c.hooks.AskTest(ctx, c.scope, hook)
	must(err)
	for logged := false; !logged; { // nothing changes by itself any longer
		must(c.pool.QueryRow(ctx, `select exists (select from auth_attempt where auth_attempt_id = $1)`, trial.ID).Scan(&logged))
	}
	_, invited, err := c.tenants.Invite(ctx, c.scope, "secret-guest@example.com", tenant.Admin)
	must(err)
	entries, _, err := c.tenants.SearchAudit(ctx, c.scope, tenant.AuditQuery{}, 1)
	must(err)
	sessions, _, err := c.ledger.Sessions(ctx, c.scope, billing.SessionQuery{})
	must(err)
	e.named = map[string]string{
		"invoices/{id}":               invoiced,
		"lines/{line}":                "1",
		"credit-notes/{id}":           note,
		"connections/{connection_id}": e.connection,
		"channels/{channel}":          secretChannel,
		"sessions/{session_id}":       sessions[0].SessionID,
		"webhook-endpoints/{id}":      endpoint.ID,
		"deliveries/{id}":             delivery,
		"replays/{id}":                replay.ID,
		"signing-keys/{id}":           c.made.SigningKeyID,
		"api-keys/{id}":               keys[0].ID,
		"bans/{id}":                   ban.ID,
		"members/{member_id}":         c.made.MemberID,
		"invitations/{id}":            invited.ID,
		"auth-attempts/{id}":          trial.ID,
		"audit-log/{id}":              strconv.FormatInt(entries[0].ID, 10),
	}
	e.marks = []string{e.connection, secretChannel, endpoint.ID, delivery, replay.ID, c.made.SigningKeyID, keys[0].ID, ban.ID, "secret-client", "secret-auth", trial.ID,
		string(c.made.Tenant), c.made.MemberID, c.made.Email, invited.ID, invited.Email, invoiced, note}
	return e
}

var parameter = regexp.MustCompile(`[a-z-]+/\{[a-z_]+\}`)

// at puts what the estate has into a path; false: a parameter has no value.
func (e estate) at(path string) (string, bool) {
	filled := parameter.ReplaceAllStringFunc(path, func(found string) string {
		before, _, _ := strings.Cut(found, "/")
		if value, known := e.named[found]; known {
			return before + "/" + value
		}
		return found
	})
	return filled, !strings.Contains(filled, "{")
}

// bodies are what operations on another's things must be sent to get so far as to
// look for them.
var bodies = map[string]any{
	"changeWebhookEndpoint": map[string]any{"status": "disabled"},
	"retireSigningKey":      map[string]any{"retire_at": nil},
	"changeMember":          map[string]any{"role": "viewer"},
	"pushChannel":           map[string]any{"data": 1},
	"pushConnection":        map[string]any{"data": 1},
	"requestSimulcastRid":   map[string]any{"rid": "r0"},
	"changeSpotlight":       map[string]any{"spotlight_number": 2},
	"putNotifyMetadata":     map[string]any{"metadata": 1},
}

// Every operation of the document, with the ids of another tenant, finds nothing;
// and whatever is asked, nothing of the other is shown or changed. An operation
// with a parameter that nothing is known for fails the test.
func TestOtherTenantsAreNotThere(t *testing.T) {
	s := newService(t)
	theirs, mine := s.caller(t, "theirs"), s.caller(t, "mine")
	estate := furnish(t, theirs)
	before := dbtest.Digest(t, s.pool, string(theirs.made.Tenant))
	tried := 0
	var paths []string
	for path := range s.schemas.Paths {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	for _, path := range paths {
		for method, operation := range s.schemas.Paths[path] {
			method = strings.ToUpper(method)
			url, ok := estate.at(path)
			if !ok {
				t.Errorf("%s %s: furnish has nothing for its parameter", method, path)
				continue
			}
			tried++
			var body any
			if len(operation.RequestBody.Content) > 0 {
				body = map[string]any{}
				if known := bodies[operation.OperationID]; known != nil {
					body = known
				}
			}
			r := mine.do(method, url, body)
			if url != path && r.status != http.StatusNotFound {
				t.Errorf("%s %s with another tenant's id: status %d: %s", method, path, r.status, r.body)
			}
			if r.status >= 500 {
				t.Errorf("%s %s: status %d: %s", method, path, r.status, r.body)
			}
			for _, mark := range estate.marks {
				if strings.Contains(string(r.body), mark) && !strings.Contains(url, mark) {
					t.Errorf("%s %s shows %s of another tenant", method, path, mark)
				}
			}
		}
	}
	if tried < 30 {
		t.Fatalf("found only %d operations", tried)
	}
	// Ids in queries and bodies, where they mean the same.
	for _, ask := range []struct {
		method, path string
		body         any
		want         int
	}{
		{"GET", "/v1/connections?channel_id=" + secretChannel, nil, http.StatusOK},
		{"POST", "/v1/bans", map[string]any{"kind": "connection", "subject": estate.connection}, http.StatusNotFound},
	} {
		if r := mine.do(ask.method, ask.path, ask.body); r.status != ask.want || strings.Contains(string(r.body), estate.named["webhook-endpoints/{id}"]) ||
			ask.method == "GET" && len(r.items()) != 0 {
			t.Errorf("%s %s: status %d: %s", ask.method, ask.path, r.status, r.body)
		}
	}
	after := dbtest.Digest(t, s.pool, string(theirs.made.Tenant))
	for table, was := range before {
		if after[table] != was {
			t.Errorf("another tenant changed %s: %s, it was %s", table, after[table], was)
		}
	}
	if reason := s.endOf(estate.connection); reason != "" {
		t.Errorf("another tenant ended a connection: %q", reason)
	}
	// It is there for whoever owns it, so that it was asked for in the right way.
	for _, path := range []string{"/v1/connections/{connection_id}", "/v1/webhook-endpoints/{id}", "/v1/deliveries/{id}", "/v1/invoices/{id}", "/v1/invoices/{id}/lines/{line}/segments", "/v1/credit-notes/{id}"} {
		url, _ := estate.at(path)
		theirs.get(url).want(http.StatusOK)
	}
}
