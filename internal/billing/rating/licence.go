package rating

import (
	"errors"
	"fmt"
	"slices"
)

// A licence's price is in minor units of its currency and only ever whole: it is
// made of whole prices, counts and percentages, and each rounding is said below.

// A Licence is a price list for licences: so many connections for a year, and packs
// of more.
type Licence struct {
	// Of the version that it belongs to, which Parse fills in.
	Name        string   `json:"-"` // the plan's
	Currency    string   `json:"-"`
	TaxRounding Rounding `json:"-"`

	Base            int64      `json:"base"`             // a year, in minor units
	BaseConnections int        `json:"base_connections"` // what the base is for
	Pack            int64      `json:"pack"`             // a year, in minor units
	PackConnections int        `json:"pack_connections"` // what each pack adds
	MaxConnections  int        `json:"max_connections"`  // the largest licence to be had by it
	PerChannel      int        `json:"per_channel"`      // at most so many in one channel, unless raised
	Discounts       []Discount `json:"discounts"`
	MaxDiscount     int64      `json:"max_discount"` // in percent, all discounts together
	TaxPercent      int64      `json:"tax_percent"`
}

// Discount is a part of the base that is not charged. Packs have no discounts.
type Discount struct {
	Name    string `json:"name"`    // as in --discount and the licence's row
	For     string `json:"for"`     // what the customer does for it
	Percent int64  `json:"percent"` // of the base
}

var (
	// ErrSize is returned for a number of connections that no licence of the
	// plan has.
	ErrSize = errors.New("no licence of the list has this size")
	// ErrDiscount is returned for a discount that the list does not have, or has
	// once.
	ErrDiscount = errors.New("no such discount")
)

// Quote is what a licence costs, in minor units of the currency. Total is
// Subtotal and Tax, Subtotal is Base less Discount, and Packs.
type Quote struct {
	Currency string `json:"currency"`
	Base     int64  `json:"base"`
	Discount int64  `json:"discount"` // what is taken off the base
	Packs    int64  `json:"packs"`
	Subtotal int64  `json:"subtotal"`
	Tax      int64  `json:"tax"`
	Total    int64  `json:"total"`
}

// Quote says what a licence for so many connections costs a year. Packs are
// whole: who needs 350 connections has to take a licence for 400, and this is its
// price (Size). It fails with ErrSize for less than one connection or more than
// the list has, and with ErrDiscount.
func (p Licence) Quote(connections int, discounts []string) (Quote, error) {
	size, err := p.Size(connections)
	if err != nil {
		return Quote{}, err
	}
	percent, err := p.Percent(discounts)
	if err != nil {
		return Quote{}, err
	}
	q := Quote{
		Currency: p.Currency,
		Base:     p.Base,
		Discount: share(p.Base, percent, 100),
		Packs:    p.Pack * int64(p.Packs(size)),
	}
	return p.sum(q), nil
}

// Size returns how many connections the smallest licence of the list has that is
// enough for so many.
func (p Licence) Size(connections int) (int, error) {
	if connections < 1 || connections > p.MaxConnections {
		return 0, fmt.Errorf("%w: a licence for %d connections; want 1 to %d, and ask the operator for more", ErrSize, connections, p.MaxConnections)
	}
	more := max(0, connections-p.BaseConnections)
	packs := (more + p.PackConnections - 1) / p.PackConnections
	return p.BaseConnections + packs*p.PackConnections, nil
}

// Packs returns how many packs a licence of this size has beside the base.
func (p Licence) Packs(size int) int {
	return max(0, size-p.BaseConnections) / p.PackConnections
}

// Sizes returns the licences that the list has, the smallest first.
func (p Licence) Sizes() (sizes []int) {
	for size := p.BaseConnections; size <= p.MaxConnections; size += p.PackConnections {
		sizes = append(sizes, size)
	}
	return sizes
}

// Granted returns those of some discounts that the list has, in its order: what was
// granted to a customer stays with it through all lists.
func (p Licence) Granted(names []string) (granted []string) {
	for _, d := range p.Discounts {
		if slices.Contains(names, d.Name) {
			granted = append(granted, d.Name)
		}
	}
	return granted
}

// Percent adds the discounts up, as far as MaxDiscount. It fails with ErrDiscount.
func (p Licence) Percent(names []string) (sum int64, err error) {
	for i, name := range names {
		at := slices.IndexFunc(p.Discounts, func(d Discount) bool { return d.Name == name })
		switch {
		case at < 0:
			return 0, fmt.Errorf("%w: %q; there are %s", ErrDiscount, name, p.DiscountNames())
		case slices.Contains(names[:i], name):
			return 0, fmt.Errorf("%w a second time: %q", ErrDiscount, name)
		}
		sum += p.Discounts[at].Percent
	}
	return min(sum, p.MaxDiscount), nil
}

// DiscountNames lists the discounts there are, for people.
func (p Licence) DiscountNames() (names string) {
	for i, d := range p.Discounts {
		if i > 0 {
			names += " and "
		}
		names += d.Name
	}
	return names
}

// sum fills in what follows from the parts. The tax is rounded once, on the
// subtotal: there is one rate, and a qualified invoice rounds once per rate.
func (p Licence) sum(q Quote) Quote {
	q.Subtotal = q.Base - q.Discount + q.Packs
	q.Tax = p.TaxRounding.percent(q.Subtotal, p.TaxPercent)
	q.Total = q.Subtotal + q.Tax
	return q
}

// Prorate returns what more packs cost for the rest of a period: the difference
// of two licences by whole days of it, rounded once, and the tax of that. A
// smaller licence costs nothing and gives nothing back.
func (p Licence) Prorate(from, to Quote, days, of int) Quote {
	q := Quote{Currency: p.Currency}
	if of > 0 {
		q.Packs = share(max(0, to.Subtotal-from.Subtotal), int64(min(max(days, 0), of)), int64(of))
	}
	return p.sum(q)
}
