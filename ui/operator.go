package ui

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// The operator's console is for who runs the platform. It shares the look, the
// headers and the cross-origin check with the members' console and nothing else:
// it has its own log-in, cookie, sessions and table of routes. A visit of an
// operator has no member, so its scope is empty, which every tenant's method
// refuses; and a visit of a member has no operator.

// operatorPrefix is where the operator's console is.
const operatorPrefix = "/operator"

// operatorTable lists every route behind the operator's log-in. All operators may
// do everything.
func (c *Console) operatorTable() []route {
	return []route{
		{"GET", "/operator", nil, c.operatorOverview},
		{"GET", "/operator/tenants", nil, c.operatorTenants},
		{"POST", "/operator/tenants", nil, c.operatorCreateTenant},
		{"GET", "/operator/tenants/{tenant}", nil, c.operatorTenant},
		{"POST", "/operator/tenants/{tenant}/suspend", nil, c.operatorSuspend},
		{"POST", "/operator/tenants/{tenant}/resume", nil, c.operatorResume},
		{"GET", "/operator/tenants/{tenant}/disconnect", nil, c.operatorAskDisconnect},
		{"POST", "/operator/tenants/{tenant}/disconnect", nil, c.operatorDisconnect},
		{"POST", "/operator/tenants/{tenant}/licence", nil, c.operatorSetLicence},
		{"GET", "/operator/tenants/{tenant}/plan", nil, c.operatorTenantPlan},
		{"POST", "/operator/tenants/{tenant}/plan", nil, c.operatorGivePlan},
		{"POST", "/operator/tenants/{tenant}/plan/{day}/withdraw", nil, c.operatorWithdrawPlan},
		{"GET", "/operator/plans", nil, c.operatorPlans},
		{"POST", "/operator/plans", nil, c.operatorCreatePlan},
		{"GET", "/operator/plans/{plan}", nil, c.operatorPlan},
		{"POST", "/operator/plans/{plan}/versions", nil, c.operatorPricePlan},
		{"POST", "/operator/plans/{plan}/versions/{version}/drop", nil, c.operatorDropPrices},
		{"GET", "/operator/tenants/{tenant}/invoices", nil, c.operatorTenantInvoices},
		{"POST", "/operator/tenants/{tenant}/invoices/credit", nil, c.operatorGrant},
		{"GET", "/operator/tenants/{tenant}/invoices/credit/{grant}/withdraw", nil, c.operatorAskWithdraw},
		{"POST", "/operator/tenants/{tenant}/invoices/credit/{grant}/withdraw", nil, c.operatorWithdraw},
		{"GET", "/operator/invoices", nil, c.operatorInvoices},
		{"GET", "/operator/invoices/{invoice}", nil, c.operatorInvoice},
		{"GET", "/operator/invoices/{invoice}/lines/{line}", nil, c.operatorExplainLine},
		{"GET", "/operator/invoices/{invoice}/pdf", nil, c.operatorInvoicePDF},
		{"GET", "/operator/invoices/{invoice}/finalise", nil, c.operatorAskFinalise},
		{"POST", "/operator/invoices/{invoice}/finalise", nil, c.operatorFinalise},
		{"POST", "/operator/invoices/{invoice}/hold", nil, c.operatorHold},
		{"POST", "/operator/invoices/{invoice}/release", nil, c.operatorRelease},
		{"POST", "/operator/invoices/{invoice}/recompute", nil, c.operatorRecompute},
		{"POST", "/operator/invoices/{invoice}/lines", nil, c.operatorAddLine},
		{"POST", "/operator/invoices/{invoice}/lines/{line}/drop", nil, c.operatorDropLine},
		{"GET", "/operator/invoices/{invoice}/credit-note", nil, c.operatorAskNote},
		{"POST", "/operator/invoices/{invoice}/credit-note", nil, c.operatorNote},
		{"GET", "/operator/issuer", nil, c.operatorIssuer},
		{"POST", "/operator/issuer", nil, c.operatorSetIssuer},
		{"GET", "/operator/nodes", nil, c.operatorNodes},
		{"GET", "/operator/nodes/{node}/drain", nil, c.operatorAskDrain},
		{"POST", "/operator/nodes/{node}/drain", nil, c.operatorDrain},
		{"POST", "/operator/nodes/{node}/undrain", nil, c.operatorUndrain},
		{"GET", "/operator/operators", nil, c.operatorPeople},
		{"POST", "/operator/operators", nil, c.operatorAdd},
		{"GET", "/operator/operators/{operator}/remove", nil, c.operatorAskRemove},
		{"POST", "/operator/operators/{operator}/remove", nil, c.operatorRemove},
		{"GET", "/operator/audit", nil, c.operatorAudit},
		{"GET", "/operator/audit/{entry}", nil, c.operatorAuditEntry},
	}
}

