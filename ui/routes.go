package ui

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Who may do what. A role that is missing here may do nothing.
var (
	everyone = []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Developer, tenant.Billing, tenant.Viewer}
	watchers = []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Developer, tenant.Viewer}
	builders = []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Developer}
	keepers  = []tenant.MemberRole{tenant.Owner, tenant.Admin}
	payers   = []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Billing}
)

// route is one thing a member can ask for, and the roles that may.
type route struct {
	method, path string
	roles        []tenant.MemberRole
	action       action
}

// action answers a member's request. What it returns as an error becomes a
// page (errors.go); it must have written nothing then.
type action func(w http.ResponseWriter, r *http.Request, v *visit) error

// exportPrefix is where files are that may take longer than a page.
const exportPrefix = "/console/export/"

// table lists every route behind the log-in.
func (c *Console) table() []route {
	return []route{
		{"GET", "/console", everyone, c.overview},
		{"GET", "/console/live/overview", everyone, c.stream(c.overviewFragment)},
		{"GET", "/console/start", watchers, c.start},

		{"GET", "/console/connections", watchers, c.connections},
		{"GET", "/console/live/connections", watchers, c.stream(c.connectionsFragment)},
		{"GET", "/console/connections/{connection}", watchers, c.connection},
		{"GET", "/console/live/connections/{connection}", watchers, c.stream(c.connectionFragment)},
		{"GET", "/console/connections/{connection}/disconnect", builders, c.askDisconnect},
		{"POST", "/console/connections/{connection}/disconnect", builders, c.disconnect},

		{"GET", "/console/channels", watchers, c.channels},
		{"GET", "/console/live/channels", watchers, c.stream(c.channelsFragment)},
		{"GET", "/console/channels/{channel}", watchers, c.channel},
		{"GET", "/console/live/channels/{channel}", watchers, c.stream(c.channelFragment)},
		{"GET", "/console/channels/{channel}/disconnect", builders, c.askEndChannel},
		{"POST", "/console/channels/{channel}/disconnect", builders, c.endChannel},

		{"GET", "/console/events", watchers, c.events},
		{"GET", "/console/live/events", watchers, c.stream(c.eventsFragment)},
		{"GET", "/console/events/{seq}", watchers, c.event},

		{"GET", "/console/bans", builders, c.bans},
		{"POST", "/console/bans", builders, c.createBan},
		{"GET", "/console/bans/{ban}/lift", builders, c.askLiftBan},
		{"POST", "/console/bans/{ban}/lift", builders, c.liftBan},

		{"GET", "/console/keys", builders, c.keys},
		{"POST", "/console/keys/api", builders, c.fresh("/console/keys", c.createAPIKey)},
		{"POST", "/console/keys/signing", builders, c.fresh("/console/keys", c.createSigningKey)},
		{"GET", "/console/keys/api/{key}/revoke", builders, c.askRevokeAPIKey},
		{"POST", "/console/keys/api/{key}/revoke", builders, c.revokeAPIKey},
		{"POST", "/console/keys/signing/public", builders, c.fresh("/console/keys", c.uploadPublicKey)},
		{"GET", "/console/keys/signing/{key}/rotate", builders, c.fresh("/console/keys", c.askRotate)},
		{"POST", "/console/keys/signing/{key}/rotate", builders, c.fresh("/console/keys", c.rotate)},
		{"POST", "/console/keys/signing/{key}/retire", builders, c.retire},
		{"GET", "/console/keys/signing/{key}/revoke", builders, c.askRevokeSigningKey},
		{"POST", "/console/keys/signing/{key}/revoke", builders, c.revokeSigningKey},

		{"GET", "/console/webhooks", watchers, c.webhooks},
		{"POST", "/console/webhooks", builders, c.createEndpoint},
		{"GET", "/console/webhooks/{endpoint}", watchers, c.endpoint},
		{"GET", "/console/live/webhooks/{endpoint}", watchers, c.stream(c.endpointFragment)},
		{"GET", "/console/webhooks/health", watchers, c.performances},
		{"GET", "/console/live/webhooks/health", watchers, c.stream(c.performancesFragment)},
		{"GET", "/console/webhooks/{endpoint}/health", watchers, c.performance},
		{"GET", "/console/live/webhooks/{endpoint}/health", watchers, c.stream(c.performanceFragment)},
		{"POST", "/console/webhooks/{endpoint}/test", builders, c.sendTest},
		{"POST", "/console/webhooks/{endpoint}/enable", builders, c.enableEndpoint},
		{"GET", "/console/webhooks/{endpoint}/rotate", builders, c.fresh("/console/webhooks", c.askRotateSecret)},
		{"POST", "/console/webhooks/{endpoint}/rotate", builders, c.fresh("/console/webhooks", c.rotateSecret)},
		{"GET", "/console/webhooks/{endpoint}/previous-secret/end", builders, c.askEndOverlap},
		{"POST", "/console/webhooks/{endpoint}/previous-secret/end", builders, c.endOverlap},
		{"GET", "/console/webhooks/{endpoint}/edit", builders, c.editEndpoint},
		{"POST", "/console/webhooks/{endpoint}/edit", builders, c.changeEndpoint},
		{"GET", "/console/webhooks/{endpoint}/delete", builders, c.askDeleteEndpoint},
		{"POST", "/console/webhooks/{endpoint}/delete", builders, c.deleteEndpoint},
		{"GET", "/console/webhooks/{endpoint}/replay", builders, c.askReplay},
		{"POST", "/console/webhooks/{endpoint}/replay", builders, c.replayRange},
		{"POST", "/console/replays/{replay}/cancel", builders, c.cancelReplay},
		{"GET", "/console/deliveries/{delivery}", watchers, c.delivery},
		{"GET", "/console/live/deliveries/{delivery}", watchers, c.stream(c.deliveryFragment)},
		{"POST", "/console/deliveries/{delivery}/replay", builders, c.replay},

		{"GET", "/console/auth", watchers, c.auth},
		{"GET", "/console/auth/{attempt}", watchers, c.authAttempt},
		{"POST", "/console/auth/test", builders, c.testAuth},

		{"GET", "/console/settings", builders, c.settings},
		{"POST", "/console/settings/auth", builders, c.setAuthURL},
		{"POST", "/console/settings/duplicates", builders, c.setDuplicates},
		{"GET", "/console/settings/auth/rotate", builders, c.fresh("/console/settings", c.askRotateAuthSecret)},
		{"POST", "/console/settings/auth/rotate", builders, c.fresh("/console/settings", c.rotateAuthSecret)},
		{"GET", "/console/settings/signing-secret", builders, c.fresh("/console/settings", c.askAcceptSecret)},
		{"POST", "/console/settings/signing-secret", builders, c.fresh("/console/settings", c.acceptSecret)},
		{"POST", "/console/settings/signing-secret/off", builders, c.refuseSecret},

		{"GET", "/console/spending", everyone, c.spending},
		{"GET", "/console/live/spending", everyone, c.stream(c.spendingFragment)},
		{"POST", "/console/spending/cap", payers, c.setSpendCap},
		{"POST", "/console/spending/cap/drop", payers, c.dropSpendCap},

		{"GET", "/console/licence", everyone, c.licence},
		{"GET", "/console/live/licence", everyone, c.stream(c.licenceFragment)},
		{"GET", "/console/licence/change/{connections}", payers, c.askLicence},
		{"POST", "/console/licence/change/{connections}", payers, c.changeLicence},
		{"GET", "/console/licence/cancel", payers, c.askCancelChange},
		{"POST", "/console/licence/cancel", payers, c.cancelChange},

		{"GET", "/console/plan", everyone, c.plan},
		{"GET", "/console/invoices", payers, c.invoices},
		{"GET", "/console/invoices/{invoice}", payers, c.invoice},
		{"GET", "/console/invoices/{invoice}/lines/{line}", payers, c.explainLine},
		{"GET", "/console/invoices/{invoice}/print", payers, c.invoicePrint},
		{"GET", "/console/invoices/{invoice}/pdf", payers, c.invoicePDF},
		{"GET", "/console/invoices/{invoice}/csv", payers, c.invoiceCSV},
		{"GET", "/console/invoices/{invoice}/json", payers, c.invoiceJSON},
		{"GET", "/console/credit-notes/{note}/pdf", payers, c.notePDF},
		{"GET", "/console/billing-details", payers, c.billingDetails},
		{"POST", "/console/billing-details", payers, c.setBillingDetails},

		{"GET", "/console/usage", everyone, c.usage},
		{"GET", exportPrefix + "usage.csv", everyone, c.usageCSV},
		{"GET", exportPrefix + "segments.csv", everyone, c.segmentsCSV},
		{"GET", "/console/audit", keepers, c.audit},
		{"GET", "/console/audit/{entry}", keepers, c.auditEntry},
		{"GET", exportPrefix + "audit.csv", keepers, c.auditCSV},
		{"GET", exportPrefix + "audit.jsonl", keepers, c.auditLines},

		{"GET", "/console/members", keepers, c.members},
		{"POST", "/console/members/invitations", keepers, c.fresh("/console/members", c.invite)},
		{"POST", "/console/members/invitations/{invitation}/again", keepers, c.fresh("/console/members", c.inviteAgain)},
		{"POST", "/console/members/invitations/{invitation}/cancel", keepers, c.cancelInvitation},
		{"POST", "/console/members/{member}/role", keepers, c.fresh("/console/members", c.setRole)},
		{"GET", "/console/members/{member}/remove", keepers, c.fresh("/console/members", c.askRemove)},
		{"POST", "/console/members/{member}/remove", keepers, c.fresh("/console/members", c.removeMember)},
		{"GET", "/console/members/{member}/second-step", keepers, c.fresh("/console/members", c.askResetSecond)},
		{"POST", "/console/members/{member}/second-step", keepers, c.fresh("/console/members", c.resetSecond)},

		{"GET", "/console/profile", everyone, c.profile},
		{"POST", "/console/profile/email", everyone, c.fresh("/console/profile", c.changeEmail)},
		{"POST", "/console/profile/password", everyone, c.changePassword},
		{"GET", "/console/profile/second-step", everyone, c.fresh("/console/profile", c.second)},
		{"POST", "/console/profile/second-step", everyone, c.fresh("/console/profile", c.confirmSecond)},
		{"POST", "/console/profile/second-step/begin", everyone, c.fresh("/console/profile", c.beginSecond)},
		{"POST", "/console/profile/second-step/codes", everyone, c.fresh("/console/profile", c.newCodes)},
		{"POST", "/console/profile/second-step/off", everyone, c.endSecond},
		{"POST", "/console/profile/sessions/{session}/end", everyone, c.endSession},
		{"POST", "/console/profile/sessions/end", everyone, c.endSessions},
		{"GET", "/console/prove", everyone, c.askProve},
		{"POST", "/console/prove", everyone, c.prove},

		{"GET", "/demo/{channel}", builders, c.demo},
		{"POST", "/demo/{channel}/token", builders, c.demoToken},
	}
}

// Routes mounts the console on r. It leaves r's own 404 alone: use NotFound
// where people's pages end.
func (c *Console) Routes(r chi.Router) {
	r.Method("GET", assetPrefix+"*", c.assets)
	r.Get("/favicon.ico", c.favicon)
	r.Group(func(r chi.Router) {
		r.Use(c.headers, c.csrf.Handler)
		pages := r.With(inTime)
		pages.Get("/", c.landing)
		pages.Head("/", c.landing)
		pages.Get("/signup", c.askSignup)
		pages.Post("/signup", c.signup)
		pages.Get("/login", c.askLogin)
		pages.Post("/login", c.login)
		pages.Post("/logout", c.logout)
		c.operatorRoutes(pages)
		c.linkedRoutes(pages)
		for _, route := range c.table() {
			if strings.HasPrefix(route.path, "/console/live/") || strings.HasPrefix(route.path, exportPrefix) {
				r.Method(route.method, route.path, c.member(route))
				continue
			}
			pages.Method(route.method, route.path, c.member(route))
			if route.method == http.MethodGet {
				pages.Method(http.MethodHead, route.path, c.member(route))
			}
		}
		pages.Get("/console/*", c.NotFound)
		pages.Get("/demo/*", c.NotFound)
	})
}
