package rating

import "time"

// A Statement is all that a bill is made of. Rate reads it and changes nothing.
type Statement struct {
	Period  Period
	Charges []Charge
	Late    []Late
}

// A Period is a month of a tenant, as used. Its whole days, on the calendar of
// Zone, are what a month's prices are prorated by; so From is the start of the
// month also where the tenant came later, and only the first part begins then.
type Period struct {
	From, To time.Time // From ≤ t < To
	Zone     *time.Location
	Parts    []Part // in order of time, at least one; they do not overlap
}

// A Part is the time of a period under one version, and what was used in it.
// Where a component is equal in adjoining parts, Rate counts them as one: a
// change of one price does not begin the tiers and packages of another anew.
type Part struct {
	From, To time.Time // changes lie on the tenant's midnights
	Version  *Version
	Usage    Usage
}

// A Charge is an amount that is known beforehand: a licence's price, or a line
// that an operator added.
type Charge struct {
	Kind       LineKind // LicenceLine or ManualLine
	Key        string   // of whoever made it: a licence's id, …
	Name       string   // for people
	Amount     int64    // minor units without tax; less than 0: a reduction
	From, To   time.Time
	TaxPercent int64
}

// Late is an earlier period of which more became known after it was billed.
type Late struct {
	Period Period // all that is known now, by the versions of that time
	Billed []Line // all lines for it so far: of its own bill, and adjustments since
}
