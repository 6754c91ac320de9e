package billing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// feePrices are prices with a monthly fee.
func feePrices(currency string, amount int) []byte {
	return fmt.Appendf(nil, `{"currency": %q, "rule": {"increment_seconds": 60, "minimum_seconds": 60, "scope": "connection"},
		"components": [{"key": "fee", "name": "Fee", "kind": "flat", "amount": "%d", "tax_percent": 10}]}`, currency, amount)
}

// wantField fails unless a field is wrong, for a reason.
func wantField(t *testing.T, err error, field, why string) {
	t.Helper()
	var wrong *tenant.FieldError
	if !errors.As(err, &wrong) || wrong.Field != field || !strings.Contains(wrong.Problem, why) {
		t.Errorf("%v; want %s wrong for %q", err, field, why)
	}
}

// Operators make plans and give them new prices for days to come, never for days that
// have begun.
func TestPlanVersions(t *testing.T) {
	b, by := newBench(t), tenant.CommandLine()
	plans, ctx := billing.NewPlans(b.pool), t.Context()
	made, err := plans.Create(ctx, by, "gold", "Gold", "All of it.", feePrices("USD", 10))
	b.must(err)
	if made.Currency != "USD" || made.Default || made.Tenants != 0 || len(made.Versions) != 1 || !made.Versions[0].Begun {
		t.Errorf("the new plan is %+v", made)
	}
	_, err = plans.Create(ctx, by, "gold", "Gold", "", feePrices("USD", 10))
	wantField(t, err, "id", "There is a plan")
	_, err = plans.Create(ctx, by, "Gold!", "Gold", "", feePrices("USD", 10))
	wantField(t, err, "id", "a-z")
	_, err = plans.Create(ctx, by, "silver", " ", "", feePrices("USD", 10))
	wantField(t, err, "name", "name")
	if _, err = plans.Create(ctx, by, "silver", "Silver", "", []byte(`{"currency": "JPY", "prize": 1}`)); !errors.As(err, new(rating.Invalid)) {
		t.Errorf("prices with a typing mistake: %v", err)
	}

	latest := billing.DayOf(one[time.Time](b, `select clock_timestamp()`).UTC().Add(14 * time.Hour))
	_, err = plans.AddVersion(ctx, by, "gold", latest, feePrices("USD", 20))
	wantField(t, err, "from", "Choose "+string(latest.Next()))
	if _, err = plans.AddVersion(ctx, by, "gold", latest.Next(), feePrices("JPY", 20)); !errors.As(err, new(rating.Invalid)) {
		t.Errorf("a version in another currency: %v", err)
	}
	if _, err = plans.AddVersion(ctx, by, "lead", latest.Next(), feePrices("JPY", 20)); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("a version of no plan: %v", err)
	}
	number, err := plans.AddVersion(ctx, by, "gold", latest.Next(), feePrices("USD", 20))
	b.must(err)
	_, err = plans.AddVersion(ctx, by, "gold", latest.Next(), feePrices("USD", 30))
	wantField(t, err, "from", "There is a version")
	gold, err := plans.Get(ctx, by, "gold")
	b.must(err)
	if number != 2 || len(gold.Versions) != 2 || gold.Versions[0].Number != 2 || gold.Versions[0].Begun || gold.On(latest).Number != 1 || gold.On(latest.Next()).Number != 2 || gold.On("1990-01-01").Number != 1 {
		t.Errorf("the plan is %+v", gold)
	}
	if err := plans.DropVersion(ctx, by, "gold", 1); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("the version that holds was dropped: %v", err)
	}
	b.must(plans.DropVersion(ctx, by, "gold", 2))
	if err := plans.DropVersion(ctx, by, "gold", 2); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("dropped twice: %v", err)
	}
	if _, err := plans.List(ctx, tenant.Authority{}); !errors.Is(err, tenant.ErrScope) {
		t.Errorf("nobody's list: %v", err)
	}
	if got := one[string](b, `select string_agg(action || ' ' || target, ', ' order by audit_id) from operator_audit_entry`); got != "plan.created gold, plan.priced gold, plan.price_dropped gold" {
		t.Errorf("the operators' log: %s", got)
	}
}

