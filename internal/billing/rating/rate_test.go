package rating_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/shopspring/decimal"

	"github.com/hibari/hibari/internal/billing/rating"
)

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func number(text string) decimal.Decimal { return decimal.RequireFromString(text) }

func bound(text string) *decimal.Decimal { d := number(text); return &d }

// month is a calendar month of a zone under one version.
func month(loc *time.Location, year int, m time.Month, v *rating.Version, u rating.Usage) rating.Period {
	from, to := time.Date(year, m, 1, 0, 0, 0, 0, loc), time.Date(year, m+1, 1, 0, 0, 0, 0, loc)
	return rating.Period{From: from, To: to, Zone: loc, Parts: []rating.Part{{From: from, To: to, Version: v, Usage: u}}}
}

func version(currency string, components ...rating.Component) *rating.Version {
	return &rating.Version{Plan: "test", Name: "test", Number: 1, Currency: currency, Rule: rating.StandardMinute, Components: components}
}

// perMinute, and the others below, are components that one test after the other uses.
func perMinute(price string) rating.Component {
	return rating.Component{Key: "minutes", Name: "Minutes", Kind: rating.Metered, TaxPercent: 10,
		Meter: rating.ConnectionMinutes, Model: rating.PerUnit, UnitPrice: number(price)}
}

func minutes(n int64) rating.Usage {
	if n == 0 {
		return rating.Usage{}
	}
	return rating.Usage{Connections: 1, Seconds: 60 * n, Minutes: n, BilledSeconds: 60 * n}
}

func rate(t interface {
	Helper()
	Fatal(...any)
}, s rating.Statement) rating.Bill {
	t.Helper()
	bill, err := rating.Rate(s)
	if err != nil {
		t.Fatal(err)
	}
	return bill
}

// TestModels holds each model against amounts computed by hand.
func TestModels(t *testing.T) {
	tiers := []rating.Tier{
		{UpTo: bound("100"), UnitPrice: number("3")},
		{UpTo: bound("1000"), UnitPrice: number("2"), Flat: number("50")},
		{UnitPrice: number("1")},
	}
	component := func(model rating.Model, change func(*rating.Component)) rating.Component {
		c := perMinute("0")
		c.Model = model
		change(&c)
		return c
	}
	none := func(*rating.Component) {}
	tiered := func(c *rating.Component) { c.Tiers = tiers }
	for _, test := range []struct {
		name      string
		component rating.Component
		minutes   int64
		want      int64
	}{
		{"per unit", perMinute("0.5"), 3, 2}, // 1.5, half up
		{"per unit", perMinute("0.49"), 3, 1},
		{"included, not all used", component(rating.PerUnit, func(c *rating.Component) { c.UnitPrice, c.Included = number("2"), number("1000") }), 999, 0},
		{"included", component(rating.PerUnit, func(c *rating.Component) { c.UnitPrice, c.Included = number("2"), number("1000") }), 1001, 2},
		{"package, none started", component(rating.Package, func(c *rating.Component) { c.UnitPrice, c.PackageSize = number("10"), number("10") }), 0, 0},
		{"package, started", component(rating.Package, func(c *rating.Component) { c.UnitPrice, c.PackageSize = number("10"), number("10") }), 1, 10},
		{"package, full", component(rating.Package, func(c *rating.Component) { c.UnitPrice, c.PackageSize = number("10"), number("10") }), 10, 10},
		{"package, one more", component(rating.Package, func(c *rating.Component) { c.UnitPrice, c.PackageSize = number("10"), number("10") }), 11, 20},
		{"graduated", component(rating.Graduated, tiered), 100, 300},
		{"graduated", component(rating.Graduated, tiered), 101, 300 + 2 + 50},
		{"graduated", component(rating.Graduated, tiered), 1500, 300 + 1800 + 50 + 500},
		{"volume", component(rating.Volume, tiered), 100, 300},
		{"volume", component(rating.Volume, tiered), 101, 202 + 50},
		{"volume", component(rating.Volume, tiered), 1500, 1500},
		{"volume", component(rating.Volume, tiered), 0, 0},
		{"free", component(rating.PerUnit, none), 1500, 0},
	} {
		bill := rate(t, rating.Statement{Period: month(time.UTC, 2026, 11, version("JPY", test.component), minutes(test.minutes))})
		if bill.Subtotal != test.want {
			t.Errorf("%s: %d minutes cost %d, want %d: %+v", test.name, test.minutes, bill.Subtotal, test.want, bill.Lines)
		}
		if shown := len(bill.Lines) == 1; shown != (test.minutes > 0) {
			t.Errorf("%s: %d minutes are %d lines", test.name, test.minutes, len(bill.Lines))
		}
	}
}

// TestTaxOncePerRate is the National Tax Agency's example: three lines of ¥105 at
// 10 % are taxed by ¥31, and not three times by ¥10.
func TestTaxOncePerRate(t *testing.T) {
	s := rating.Statement{Period: month(zone(t, "Asia/Tokyo"), 2026, 11, version("JPY"), rating.Usage{})}
	for _, key := range []string{"a", "b", "c"} {
		s.Charges = append(s.Charges, rating.Charge{Kind: rating.ManualLine, Key: key, Name: key, Amount: 105, TaxPercent: 10})
	}
	bill := rate(t, s)
	if len(bill.Taxes) != 1 || bill.Taxes[0] != (rating.Tax{Percent: 10, Base: 315, Amount: 31}) || bill.Total != 346 {
		t.Errorf("%+v", bill)
	}
}
