package ui_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/hibari/hibari/internal/tenant"
)

var (
	everyone = []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Developer, tenant.Billing, tenant.Viewer}
	watchers = []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Developer, tenant.Viewer}
	builders = []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Developer}
	keepers  = []tenant.MemberRole{tenant.Owner, tenant.Admin}
	payers   = []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Billing}
)

// matrix says a second time, and apart from the code, who may do what. What
// stands in braces is filled in by the test.
var matrix = map[string][]tenant.MemberRole{
	"GET /console":                                          everyone,
	"GET /console/live/overview":                            everyone,
	"GET /console/start":                                    watchers,
	"GET /console/connections":                              watchers,
	"GET /console/live/connections":                         watchers,
	"GET /console/connections/{connection}":                 watchers,
	"GET /console/live/connections/{connection}":            watchers,
	"GET /console/connections/{connection}/disconnect":      builders,
	"POST /console/connections/{connection}/disconnect":     builders,
	"GET /console/channels":                                 watchers,
	"GET /console/live/channels":                            watchers,
	"GET /console/channels/{channel}":                       watchers,
	"GET /console/live/channels/{channel}":                  watchers,
	"GET /console/channels/{channel}/disconnect":            builders,
	"POST /console/channels/{channel}/disconnect":           builders,
	"GET /console/bans":                                     builders,
	"POST /console/bans":                                    builders,
	"GET /console/bans/{ban}/lift":                          builders,
	"POST /console/bans/{ban}/lift":                         builders,
	"POST /console/keys/signing/public":                     builders,
	"GET /console/keys/signing/{key}/rotate":                builders,
	"POST /console/keys/signing/{key}/rotate":               builders,
	"POST /console/keys/signing/{key}/retire":               builders,
	"POST /console/settings/duplicates":                     builders,
	"GET /console/keys":                                     builders,
	"POST /console/keys/api":                                builders,
	"POST /console/keys/signing":                            builders,
	"GET /console/keys/api/{key}/revoke":                    builders,
	"POST /console/keys/api/{key}/revoke":                   builders,
	"GET /console/keys/signing/{key}/revoke":                builders,
	"POST /console/keys/signing/{key}/revoke":               builders,
	"GET /console/events":                                   watchers,
	"GET /console/live/events":                              watchers,
	"GET /console/events/{seq}":                             watchers,
	"GET /console/auth":                                     watchers,
	"GET /console/auth/{attempt}":                           watchers,
	"POST /console/auth/test":                               builders,
	"GET /console/webhooks":                                 watchers,
	"POST /console/webhooks":                                builders,
	"GET /console/webhooks/{endpoint}":                      watchers,
	"GET /console/live/webhooks/{endpoint}":                 watchers,
	"GET /console/webhooks/health":                          watchers,
	"GET /console/live/webhooks/health":                     watchers,
	"GET /console/webhooks/{endpoint}/health":               watchers,
	"GET /console/live/webhooks/{endpoint}/health":          watchers,
	"POST /console/webhooks/{endpoint}/test":                builders,
	"POST /console/webhooks/{endpoint}/enable":              builders,
	"GET /console/webhooks/{endpoint}/rotate":               builders,
	"POST /console/webhooks/{endpoint}/rotate":              builders,
	"GET /console/webhooks/{endpoint}/edit":                 builders,
	"POST /console/webhooks/{endpoint}/edit":                builders,
	"GET /console/webhooks/{endpoint}/previous-secret/end":  builders,
	"POST /console/webhooks/{endpoint}/previous-secret/end": builders,
	"GET /console/webhooks/{endpoint}/delete":               builders,
	"POST /console/webhooks/{endpoint}/delete":              builders,
	"GET /console/webhooks/{endpoint}/replay":               builders,
	"POST /console/webhooks/{endpoint}/replay":              builders,
	"POST /console/replays/{replay}/cancel":                 builders,
	"GET /console/deliveries/{delivery}":                    watchers,
	"GET /console/live/deliveries/{delivery}":               watchers,
	"POST /console/deliveries/{delivery}/replay":            builders,
	"GET /console/settings":                                 builders,
	"POST /console/settings/auth":                           builders,
	"GET /console/settings/auth/rotate":                     builders,
	"POST /console/settings/auth/rotate":                    builders,
	"GET /console/settings/signing-secret":                  builders,
	"POST /console/settings/signing-secret":                 builders,
	"POST /console/settings/signing-secret/off":             builders,
	"GET /console/spending":                                 everyone,
	"GET /console/live/spending":                            everyone,
	"POST /console/spending/cap":                            payers,
	"POST /console/spending/cap/drop":                       payers,
	"GET /console/licence":                                  everyone,
	"GET /console/live/licence":                             everyone,
	"GET /console/licence/change/{connections}":             payers,
	"POST /console/licence/change/{connections}":            payers,
	"GET /console/licence/cancel":                           payers,
	"POST /console/licence/cancel":                          payers,
	"GET /console/invoices":                                 payers,
	"GET /console/invoices/{invoice}":                       payers,
	"GET /console/invoices/{invoice}/lines/{line}":          payers,
	"GET /console/invoices/{invoice}/print":                 payers,
	"GET /console/invoices/{invoice}/pdf":                   payers,
	"GET /console/invoices/{invoice}/csv":                   payers,
	"GET /console/invoices/{invoice}/json":                  payers,
	"GET /console/credit-notes/{note}/pdf":                  payers,
	"GET /console/billing-details":                          payers,
	"POST /console/billing-details":                         payers,
	"GET /console/usage":                                    everyone,
	"GET /console/export/usage.csv":                         everyone,
	"GET /console/export/segments.csv":                      everyone,
	"GET /console/plan":                                     everyone,
	"GET /console/audit":                                    keepers,
	"GET /console/audit/{entry}":                            keepers,
	"GET /console/export/audit.csv":                         keepers,
	"GET /console/export/audit.jsonl":                       keepers,
	"GET /demo/{channel}":                                   builders,
	"POST /demo/{channel}/token":                            builders,
}

