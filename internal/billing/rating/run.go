package rating

import (
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// A run is the time in which one component did not change: parts of a period one
// after the other, counted as one.
type run struct {
	component *Component // as the last part has it, so by its newest name
	version   *Version   // of the last part
	from, to  time.Time
	usage     Usage
	days, of  int64 // of the run, and of its period
}

// lines returns the lines of a period: of its components in the order in which
// they first come, and what its minimum commitments are more.
func (p *Period) lines() (lines []Line, err error) {
	var sum int64
	for _, key := range p.keys() {
		for _, r := range p.runs(key) {
			line, err := r.line()
			if err != nil {
				return nil, err
			}
			if sum, err = plus(sum, line.Amount); err != nil {
				return nil, err
			}
			if line.Amount != 0 || !line.Usage.IsZero() {
				lines = append(lines, line)
			}
		}
	}
	if line, ok := p.minimum(sum); ok {
		lines = append(lines, line)
	}
	return lines, nil
}

// keys returns the keys of the period's components, each once.
func (p *Period) keys() (keys []string) {
	for i := range p.Parts {
		for _, c := range p.Parts[i].Version.Components {
			if !slices.Contains(keys, c.Key) {
				keys = append(keys, c.Key)
			}
		}
	}
	return keys
}

// runs returns the runs of one component.
func (p *Period) runs(key string) (runs []run) {
	for i := range p.Parts {
		part := &p.Parts[i]
		component := part.Version.Component(key)
		if component == nil {
			continue
		}
		days := p.days(part.From, part.To)
		if n := len(runs); n > 0 && runs[n-1].continues(part, component) {
			r := &runs[n-1]
			r.component, r.version, r.to = component, part.Version, part.To
			r.usage, r.days = r.usage.Add(part.Usage), r.days+days
			continue
		}
		runs = append(runs, run{component, part.Version, part.From, part.To, part.Usage, days, p.of()})
	}
	return runs
}

// continues reports whether the part goes on with the run.
func (r *run) continues(part *Part, component *Component) bool {
	if !r.to.Equal(part.From) || !r.component.same(component) {
		return false
	}
	before, now := r.version.Rule, part.Version.Rule
	return component.Meter != ConnectionMinutes || before == now || before.Scope == ConnectionScope && now.Scope == ConnectionScope
}

// same reports whether both ask the same, under whatever name.
func (c *Component) same(d *Component) bool {
	return c.Key == d.Key && c.Kind == d.Kind && c.TaxPercent == d.TaxPercent && c.Amount.Equal(d.Amount) &&
		c.Meter == d.Meter && c.Model == d.Model && c.per() == d.per() && c.Included.Equal(d.Included) &&
		c.UnitPrice.Equal(d.UnitPrice) && c.PackageSize.Equal(d.PackageSize) &&
		slices.EqualFunc(c.Tiers, d.Tiers, func(a, b Tier) bool {
			bound := (a.UpTo == nil) == (b.UpTo == nil) && (a.UpTo == nil || a.UpTo.Equal(*b.UpTo))
			return bound && a.UnitPrice.Equal(b.UnitPrice) && a.Flat.Equal(b.Flat)
		})
}

// line rates the run.
func (r *run) line() (Line, error) {
	c := r.component
	line := Line{
		Component: c.Key, Name: c.Name, From: r.from, To: r.to, Plan: r.version.Plan, Version: r.version.Number,
		TaxPercent: c.TaxPercent,
	}
	var amount fraction
	if c.Kind == Flat {
		line.Kind, line.Base, line.Per, line.Unit, line.UnitPrice = FlatLine, r.days, r.of, "month", c.Amount
		amount = fraction{c.Amount.Mul(whole(r.days)), r.of}
		line.Quantity = fraction{whole(r.days), r.of}.cut()
		line.Steps = []Step{{daysText(r.days, r.of), line.Quantity, c.Amount, amount.cut()}}
	} else {
		line.Kind, line.Meter, line.Model, line.Usage = MeteredLine, c.Meter, c.Model, r.usage.of(c.Meter)
		line.Base, line.Per, line.Unit, line.UnitPrice = r.base(), c.per(), c.unit(), c.UnitPrice
		line.Quantity = fraction{whole(line.Base), line.Per}.cut()
		amount = r.price(&line)
	}
	line.Unrounded = amount.cut()
	line.Hash = hash(r.version.Currency, line.Kind, line.Plan, line.Version, r.version.Rule, c, r.from.UTC(), r.to.UTC(), r.days, r.of, line.Usage)
	var err error
	line.Amount, err = amount.minor(r.version.Currency)
	return line, err
}

// base returns what of the run's usage is priced, in seconds or bytes.
func (r *run) base() int64 {
	switch r.component.Meter {
	case GBOut:
		return r.usage.BytesOut
	case RecordingMinutes:
		return r.usage.RecordingSeconds
	}
	rule := r.version.Rule
	if rule.Scope != PeriodScope {
		return r.usage.BilledSeconds
	}
	if r.usage.Seconds == 0 {
		return 0
	}
	n := max(r.usage.Seconds, rule.MinimumSeconds)
	if over := n % rule.IncrementSeconds; over > 0 {
		n = add(n, rule.IncrementSeconds-over)
	}
	return n
}

// minimum returns the line that tops up the components' sum to what the period's
// versions ask at least, each for its days, and whether there is one.
func (p *Period) minimum(sum int64) (Line, bool) {
	var least int64 // in minor units, times the days of the period
	var asks *Part
	for i := range p.Parts {
		part := &p.Parts[i]
		if part.Version.Minimum > 0 {
			least, asks = add(least, part.Version.Minimum*p.days(part.From, part.To)), part
		}
	}
	if asks == nil {
		return Line{}, false
	}
	amount := share(least, 1, p.of()) - sum
	if amount <= 0 {
		return Line{}, false
	}
	v := asks.Version
	unrounded := fraction{major(v.Currency, least).Sub(major(v.Currency, sum).Mul(whole(p.of()))), p.of()}
	line := Line{
		Kind: MinimumLine, Component: minimumKey, Name: "Minimum commitment", From: p.From, To: p.To,
		Plan: v.Plan, Version: v.Number, TaxPercent: v.MinimumTax, Amount: amount, Unrounded: unrounded.cut(),
		Steps: []Step{
			{Text: "Minimum commitment", Amount: fraction{major(v.Currency, least), p.of()}.cut()},
			{Text: "Less what was used", Amount: major(v.Currency, -sum)},
		},
	}
	line.Hash = hash(v.Currency, line.Kind, line.Plan, line.Version, line.From.UTC(), line.To.UTC(), least, p.of(), sum, line.TaxPercent)
	return line, true
}

// unit names what the component is priced by.
func (c *Component) unit() string {
	if c.Meter == GBOut {
		return "GB"
	}
	switch per := c.per(); per {
	case 1:
		return "second"
	case 60:
		return "minute"
	case 3600:
		return "hour"
	default:
		if per%60 == 0 {
			return whole(per/60).String() + " minutes"
		}
		return whole(per).String() + " seconds"
	}
}

// whole is n as a decimal.
func whole(n int64) decimal.Decimal { return decimal.NewFromInt(n) }
