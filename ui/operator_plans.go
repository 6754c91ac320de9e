package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// operatorPlansData is the list of plans and the form for a new one.
type operatorPlansData struct {
	plans []billing.Plan
	today billing.Day // by UTC
	form  planForm
}

// planForm is what a new plan, or new prices of one, are made of.
type planForm struct {
	id, name, description string
	from                  string // a day
	prices                string // a rating.Version as JSON
	example               planExample
	problems              []rating.FieldError // of the prices
	problem               tenant.FieldError   // of another field
	preview               *rating.Version     // what the prices are; nil: not looked at
}

// of returns what is wrong with a field; "": nothing.
func (f planForm) of(field string) string {
	if f.problem.Field == field {
		return f.problem.Problem
	}
	return ""
}

// wrong takes an error as what is wrong with the form; false: it is not the form.
func (f *planForm) wrong(err error) bool {
	var prices rating.Invalid
	var field *tenant.FieldError
	switch {
	case errors.As(err, &prices):
		f.problems = prices
	case errors.As(err, &field):
		f.problem = *field
	default:
		return false
	}
	return true
}

// readPlanForm reads the form as it was sent.
func readPlanForm(form url.Values) planForm {
	return planForm{id: form.Get("id"), name: form.Get("name"), description: form.Get("description"), from: form.Get("from"),
		prices: form.Get("prices"), example: askedExample(form)}
}

// look parses the prices and rates the example by them; what is wrong is in the form.
func (f *planForm) look(plan, name string, number int) error {
	v, err := rating.Parse(plan, name, number, []byte(f.prices))
	if err != nil {
		f.wrong(err)
		return nil
	}
	f.preview = v
	return f.example.rate(v)
}

// pricesText is a version's JSON as people edit it.
func pricesJSON(v *rating.Version) (string, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return text.String(), err
}

func (c *Console) operatorPlans(w http.ResponseWriter, r *http.Request, v *visit) error {
	form := planForm{example: askedExample(nil)}
	return c.showPlans(w, r, v, http.StatusOK, form)
}

func (c *Console) showPlans(w http.ResponseWriter, r *http.Request, v *visit, status int, form planForm) error {
	all, err := c.plans.List(r.Context(), v.operator.Authority)
	if err != nil {
		return err
	}
	d := operatorPlansData{plans: all, today: billing.DayOf(v.now.UTC()), form: form}
	if d.form.prices == "" && len(all) > 0 {
		if d.form.prices, err = pricesJSON(all[len(all)-1].On(d.today).Prices); err != nil {
			return err
		}
	}
	return v.page(w, r, status, operatorPlanList(v, d))
}

// operatorCreatePlan makes a plan, or shows what it would be.
func (c *Console) operatorCreatePlan(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	form := readPlanForm(r.PostForm)
	if r.PostForm.Has("preview") {
		if err := form.look(form.id, form.name, 1); err != nil {
			return err
		}
		return c.showPlans(w, r, v, form.status(), form)
	}
	made, err := c.plans.Create(r.Context(), v.operator.Authority, form.id, form.name, form.description, []byte(form.prices))
	if form.wrong(err) {
		return c.showPlans(w, r, v, http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	return v.finish(w, r, planPath(made.ID), "plan-made")
}

// status is that of the page that shows the form anew.
func (f planForm) status() int {
	if len(f.problems) > 0 || f.problem.Problem != "" || f.example.problem != "" {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

func planPath(id string) string { return "/operator/plans/" + url.PathEscape(id) }

// operatorPlanData is a plan's page.
type operatorPlanData struct {
	billing.Plan
	holds  int         // the number of the version in force, by UTC
	before rating.Bill // what the example costs by it
	form   planForm
}

func (c *Console) operatorPlan(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showPlan(w, r, v, http.StatusOK, planForm{example: askedExample(nil)})
}

func (c *Console) showPlan(w http.ResponseWriter, r *http.Request, v *visit, status int, form planForm) (err error) {
	d := operatorPlanData{form: form}
	if d.Plan, err = c.plans.Get(r.Context(), v.operator.Authority, param(r, "plan")); err != nil {
		return err
	}
	today := billing.DayOf(v.now.UTC())
	holds := d.On(today)
	d.holds = holds.Number
	if d.form.prices == "" {
		if d.form.prices, err = pricesJSON(d.Versions[0].Prices); err != nil {
			return err
		}
	}
	if d.form.preview != nil && d.form.example.problem == "" {
		if d.before, err = form.example.now().Bill(holds.Prices); err != nil {
			return err
		}
	}
	return v.page(w, r, status, operatorPlanPage(v, d))
}

// now is the example of a form that has been read.
func (e planExample) now() rating.Example { return e.read() }

// operatorPricePlan gives a plan new prices, or shows what they would be.
func (c *Console) operatorPricePlan(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	id, form := param(r, "plan"), readPlanForm(r.PostForm)
	if r.PostForm.Has("preview") {
		plan, err := c.plans.Get(r.Context(), v.operator.Authority, id)
		if err != nil {
			return err
		}
		if err := form.look(id, plan.Name, plan.Versions[0].Number+1); err != nil {
			return err
		}
		return c.showPlan(w, r, v, form.status(), form)
	}
	from, err := billing.ParseDay(form.from)
	if err != nil {
		form.problem = tenant.FieldError{Field: "from", Problem: "Give a day such as 2027-04-01."}
		return c.showPlan(w, r, v, http.StatusUnprocessableEntity, form)
	}
	_, err = c.plans.AddVersion(r.Context(), v.operator.Authority, id, from, []byte(form.prices))
	if form.wrong(err) {
		return c.showPlan(w, r, v, http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	return v.finish(w, r, planPath(id), "plan-priced")
}

// operatorDropPrices takes back a version that has begun nowhere.
func (c *Console) operatorDropPrices(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := param(r, "plan")
	number, err := strconv.Atoi(param(r, "version"))
	if err != nil {
		return tenant.ErrNotFound
	}
	if err := c.plans.DropVersion(r.Context(), v.operator.Authority, id, number); err != nil {
		return err
	}
	return v.finish(w, r, planPath(id), "plan-dropped")
}
