package rating_test

import (
	"errors"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing/rating"
)

var both = []string{"company", "case"}

// standard is the licence of the seed's price list (DESIGN A8).
var standard = *rating.Standard().Licence

func TestQuote(t *testing.T) {
	for _, test := range []struct {
		connections int
		discounts   []string
		want        rating.Quote
	}{
		{300, nil, rating.Quote{"JPY", 2_400_000, 0, 0, 2_400_000, 240_000, 2_640_000}},
		{300, []string{"case"}, rating.Quote{"JPY", 2_400_000, 240_000, 0, 2_160_000, 216_000, 2_376_000}},
		{500, both, rating.Quote{"JPY", 2_400_000, 480_000, 1_200_000, 3_120_000, 312_000, 3_432_000}},
		{1000, nil, rating.Quote{"JPY", 2_400_000, 0, 4_200_000, 6_600_000, 660_000, 7_260_000}},
		// Whoever needs fewer than a licence has gets the next one.
		{1, nil, rating.Quote{"JPY", 2_400_000, 0, 0, 2_400_000, 240_000, 2_640_000}},
		{301, nil, rating.Quote{"JPY", 2_400_000, 0, 600_000, 3_000_000, 300_000, 3_300_000}},
		{400, nil, rating.Quote{"JPY", 2_400_000, 0, 600_000, 3_000_000, 300_000, 3_300_000}},
	} {
		if got, err := standard.Quote(test.connections, test.discounts); err != nil || got != test.want {
			t.Errorf("%d %v: %+v, %v, want %+v", test.connections, test.discounts, got, err, test.want)
		}
	}
	for _, connections := range []int{-1, 0, 1001, 1 << 40} {
		if _, err := standard.Quote(connections, nil); !errors.Is(err, rating.ErrSize) {
			t.Errorf("%d connections: %v", connections, err)
		}
	}
	for _, discounts := range [][]string{{"friend"}, {""}, {"case", "case"}} {
		if _, err := standard.Quote(300, discounts); !errors.Is(err, rating.ErrDiscount) {
			t.Errorf("discounts %q: %v", discounts, err)
		}
	}
	if got, want := standard.Sizes(), []int{300, 400, 500, 600, 700, 800, 900, 1000}; !slices.Equal(got, want) {
		t.Errorf("sizes %v", got)
	}
}

// anyPlan draws a plan with odd prices and rates.
func anyPlan(t *rapid.T) rating.Licence {
	p := rating.Licence{Currency: "USD",
		TaxRounding: rapid.SampledFrom([]rating.Rounding{"", rating.Down, rating.HalfUp, rating.Up}).Draw(t, "rounding"),
		Base:        rapid.Int64Range(0, 1e13).Draw(t, "base"), BaseConnections: rapid.IntRange(1, 500).Draw(t, "base connections"),
		Pack: rapid.Int64Range(0, 1e12).Draw(t, "pack"), PackConnections: rapid.IntRange(1, 100).Draw(t, "pack connections"),
		Discounts: []rating.Discount{
			{Name: "company", Percent: rapid.Int64Range(0, 60).Draw(t, "company")},
			{Name: "case", Percent: rapid.Int64Range(0, 60).Draw(t, "case")},
		},
		MaxDiscount: rapid.Int64Range(0, 100).Draw(t, "at most"),
		TaxPercent:  rapid.Int64Range(0, 30).Draw(t, "tax"),
	}
	p.MaxConnections = p.BaseConnections + p.PackConnections*rapid.IntRange(0, 50).Draw(t, "packs")
	return p
}

// ratio is the independent oracle: whole ratios, rounded half up at the end.
func ratio(amount, part, of int64) int64 {
	r := big.NewRat(amount, 1)
	r.Mul(r, big.NewRat(part, of)).Add(r, big.NewRat(1, 2))
	return new(big.Int).Quo(r.Num(), r.Denom()).Int64()
}

