package rating

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/shopspring/decimal"
)

// The bounds of a version's prices: far beyond any real one, and small enough that
// its arithmetic stays cheap.
const (
	MaxPricesSize = 64 << 10 // bytes of JSON
	MaxComponents = 50
	MaxTiers      = 20
	maxNameLength = 100
	maxDigits     = 15 // of a price before the point
	maxFraction   = 12 // and after it
	maxMinor      = 1_000_000_000_000_000
	maxSeconds    = 366 * 24 * 3600
)

// A FieldError is one thing that is wrong with a version's prices. Field is its
// path in the JSON, as in "components[0].tiers[1].up_to"; "": the whole.
type FieldError struct {
	Field   string
	Problem string // completes "field: …", for people
}

// Error says both.
func (e FieldError) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return e.Field + ": " + e.Problem
}

// Invalid is the error of Parse and Validate: everything that is wrong, in the
// order of the fields.
type Invalid []FieldError

// Error names all of it.
func (e Invalid) Error() string {
	parts := make([]string, len(e))
	for i := range e {
		parts[i] = e[i].Error()
	}
	return "the prices cannot be: " + strings.Join(parts, "; ")
}

// Parse reads a version's JSON, as plan_version.prices keeps it, fills in what its
// licence has from it, and validates it. The error is an Invalid. Unknown fields
// are refused, so that no price is overlooked for a typing mistake. The caller
// gives what the row says of it: the plan's id and name, and the number.
func Parse(plan, name string, number int, prices []byte) (*Version, error) {
	if len(prices) > MaxPricesSize {
		return nil, Invalid{{"", fmt.Sprintf("at most %d bytes", MaxPricesSize)}}
	}
	v := &Version{}
	decoder := json.NewDecoder(bytes.NewReader(prices))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return nil, Invalid{jsonError(err)}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, Invalid{{"", "one JSON object and nothing after it"}}
	}
	v.Plan, v.Name, v.Number = plan, name, number
	if v.TaxRounding == "" {
		v.TaxRounding = Down
	}
	v.complete()
	if err := v.Validate(); err != nil {
		return nil, err
	}
	return v, nil
}

// jsonError says where JSON does not fit, as far as the decoder tells.
func jsonError(err error) FieldError {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return FieldError{kind.Field, "cannot be a " + kind.Value}
	}
	return FieldError{"", err.Error()}
}

// Validate says whether bills can be made by the version: the error is an Invalid.
func (v *Version) Validate() error {
	var c checker
	if _, known := Exponent(v.Currency); !known {
		c.wrong("currency", "one of %s", strings.Join(Currencies(), ", "))
	}
	c.rule(v.Rule)
	c.within("minimum", v.Minimum, 0, maxMinor)
	c.percent("minimum_tax", v.MinimumTax)
	switch v.TaxRounding {
	case Down, HalfUp, Up, "":
	default:
		c.wrong("tax_rounding", "down, half_up or up")
	}
	if v.Licence != nil {
		c.licence(v.Licence)
	}
	if len(v.Components) > MaxComponents {
		c.wrong("components", "at most %d", MaxComponents)
		return c.err()
	}
	for i := range v.Components {
		c.at = fmt.Sprintf("components[%d].", i)
		if first := v.Component(v.Components[i].Key); first != &v.Components[i] {
			c.wrong("key", "%q is there twice", first.Key)
		}
		c.component(&v.Components[i], v.Currency)
	}
	return c.err()
}

// checker collects what is wrong.
type checker struct {
	at    string // path of what is looked at
	found Invalid
}

func (c *checker) err() error {
	if len(c.found) == 0 {
		return nil
	}
	return c.found
}

func (c *checker) wrong(field, format string, args ...any) {
	c.found = append(c.found, FieldError{c.at + field, fmt.Sprintf(format, args...)})
}

func (c *checker) within(field string, n, low, high int64) {
	if n < low || n > high {
		c.wrong(field, "%d to %d", low, high)
	}
}

func (c *checker) percent(field string, n int64) { c.within(field, n, 0, 100) }

func (c *checker) rule(r Rule) {
	c.within("rule.increment_seconds", r.IncrementSeconds, 1, 24*3600)
	c.within("rule.minimum_seconds", r.MinimumSeconds, 0, 24*3600)
	if r.Scope != ConnectionScope && r.Scope != PeriodScope {
		c.wrong("rule.scope", "connection or period")
	}
}

