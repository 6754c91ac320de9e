package rating

import (
	"fmt"
	"strings"

	"github.com/shopspring/decimal"
)

// A PriceText is one price of a version as people read it.
type PriceText struct {
	Key  string `json:"key"` // Component.Key, "licence", "packs" or "minimum"
	Name string `json:"name"`
	Text string `json:"text"` // "JPY 10 for each started 10 minutes"
	Tax  int64  `json:"tax_percent"`
}

// Prices puts the version's prices in words, in the order in which a bill has them.
func (v *Version) Prices() (prices []PriceText) {
	if l := v.Licence; l != nil {
		prices = append(prices, PriceText{"licence", fmt.Sprintf("Licence for %d connections", l.BaseConnections), Money(v.Currency, l.Base) + " a year", l.TaxPercent})
		if l.MaxConnections > l.BaseConnections {
			prices = append(prices, PriceText{"packs", fmt.Sprintf("Each %d more", l.PackConnections), Money(v.Currency, l.Pack) + " a year", l.TaxPercent})
		}
	}
	for i := range v.Components {
		c := &v.Components[i]
		prices = append(prices, PriceText{c.Key, c.Name, c.Text(v.Currency), c.TaxPercent})
	}
	if v.Minimum > 0 {
		prices = append(prices, PriceText{minimumKey, "Minimum commitment", "at least " + Money(v.Currency, v.Minimum) + " a month", v.MinimumTax})
	}
	return prices
}

// Text says how time becomes billed time.
func (r Rule) Text() string {
	of := "Of each connection"
	if r.Scope == PeriodScope {
		of = "Of a month's connections in all"
	}
	text := fmt.Sprintf("%s, each started %s is billed", of, secondsText(r.IncrementSeconds))
	if r.MinimumSeconds > 0 {
		least := secondsText(r.MinimumSeconds)
		if r.MinimumSeconds == 1 || r.MinimumSeconds == 60 {
			least = "one " + least
		}
		text += ", and at least " + least
	}
	return text + "."
}

func secondsText(n int64) string {
	switch {
	case n == 60:
		return "minute"
	case n == 1:
		return "second"
	case n%60 == 0:
		return fmt.Sprintf("%d minutes", n/60)
	}
	return fmt.Sprintf("%d seconds", n)
}

// Text says what the component costs: "JPY 10 for each started 10 minutes".
func (c *Component) Text(currency string) string {
	if c.Kind == Flat {
		return price(currency, c.Amount) + " a month"
	}
	text := c.modelText(currency)
	if c.Included.Sign() > 0 && text != "included" {
		text += fmt.Sprintf("; %s of a month included", c.units(c.Included))
	}
	return text
}

func (c *Component) modelText(currency string) string {
	switch c.Model {
	case Graduated, Volume:
		return c.tiersText(currency)
	case Package:
		if c.UnitPrice.IsZero() {
			return "included"
		}
		return fmt.Sprintf("%s for each started %s", price(currency, c.UnitPrice), c.units(c.PackageSize))
	}
	if c.UnitPrice.IsZero() {
		return "included"
	}
	return fmt.Sprintf("%s for each %s", price(currency, c.UnitPrice), c.unit())
}

func (c *Component) tiersText(currency string) string {
	var parts []string
	for i, tier := range c.Tiers {
		which := "above that"
		switch {
		case tier.UpTo != nil && i == 0:
			which = "up to " + c.units(*tier.UpTo)
		case tier.UpTo != nil:
			which = "then up to " + c.units(*tier.UpTo)
		case i == 0:
			which = "any quantity"
		}
		part := fmt.Sprintf("%s, %s for each %s", which, price(currency, tier.UnitPrice), c.unit())
		if tier.Flat.Sign() > 0 {
			part += " and " + price(currency, tier.Flat) + " once"
		}
		parts = append(parts, part)
	}
	if c.Model == Volume {
		return "all at the price of the month's whole quantity: " + strings.Join(parts, "; ")
	}
	return strings.Join(parts, "; ")
}

// units is a quantity of the component: "10 minutes", "1,000 GB".
func (c *Component) units(n decimal.Decimal) string {
	unit := c.unit()
	switch {
	case strings.Contains(unit, " "): // already a number of something
		return Grouped(n.String()) + " times " + unit
	case unit != "GB" && !n.Equal(whole(1)):
		unit += "s"
	}
	return Grouped(n.String()) + " " + unit
}

// price is an exact price, with no less digits than the currency has: "USD 0.50",
// "JPY 12.5".
func price(currency string, d decimal.Decimal) string {
	digits, _ := Exponent(currency)
	text := d.String()
	if -d.Exponent() < digits || d.Equal(d.Truncate(digits)) {
		text = d.StringFixed(digits)
	}
	return currency + " " + Grouped(text)
}

// Grouped puts commas between the thousands of a number.
func Grouped(number string) string {
	number, negative := strings.CutPrefix(number, "-")
	whole, fraction, _ := strings.Cut(number, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative {
		return "-" + whole
	}
	return whole
}
