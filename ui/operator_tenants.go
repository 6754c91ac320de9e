package ui

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// operatorTenantsData is a page of tenants and the form for a new one.
type operatorTenantsData struct {
	text    string // searched for
	tenants []tenant.TenantSummary
	next    tenant.ID
	fields  []input
}

const operatorTenantsPage = 50

func newTenantFields(name, email, licence string, problem tenant.FieldError) []input {
	fields := []input{
		{Name: "name", Label: "Organisation", Value: name, Required: true},
		{Name: "email", Label: "Owner's email", Kind: "email", Value: email, Required: true, Autocomplete: "off"},
		{Name: "licence", Label: "Connections at once", Kind: "number", Value: licence},
	}
	for i := range fields {
		if fields[i].Name == problem.Field {
			fields[i].Problem = problem.Problem
		}
	}
	return fields
}

func (c *Console) operatorTenants(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showTenants(w, r, v, http.StatusOK, newTenantFields("", "", "300", tenant.FieldError{}))
}

func (c *Console) showTenants(w http.ResponseWriter, r *http.Request, v *visit, status int, fields []input) (err error) {
	d := operatorTenantsData{text: r.URL.Query().Get("text"), fields: fields}
	d.tenants, d.next, err = c.Tenants.TenantSummaries(r.Context(), v.operator.Authority, d.text, tenant.ID(r.URL.Query().Get("after")), operatorTenantsPage)
	if err != nil {
		return err
	}
	return v.page(w, r, status, operatorTenantList(v, d))
}

// more is where the next page of tenants is.
func (d operatorTenantsData) more() string {
	return "/operator/tenants?" + url.Values{"text": {d.text}, "after": {string(d.next)}}.Encode()
}

// operatorCreateTenant makes a tenant. Its owner's first password is made here and
// shown once: the operator hands it over, and the owner changes it.
func (c *Console) operatorCreateTenant(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	name, email, licence := r.PostForm.Get("name"), r.PostForm.Get("email"), strings.TrimSpace(r.PostForm.Get("licence"))
	wrong := func(problem tenant.FieldError) error {
		return c.showTenants(w, r, v, http.StatusUnprocessableEntity, newTenantFields(name, email, licence, problem))
	}
	n := tenant.NewTenant{Name: name, Email: email, Password: rand.Text(), By: v.operator.Authority}
	var err error
	if licence != "" {
		if n.Licence, err = strconv.Atoi(licence); err != nil || n.Licence < 1 {
			return wrong(tenant.FieldError{Field: "licence", Problem: "Give a whole number from 1 on."})
		}
	}
	made, err := c.Tenants.CreateTenant(r.Context(), n)
	var field *tenant.FieldError
	switch {
	case errors.As(err, &field):
		return wrong(*field)
	case errors.Is(err, tenant.ErrEmailTaken):
		return wrong(tenant.FieldError{Field: "email", Problem: "This address already has an account."})
	case err != nil:
		return err
	}
	path := tenantPath(made.Tenant)
	if err := c.handSecrets(w, v.who(), path, secrets{
		Title: "The owner's first log-in",
		Hint:  "It is shown only now. Hand it over on a safe way: the owner logs in with it and makes keys of their own.",
		Values: []secretValue{{"Email", made.Email}, {"Password", n.Password},
			{"API key", made.APIKey}, {"Signing key", made.SigningKey}, {"Signing key id", made.SigningKeyID}},
	}); err != nil {
		return err
	}
	return v.finish(w, r, path, "tenant-made")
}

func tenantPath(id tenant.ID) string { return "/operator/tenants/" + url.PathEscape(string(id)) }

// operatorTenantData is a tenant's page.
type operatorTenantData struct {
	tenant.TenantSummary
	licence        billing.LicenceState
	audit          []tenant.AuditEntry
	events         []tenant.Event
	reasonProblem  string
	licenceProblem string
}

const recentEntries = 10

func (c *Console) operatorTenant(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showTenant(w, r, v, http.StatusOK, "", "")
}

func (c *Console) showTenant(w http.ResponseWriter, r *http.Request, v *visit, status int, reasonProblem, licenceProblem string) error {
	ctx, by := r.Context(), v.operator.Authority
	d := operatorTenantData{reasonProblem: reasonProblem, licenceProblem: licenceProblem}
	var err error
	if d.TenantSummary, err = c.Tenants.TenantSummary(ctx, by, tenant.ID(param(r, "tenant"))); err != nil {
		return err
	}
	scope := by.Over(d.ID)
	if d.licence, err = c.Ledger.LicenceState(ctx, scope); err != nil {
		return err
	}
	if d.audit, _, err = c.Tenants.SearchAudit(ctx, scope, tenant.AuditQuery{}, recentEntries); err != nil {
		return err
	}
	last, err := c.Hooks.LastSeq(ctx, scope)
	if err != nil {
		return err
	}
	if d.events, err = c.Hooks.Events(ctx, scope, max(0, last-recentEntries), recentEntries); err != nil {
		return err
	}
	return v.page(w, r, status, operatorTenantPage(v, d))
}