// What has begun is refused a change by the database itself, also for its owner.
func TestBegunPlansAreImmutable(t *testing.T) {
	url := dbtest.URL(t)
	owner, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.Background())
	for _, sql := range []string{
		`insert into tenant (tenant_id, name) values ('ten_a', 'A')`,
		`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ('ten_a', '2026-01-01', 'metered', 'test')`,
		`insert into plan_version (plan_id, number, valid_from, prices, created_by) select plan_id, 2, '2999-01-01', prices, 'test' from plan_version where plan_id = 'metered'`,
	} {
		if _, err := owner.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, sql := range []string{
		`update plan_version set prices = '{}' where number = 1`,
		`update plan_version set valid_from = '2026-01-01' where number = 2`,
		`delete from plan_version where plan_id = 'metered'`,
		`update tenant_plan set override = '{}'`,
		`delete from tenant_plan`,
	} {
		if _, err := owner.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "has begun") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := owner.Exec(t.Context(), `delete from plan_version where number = 2`); err != nil {
		t.Errorf("what is to come could not be taken back: %v", err)
	}
}

// A tenant gets a plan from a day on: today while nothing was used, else from tomorrow.
func TestGivePlans(t *testing.T) {
	b, by := newBench(t), tenant.CommandLine()
	plans, ctx, scope := billing.NewPlans(b.pool), t.Context(), b.newTenant(300, 150)
	b.exec(`update tenant set time_zone = 'Pacific/Kiritimati' where tenant_id = $1`, scope.Tenant())
	today := billing.DayOf(one[time.Time](b, `select clock_timestamp()`).In(loadZone(t, "Pacific/Kiritimati")))

	_, err := plans.Assign(ctx, by, scope.Tenant(), "lead", "", nil)
	wantField(t, err, "plan", "no such plan")
	_, err = plans.Assign(ctx, by, scope.Tenant(), "metered", "2026-01-01", nil)
	wantField(t, err, "from", "Choose "+string(today))
	if _, err = plans.Assign(ctx, by, "ten_nobody", "metered", "", nil); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("a plan for nobody: %v", err)
	}
	if _, err = plans.Assign(ctx, tenant.Authority{}, scope.Tenant(), "metered", "", nil); !errors.Is(err, tenant.ErrScope) {
		t.Errorf("a plan from nobody: %v", err)
	}
	from, err := plans.Assign(ctx, by, scope.Tenant(), "metered", "", nil)
	b.must(err)
	if from != today {
		t.Errorf("the plan is had from %s on; today is %s", from, today)
	}
	// The same day once more, now with prices of its own.
	own, err := billing.ParseOverride([]byte(`{"components": [{"key": "gb_out", "name": "Data", "kind": "metered", "meter": "gb_out", "model": "per_unit", "unit_price": "5"}],
		"without": ["recording_minutes"], "minimum": 1000}`))
	b.must(err)
	_, err = plans.Assign(ctx, by, scope.Tenant(), "metered", today, own)
	b.must(err)
	timeline, err := plans.Mine(ctx, scope)
	b.must(err)
	v := timeline.On(today).Version
	if v.Plan != "metered" || v.Component("gb_out").UnitPrice.String() != "5" || v.Component("recording_minutes") != nil || v.Component("connection_minutes").UnitPrice.String() != "10" || v.Minimum != 1000 {
		t.Errorf("with its own prices it has %+v", v.Prices())
	}
	wrong, err := billing.ParseOverride([]byte(`{"components": [{"key": "gb_out", "name": "Data", "kind": "metered", "meter": "gb_out", "model": "package", "unit_price": "5"}]}`))
	b.must(err)
	if _, err = plans.Assign(ctx, by, scope.Tenant(), "metered", today, wrong); !errors.As(err, new(rating.Invalid)) {
		t.Errorf("a package of no size: %v", err)
	}
	if _, err := billing.ParseOverride([]byte(`{"component": []}`)); !errors.As(err, new(rating.Invalid)) {
		t.Errorf("a typing mistake: %v", err)
	}

	// What is to come can be taken back, what was used by cannot.
	_, err = plans.Assign(ctx, by, scope.Tenant(), "standard", today.Next(), nil)
	b.must(err)
	b.must(plans.Withdraw(ctx, by, scope.Tenant(), today.Next()))
	if err := plans.Withdraw(ctx, by, scope.Tenant(), today.Next()); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("taken back twice: %v", err)
	}
	b.openConnected(scope, "lobby", 0)
	_, err = plans.Assign(ctx, by, scope.Tenant(), "standard", today, nil)
	wantField(t, err, "from", "Choose "+string(today.Next()))
	if err := plans.Withdraw(ctx, by, scope.Tenant(), today); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("the plan in use was taken back: %v", err)
	}
	from, err = plans.Assign(ctx, by, scope.Tenant(), "standard", "", nil)
	b.must(err)
	given, err := plans.Given(ctx, scope)
	b.must(err)
	if from != today.Next() || len(given) != 2 || given[0].Plan != "standard" || given[0].Begun || given[1].Plan != "metered" || !given[1].Begun || given[1].Override == nil {
		t.Errorf("from %s on; all: %+v", from, given)
	}
	if got := one[string](b, `select string_agg(action, ' ' order by audit_id) from audit_entry where tenant_id = $1`, scope.Tenant()); got != "plan.assigned plan.assigned plan.assigned plan.withdrawn plan.assigned" {
		t.Errorf("the tenant's log: %s", got)
	}
	// A tenant's own requests only read.
	for _, sql := range []string{`delete from tenant_plan`, `insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ('` + string(scope.Tenant()) + `', '2999-01-01', 'metered', 'x')`, `update plan set name = 'x'`, `delete from plan_version`} {
		if _, err := scope.In(b.pool).Exec(ctx, sql); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// Licences have the prices of the plan that the tenant has on the day they begin.
func TestLicencesByThePlan(t *testing.T) {
	b, by := newBench(t), tenant.CommandLine()
	plans, ctx, scope := billing.NewPlans(b.pool), t.Context(), b.signUp(false)
	today := billing.DayOf(one[time.Time](b, `select clock_timestamp()`).UTC())
	b.exec(`update tenant set time_zone = 'UTC' where tenant_id = $1`, scope.Tenant())
	list := `{"licence": {"base": 1000000, "base_connections": 300, "pack": 100000, "pack_connections": 100, "max_connections": 500, "per_channel": 50, "discounts": [], "max_discount": 0, "tax_percent": 10}}`
	own, err := billing.ParseOverride([]byte(list))
	b.must(err)
	discounts := []string{"company"}
	_, err = b.GrantLicence(ctx, scope, billing.LicenceGrant{Discounts: &discounts})
	b.must(err)
	_, err = plans.Assign(ctx, by, scope.Tenant(), "standard", today, own)
	b.must(err)
	c := b.change(scope, 400)
	if c.To.Price.Charge.Total != 1_210_000 || c.To.Price.Plan != "standard" || !slices.Equal(c.To.Discounts, discounts) {
		t.Errorf("400 by its own prices: %+v", c.To)
	}
	b.impossible(scope, 600, "300, 400 or 500")
	_, err = b.GrantLicence(ctx, scope, billing.LicenceGrant{Discounts: &discounts})
	wantField(t, err, "discount", "no discounts")

	// In a year the plan has no licences: a smaller one cannot be had then, a larger one
	// at once can.
	_, err = plans.Assign(ctx, by, scope.Tenant(), "metered", billing.DayOf(time.Now().UTC().AddDate(0, 6, 0)), nil)
	b.must(err)
	b.impossible(scope, 300, "no licences to choose from")
	b.change(scope, 500)
	// With that plan in force this one is renewed at what it cost.
	_, err = plans.Assign(ctx, by, scope.Tenant(), "metered", today, nil)
	b.must(err)
	b.impossible(scope, 500, "no licences to choose from")
	b.pass(scope, "1 year")
	b.due()
	if state := b.state(scope); state.Current.Kind != billing.StandardLicence || state.Current.Price.Charge.Total != 1_320_000 || state.PriceList() != nil {
		t.Errorf("after its year: %+v", state.Current)
	}
}