// operatorRoutes mounts the operator's console on pages.
func (c *Console) operatorRoutes(pages chi.Router) {
	pages.Get("/operator/login", c.operatorAskLogin)
	pages.Post("/operator/login", c.operatorLogin)
	pages.Post("/operator/logout", c.operatorLogout)
	for _, route := range c.operatorTable() {
		pages.Method(route.method, route.path, c.operator(route))
		if route.method == http.MethodGet {
			pages.Method(http.MethodHead, route.path, c.operator(route))
		}
	}
	pages.Method("GET", "/operator/*", c.operator(route{action: func(http.ResponseWriter, *http.Request, *visit) error { return tenant.ErrNotFound }}))
}

// operator wraps a route of the operator's table: log-in, action, error page.
func (c *Console) operator(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.operatorVisit(w, r)
		if errors.Is(err, tenant.ErrNoSession) {
			c.sendToOperatorLogin(w, r)
			return
		}
		if err == nil {
			err = route.action(w, r, v)
		}
		if err != nil {
			c.fail(w, r, v, err)
		}
	})
}

// operatorVisit finds out which operator asks.
func (c *Console) operatorVisit(w http.ResponseWriter, r *http.Request) (*visit, error) {
	login, err := c.operatorSession(r)
	if err != nil {
		return nil, err
	}
	v := &visit{console: c, operator: &login, zone: time.UTC, now: time.Now(), path: r.URL.Path, partial: r.Header.Get(fragmentHeader) != ""}
	v.done = v.doneText(r.URL.Query().Get("done"))
	if r.Method == http.MethodGet && !v.partial {
		v.once = c.takeSecrets(w, r, v)
	}
	if v.once != nil && v.once.Done != "" {
		v.done = v.doneText(v.once.Done)
	}
	return v, nil
}

// operatorSession returns the log-in of the request's cookie, or ErrNoSession.
func (c *Console) operatorSession(r *http.Request) (tenant.OperatorLogin, error) {
	cookie, err := r.Cookie(c.operatorCookie())
	if err != nil {
		return tenant.OperatorLogin{}, tenant.ErrNoSession
	}
	return c.Tenants.OperatorSession(r.Context(), cookie.Value)
}

// operatorCookie is the name of the operators' session cookie.
func (c *Console) operatorCookie() string { return c.cookieName() + "-operator" }

func (c *Console) sendToOperatorLogin(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get(fragmentHeader) != "":
		writeJSON(w, http.StatusUnauthorized, said{"You have been logged out. Log in again."})
	case r.Method == http.MethodGet && r.URL.Path != operatorPrefix:
		http.Redirect(w, r, "/operator/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/operator/login", http.StatusSeeOther)
	}
}

// localOperatorPath returns next if it is a page of the operator's console, else
// its overview.
func localOperatorPath(next string) string {
	if strings.HasPrefix(next, operatorPrefix+"/") && !strings.HasPrefix(next, "/operator/log") {
		return next
	}
	return operatorPrefix
}

func (c *Console) operatorAskLogin(w http.ResponseWriter, r *http.Request) {
	next := localOperatorPath(r.URL.Query().Get("next"))
	if _, err := c.operatorSession(r); err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	done := ""
	if r.URL.Query().Get("done") == "bye" {
		done = doneTexts["bye"]
	}
	c.render(w, r, http.StatusOK, c.operatorLoginPage(loginFields("", ""), next, done, ""))
}

func (c *Console) operatorLogin(w http.ResponseWriter, r *http.Request) {
	if err := readForm(w, r); err != nil {
		c.fail(w, r, nil, err)
		return
	}
	email, next := r.PostForm.Get("email"), localOperatorPath(r.PostForm.Get("next"))
	cookie, _, err := c.Tenants.OperatorLogIn(r.Context(), email, r.PostForm.Get("password"), address(r), r.UserAgent())
	var refusal *tenant.Refusal
	switch {
	case errors.Is(err, tenant.ErrLogin):
		c.render(w, r, http.StatusUnprocessableEntity, c.operatorLoginPage(loginFields(email, "Email or password is wrong."), next, "", ""))
	case errors.As(err, &refusal):
		c.render(w, r, problemOf(err).status, c.operatorLoginPage(loginFields(email, ""), next, "", refusal.Detail))
	case err != nil:
		c.fail(w, r, nil, err)
	default:
		c.setCookie(w, c.operatorCookie(), cookie, tenant.SessionLifetime)
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}

func (c *Console) operatorLogout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(c.operatorCookie()); err == nil {
		if err := c.Tenants.OperatorLogOut(r.Context(), cookie.Value); err != nil {
			c.fail(w, r, nil, err)
			return
		}
	}
	c.setCookie(w, c.operatorCookie(), "", -1)
	http.Redirect(w, r, "/operator/login?done=bye", http.StatusSeeOther)
}

