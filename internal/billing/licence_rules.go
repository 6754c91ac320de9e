package billing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// What a tenant may do with its licence, and what that costs: pure functions of
// what is in force, what is scheduled and the time.
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

// change says what it means to want a licence for so many connections, or 0: that
// it not be renewed. It fails with a *tenant.FieldError that says what is possible.
func (p Plan) change(current LicenceTerm, next *LicenceTerm, connections int, now time.Time) (LicenceChange, error) {
	c := LicenceChange{From: current, Drops: next}
	wrong := func(format string, args ...any) (LicenceChange, error) {
		return LicenceChange{}, &tenant.FieldError{Field: "connections", Problem: fmt.Sprintf(format, args...)}
	}
	standard := current.Kind == StandardLicence
	if connections == 0 {
		if !standard {
			return wrong("There is no licence here that would be renewed.")
		}
		c.To = endOf(current, *current.PeriodTo)
		return c, nil
	}
	size, err := p.Size(connections)
	if err != nil {
		return wrong("A licence is for %s connections. Ask the operator for more.", p.sizesText())
	}
	if size != connections {
		return wrong("A licence is for %s connections: choose %d.", p.sizesText(), size)
	}
	c.To = LicenceTerm{Kind: StandardLicence, Connections: size, PerChannel: current.PerChannel, Packs: p.Packs(size), Discounts: current.Discounts}
	year, err := p.Quote(size, current.Discounts)
	if err != nil {
		return LicenceChange{}, err
	}
	c.To.Price = &LicencePrice{Plan: p.Name, Year: year, Charge: year}
	switch {
	case standard && size == current.Connections:
		return wrong("This is the licence that you have.")
	case standard && size > current.Connections: // at once, to the end of the same year
		c.Now = true
		c.To.From, c.To.PeriodFrom, c.To.PeriodTo = now, current.PeriodFrom, current.PeriodTo
		c.To.Price.Days, c.To.Price.Of = daysLeft(now, *current.PeriodFrom, *current.PeriodTo)
		had := Quote{}
		if current.Price != nil {
			had = current.Price.Year
		}
		c.To.Price.Charge = p.Prorate(had, year, c.To.Price.Days, c.To.Price.Of)
	case standard: // at its end
		c.To.startPeriod(*current.PeriodTo)
	case current.Kind == CustomLicence && size < current.Connections:
		return wrong("Your licence for %d connections was set by the operator. Ask the operator for a smaller one.", current.Connections)
	default: // what there was has no year, or none that was paid for
		c.Now = true
		c.To.startPeriod(now)
	}
	return c, nil
}

// renewed is the licence for the year after current's.
func (p Plan) renewed(current LicenceTerm) LicenceTerm {
	t := current
	t.ID, t.To, t.Price = "", nil, nil
	if year, err := p.Quote(current.Connections, current.Discounts); err == nil {
		t.Price = &LicencePrice{Plan: p.Name, Year: year, Charge: year}
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

// checkDiscounts returns the discounts in the plan's order.
func (p Plan) checkDiscounts(names []string) ([]string, error) {
	if _, err := p.Percent(names); err != nil {
		return nil, &tenant.FieldError{Field: "discount", Problem: "Choose of " + p.DiscountNames() + ", each once."}
	}
	sorted := []string{}
	for _, d := range p.Discounts {
		if slices.Contains(names, d.Name) {
			sorted = append(sorted, d.Name)
		}
	}
	return sorted, nil
}

func (p Plan) sizesText() string {
	var sizes []string
	for _, size := range p.Sizes() {
		sizes = append(sizes, fmt.Sprint(size))
	}
	last := len(sizes) - 1
	return strings.Join(sizes[:last], ", ") + " or " + sizes[last]
}
