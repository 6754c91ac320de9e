package ui_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// A tenant reads what it pays by, now and later, and what some use would cost.
func TestPlanPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	p.get("/console/plan").has("Your plan: Standard Prices are in JPY, without tax. in force", "Licence for 300 connections JPY 2,400,000 a year 10 %", "Connection minutes included",
		"each started minute is billed, and at least one minute", "By this plan, what is used is included.")
	plans := billing.NewPlans(s.pool)
	own, err := billing.ParseOverride([]byte(`{"components": [{"key": "gb_out", "name": "Data", "kind": "metered", "meter": "gb_out", "model": "per_unit", "unit_price": "5", "tax_percent": 10}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plans.Assign(t.Context(), tenant.CommandLine(), p.signed.Tenant, "metered", "", nil); err != nil {
		t.Fatal(err)
	}
	later := billing.DayOf(time.Now().AddDate(0, 2, 0))
	if _, err := plans.Assign(t.Context(), tenant.CommandLine(), p.signed.Tenant, "metered", later, own); err != nil {
		t.Fatal(err)
	}
	// 1,001 connections of 1 minute are 101 started packages of 10; 11 GB have one to pay.
	p.get("/console/plan?connections=1001&minutes=1&gb=11&recording=10").has("Your plan: Metered", "JPY 10 for each started 10 minutes", "JPY 12.5 for each GB; 10 GB of a month included",
		"Used 1,001 Each started 10 minutes 101 × 10 1,010", "Recording minutes", "Subtotal 1,031", "Tax, 10 % of 1,031 103", "Total, a month JPY 1,134",
		"Other prices hold from "+later.Text()+" on", "JPY 5 for each GB", "by agreement", "to come")
	p.get("/console/plan?connections=-1").want(http.StatusUnprocessableEntity).has("whole numbers from 0 to 1,000,000")
	// A plan without licences has none to choose.
	p.get("/console/licence").want(http.StatusOK).has("has no yearly licences")
	p.member(tenant.Viewer).get("/console/plan").want(http.StatusOK)
}

// An operator makes plans, gives them new prices after a look at them, and gives them
// to tenants.
func TestOperatorPlans(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, k := s.owner(t, "Skylark"), s.keeper(t, "keeper@example.com")
	k.get("/operator/plans").has("Standard default standard", "Metered")
	const prices = `{"currency": "USD", "rule": {"increment_seconds": 1, "minimum_seconds": 0, "scope": "connection"},
		"components": [{"key": "minutes", "name": "Minutes", "kind": "metered", "meter": "connection_minutes", "model": "per_unit", "unit_price": "0.004", "tax_percent": 10}]}`
	form := []string{"id", "gold", "name", "Gold", "description", "By the second.", "prices", prices, "connections", "1000", "minutes", "10", "gb", "0", "recording", "0"}
	k.post("/operator/plans", append(form, "preview", "on")...).want(http.StatusOK).has("USD 0.004 for each minute", "each started second is billed", "Total, a month USD 44.00")
	k.post("/operator/plans", "id", "gold", "name", "Gold", "prices", `{"currency": "XXX", "rule": {}}`).want(http.StatusUnprocessableEntity).has("currency: one of", "rule.increment_seconds")
	k.post("/operator/plans", append([]string{"id", "Gold"}, form[2:]...)...).want(http.StatusUnprocessableEntity).has("the first a letter")
	k.post("/operator/plans", form...).wantTo("/operator/plans/gold?done=plan-made")
	k.get("/operator/plans/gold?done=plan-made").has("The plan is made", "Version 1", "in force", "0 tenants")
	k.get("/operator/plans/lead").want(http.StatusNotFound)

	later := billing.DayOf(time.Now().UTC().AddDate(0, 0, 40))
	dearer := strings.Replace(prices, "0.004", "0.005", 1)
	k.post("/operator/plans/gold/versions", "from", string(later), "prices", dearer, "connections", "1000", "minutes", "10", "gb", "0", "recording", "0", "preview", "on").
		want(http.StatusOK).has("USD 0.005 for each minute", "USD 55.00", "By the prices in force it costs USD 44.00")
	k.post("/operator/plans/gold/versions", "from", "2026-01-01", "prices", dearer).want(http.StatusUnprocessableEntity).has("or a later day")
	k.post("/operator/plans/gold/versions", "from", "soon", "prices", dearer).want(http.StatusUnprocessableEntity).has("Give a day")
	k.post("/operator/plans/gold/versions", "from", string(later), "prices", dearer).wantTo("/operator/plans/gold?done=plan-priced")
	k.get("/operator/plans/gold").has("Version 2", "to come", later.Text())
	k.post("/operator/plans/gold/versions/1/drop").want(http.StatusNotFound)
	k.post("/operator/plans/gold/versions/x/drop").want(http.StatusNotFound)
	k.post("/operator/plans/gold/versions/2/drop").wantTo("/operator/plans/gold?done=plan-dropped")

	path := "/operator/tenants/" + string(p.signed.Tenant) + "/plan"
	k.get(path).has("Standard, version 1", "it has the default plan")
	k.post(path, "plan", "lead").want(http.StatusUnprocessableEntity).has("no such plan")
	k.post(path, "plan", "gold", "from", "2026-01-01").want(http.StatusUnprocessableEntity).has("or a later day")
	k.post(path, "plan", "gold", "from", "soon").want(http.StatusUnprocessableEntity).has("Give a day")
	k.post(path, "plan", "gold", "override", `{"minimum": -1}`).want(http.StatusUnprocessableEntity).has("minimum: 0 to")
	k.post(path, "plan", "gold", "override", `{"minimum": 5000}`).wantTo(path + "?done=plan-given")
	k.get(path+"?done=plan-given").has("The plan is given", "Gold, version 1", "own prices", "at least USD 50.00 a month")
	k.post(path, "plan", "standard", "from", string(later)).wantTo(path + "?done=plan-given")
	k.get(path).has(later.Text(), "Take back")
	k.post(path + "/" + string(later) + "/withdraw").wantTo(path + "?done=plan-withdrawn")
	k.post(path + "/" + string(later) + "/withdraw").want(http.StatusNotFound)
	k.post(path + "/never/withdraw").want(http.StatusNotFound)
	p.get("/console/plan").has("Your plan: Gold", "at least USD 50.00 a month")
	p.get("/console/audit").has("plan.assigned")
}
