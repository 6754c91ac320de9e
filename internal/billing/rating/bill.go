package rating

import (
	"time"

	"github.com/shopspring/decimal"
)

// A LineKind says where a line of a bill comes from.
type LineKind string

// The kinds of lines, in the order in which they stand on a bill.
const (
	LicenceLine    LineKind = "licence"    // Charge
	FlatLine       LineKind = "flat"       // Component, for the time of its version
	MeteredLine    LineKind = "metered"    // Component, for what was used
	MinimumLine    LineKind = "minimum"    // what the minimum commitment is more than the components
	AdjustmentLine LineKind = "adjustment" // what became known late of an earlier period
	ManualLine     LineKind = "manual"     // Charge
)

// A Span is the time From ≤ t < To.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// A Line is one amount of a bill with all that it was computed from.
type Line struct {
	Kind       LineKind  `json:"kind"`
	Component  string    `json:"component"` // Component.Key, Charge.Key, or "minimum"
	Name       string    `json:"name"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Plan       string    `json:"plan,omitempty"`    // of a version; where parts were counted as one, of the last
	Version    int       `json:"version,omitempty"` // Version.Number
	Adjusts    *Span     `json:"adjusts,omitempty"` // AdjustmentLine: the earlier period
	Meter      Meter     `json:"meter,omitempty"`
	Model      Model     `json:"model,omitempty"`
	Usage      Usage     `json:"usage"` // MeteredLine: what its meter is about; AdjustmentLine: now more than billed
	Base       int64     `json:"base"`  // the billed quantity in whole seconds or bytes, before what is included
	Per        int64     `json:"per"`   // seconds or bytes of one unit; 0: no quantity
	Unit       string    `json:"unit"`  // "minute", "GB", "month", …
	TaxPercent int64     `json:"tax_percent"`
	Amount     int64     `json:"amount"` // minor units, without tax

	Quantity  decimal.Decimal `json:"quantity"`   // Base in units: exact, or cut after 12 digits
	Included  decimal.Decimal `json:"included"`   // units that are free, of Quantity at most
	UnitPrice decimal.Decimal `json:"unit_price"` // of one unit, package or month; 0 with tiers
	Unrounded decimal.Decimal `json:"unrounded"`  // major units: exact, or cut after 12 digits
	Steps     []Step          `json:"steps,omitempty"`
	Hash      string          `json:"hash"` // SHA-256 in hex of everything that went into the line
}

// A Step is one step of a line's arithmetic, for who wants it explained. Its
// amount, in major units, is exact or cut after 12 digits.
type Step struct {
	Text      string          `json:"text"`
	Quantity  decimal.Decimal `json:"quantity"`
	UnitPrice decimal.Decimal `json:"unit_price"`
	Amount    decimal.Decimal `json:"amount"`
}

// Tax is the tax of all lines of a bill with one rate.
type Tax struct {
	Percent int64 `json:"percent"`
	Base    int64 `json:"base"`   // minor units: the sum of the lines
	Amount  int64 `json:"amount"` // of Base, rounded once
}

// A Bill is what a Statement comes to, in minor units of one currency. Subtotal is
// the sum of the lines, Tax of Taxes, and Total of both. Each rate of any line has
// its Tax, also 0 %, the highest first.
type Bill struct {
	Currency    string   `json:"currency"`
	TaxRounding Rounding `json:"tax_rounding"`
	Lines       []Line   `json:"lines"`
	Taxes       []Tax    `json:"taxes"`
	Subtotal    int64    `json:"subtotal"`
	Tax         int64    `json:"tax"`
	Total       int64    `json:"total"`
}

// Charged reports whether any line has an amount. A bill where none has needs no
// invoice.
func (b *Bill) Charged() bool {
	for i := range b.Lines {
		if b.Lines[i].Amount != 0 {
			return true
		}
	}
	return false
}
