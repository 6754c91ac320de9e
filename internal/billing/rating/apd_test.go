package rating_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/apd/v3"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing/rating"
)

// computed is what the other two computations say of a bill: one amount for each
// run of a component, the minimum commitment's line, and the taxes.
type computed struct {
	amounts    map[string]int64 // by component and the start of its run, those not 0
	taxes      map[int64]int64  // by percent, those not 0
	tax, total int64
}

func runKey(component string, from time.Time) string {
	return fmt.Sprint(component, " ", from.UTC().Format(time.RFC3339))
}

// ofBill is what Rate says.
func ofBill(bill rating.Bill) computed {
	c := computed{map[string]int64{}, map[int64]int64{}, bill.Tax, bill.Total}
	for _, line := range bill.Lines {
		if line.Amount != 0 && line.Kind != rating.LicenceLine && line.Kind != rating.ManualLine {
			c.amounts[runKey(line.Component, line.From)] = line.Amount
		}
	}
	for _, tax := range bill.Taxes {
		if tax.Amount != 0 {
			c.taxes[tax.Percent] = tax.Amount
		}
	}
	return c
}

// exact computes with apd, which traps every rounding: division is done with whole
// numbers and remainders only.
type exact struct{ ctx *apd.Context }

func newExact() exact {
	ctx := apd.BaseContext.WithPrecision(300)
	ctx.Traps = apd.DefaultTraps | apd.Inexact | apd.Rounded | apd.Clamped
	return exact{ctx}
}

type operation func(d, x, y *apd.Decimal) (apd.Condition, error)

func (e exact) do(f operation, x, y *apd.Decimal) *apd.Decimal {
	d := new(apd.Decimal)
	if _, err := f(d, x, y); err != nil {
		panic(fmt.Sprintf("not exact: %s and %s: %v", x, y, err))
	}
	return d
}

func (e exact) add(x, y *apd.Decimal) *apd.Decimal { return e.do(e.ctx.Add, x, y) }
func (e exact) sub(x, y *apd.Decimal) *apd.Decimal { return e.do(e.ctx.Sub, x, y) }
func (e exact) mul(x, y *apd.Decimal) *apd.Decimal { return e.do(e.ctx.Mul, x, y) }

// up returns x ÷ y rounded up to a whole number.
func (e exact) up(x, y *apd.Decimal) *apd.Decimal {
	q := e.do(e.ctx.QuoInteger, x, y)
	if e.do(e.ctx.Rem, x, y).Sign() > 0 {
		q = e.add(q, apd.New(1, 0))
	}
	return q
}

// halfUp returns x ÷ y rounded half up to a whole number, of x not below 0.
func (e exact) halfUp(x, y *apd.Decimal) int64 {
	twice := e.add(e.mul(x, apd.New(2, 0)), y)
	n, err := e.do(e.ctx.QuoInteger, twice, e.mul(y, apd.New(2, 0))).Int64()
	if err != nil {
		panic(err)
	}
	return n
}

func apdOf(d decimal.Decimal) *apd.Decimal {
	out, _, err := apd.NewFromString(d.String())
	if err != nil {
		panic(err)
	}
	return out
}

func least(x, y *apd.Decimal) *apd.Decimal {
	if x.Cmp(y) < 0 {
		return x
	}
	return y
}

// stretch is a run as this computation finds it.
type stretch struct {
	component rating.Component
	rule      rating.Rule
	from, to  time.Time
	days      int64
	usage     rating.Usage
}

// daysIn counts the tenant's calendar days by walking over them.
func daysIn(loc *time.Location, from, to time.Time) (n int64) {
	year, month, day := from.In(loc).Date()
	endYear, endMonth, endDay := to.In(loc).Date()
	last := time.Date(endYear, endMonth, endDay, 12, 0, 0, 0, time.UTC)
	for at := time.Date(year, month, day, 12, 0, 0, 0, time.UTC); at.Before(last); at = at.AddDate(0, 0, 1) {
		n++
	}
	return n
}

// stretches cuts the period for one component, going back over the parts.
func stretches(p rating.Period, key string) (all []stretch) {
	for i := len(p.Parts) - 1; i >= 0; i-- {
		part := p.Parts[i]
		for _, c := range part.Version.Components {
			if c.Key != key {
				continue
			}
			s := stretch{c, part.Version.Rule, part.From, part.To, daysIn(p.Zone, part.From, part.To), part.Usage}
			if len(all) > 0 {
				after := &all[len(all)-1]
				rules := c.Meter != rating.ConnectionMinutes || s.rule == after.rule ||
					s.rule.Scope == rating.ConnectionScope && after.rule.Scope == rating.ConnectionScope
				if after.from.Equal(s.to) && fmt.Sprintf("%+v", text(c)) == fmt.Sprintf("%+v", text(after.component)) && rules {
					after.from, after.days, after.usage = s.from, after.days+s.days, after.usage.Add(s.usage)
					continue
				}
			}
			all = append(all, s)
		}
	}
	return all
}

// text writes a component so that it can be compared.
func text(c rating.Component) string {
	s := fmt.Sprint(c.Key, c.Kind, c.TaxPercent, c.Amount.Normalize(), c.Meter, c.Model, c.PerSeconds, c.Included.Normalize(), c.UnitPrice.Normalize(), c.PackageSize.Normalize())
	for _, tier := range c.Tiers {
		bound := "none"
		if tier.UpTo != nil {
			bound = tier.UpTo.Normalize().String()
		}
		s += fmt.Sprint(" ", bound, tier.UnitPrice.Normalize(), tier.Flat.Normalize())
	}
	return s
}