// operatorData is the overview.
type operatorData struct {
	totals tenant.Totals
	nodes  []cluster.Info // that run
	drift  int64
	signup bool
}

func (c *Console) operatorOverview(w http.ResponseWriter, r *http.Request, v *visit) (err error) {
	d := operatorData{drift: c.Ledger.Drift(), signup: c.SignupOpen}
	if d.totals, err = c.Tenants.Totals(r.Context(), v.operator.Authority); err != nil {
		return err
	}
	if d.nodes, err = c.runningNodes(r.Context(), v); err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, operatorOverviewPage(v, d))
}

// runningNodes returns the nodes that have not ended.
func (c *Console) runningNodes(ctx context.Context, v *visit) (running []cluster.Info, err error) {
	nodes, err := c.Node.Nodes(ctx, v.operator.Authority)
	for _, n := range nodes {
		if n.EndedAt == nil {
			running = append(running, n)
		}
	}
	return running, err
}

// late reports whether a node has not renewed its lease for some heartbeats.
func late(v *visit, n cluster.Info) bool {
	return n.EndedAt == nil && n.LeaseUntil.Sub(v.now) < lateLease
}

// lateLease is what is left of a lease that should have been renewed: a node does
// so each 5 s, for 30 s.
const lateLease = 15 * time.Second

// troubles are what an operator should look at, in words.
func (d operatorData) troubles(v *visit) (lines []string) {
	if d.drift > 0 {
		lines = append(lines, plural(int(d.drift), "count of licence places is", "counts of licence places are")+
			" wrong: a bug, named in the log of this node. platform doctor recounts.")
	}
	for _, n := range d.nodes {
		if late(v, n) {
			lines = append(lines, "Node "+n.Name+" ("+shortID(n.ID)+") has not renewed its lease: it is cut off from the database, or dead.")
		}
	}
	return lines
}

func (c *Console) operatorAudit(w http.ResponseWriter, r *http.Request, v *visit) error {
	d := auditData{base: "/operator/audit"}
	var q tenant.AuditQuery
	var err error
	d.form, q = askedAudit(r.URL.Query(), v.zone)
	if d.entries, d.next, err = c.Tenants.SearchOperatorAudit(r.Context(), v.operator.Authority, q, auditPageSize); err != nil {
		return err
	}
	status := http.StatusOK
	if d.form.Problem != "" {
		status = http.StatusUnprocessableEntity
	}
	return v.page(w, r, status, operatorAuditPage(v, d))
}

func (c *Console) operatorAuditEntry(w http.ResponseWriter, r *http.Request, v *visit) error {
	id, err := auditID(r)
	if err != nil {
		return err
	}
	e, err := c.Tenants.OperatorAuditEntry(r.Context(), v.operator.Authority, id)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, auditEntryPage(v, "/operator/audit", e))
}

func signupWord(open bool) string {
	if open {
		return "open"
	}
	return "closed"
}

// operatorTexts are doneTexts of the operator's console.
var operatorTexts = map[string]string{
	"tenant-made":        "The tenant is made.",
	"suspended":          "The tenant is suspended: new connections are refused within two seconds. Who is connected stays.",
	"resumed":            "The tenant is active again.",
	"all-ended":          "All of the tenant's connections are being ended.",
	"licence-set":        "The licence is changed, from now on.",
	"plan-made":          "The plan is made. Give it to tenants on their pages.",
	"plan-priced":        "Noted. The new prices hold from that day on.",
	"plan-dropped":       "Taken back. The prices before go on.",
	"plan-given":         "The plan is given.",
	"plan-withdrawn":     "Taken back. The plan before goes on.",
	"drained":            "The node takes no new channels. Watch its connections go.",
	"undrained":          "The node takes new channels again.",
	"operator-added":     "The operator is added. Hand the first password over on a safe way.",
	"operator-removed":   "The operator is removed and logged out everywhere.",
	"invoice-final":      "The invoice is final, and its mail is on its way.",
	"invoice-held":       "The draft is held until it is released.",
	"invoice-released":   "The draft is released.",
	"invoice-recomputed": "The draft is computed anew, from what is known now.",
	"line-added":         "The line is added.",
	"line-dropped":       "The line is taken off.",
	"note-issued":        "The credit note is issued.",
	"issuer":             "Saved. Invoices from now on say so.",
	"credit-given":       "The tenant has the credit.",
	"credit-withdrawn":   "The credit is taken back.",
}
