package billing_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// seedVersion writes a version whose number can be told from its only price.
func (b *bench) seedVersion(plan string, number int, from string) {
	b.t.Helper()
	b.exec(`insert into plan_version (plan_id, number, valid_from, prices, created_by) values ($1, $2, $3::text::date, $4, 'test')`, plan, number, from,
		fmt.Sprintf(`{"currency": "JPY", "rule": {"increment_seconds": 60, "minimum_seconds": 60, "scope": "connection"},
			"components": [{"key": "fee", "name": "Fee", "kind": "flat", "amount": "%d"}]}`, number))
}

// cut writes parts as "plan version from–to", on a clock.
func cut(parts []rating.Part, zone *time.Location) (all []string) {
	for _, p := range parts {
		all = append(all, fmt.Sprintf("%s %d %s–%s", p.Version.Plan, p.Version.Number, p.From.In(zone).Format("01-02T15:04"), p.To.In(zone).Format("01-02T15:04")))
	}
	return all
}

// The seed's price list is the one that is quoted without a database.
func TestSeededPlansAreThePriceList(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(300, 150)
	plans := billing.NewPlans(b.pool)
	v, err := plans.At(t.Context(), b.pool, scope.Tenant(), time.Now())
	b.must(err)
	want := rating.Standard()
	want.Name, want.Licence.Name = v.Name, v.Licence.Name // "Standard", for people
	if v.Plan != want.Plan || v.Currency != want.Currency || v.Rule != want.Rule || v.TaxRounding != want.TaxRounding || !slices.Equal(v.Prices(), want.Prices()) ||
		fmt.Sprintf("%+v", *v.Licence) != fmt.Sprintf("%+v", *want.Licence) {
		t.Errorf("the seed is\n%+v\nand the price list\n%+v", v, want)
	}
	quote, err := v.Licence.Quote(500, []string{"company", "case"})
	b.must(err)
	if quote.Subtotal != 3_120_000 || quote.Total != 3_432_000 {
		t.Errorf("500 with both discounts are %+v", quote)
	}
	metered, err := plans.Get(t.Context(), tenant.CommandLine(), "metered")
	b.must(err)
	if metered.Default || metered.Versions[0].Prices.Licence != nil || metered.Versions[0].Prices.Component("connection_minutes").Model != rating.Package {
		t.Errorf("the metered plan is %+v", metered)
	}
}