// amount is what a stretch costs, as whole minor units.
func (e exact) amount(s stretch, of int64, exponent int32) int64 {
	days, month := apd.New(s.days, 0), apd.New(of, 0)
	scale := apd.New(1, exponent)
	c := s.component
	if c.Kind == rating.Flat {
		return e.halfUp(e.mul(e.mul(apdOf(c.Amount), days), scale), month)
	}
	per, base := int64(60), s.usage.BilledSeconds
	if c.PerSeconds > 0 {
		per = c.PerSeconds
	}
	switch c.Meter {
	case rating.GBOut:
		per, base = 1e9, s.usage.BytesOut
	case rating.RecordingMinutes:
		base = s.usage.RecordingSeconds
	default:
		if s.rule.Scope == rating.PeriodScope {
			base = 0
			for s.usage.Seconds > 0 && (base < s.usage.Seconds || base < s.rule.MinimumSeconds) {
				step := max(1, (max(s.usage.Seconds, s.rule.MinimumSeconds)-base)/s.rule.IncrementSeconds)
				base += step * s.rule.IncrementSeconds
			}
		}
	}
	unit := apd.New(per, 0)
	prorated := func(d decimal.Decimal) *apd.Decimal { return e.up(e.mul(e.mul(apdOf(d), unit), days), month) }
	used := apd.New(base, 0)
	used = e.sub(used, least(used, prorated(c.Included)))
	denominator := e.mul(unit, month)
	units := func(quantity *apd.Decimal, price decimal.Decimal) *apd.Decimal { // over the denominator
		return e.mul(e.mul(quantity, apdOf(price)), month)
	}
	flat := func(d decimal.Decimal) *apd.Decimal { return e.mul(e.mul(apdOf(d), days), unit) }
	sum := apd.New(0, 0)
	switch c.Model {
	case rating.PerUnit:
		sum = units(used, c.UnitPrice)
	case rating.Package:
		sum = e.mul(e.mul(e.up(used, e.mul(apdOf(c.PackageSize), unit)), apdOf(c.UnitPrice)), denominator)
	case rating.Graduated: // what is left for the tiers, from the top down
		for i := len(c.Tiers) - 1; i >= 0; i-- {
			below := apd.New(0, 0)
			if i > 0 {
				below = prorated(*c.Tiers[i-1].UpTo)
			}
			if used.Cmp(below) > 0 {
				sum = e.add(e.add(sum, units(e.sub(used, below), c.Tiers[i].UnitPrice)), flat(c.Tiers[i].Flat))
				used = below
			}
		}
	case rating.Volume:
		for i := len(c.Tiers) - 1; i >= 0 && used.Sign() > 0; i-- {
			if i == 0 || used.Cmp(prorated(*c.Tiers[i-1].UpTo)) > 0 {
				sum = e.add(units(used, c.Tiers[i].UnitPrice), flat(c.Tiers[i].Flat))
				break
			}
		}
	}
	return e.halfUp(e.mul(sum, scale), denominator)
}

// byApd is the whole bill, computed independently of Rate.
func byApd(s rating.Statement) computed {
	e := newExact()
	p := s.Period
	of := daysIn(p.Zone, p.From, p.To)
	last := p.Parts[len(p.Parts)-1].Version
	exponent := map[string]int32{"EUR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "USD": 2}[last.Currency]
	c := computed{amounts: map[string]int64{}, taxes: map[int64]int64{}}
	bases := map[int64]int64{}
	var used, ask, askTax, lines int64
	seen := map[string]bool{}
	for _, part := range p.Parts {
		if part.Version.Minimum > 0 {
			ask += part.Version.Minimum * daysIn(p.Zone, part.From, part.To)
			askTax = part.Version.MinimumTax
		}
		for _, component := range part.Version.Components {
			if seen[component.Key] {
				continue
			}
			seen[component.Key] = true
			for _, each := range stretches(p, component.Key) {
				amount := e.amount(each, of, exponent)
				used += amount
				bases[each.component.TaxPercent] += amount
				if amount != 0 {
					c.amounts[runKey(component.Key, each.from)] = amount
				}
			}
		}
	}
	lines = used
	if ask > 0 {
		if more := e.halfUp(apd.New(ask, 0), apd.New(of, 0)) - used; more > 0 {
			c.amounts[runKey("minimum", p.From)] = more
			bases[askTax] += more
			lines += more
		}
	}
	for _, charge := range s.Charges {
		bases[charge.TaxPercent] += charge.Amount
		lines += charge.Amount
	}
	for percent, base := range bases {
		sign := int64(1)
		if base < 0 {
			sign, base = -1, -base
		}
		product, hundred := e.mul(apd.New(base, 0), apd.New(percent, 0)), apd.New(100, 0)
		var tax int64
		var err error
		switch last.TaxRounding {
		case rating.HalfUp:
			tax = e.halfUp(product, hundred)
		case rating.Up:
			tax, err = e.up(product, hundred).Int64()
		default:
			tax, err = e.do(e.ctx.QuoInteger, product, hundred).Int64()
		}
		if err != nil {
			panic(err)
		}
		if tax != 0 {
			c.taxes[percent] = sign * tax
		}
		c.tax += sign * tax
	}
	c.total = lines + c.tax
	return c
}

// TestAgreesWithApd: what Rate says is what an exact computation of its own says,
// in which every rounding that is not meant is an error.
func TestAgreesWithApd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyStatement(t)
		if got, want := ofBill(rate(t, s)), byApd(s); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("Rate: %v\napd:  %v", got, want)
		}
	})
}
