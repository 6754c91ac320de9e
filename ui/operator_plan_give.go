package ui

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// tenantPlans are the plans of a tenant on its page, and the form that gives it one.
type tenantPlans struct {
	now   billing.PlanStep
	given []billing.GivenPlan // newest first
	all   []billing.Plan
	form  giveForm
}

// giveForm is the form, as it was sent.
type giveForm struct {
	plan, from, override string
	problems             []rating.FieldError // of the override
	problem              tenant.FieldError   // of another field
}

// problem returns what is wrong with a field; "": nothing.
func (f giveForm) of(field string) string {
	if f.problem.Field == field {
		return f.problem.Problem
	}
	return ""
}

// readPlans reads the tenant's plans; the form starts with what it has.
func (c *Console) readPlans(r *http.Request, v *visit, scope tenant.Scope, form *giveForm) (d tenantPlans, err error) {
	if d.all, err = c.plans.List(r.Context(), v.operator.Authority); err != nil {
		return d, err
	}
	if d.given, err = c.plans.Given(r.Context(), scope); err != nil {
		return d, err
	}
	timeline, err := c.plans.Mine(r.Context(), scope)
	if err != nil {
		return d, err
	}
	d.now = timeline.On(billing.DayOf(v.now.In(timeline.Zone())))
	if form != nil {
		d.form = *form
		return d, nil
	}
	d.form.plan = d.now.Version.Plan
	d.form.override, err = overrideJSON(d.now.Override)
	return d, err
}

// overrideJSON is an override as people edit it; "": none.
func overrideJSON(o *billing.Override) (string, error) {
	if o == nil {
		return "", nil
	}
	text, err := json.MarshalIndent(o, "", "  ")
	return string(text), err
}

// planOptions are the plans to choose from.
func (d tenantPlans) planOptions() (options []option) {
	for _, p := range d.all {
		options = append(options, option{p.ID, p.Name + " (" + p.Currency + ")"})
	}
	return options
}

// operatorGivePlan gives the tenant a plan from a day on.
func (c *Console) operatorGivePlan(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	_, t, err := c.operatorScope(r, v)
	if err != nil {
		return err
	}
	form := giveForm{plan: r.PostForm.Get("plan"), from: r.PostForm.Get("from"), override: r.PostForm.Get("override")}
	again := func() error { return c.showTenantPlan(w, r, v, &form) }
	var from billing.Day
	if form.from != "" {
		if from, err = billing.ParseDay(form.from); err != nil {
			form.problem = tenant.FieldError{Field: "from", Problem: "Give a day such as 2027-04-01."}
			return again()
		}
	}
	own, err := billing.ParseOverride([]byte(form.override))
	if err == nil {
		_, err = c.plans.Assign(r.Context(), v.operator.Authority, t.ID, form.plan, from, own)
	}
	var prices rating.Invalid
	var field *tenant.FieldError
	switch {
	case errors.As(err, &prices):
		form.problems = prices
		return again()
	case errors.As(err, &field):
		form.problem = *field
		return again()
	case err != nil:
		return err
	}
	return v.finish(w, r, tenantPath(t.ID)+"/plan", "plan-given")
}

// operatorWithdrawPlan takes back a plan from a day that is to come.
func (c *Console) operatorWithdrawPlan(w http.ResponseWriter, r *http.Request, v *visit) error {
	_, t, err := c.operatorScope(r, v)
	if err != nil {
		return err
	}
	day, err := billing.ParseDay(param(r, "day"))
	if err != nil {
		return tenant.ErrNotFound
	}
	if err := c.plans.Withdraw(r.Context(), v.operator.Authority, t.ID, day); err != nil {
		return err
	}
	return v.finish(w, r, tenantPath(t.ID)+"/plan", "plan-withdrawn")
}

// operatorTenantPlan shows a tenant's plans.
func (c *Console) operatorTenantPlan(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showTenantPlan(w, r, v, nil)
}

func (c *Console) showTenantPlan(w http.ResponseWriter, r *http.Request, v *visit, form *giveForm) error {
	scope, t, err := c.operatorScope(r, v)
	if err != nil {
		return err
	}
	d, err := c.readPlans(r, v, scope, form)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if form != nil {
		status = http.StatusUnprocessableEntity
	}
	return v.page(w, r, status, operatorTenantPlanPage(v, t, d))
}