// taxOf is the oracle of a tax.
func taxOf(p rating.Licence, amount int64) int64 {
	r := big.NewRat(amount, 1)
	r.Mul(r, big.NewRat(p.TaxPercent, 100))
	switch p.TaxRounding {
	case rating.HalfUp:
		r.Add(r, big.NewRat(1, 2))
	case rating.Up:
		r.Add(r, big.NewRat(99, 100))
	}
	return new(big.Int).Quo(r.Num(), r.Denom()).Int64()
}

func TestQuoteIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan(t)
		n := rapid.IntRange(1, p.MaxConnections).Draw(t, "connections")
		names := rapid.SampledFrom([][]string{nil, {"company"}, {"case"}, both}).Draw(t, "discounts")
		q, err := p.Quote(n, names)
		if err != nil {
			t.Fatal(err)
		}
		percent := int64(0)
		for _, d := range p.Discounts {
			if slices.Contains(names, d.Name) {
				percent += d.Percent
			}
		}
		percent = min(percent, p.MaxDiscount)
		size := p.BaseConnections
		packs := int64(0)
		for size < n {
			size, packs = size+p.PackConnections, packs+1
		}
		if got, err := p.Size(n); err != nil || got != size {
			t.Fatalf("%d connections are a licence for %d, %v, want %d", n, got, err, size)
		}
		want := rating.Quote{Currency: "USD", Base: p.Base, Discount: ratio(p.Base, percent, 100), Packs: packs * p.Pack}
		want.Subtotal = want.Base - want.Discount + want.Packs
		want.Tax = taxOf(p, want.Subtotal)
		want.Total = want.Subtotal + want.Tax
		if q != want {
			t.Fatalf("%+v, want %+v", q, want)
		}
		if plain, err := p.Quote(n, nil); err != nil || plain.Packs != q.Packs || plain.Total < q.Total || q.Discount > q.Base {
			t.Fatalf("with %v %+v, without %+v, %v: a discount is on the base and only there", names, q, plain, err)
		}
		if n < p.MaxConnections {
			if more, err := p.Quote(n+1, names); err != nil || more.Total < q.Total {
				t.Fatalf("one connection more costs %d, less than %d, %v", more.Total, q.Total, err)
			}
		}
	})
}

func TestProrate(t *testing.T) {
	p := standard
	three, five := quote(t, p, 300, both), quote(t, p, 500, both)
	if got, want := p.Prorate(three, five, 100, 365), (rating.Quote{Currency: "JPY", Packs: 328_767, Subtotal: 328_767, Tax: 32_876, Total: 361_643}); got != want {
		t.Errorf("%+v, want %+v", got, want) // 1,200,000 × 100 ÷ 365 = 328,767.12…; tax is cut
	}
	if got := p.Prorate(five, three, 100, 365); got.Total != 0 {
		t.Errorf("a smaller licence costs %+v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan(t)
		sizes := p.Sizes()
		from := quote(t, p, rapid.SampledFrom(sizes).Draw(t, "from"), nil)
		to := quote(t, p, rapid.SampledFrom(sizes).Draw(t, "to"), nil)
		of := rapid.SampledFrom([]int{365, 366}).Draw(t, "year")
		days := rapid.IntRange(0, of).Draw(t, "days")
		q := p.Prorate(from, to, days, of)
		subtotal := ratio(max(0, to.Subtotal-from.Subtotal), int64(days), int64(of))
		tax := taxOf(p, subtotal)
		if want := (rating.Quote{Currency: "USD", Packs: subtotal, Subtotal: subtotal, Tax: tax, Total: subtotal + tax}); q != want {
			t.Fatalf("%+v, want %+v", q, want)
		}
		if whole := p.Prorate(from, to, of, of); to.Subtotal >= from.Subtotal && whole.Subtotal != to.Subtotal-from.Subtotal {
			t.Fatalf("a whole year costs %d, want the difference of %d and %d", whole.Subtotal, to.Subtotal, from.Subtotal)
		}
		if days > 0 && p.Prorate(from, to, days-1, of).Total > q.Total {
			t.Fatal("a day less costs more")
		}
	})
}

func quote(t interface{ Fatal(...any) }, p rating.Licence, connections int, discounts []string) rating.Quote {
	q, err := p.Quote(connections, discounts)
	if err != nil {
		t.Fatal(err)
	}
	return q
}
