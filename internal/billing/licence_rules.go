package billing

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Quote is what a licence costs.
type Quote = rating.Quote

// What a tenant may do with its licence, and what that costs: pure functions of its
// plans, what is in force, what is scheduled and the time.
//
//	trial, none ── any size ─► standard, at once, for a year
//	custom ─────── as large ─► standard, at once, for a year
//	standard ────── larger ──► standard, at once, to the end of the same year
//	standard ────── smaller ─► standard, at the end of the year
//	standard ──── not renewed ► none, at the end of the year
//
// At the end of its year a standard licence for which nothing is scheduled is
// renewed. A channel's limit, once the operator has raised it, and the discounts
// stay through all of this.

// ErrLicenceChanged is returned for a change of a licence that is no longer the
// one that was looked at.
var ErrLicenceChanged = errors.New("the licence has been changed meanwhile: look at it again")

// LicenceChange is what a change of licence means.
type LicenceChange struct {
	From  LicenceTerm  `json:"from"`
	To    LicenceTerm  `json:"to"`    // from To.From on
	Now   bool         `json:"now"`   // at once; else it is scheduled
	Drops *LicenceTerm `json:"drops"` // a scheduled change that it takes the place of; nil: none
}

// priceList is the licences that a version of a plan has.
type priceList struct {
	rating.Licence
	plan string // the plan's id
}

// listOf returns the licences of a version, if it has any.
func listOf(v *rating.Version) (list priceList, ok bool) {
	if v.Licence == nil {
		return priceList{}, false
	}
	return priceList{*v.Licence, v.Plan}, true
}

// changeOf says what it means to want a licence for so many connections, or 0: that
// it not be renewed. It is priced by the plan of the day on which it would begin. It
// fails with a *tenant.FieldError that says what is possible.
func changeOf(plans *Timeline, current LicenceTerm, next *LicenceTerm, connections int, now time.Time) (LicenceChange, error) {
	c := LicenceChange{From: current, Drops: next}
	wrong := func(format string, args ...any) (LicenceChange, error) {
		return LicenceChange{}, &tenant.FieldError{Field: "connections", Problem: fmt.Sprintf(format, args...)}
	}
	standard := current.Kind == StandardLicence
	begins := now
	if standard && connections < current.Connections {
		begins = *current.PeriodTo
	}
	if connections == 0 {
		if !standard {
			return wrong("There is no licence here that would be renewed.")
		}
		c.To = endOf(current, begins)
		return c, nil
	}
	p, ok := listOf(plans.At(begins))
	if !ok {
		return wrong("Your plan has no licences to choose from. Ask the operator for another number of connections.")
	}
	size, err := p.Size(connections)
	if err != nil {
		return wrong("A licence is for %s connections. Ask the operator for more.", p.sizesText())
	}
	if size != connections {
		return wrong("A licence is for %s connections: choose %d.", p.sizesText(), size)
	}
	c.To = LicenceTerm{Kind: StandardLicence, Connections: size, PerChannel: current.PerChannel, Packs: p.Packs(size), Discounts: current.Discounts}
	year, err := p.quote(size, current.Discounts)
	if err != nil {
		return LicenceChange{}, err
	}
	c.To.Price = &LicencePrice{Plan: p.plan, Year: year, Charge: year}
	switch {
	case standard && size == current.Connections:
		return wrong("This is the licence that you have.")
	case standard && size > current.Connections: // at once, to the end of the same year
		c.Now = true
		c.To.From, c.To.PeriodFrom, c.To.PeriodTo = now, current.PeriodFrom, current.PeriodTo
		c.To.Price.Days, c.To.Price.Of = daysLeft(now, *current.PeriodFrom, *current.PeriodTo)
		c.To.Price.Charge = p.Prorate(p.had(current), year, c.To.Price.Days, c.To.Price.Of)
	case standard: // at its end
		c.To.startPeriod(begins)
	case current.Kind == CustomLicence && size < current.Connections:
		return wrong("Your licence for %d connections was set by the operator. Ask the operator for a smaller one.", current.Connections)
	default: // what there was has no year, or none that was paid for
		c.Now = true
		c.To.startPeriod(now)
	}
	return c, nil
}

// had is what has been paid for a year of the current licence: what counts towards a
// larger one. Of another currency it is nothing.
func (p priceList) had(current LicenceTerm) Quote {
	if current.Price == nil || current.Price.Year.Currency != p.Currency {
		return Quote{}
	}
	return current.Price.Year
}

// quote is Quote with those of the discounts that the list has: a tenant keeps what it
// was granted through all plans.
func (p priceList) quote(connections int, granted []string) (Quote, error) {
	return p.Quote(connections, p.Granted(granted))
}

// renewed is the licence for the year after current's, at the prices of then.
func renewed(plans *Timeline, current LicenceTerm) LicenceTerm {
	t := current
	t.ID, t.To, t.Price = "", nil, nil
	p, ok := listOf(plans.At(*current.PeriodTo))
	year, err := p.quote(current.Connections, current.Discounts)
	if ok && err == nil {
		t.Price = &LicencePrice{Plan: p.plan, Year: year, Charge: year}
	} else if current.Price != nil { // of a plan that there was
		t.Price = &LicencePrice{Plan: current.Price.Plan, Year: current.Price.Year, Charge: current.Price.Year}
	}
	t.startPeriod(*current.PeriodTo)
	return t
}

// endOf is no licence, after current.
func endOf(current LicenceTerm, at time.Time) LicenceTerm {
	return LicenceTerm{Kind: NoLicence, PerChannel: current.PerChannel, Discounts: current.Discounts, From: at}
}

// startPeriod has the term and its year begin. Years are those of the calendar in
// UTC: they have 365 or 366 whole days. A year from 29 February on ends with
// 1 March.
func (t *LicenceTerm) startPeriod(at time.Time) {
	end := at.UTC().AddDate(1, 0, 0)
	t.From, t.PeriodFrom, t.PeriodTo = at, &at, &end
}

// daysLeft returns how many days of a period are left, the one that has begun
// included, and how many it has. Days are counted back from its end.
func daysLeft(now, from, to time.Time) (left, of int) {
	const day = 24 * time.Hour
	of = int((to.Sub(from) + day - 1) / day)
	left = int((to.Sub(now) + day - 1) / day)
	return min(max(left, 0), of), of
}

// checkDiscounts returns the discounts in the list's order.
func (p priceList) checkDiscounts(names []string) ([]string, error) {
	if len(names) > 0 && len(p.Discounts) == 0 {
		return nil, &tenant.FieldError{Field: "discount", Problem: "The tenant's plan has no discounts."}
	}
	if _, err := p.Percent(names); err != nil {
		return nil, &tenant.FieldError{Field: "discount", Problem: "Choose of " + p.DiscountNames() + ", each once."}
	}
	return notNull(p.Granted(names)), nil
}

func (p priceList) sizesText() string {
	var sizes []string
	for _, size := range p.Sizes() {
		sizes = append(sizes, fmt.Sprint(size))
	}
	last := len(sizes) - 1
	return strings.Join(sizes[:last], ", ") + " or " + sizes[last]
}
