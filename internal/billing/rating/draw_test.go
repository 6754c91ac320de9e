package rating_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing/rating"
)

// zones have days of 23, 24, 24.5 and 25 hours, and midnights that do not exist.
var zones = []string{"Asia/Tokyo", "UTC", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"}

// anyNumber draws a number of up to high with up to so many digits after the point.
func anyNumber(t *rapid.T, label string, low, high int64, digits int32) decimal.Decimal {
	places := rapid.Int32Range(0, digits).Draw(t, label+" digits")
	scale := int64(1)
	for range places {
		scale *= 10
	}
	return decimal.New(rapid.Int64Range(low*scale, high*scale).Draw(t, label), -places)
}

func anyTiers(t *rapid.T) (tiers []rating.Tier) {
	n := rapid.IntRange(1, 4).Draw(t, "tiers")
	var bound decimal.Decimal
	for i := range n {
		tier := rating.Tier{UnitPrice: anyNumber(t, "tier price", 0, 100, 6)}
		if rapid.Bool().Draw(t, "has flat") {
			tier.Flat = anyNumber(t, "tier flat", 0, 1000, 3)
		}
		if i < n-1 {
			bound = bound.Add(anyNumber(t, "tier size", 1, 5000, 4))
			upTo := bound
			tier.UpTo = &upTo
		}
		tiers = append(tiers, tier)
	}
	return tiers
}

func anyComponent(t *rapid.T, key string) rating.Component {
	c := rating.Component{Key: key, Name: "Component " + key, TaxPercent: rapid.SampledFrom([]int64{0, 8, 10}).Draw(t, "tax")}
	if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		c.Kind, c.Amount = rating.Flat, anyNumber(t, "amount", 0, 100_000, 3)
		return c
	}
	c.Kind = rating.Metered
	c.Meter = rapid.SampledFrom([]rating.Meter{rating.ConnectionMinutes, rating.GBOut, rating.RecordingMinutes}).Draw(t, "meter")
	c.Model = rapid.SampledFrom([]rating.Model{rating.PerUnit, rating.Package, rating.Graduated, rating.Volume}).Draw(t, "model")
	if c.Meter != rating.GBOut {
		c.PerSeconds = rapid.SampledFrom([]int64{0, 1, 7, 60, 600, 3600}).Draw(t, "per")
	}
	if rapid.Bool().Draw(t, "has included") {
		c.Included = anyNumber(t, "included", 0, 3000, 4)
	}
	switch c.Model {
	case rating.PerUnit:
		c.UnitPrice = anyNumber(t, "price", 0, 100, 6)
	case rating.Package:
		c.UnitPrice, c.PackageSize = anyNumber(t, "price", 0, 100, 6), anyNumber(t, "package", 1, 1000, 2)
	default:
		c.Tiers = anyTiers(t)
	}
	return c
}

func anyVersion(t *rapid.T, currency string) *rating.Version {
	v := &rating.Version{
		Plan: "any", Name: "any", Number: rapid.IntRange(1, 9).Draw(t, "number"), Currency: currency,
		Rule: rating.Rule{
			IncrementSeconds: rapid.SampledFrom([]int64{1, 6, 60, 600}).Draw(t, "increment"),
			MinimumSeconds:   rapid.SampledFrom([]int64{0, 30, 60, 100}).Draw(t, "minimum"),
			Scope:            rapid.SampledFrom([]rating.Scope{rating.ConnectionScope, rating.PeriodScope}).Draw(t, "scope"),
		},
		TaxRounding: rapid.SampledFrom([]rating.Rounding{rating.Down, rating.HalfUp, rating.Up}).Draw(t, "tax rounding"),
		MinimumTax:  10,
	}
	if rapid.Bool().Draw(t, "has minimum") {
		v.Minimum = rapid.Int64Range(1, 1_000_000).Draw(t, "commitment")
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "components") {
		v.Components = append(v.Components, anyComponent(t, fmt.Sprintf("c%d", i)))
	}
	return v
}

// next draws a version that may follow v: some of its components are others.
func next(t *rapid.T, v *rating.Version) *rating.Version {
	n := anyVersion(t, v.Currency)
	for i := range n.Components {
		if i < len(v.Components) && rapid.Bool().Draw(t, "keeps") {
			n.Components[i] = v.Components[i]
		}
	}
	return n
}

func anyUsage(t *rapid.T) rating.Usage {
	n := func(label string, high int64) int64 { return rapid.Int64Range(0, high).Draw(t, label) }
	if rapid.IntRange(0, 4).Draw(t, "idle") == 0 {
		return rating.Usage{}
	}
	return rating.Usage{
		Connections: n("connections", 1000), Seconds: n("seconds", 1e6), Minutes: n("minutes", 1e5), BilledSeconds: n("billed seconds", 1e6),
		BytesIn: n("bytes in", 1e13), BytesOut: n("bytes out", 1e13), RecordingSeconds: n("recording", 1e6),
	}
}

// anyPeriod draws a month of up to four parts under up to three versions, with
// days between them that nothing was valid for.
func anyPeriod(t *rapid.T, currency string) rating.Period {
	loc := zone(t, rapid.SampledFrom(zones).Draw(t, "zone"))
	year, m := rapid.IntRange(2023, 2028).Draw(t, "year"), time.Month(rapid.IntRange(1, 12).Draw(t, "month"))
	p := month(loc, year, m, nil, rating.Usage{})
	p.Parts = nil
	v := anyVersion(t, currency)
	days := rapid.SliceOfNDistinct(rapid.IntRange(1, 28), 2, 5, rapid.ID).Draw(t, "cuts")
	slices.Sort(days)
	days[0] = rapid.SampledFrom([]int{1, days[0]}).Draw(t, "first day")
	for i := range days[1:] {
		part := rating.Part{From: time.Date(year, m, days[i], 0, 0, 0, 0, loc), To: time.Date(year, m, days[i+1], 0, 0, 0, 0, loc), Version: v, Usage: anyUsage(t)}
		if i == len(days)-2 {
			part.To = p.To
		}
		if len(p.Parts) > 0 && i < len(days)-2 && rapid.IntRange(0, 4).Draw(t, "gap") == 0 {
			continue
		}
		p.Parts = append(p.Parts, part)
		if rapid.Bool().Draw(t, "changes") {
			v = next(t, v)
		}
	}
	return p
}

func anyStatement(t *rapid.T) rating.Statement {
	s := rating.Statement{Period: anyPeriod(t, rapid.SampledFrom(rating.Currencies()).Draw(t, "currency"))}
	for i := range rapid.IntRange(0, 3).Draw(t, "charges") {
		s.Charges = append(s.Charges, rating.Charge{
			Kind: rapid.SampledFrom([]rating.LineKind{rating.LicenceLine, rating.ManualLine}).Draw(t, "charge kind"),
			Key:  fmt.Sprint("charge ", i), Name: "Charge", From: s.Period.From, To: s.Period.To,
			Amount: rapid.Int64Range(-1e6, 1e7).Draw(t, "charge"), TaxPercent: rapid.SampledFrom([]int64{0, 8, 10}).Draw(t, "charge tax"),
		})
	}
	return s
}
