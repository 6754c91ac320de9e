package rating_test

import (
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing/rating"
)

// metered is a version with one price for each minute.
func metered(price string) *rating.Version {
	return &rating.Version{Plan: "p", Name: "p", Number: 1, Currency: "JPY", Rule: rating.StandardMinute, TaxRounding: rating.Down,
		Components: []rating.Component{{Key: "minutes", Name: "Minutes", Kind: rating.Metered, TaxPercent: 10,
			Meter: rating.ConnectionMinutes, Model: rating.PerUnit, PerSeconds: 60, UnitPrice: decimal.RequireFromString(price)}}}
}

// What lies ahead is used at the pace of the window and costs what it will cost then:
// after ten days of 30, 100 minutes a day, at ¥2 and from the 20th on at ¥3.
func TestForecast(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	minutes := func(n int64) rating.Usage { return rating.Usage{Seconds: n * 60, Minutes: n, BilledSeconds: n * 60} }
	p := rating.Period{From: day(1), To: day(31), Zone: time.UTC, Parts: []rating.Part{
		{From: day(1), To: day(20), Version: metered("2"), Usage: minutes(1000)},
		{From: day(20), To: day(31), Version: metered("3")},
	}}
	ahead := p.Ahead(day(11), minutes(700), 7*24*time.Hour)
	bill, err := rating.Rate(rating.Statement{Period: ahead})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64((1000+900)*2 + 1100*3); bill.Subtotal != want || bill.Total != want*11/10 {
		t.Errorf("%d and %d, want %d and tax", bill.Subtotal, bill.Total, want)
	}
	if p.Parts[0].Usage != minutes(1000) || !p.Parts[1].Usage.IsZero() {
		t.Error("the period itself has changed")
	}
	if same := p.Ahead(day(11), minutes(700), 0); same.Parts[1].Usage != p.Parts[1].Usage {
		t.Error("without a window there is no pace")
	}
}

// A forecast depends neither on how a period is cut into parts nor on parts that are
// over; it never falls below what was used; and at its end it is what was used.
func TestForecastProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		length := time.Duration(rapid.Int64Range(int64(time.Hour), int64(31*24*time.Hour)).Draw(t, "length"))
		at := func(name string) time.Time {
			return from.Add(time.Duration(rapid.Int64Range(0, int64(length)).Draw(t, name)))
		}
		now, cut := at("now"), at("cut")
		window := time.Duration(rapid.Int64Range(1, int64(14*24*time.Hour)).Draw(t, "window"))
		n := rapid.Int64Range(0, math.MaxInt64).Draw(t, "recent")
		recent := rating.Usage{Seconds: n, BytesOut: n / 3}
		whole := rating.Period{From: from, To: from.Add(length), Zone: time.UTC, Parts: []rating.Part{{From: from, To: from.Add(length), Usage: rating.Usage{Seconds: 5}}}}
		parts := whole
		parts.Parts = []rating.Part{{From: from, To: cut, Usage: rating.Usage{Seconds: 5}}, {From: cut, To: whole.To}}

		one, two := whole.Ahead(now, recent, window).Parts[0].Usage, parts.Ahead(now, recent, window).Parts
		if sum := two[0].Usage.Add(two[1].Usage); sum != one {
			t.Fatalf("in parts %+v, as a whole %+v", sum, one)
		}
		if !cut.After(now) && two[0].Usage.Seconds != 5 {
			t.Fatal("what is over has changed")
		}
		want := new(big.Int).Mul(big.NewInt(n), big.NewInt(int64(whole.To.Sub(now))))
		want.Quo(want, big.NewInt(int64(window))).Add(want, big.NewInt(5))
		if !want.IsInt64() {
			want.SetInt64(math.MaxInt64)
		}
		if one.Seconds != want.Int64() {
			t.Fatalf("%d seconds, want %s", one.Seconds, want)
		}
	})
}

func TestPercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64().Draw(t, "amount")
		whole := rapid.Int64Range(-5, math.MaxInt64).Draw(t, "whole")
		want := big.NewInt(0)
		if amount > 0 && whole > 0 {
			want.Mul(big.NewInt(amount), big.NewInt(100)).Quo(want, big.NewInt(whole))
		}
		if !want.IsInt64() {
			want.SetInt64(math.MaxInt64)
		}
		if got := rating.Percent(amount, whole); got != want.Int64() {
			t.Fatalf("%d of %d is %d %%, want %s", amount, whole, got, want)
		}
	})
}
