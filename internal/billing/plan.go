package billing

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// Money is in minor units of a currency (ISO 4217: yen have none smaller, so
// JPY 2,400,000 is 2,400,000) and is only ever whole: int64 and not a decimal
// library, because a licence's price is made of whole prices, counts and
// percentages, and each rounding is said below. Nothing here knows a clock or a
// database.

// A Plan is a price list for licences: so many connections for a year, and packs
// of more.
type Plan struct {
	Name            string
	Currency        string // ISO 4217
	Base            int64  // a year, in minor units
	BaseConnections int    // what the base is for
	Pack            int64  // a year, in minor units
	PackConnections int    // what each pack adds
	MaxConnections  int    // the largest licence to be had by it
	PerChannel      int    // at most so many in one channel, unless raised
	Discounts       []Discount
	MaxDiscount     int64 // in percent, all discounts together
	TaxPercent      int64
}

// Discount is a part of the base that is not charged. Packs have no discounts.
type Discount struct {
	Name    string // as in --discount and the licence's row
	For     string // what the customer does for it
	Percent int64  // of the base
}

// DefaultPlan is the price list (DESIGN A8).
var DefaultPlan = Plan{
	Name:     "standard",
	Currency: "JPY",
	Base:     2_400_000, BaseConnections: 300,
	Pack: 600_000, PackConnections: 100,
	MaxConnections: 1_000,
	PerChannel:     150,
	Discounts: []Discount{
		{"company", "your company's name among our customers", 10},
		{"case", "a published case", 10},
	},
	MaxDiscount: 20,
	TaxPercent:  10,
}

var (
	// ErrSize is returned for a number of connections that no licence of the
	// plan has.
	ErrSize = errors.New("no licence of the plan has this size")
	// ErrDiscount is returned for a discount that the plan does not have, or has
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
// the plan has, and with ErrDiscount.
func (p Plan) Quote(connections int, discounts []string) (Quote, error) {
	size, err := p.Size(connections)
	if err != nil {
		return Quote{}, err
	}
	percent, err := p.percent(discounts)
	if err != nil {
		return Quote{}, err
	}
	q := Quote{
		Currency: p.Currency,
		Base:     p.Base,
		Discount: share(p.Base, percent, 100),
		Packs:    p.Pack * int64(p.Packs(size)),
	}
	return q.sum(p.TaxPercent), nil
}

// Size returns how many connections the smallest licence of the plan has that is
// enough for so many.
func (p Plan) Size(connections int) (int, error) {
	if connections < 1 || connections > p.MaxConnections {
		return 0, fmt.Errorf("%w: a licence for %d connections; want 1 to %d, and ask the operator for more", ErrSize, connections, p.MaxConnections)
	}
	more := max(0, connections-p.BaseConnections)
	packs := (more + p.PackConnections - 1) / p.PackConnections
	return p.BaseConnections + packs*p.PackConnections, nil
}

// Packs returns how many packs a licence of this size has beside the base.
func (p Plan) Packs(size int) int {
	return max(0, size-p.BaseConnections) / p.PackConnections
}

// Sizes returns the licences that the plan has, the smallest first.
func (p Plan) Sizes() (sizes []int) {
	for size := p.BaseConnections; size <= p.MaxConnections; size += p.PackConnections {
		sizes = append(sizes, size)
	}
	return sizes
}

// percent adds the discounts up.
func (p Plan) percent(names []string) (sum int64, err error) {
	for i, name := range names {
		at := slices.IndexFunc(p.Discounts, func(d Discount) bool { return d.Name == name })
		switch {
		case at < 0:
			return 0, fmt.Errorf("%w: %q; there are %s", ErrDiscount, name, p.discountNames())
		case slices.Contains(names[:i], name):
			return 0, fmt.Errorf("%w a second time: %q", ErrDiscount, name)
		}
		sum += p.Discounts[at].Percent
	}
	return min(sum, p.MaxDiscount), nil
}

func (p Plan) discountNames() (names string) {
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
func (q Quote) sum(taxPercent int64) Quote {
	q.Subtotal = q.Base - q.Discount + q.Packs
	q.Tax = share(q.Subtotal, taxPercent, 100)
	q.Total = q.Subtotal + q.Tax
	return q
}

// Prorate returns what more packs cost for the rest of a period: the difference
// of two licences by whole days of it, rounded once, and the tax of that. A
// smaller licence costs nothing and gives nothing back.
func (p Plan) Prorate(from, to Quote, days, of int) Quote {
	q := Quote{Currency: p.Currency}
	if of > 0 {
		q.Packs = share(max(0, to.Subtotal-from.Subtotal), int64(min(max(days, 0), of)), int64(of))
	}
	return q.sum(p.TaxPercent)
}

// share returns amount × part ÷ of, half a unit rounded up. The product has 128
// bits. The amount must be no less than 0, and part no more than of.
func share(amount, part, of int64) int64 {
	high, low := bits.Mul64(uint64(amount), uint64(part))
	low, carry := bits.Add64(low, uint64(of)/2, 0)
	whole, _ := bits.Div64(high+carry, low, uint64(of))
	return int64(whole)
}