// open routes need no log-in, or are pages that are not there.
var public = []string{"GET /", "GET /signup", "POST /signup", "GET /login", "POST /login", "POST /logout", "GET /assets/*", "GET /favicon.ico",
	"GET /console/*", "GET /demo/*", "GET /login/code", "POST /login/code", "GET /signup/sent", "GET /verify", "POST /verify",
	"GET /forgot", "POST /forgot", "GET /reset", "POST /reset", "GET /email", "POST /email", "GET /invitation", "POST /invitation"}

// A role that may not gets 403 before anything else, whether or not the thing
// asked for exists; a role that may gets past the door.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := s.owner(t, "Skylark")
	router := chi.NewRouter()
	s.console.Routes(router)
	seen := 0
	err := chi.Walk(router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		name := method + " " + route
		if _, known := matrix[name]; !known && method != http.MethodHead && !slices.Contains(public, name) && !strings.HasPrefix(route, "/operator") {
			t.Errorf("nobody has said who may %s", name)
		}
		seen++
		return nil
	})
	if err != nil || seen < len(matrix) {
		t.Fatalf("%d routes, %v", seen, err)
	}
	fill := strings.NewReplacer("{connection}", tenant.NewID(), "{channel}", "hello", "{connections}", "400", "{key}", "key_none", "{ban}", "ban_none", "{endpoint}", "ep_none", "{delivery}", "dlv_none", "{seq}", "9999999",
		"{member}", "mem_none", "{invitation}", "inv_none", "{session}", "ses_none")
	for _, role := range everyone {
		p := owner.member(role)
		for name, roles := range matrix {
			method, path, _ := strings.Cut(fill.Replace(name), " ")
			if strings.Contains(path, "/live/") && slices.Contains(roles, role) {
				continue // it would stay open; live_test.go reads them
			}
			var a answer
			if strings.HasSuffix(name, "/sessions/end") { // which logs p out
				a = owner.member(role).post(path)
			} else if method == http.MethodPost {
				a = p.post(path)
			} else {
				a = p.get(path)
			}
			if forbidden := a.status == http.StatusForbidden; forbidden == slices.Contains(roles, role) {
				t.Errorf("%s: %s: status %d", role, name, a.status)
			}
			if a.status >= 500 {
				t.Errorf("%s: %s: status %d", role, name, a.status)
			}
		}
	}
}

// Pages must not offer what the table refuses.
func TestPagesOfferOnlyWhatTheRoleMay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := s.owner(t, "Skylark")
	owner.open("hello", tenant.SendOnly)
	for _, role := range everyone {
		p := owner.member(role)
		for _, path := range []string{"/console", "/console/connections", "/console/channels", "/console/channels/hello", "/console/webhooks", "/console/events", "/console/events/1", "/console/usage", "/console/licence", "/console/start", "/console/settings",
			"/console/members", "/console/profile"} {
			a := p.get(path)
			if a.status == http.StatusForbidden {
				continue
			}
			root := a.want(http.StatusOK).page()
			for _, n := range all(root, tag("a", "form")) {
				method, target := http.MethodGet, value(n, "href")
				if n.Data == "form" {
					target = value(n, "action")
					if value(n, "method") == "post" {
						method = http.MethodPost
					}
				}
				if method == http.MethodPost || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/console/live/") {
					if method == http.MethodPost && role == tenant.Viewer && target != "/logout" && !strings.HasPrefix(target, "/console/profile/") {
						t.Errorf("%s offers a viewer %s", path, target)
					}
					continue
				}
				if got := p.get(target); got.status >= 400 {
					t.Errorf("%s offers %s %s, which answers %d", path, role, target, got.status)
				}
			}
		}
	}
	if strings.Contains(owner.member(tenant.Viewer).get("/console/connections").body, "/disconnect") {
		t.Error("a viewer is offered to disconnect")
	}
}
