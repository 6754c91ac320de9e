package rating

import (
	"errors"
	"fmt"
	"math"
	"time"
)

var (
	// ErrStatement is returned for a Statement that no bill can be made of: parts
	// that overlap or leave the period, no version, usage below 0.
	ErrStatement = errors.New("the statement cannot be rated")
	// ErrCurrency is returned where the versions of one Statement have different
	// currencies: a bill has one.
	ErrCurrency = errors.New("a bill has one currency")
	// ErrTooLarge is returned where an amount is too large for int64.
	ErrTooLarge = errors.New("the amount is too large")
)

// maxDays is the longest period that can be rated, which keeps its arithmetic small.
const maxDays = 400

// minimumKey is Line.Component of a MinimumLine.
const minimumKey = "minimum"

// Rate makes the bill of a statement. It depends on nothing else and fails with
// ErrStatement, ErrCurrency, ErrTooLarge or an Invalid version. The currency, and
// the direction in which tax is rounded, are those of the version in force at the
// end of the period.
//
// Lines that come to nothing and have no usage are left out; those with usage
// that costs nothing stay, so that all usage stands on a bill.
func Rate(s Statement) (Bill, error) {
	if err := s.check(); err != nil {
		return Bill{}, err
	}
	last := s.Period.Parts[len(s.Period.Parts)-1].Version
	bill := Bill{Currency: last.Currency, TaxRounding: last.TaxRounding}
	if bill.TaxRounding == "" {
		bill.TaxRounding = Down
	}
	bill.Lines = append(bill.Lines, charges(s.Charges, LicenceLine, bill.Currency)...)
	lines, err := s.Period.lines()
	if err != nil {
		return Bill{}, err
	}
	bill.Lines = append(bill.Lines, lines...)
	for i := range s.Late {
		lines, err := s.Late[i].lines()
		if err != nil {
			return Bill{}, err
		}
		bill.Lines = append(bill.Lines, lines...)
	}
	bill.Lines = append(bill.Lines, charges(s.Charges, ManualLine, bill.Currency)...)
	if err := bill.sum(); err != nil {
		return Bill{}, err
	}
	return bill, nil
}

// check says whether a bill can be made of the statement.
func (s *Statement) check() error {
	if err := s.Period.check(); err != nil {
		return err
	}
	currency := s.Period.Parts[0].Version.Currency
	periods := []*Period{&s.Period}
	for i := range s.Late {
		if err := s.Late[i].Period.check(); err != nil {
			return err
		}
		periods = append(periods, &s.Late[i].Period)
	}
	for _, p := range periods {
		for i := range p.Parts {
			if other := p.Parts[i].Version.Currency; other != currency {
				return fmt.Errorf("%w: %s and %s", ErrCurrency, currency, other)
			}
		}
	}
	for i := range s.Charges {
		c := &s.Charges[i]
		switch {
		case c.Kind != LicenceLine && c.Kind != ManualLine:
			return fmt.Errorf("%w: a charge of the kind %q", ErrStatement, c.Kind)
		case c.TaxPercent < 0 || c.TaxPercent > 100:
			return fmt.Errorf("%w: a charge with %d %% tax", ErrStatement, c.TaxPercent)
		case c.Amount == math.MinInt64:
			return ErrTooLarge
		}
	}
	return nil
}

// check says whether the period's parts are in order, and each can be rated.
func (p *Period) check() error {
	if p.Zone == nil || p.of() < 1 || p.of() > maxDays {
		return fmt.Errorf("%w: a period of 1 to %d days in a time zone, not %s to %s", ErrStatement, maxDays, p.From, p.To)
	}
	if len(p.Parts) == 0 {
		return fmt.Errorf("%w: a period without a part", ErrStatement)
	}
	from := p.From
	for i := range p.Parts {
		part := &p.Parts[i]
		switch {
		case part.Version == nil:
			return fmt.Errorf("%w: part %d has no version", ErrStatement, i)
		case part.From.Before(from) || part.To.Before(part.From) || part.To.After(p.To):
			return fmt.Errorf("%w: part %d is not after the one before, within the period", ErrStatement, i)
		case !part.Usage.valid():
			return fmt.Errorf("%w: part %d has usage below 0, or too much", ErrStatement, i)
		}
		from = part.To
		if i > 0 && part.Version == p.Parts[i-1].Version {
			continue // checked already
		}
		if err := part.Version.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// sum fills in what follows from the lines.
func (b *Bill) sum() (err error) {
	base := make(map[int64]int64) // by percent
	for i := range b.Lines {
		line := &b.Lines[i]
		if b.Subtotal, err = plus(b.Subtotal, line.Amount); err != nil {
			return err
		}
		if base[line.TaxPercent], err = plus(base[line.TaxPercent], line.Amount); err != nil {
			return err
		}
	}
	for percent := int64(100); percent >= 0; percent-- {
		amount, used := base[percent]
		if !used {
			continue
		}
		tax := Tax{percent, amount, b.TaxRounding.percent(amount, percent)}
		b.Taxes = append(b.Taxes, tax)
		if b.Tax, err = plus(b.Tax, tax.Amount); err != nil {
			return err
		}
	}
	b.Total, err = plus(b.Subtotal, b.Tax)
	return err
}

// plus returns a + b, or ErrTooLarge.
func plus(a, b int64) (int64, error) {
	sum := a + b
	if (a > 0 && b > 0 && sum < 0) || (a < 0 && b < 0 && sum >= 0) || sum == math.MinInt64 {
		return 0, ErrTooLarge
	}
	return sum, nil
}

// charges returns the lines of the charges of one kind.
func charges(all []Charge, kind LineKind, currency string) (lines []Line) {
	for i := range all {
		c := &all[i]
		if c.Kind != kind {
			continue
		}
		line := Line{
			Kind: kind, Component: c.Key, Name: c.Name, From: c.From, To: c.To,
			TaxPercent: c.TaxPercent, Amount: c.Amount, Unrounded: major(currency, c.Amount),
		}
		line.Hash = hash(currency, kind, c.Key, c.Name, c.From.UTC(), c.To.UTC(), c.Amount, c.TaxPercent)
		lines = append(lines, line)
	}
	return lines
}

// of returns how many days the period has.
func (p *Period) of() int64 { return p.days(p.From, p.To) }

// days returns how many of the tenant's midnights lie in from < t ≤ to: whole days,
// where both are midnights. The days of adjoining times add up.
func (p *Period) days(from, to time.Time) int64 { return p.day(to) - p.day(from) }

// day numbers the days of the tenant's calendar.
func (p *Period) day(t time.Time) int64 {
	year, month, day := t.In(p.Zone).Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 3600)
}