// A period is cut at the tenant's own midnights, where another version comes into
// force or the tenant gets another plan.
func TestPartsOfAPeriod(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(300, 150)
	b.exec(`update tenant set time_zone = 'Asia/Tokyo' where tenant_id = $1`, scope.Tenant())
	b.exec(`insert into plan (plan_id, name, currency, created_by) values ('a', 'A', 'JPY', 'test'), ('b', 'B', 'JPY', 'test')`)
	for number, from := range []string{"2026-01-10", "2026-01-20", "2026-02-10"} {
		b.seedVersion("a", number+1, from)
	}
	b.seedVersion("b", 1, "2026-01-15")
	b.exec(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values
		($1, '2026-01-05', 'a', 'test'), ($1, '2026-01-25', 'b', 'test'), ($1, '2026-02-15', 'a', 'test')`, scope.Tenant())
	plans, tokyo := billing.NewPlans(b.pool), loadZone(t, "Asia/Tokyo")
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, tokyo) }
	parts, err := plans.Parts(t.Context(), scope.In(b.pool), scope.Tenant(), at(1), at(60), tokyo)
	b.must(err)
	want := []string{
		"standard 1 01-01T00:00–01-05T00:00",
		"a 1 01-05T00:00–01-20T00:00", // a plan's first version holds from ever
		"a 2 01-20T00:00–01-25T00:00",
		"b 1 01-25T00:00–02-15T00:00",
		"a 3 02-15T00:00–03-01T00:00", // what came meanwhile is in force at once
	}
	if got := cut(parts, tokyo); !slices.Equal(got, want) {
		t.Errorf("the parts are\n%q\nwant\n%q", got, want)
	}
	timeline, err := plans.Mine(t.Context(), scope)
	b.must(err)
	for moment, want := range map[time.Time]string{
		at(5).Add(-time.Microsecond): "standard", at(5): "a", at(25).Add(-time.Microsecond): "a", at(25): "b",
	} {
		if got := timeline.At(moment).Plan; got != want {
			t.Errorf("at %s the plan is %s", moment, got)
		}
	}
	if _, err := plans.At(t.Context(), b.pool, "ten_nobody", at(1)); err != billing.ErrNotFound {
		t.Errorf("nobody's plan: %v", err)
	}
}

func loadZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// The parts of adjoining times are the parts of both, whatever the clocks do; they
// adjoin, cover the time, and each has the version that At names.
func TestPartsAddUp(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(300, 150)
	b.exec(`insert into plan (plan_id, name, currency, created_by) values ('a', 'A', 'JPY', 'test')`)
	for number, from := range []string{"2011-12-30", "2011-12-31", "2018-11-04", "2026-03-08", "2026-03-09", "2026-11-01"} {
		b.seedVersion("a", number+1, from)
	}
	b.exec(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, '2011-12-01', 'a', 'test'), ($1, '2026-10-01', 'standard', 'test'), ($1, '2026-12-01', 'a', 'test')`, scope.Tenant())
	zones := []string{"Asia/Tokyo", "America/New_York", "Pacific/Apia", "America/Sao_Paulo", "Asia/Kathmandu", "UTC"}
	timelines := map[string]*billing.Timeline{}
	for _, zone := range zones {
		b.exec(`update tenant set time_zone = $2 where tenant_id = $1`, scope.Tenant(), zone)
		timeline, err := billing.NewPlans(b.pool).Mine(t.Context(), scope)
		b.must(err)
		timelines[zone] = timeline
	}
	near := []string{"2011-12-30T10:00:00Z", "2018-11-04T03:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T05:00:00Z", "2026-10-01T00:00:00Z"}
	rapid.Check(t, func(t *rapid.T) {
		timeline := timelines[rapid.SampledFrom(zones).Draw(t, "zone")]
		zone := timeline.Zone()
		about, _ := time.Parse(time.RFC3339, rapid.SampledFrom(near).Draw(t, "near"))
		moments := rapid.SliceOfN(rapid.Int64Range(-80, 80), 2, 5).Draw(t, "hours")
		slices.Sort(moments)
		moment := func(i int) time.Time { return about.Add(time.Duration(moments[i]) * time.Hour) }
		var joined []rating.Part
		for i := 1; i < len(moments); i++ {
			joined = append(joined, timeline.Parts(moment(i-1), moment(i), zone)...)
		}
		var merged []rating.Part
		for _, p := range joined {
			if n := len(merged); n > 0 && merged[n-1].Version == p.Version && merged[n-1].To.Equal(p.From) {
				merged[n-1].To = p.To
				continue
			}
			merged = append(merged, p)
		}
		first, last := moment(0), moment(len(moments)-1)
		whole := timeline.Parts(first, last, zone)
		if got, want := cut(merged, zone), cut(whole, zone); !slices.Equal(got, want) {
			t.Fatalf("in pieces %q, in one %q", got, want)
		}
		for _, p := range whole {
			if !p.From.Equal(first) || !p.From.Before(p.To) {
				t.Fatalf("the part %v after %v", p, first)
			}
			first = p.To
			for _, at := range []time.Time{p.From, p.To.Add(-time.Nanosecond)} {
				if timeline.At(at) != p.Version {
					t.Fatalf("at %s version %d, in a part with %d", at, timeline.At(at).Number, p.Version.Number)
				}
			}
		}
		if len(whole) > 0 && !first.Equal(last) {
			t.Fatalf("the parts end at %s, not at %s", first, last)
		}
	})
}

// A day starts when its zone's clocks first show its date.
func TestDayStarts(t *testing.T) {
	for _, test := range []struct{ zone, day, want string }{
		{"Asia/Tokyo", "2026-12-01", "2026-11-30T15:00:00Z"},
		{"UTC", "2028-02-29", "2028-02-29T00:00:00Z"},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"}, // midnight was skipped
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"},      // so was the whole day
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"},
		{"America/New_York", "2026-11-01", "2026-11-01T04:00:00Z"},
		{"America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"}, // midnight comes twice
	} {
		day, err := billing.ParseDay(test.day)
		if err != nil {
			t.Fatal(err)
		}
		if got := day.Start(loadZone(t, test.zone)).UTC().Format(time.RFC3339); got != test.want {
			t.Errorf("%s starts in %s at %s; want %s", test.day, test.zone, got, test.want)
		}
	}
	for _, text := range []string{"", "2026-02-29", "2026-2-1", "01.02.2026", "2026-12-01T00:00:00Z"} {
		if _, err := billing.ParseDay(text); err == nil {
			t.Errorf("%q is a day", text)
		}
	}
}
