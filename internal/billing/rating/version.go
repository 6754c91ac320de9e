// Package rating says what usage costs. It is a pure leaf: a bill follows from a
// Statement alone (what was used, by which price versions, what was billed
// before), with no clock, no database and no float, so that it can be computed
// again years later and by others.
//
// All arithmetic is exact. A line is rounded once, half up to the smallest unit
// of its currency (ISO 4217), and tax once for each rate of a bill, as qualified
// invoices in Japan demand (NTA, invoice Q&A 57).
package rating

import "github.com/shopspring/decimal"

// A Meter is a kind of usage that components are priced by.
type Meter string

// The meters. Times are priced in units of Component.PerSeconds.
const (
	ConnectionMinutes Meter = "connection_minutes" // Usage.BilledSeconds, or Usage.Seconds with PeriodScope
	GBOut             Meter = "gb_out"             // Usage.BytesOut, in 10^9 bytes
	RecordingMinutes  Meter = "recording_minutes"  // Usage.RecordingSeconds
)

// A Kind says whether a component is charged for time or for use.
type Kind string

// The kinds of components.
const (
	Flat    Kind = "flat"    // Component.Amount for a month
	Metered Kind = "metered" // by Component.Meter and Component.Model
)

// A Model is how a metered quantity becomes an amount.
type Model string

// The models. All count the quantity of the whole period, less what is included.
const (
	PerUnit   Model = "per_unit"  // quantity × UnitPrice
	Package   Model = "package"   // UnitPrice for each started PackageSize
	Graduated Model = "graduated" // each tier's price for the units inside that tier
	Volume    Model = "volume"    // the price of the tier that the quantity lies in, for all units
)

// A Version is one version of a plan's prices. Plan, Name and Number say which
// one it is and come from its row; the rest is its JSON. It is not changed once
// it is made: parts of a period share it.
type Version struct {
	Plan   string `json:"-"` // the plan's id
	Name   string `json:"-"` // the plan's name, for people
	Number int    `json:"-"` // of the version: 1, 2, …

	Currency    string      `json:"currency"`              // ISO 4217
	Rule        Rule        `json:"rule"`                  // of billable time
	TaxRounding Rounding    `json:"tax_rounding"`          // of each rate's tax; "" in JSON: down
	Licence     *Licence    `json:"licence,omitempty"`     // nil: there are no licences to buy
	Components  []Component `json:"components"`            // in the order in which a bill shows them
	Minimum     int64       `json:"minimum,omitempty"`     // what the components of a month come to at least, in minor units without tax; 0: no minimum
	MinimumTax  int64       `json:"minimum_tax,omitempty"` // the tax of the line that tops up to Minimum, in percent
}

// A Component is one priced thing of a Version. What it gives or asks for a month
// (Amount, Included, the bounds and flat fees of tiers) is prorated by the days
// that its version was in force.
type Component struct {
	Key        string `json:"key"`  // unique in its version and the same through versions: a-z, 0-9, _
	Name       string `json:"name"` // for people
	Kind       Kind   `json:"kind"`
	TaxPercent int64  `json:"tax_percent,omitempty"`

	// Amount is the price of a month, in the currency's major unit. Flat.
	Amount decimal.Decimal `json:"amount,omitzero"`

	// The rest is Metered. Prices are in the currency's major unit, for one unit:
	// PerSeconds of a time, 10^9 bytes of a GB meter.
	Meter       Meter           `json:"meter,omitempty"`
	Model       Model           `json:"model,omitempty"`
	PerSeconds  int64           `json:"per_seconds,omitempty"` // 0: 60
	Included    decimal.Decimal `json:"included,omitzero"`     // units of a month that are free
	UnitPrice   decimal.Decimal `json:"unit_price,omitzero"`   // PerUnit; Package: for one package
	PackageSize decimal.Decimal `json:"package_size,omitzero"` // Package: in units
	Tiers       []Tier          `json:"tiers,omitempty"`       // Graduated, Volume: rising
}

// A Tier is a range of units of a Component: above the bound of the tier before,
// up to and with UpTo.
type Tier struct {
	UpTo      *decimal.Decimal `json:"up_to,omitempty"` // nil: no end; the last tier, and only it
	UnitPrice decimal.Decimal  `json:"unit_price"`
	Flat      decimal.Decimal  `json:"flat,omitzero"` // once, when the tier is reached (Volume: when it is the one)
}

// bytesPerGB is a unit of GBOut.
const bytesPerGB = 1_000_000_000

// per returns how many base units (seconds or bytes) a unit of the component has.
func (c *Component) per() int64 {
	switch {
	case c.Meter == GBOut:
		return bytesPerGB
	case c.PerSeconds > 0:
		return c.PerSeconds
	}
	return 60
}

// Component returns the component with this key, or nil. It belongs to v.
func (v *Version) Component(key string) *Component {
	for i := range v.Components {
		if v.Components[i].Key == key {
			return &v.Components[i]
		}
	}
	return nil
}

// With returns the version with some components of a customer's own: each one
// takes the place of the one with its key, or comes after the others. The result
// is not checked (Validate); v stays as it was.
func (v *Version) With(components []Component) *Version {
	own := *v
	own.Components = append([]Component(nil), v.Components...)
	for _, c := range components {
		if at := own.Component(c.Key); at != nil {
			*at = c
		} else {
			own.Components = append(own.Components, c)
		}
	}
	return &own
}