// operatorScope returns the operator's scope over the tenant of the path;
// ErrNotFound if there is none.
func (c *Console) operatorScope(r *http.Request, v *visit) (tenant.Scope, tenant.TenantSummary, error) {
	t, err := c.Tenants.TenantSummary(r.Context(), v.operator.Authority, tenant.ID(param(r, "tenant")))
	if err != nil {
		return tenant.Scope{}, t, err
	}
	return v.operator.Authority.Over(t.ID), t, nil
}

// operatorSuspend refuses the tenant's new connections. Who is connected stays.
func (c *Console) operatorSuspend(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	id := tenant.ID(param(r, "tenant"))
	err := c.Tenants.Suspend(r.Context(), v.operator.Authority, id, r.PostForm.Get("reason"))
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return c.showTenant(w, r, v, http.StatusUnprocessableEntity, field.Problem, "")
	}
	if err != nil {
		return err
	}
	return v.finish(w, r, tenantPath(id), "suspended")
}

func (c *Console) operatorResume(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := tenant.ID(param(r, "tenant"))
	if err := c.Tenants.Resume(r.Context(), v.operator.Authority, id); err != nil {
		return err
	}
	return v.finish(w, r, tenantPath(id), "resumed")
}

// operatorAskDisconnect asks once whether to end all of a tenant's connections.
func (c *Console) operatorAskDisconnect(w http.ResponseWriter, r *http.Request, v *visit) error {
	_, t, err := c.operatorScope(r, v)
	if err != nil {
		return err
	}
	return v.ask(w, r, question{
		Title:   "End all connections of this tenant?",
		Text:    "Every call of theirs ends at once, on every node. Unless they are suspended, their clients may come back.",
		Facts:   [][2]string{{"Tenant", t.Name}, {"Connections", whole(t.Connections)}},
		Confirm: "End them all",
		Action:  tenantPath(t.ID) + "/disconnect",
		Back:    tenantPath(t.ID),
	})
}

func (c *Console) operatorDisconnect(w http.ResponseWriter, r *http.Request, v *visit) error {
	scope, t, err := c.operatorScope(r, v)
	if err != nil {
		return err
	}
	detail := map[string]any{"connections": t.Connections}
	if err := c.auditOperator(r, v, t.ID, "tenant.disconnected", string(t.ID), detail); err != nil {
		return err
	}
	if _, _, err := c.Node.DisconnectAll(r.Context(), scope, tenant.Choice{}, tenant.Parting{Reason: tenant.EndConsole}); err != nil {
		return err
	}
	return v.finish(w, r, tenantPath(t.ID), "all-ended")
}

// operatorSetLicence changes what a tenant may have, at once. With the same number of
// connections it stays of its kind, with its year, unless it is to be a custom one. The
// ledger writes the tenant's log; the operators' gets an entry of its own before.
func (c *Console) operatorSetLicence(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	scope, t, err := c.operatorScope(r, v)
	if err != nil {
		return err
	}
	connections, err1 := strconv.Atoi(strings.TrimSpace(r.PostForm.Get("connections")))
	perChannel, err2 := strconv.Atoi(strings.TrimSpace(r.PostForm.Get("per_channel")))
	if err1 != nil || err2 != nil || connections < 0 || perChannel < 0 || connections > maxOperatorLicence || perChannel > maxOperatorLicence {
		return c.showTenant(w, r, v, http.StatusUnprocessableEntity, "", "Give whole numbers from 0 to "+whole(maxOperatorLicence)+".")
	}
	discounts := r.PostForm["discount"]
	grant := billing.LicenceGrant{PerChannel: &perChannel, Discounts: &discounts}
	if connections != t.MaxConnections || r.PostForm.Has("custom") {
		grant.Connections = &connections
	}
	diff := tenant.Diff{"max_connections": {t.MaxConnections, connections}, "max_per_channel": {t.MaxPerChannel, perChannel}}
	if err := c.auditOperator(r, v, "", "licence.set", string(t.ID), diff); err != nil {
		return err
	}
	_, err = c.Ledger.GrantLicence(r.Context(), scope, grant)
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return c.showTenant(w, r, v, http.StatusUnprocessableEntity, "", field.Problem)
	}
	if err != nil {
		return err
	}
	return v.finish(w, r, tenantPath(t.ID), "licence-set")
}

// operatorLicenceText says of which kind a licence is, and what becomes of it.
func operatorLicenceText(v *visit, s billing.LicenceState) string {
	switch {
	case s.Scheduled != nil:
		return kindName(s.Current.Kind) + ", " + whole(s.Scheduled.Connections) + " from " + v.date(s.Scheduled.From) + " on"
	case s.Renews():
		return kindName(s.Current.Kind) + ", renewed on " + v.date(*s.Current.PeriodTo)
	}
	return kindName(s.Current.Kind)
}

// maxOperatorLicence bounds what an operator may grant.
const maxOperatorLicence = 1_000_000

// auditOperator writes an entry about something that has no transaction to share,
// before it is done.
func (c *Console) auditOperator(r *http.Request, v *visit, about tenant.ID, action, target string, what any) error {
	return tenant.AuditOperator(r.Context(), c.DB, v.operator.Authority, about, action, target, what)
}

// newestFirst turns events round.
func newestFirst(events []tenant.Event) []tenant.Event {
	turned := slices.Clone(events)
	slices.Reverse(turned)
	return turned
}