func (c *checker) licence(l *Licence) {
	c.at = "licence."
	defer func() { c.at = "" }()
	c.within("base", l.Base, 0, maxMinor)
	c.within("base_connections", int64(l.BaseConnections), 1, 1_000_000)
	c.within("pack", l.Pack, 0, maxMinor)
	c.within("pack_connections", int64(l.PackConnections), 1, 1_000_000)
	c.within("max_connections", int64(l.MaxConnections), int64(max(l.BaseConnections, 1)), 1_000_000)
	c.within("per_channel", int64(l.PerChannel), 1, 1_000_000)
	c.percent("max_discount", l.MaxDiscount)
	c.percent("tax_percent", l.TaxPercent)
	if rest := l.MaxConnections - l.BaseConnections; l.PackConnections > 0 && rest > 0 && rest%l.PackConnections != 0 {
		c.wrong("max_connections", "base_connections and whole packs")
	}
	if len(l.Discounts) > MaxComponents {
		c.wrong("discounts", "at most %d", MaxComponents)
		return
	}
	for i, d := range l.Discounts {
		c.at = fmt.Sprintf("licence.discounts[%d].", i)
		c.key("name", d.Name)
		for _, before := range l.Discounts[:i] {
			if before.Name == d.Name {
				c.wrong("name", "%q is there twice", d.Name)
			}
		}
		c.name("for", d.For)
		c.percent("percent", d.Percent)
	}
}

func (c *checker) component(p *Component, currency string) {
	c.key("key", p.Key)
	if p.Key == minimumKey {
		c.wrong("key", "another one: %q is the minimum commitment", p.Key)
	}
	c.name("name", p.Name)
	c.percent("tax_percent", p.TaxPercent)
	switch p.Kind {
	case Flat:
		c.price("amount", p.Amount)
		c.absent(p.Meter != "", "meter")
		c.absent(p.Model != "", "model")
		c.absent(p.PerSeconds != 0, "per_seconds")
		c.absent(!p.Included.IsZero(), "included")
		c.absent(!p.UnitPrice.IsZero(), "unit_price")
		c.absent(!p.PackageSize.IsZero(), "package_size")
		c.absent(len(p.Tiers) > 0, "tiers")
	case Metered:
		c.absent(!p.Amount.IsZero(), "amount")
		c.metered(p)
	default:
		c.wrong("kind", "flat or metered")
	}
}

func (c *checker) metered(p *Component) {
	switch p.Meter {
	case ConnectionMinutes, RecordingMinutes:
		c.within("per_seconds", p.PerSeconds, 0, maxSeconds)
	case GBOut:
		c.absent(p.PerSeconds != 0, "per_seconds")
	default:
		c.wrong("meter", "%s, %s or %s", ConnectionMinutes, GBOut, RecordingMinutes)
	}
	c.price("included", p.Included)
	c.price("unit_price", p.UnitPrice)
	tiered := p.Model == Graduated || p.Model == Volume
	c.absent(tiered && !p.UnitPrice.IsZero(), "unit_price")
	c.absent(!tiered && len(p.Tiers) > 0, "tiers")
	c.absent(p.Model != Package && !p.PackageSize.IsZero(), "package_size")
	switch {
	case p.Model == Package:
		c.price("package_size", p.PackageSize)
		if p.PackageSize.Sign() <= 0 {
			c.wrong("package_size", "more than 0")
		}
	case tiered:
		c.tiers(p.Tiers)
	case p.Model != PerUnit:
		c.wrong("model", "%s, %s, %s or %s", PerUnit, Package, Graduated, Volume)
	}
}

func (c *checker) tiers(tiers []Tier) {
	if len(tiers) == 0 || len(tiers) > MaxTiers {
		c.wrong("tiers", "1 to %d", MaxTiers)
		return
	}
	own := c.at
	defer func() { c.at = own }()
	var before decimal.Decimal
	for i, tier := range tiers {
		c.at = fmt.Sprintf("%stiers[%d].", own, i)
		c.price("unit_price", tier.UnitPrice)
		c.price("flat", tier.Flat)
		if last := i == len(tiers)-1; last != (tier.UpTo == nil) {
			c.wrong("up_to", "a bound for each tier but the last, which has none")
		}
		if tier.UpTo == nil || !c.price("up_to", *tier.UpTo) {
			continue
		}
		if tier.UpTo.Cmp(before) <= 0 {
			c.wrong("up_to", "more than the tier before")
		}
		before = *tier.UpTo
	}
}

// price checks a number that a price, a quantity or a bound can be. It looks at the
// exponent first: numbers such as 1e999999999 must not be computed with.
func (c *checker) price(field string, d decimal.Decimal) bool {
	switch {
	case d.Exponent() < -maxFraction-maxDigits || d.Exponent() > maxDigits || d.NumDigits() > maxDigits+maxFraction:
		c.wrong(field, "at most %d digits before and %d after the point", maxDigits, maxFraction)
	case d.Sign() < 0:
		c.wrong(field, "not less than 0")
	case !d.Equal(d.Truncate(maxFraction)) || d.Cmp(decimal.New(1, maxDigits)) >= 0:
		c.wrong(field, "at most %d digits before and %d after the point", maxDigits, maxFraction)
	default:
		return true
	}
	return false
}

func (c *checker) absent(present bool, field string) {
	if present {
		c.wrong(field, "none with this kind of component")
	}
}

var keyPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

func (c *checker) key(field, key string) {
	if !keyPattern.MatchString(key) {
		c.wrong(field, "1 to 40 of a-z, 0-9 and _, the first a letter")
	}
}

func (c *checker) name(field, name string) {
	if name == "" || len(name) > maxNameLength || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		c.wrong(field, "1 to %d bytes of text on one line", maxNameLength)
	}
}
