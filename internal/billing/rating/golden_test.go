package rating_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/hibari/hibari/internal/billing/rating"
)

var update = flag.Bool("update", false, "write testdata/bill.json anew")

func flat(amount string) rating.Component {
	return rating.Component{Key: "flat", Name: "Base fee", Kind: rating.Flat, TaxPercent: 10, Amount: number(amount)}
}

func perGB(price, included string) rating.Component {
	return rating.Component{Key: "gb", Name: "Data", Kind: rating.Metered, TaxPercent: 10, Meter: rating.GBOut, Model: rating.PerUnit,
		UnitPrice: number(price), Included: number(included)}
}

// amounts are what the lines of a bill come to.
func amounts(b rating.Bill) (all []int64) {
	for _, line := range b.Lines {
		all = append(all, line.Amount)
	}
	return all
}

// golden is a bill as somebody computed it by hand.
type golden struct {
	lines                []int64
	subtotal, tax, total int64
}

func (g golden) check(t *testing.T, name string, b rating.Bill) {
	t.Helper()
	got := golden{amounts(b), b.Subtotal, b.Tax, b.Total}
	if a, w := asJSON(t, got.lines), asJSON(t, g.lines); a != w || got.subtotal != g.subtotal || got.tax != g.tax || got.total != g.total {
		t.Errorf("%s: lines %v, %d + %d = %d; want lines %v, %d + %d = %d", name, got.lines, got.subtotal, got.tax, got.total, g.lines, g.subtotal, g.tax, g.total)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSeedsPriceList: 500 connections with both discounts are ¥3,120,000 a year, plus
// tax, on one bill with a month's use that the licence includes (DESIGN A8).
func TestSeedsPriceList(t *testing.T) {
	v := rating.Standard()
	quote, err := v.Licence.Quote(500, []string{"company", "case"})
	if err != nil {
		t.Fatal(err)
	}
	p := month(zone(t, "Asia/Tokyo"), 2026, 11, v, rating.Usage{Connections: 9, Seconds: 5000, Minutes: 90, BilledSeconds: 5400, BytesOut: 3e9})
	s := rating.Statement{Period: p, Charges: []rating.Charge{
		{Kind: rating.LicenceLine, Key: "lic_1", Name: "Licence", Amount: quote.Subtotal, From: p.From, To: p.From.AddDate(1, 0, 0), TaxPercent: v.Licence.TaxPercent},
	}}
	golden{[]int64{3_120_000, 0, 0}, 3_120_000, 312_000, 3_432_000}.check(t, "with use", rate(t, s))
	if quote.Total != 3_432_000 {
		t.Errorf("quoted %+v", quote)
	}
	s.Period.Parts[0].Usage, s.Charges = rating.Usage{}, nil
	if bill := rate(t, s); bill.Charged() || len(bill.Lines) > 0 {
		t.Errorf("of nothing a bill: %+v", bill)
	}
}

// TestCurrencies: each has its own smallest unit, and a line is rounded to that.
func TestCurrencies(t *testing.T) {
	for currency, want := range map[string]golden{
		// 1,234 minutes at 0.0125 are 15.425; 12.5 GB at 0.1015 are 1.26875.
		"JPY": {[]int64{15, 1}, 16, 1, 17},
		"USD": {[]int64{1543, 127}, 1670, 167, 1837},
		"EUR": {[]int64{1543, 127}, 1670, 167, 1837},
		"KWD": {[]int64{15_425, 1_269}, 16_694, 1_669, 18_363},
	} {
		u := minutes(1234)
		u.BytesOut = 12_500_000_000
		want.check(t, currency, rate(t, rating.Statement{Period: month(time.UTC, 2026, 11, version(currency, perMinute("0.0125"), perGB("0.1015", "0")), u)}))
	}
}

// TestManyLinesOneTax: 31 lines of ¥105 are taxed once, 325.5 cut; line by line it
// would be 310.
func TestManyLinesOneTax(t *testing.T) {
	for rounding, tax := range map[rating.Rounding]int64{"": 325, rating.Down: 325, rating.HalfUp: 326, rating.Up: 326} {
		v := version("JPY")
		v.TaxRounding = rounding
		s := rating.Statement{Period: month(time.UTC, 2026, 12, v, rating.Usage{})}
		for day := range 31 {
			s.Charges = append(s.Charges, rating.Charge{Kind: rating.ManualLine, Key: "day", Name: "A day", Amount: 105, TaxPercent: 10, From: s.Period.From.AddDate(0, 0, day)})
		}
		// Another rate has a rounding of its own: 8 % of 99 are 7.92.
		s.Charges = append(s.Charges, rating.Charge{Kind: rating.ManualLine, Key: "food", Name: "Tea", Amount: 99, TaxPercent: 8})
		other := int64(7)
		if rounding == rating.HalfUp || rounding == rating.Up {
			other = 8
		}
		bill := rate(t, s)
		if len(bill.Taxes) != 2 || bill.Taxes[0] != (rating.Tax{Percent: 10, Base: 3255, Amount: tax}) || bill.Taxes[1] != (rating.Tax{Percent: 8, Base: 99, Amount: other}) {
			t.Errorf("%q: %+v", rounding, bill.Taxes)
		}
	}
}

// TestCreditMirrorsCharge: what is taken off has the tax that was charged on it.
func TestCreditMirrorsCharge(t *testing.T) {
	for _, rounding := range []rating.Rounding{rating.Down, rating.HalfUp, rating.Up} {
		v := version("JPY")
		v.TaxRounding = rounding
		both := func(amount int64) int64 {
			return rate(t, rating.Statement{Period: month(time.UTC, 2026, 12, v, rating.Usage{}),
				Charges: []rating.Charge{{Kind: rating.ManualLine, Key: "x", Name: "x", Amount: amount, TaxPercent: 10}}}).Total
		}
		for _, amount := range []int64{1, 4, 5, 15, 105, 999} {
			if both(amount) != -both(-amount) {
				t.Errorf("%s: ¥%d come to %d, and taken off to %d", rounding, amount, both(amount), both(-amount))
			}
		}
	}
}

// split is a month whose version changes on a day.
func split(loc *time.Location, year int, m time.Month, day int, before, after *rating.Version, ub, ua rating.Usage) rating.Period {
	p := month(loc, year, m, before, ub)
	at := time.Date(year, m, day, 0, 0, 0, 0, loc)
	p.Parts[0].To = at
	p.Parts = append(p.Parts, rating.Part{From: at, To: p.To, Version: after, Usage: ua})
	return p
}

// TestProration: by the days of the tenant's calendar, whatever its clock does.
func TestProration(t *testing.T) {
	cheap, dear := version("JPY", flat("29000")), version("JPY", flat("58000"))
	for _, test := range []struct {
		name   string
		period rating.Period
		want   []int64
	}{
		{"leap day", split(zone(t, "Asia/Tokyo"), 2028, 2, 29, cheap, dear, rating.Usage{}, rating.Usage{}), []int64{28_000, 2_000}},
		{"no leap day: 29,000 × 27 ÷ 28 is 27,964.3, 58,000 ÷ 28 is 2,071.4", split(zone(t, "Asia/Tokyo"), 2026, 2, 28, cheap, dear, rating.Usage{}, rating.Usage{}), []int64{27_964, 2_071}},
		{"a day of 23 hours counts as one: 29,000 × 8 ÷ 31 is 7,483.9, 58,000 × 23 ÷ 31 is 43,032.3", split(zone(t, "America/New_York"), 2026, 3, 9, cheap, dear, rating.Usage{}, rating.Usage{}), []int64{7_484, 43_032}},
		{"a day of 25 hours, too", split(zone(t, "America/New_York"), 2026, 11, 2, version("JPY", flat("3000")), version("JPY", flat("6000")), rating.Usage{}, rating.Usage{}), []int64{100, 5_800}},
		{"the first day", split(zone(t, "Asia/Tokyo"), 2026, 11, 1, cheap, version("JPY", flat("30000")), rating.Usage{}, rating.Usage{}), []int64{30_000}},
	} {
		if got := amounts(rate(t, rating.Statement{Period: test.period})); asJSON(t, got) != asJSON(t, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	// Who comes on the 11th pays for 20 days, and has 20 days of what a month includes:
	// of 1,000 minutes 666 2/3, that is 40,000 s.
	c := perMinute("3")
	c.Included = number("1000")
	p := month(zone(t, "Asia/Tokyo"), 2026, 11, version("JPY", flat("30000"), c), minutes(668))
	p.Parts[0].From = p.From.AddDate(0, 0, 10).Add(15 * time.Hour)
	bill := rate(t, rating.Statement{Period: p})
	golden{[]int64{20_000, 4}, 20_004, 2_000, 22_004}.check(t, "from the 11th", bill)
	if got := bill.Lines[1]; !got.Included.Equal(number("666.666666666666")) || !got.Unrounded.Equal(decimal.NewFromInt(4)) {
		t.Errorf("%s are included, it comes to %s", got.Included, got.Unrounded)
	}
	// After a change of the zone a month begins where the last one ended, in the middle of
	// a day. It is a month all the same.
	loc := zone(t, "America/New_York")
	from, to := time.Date(2026, 11, 1, 0, 0, 0, 0, zone(t, "Asia/Tokyo")), time.Date(2026, 12, 1, 0, 0, 0, 0, loc)
	zoned := rating.Period{From: from, To: to, Zone: loc, Parts: []rating.Part{{From: from, To: to, Version: cheap}}}
	golden{[]int64{29_000}, 29_000, 2_900, 31_900}.check(t, "changed zone", rate(t, rating.Statement{Period: zoned}))
}

// TestConnectionOverThreeMonths: each month has the minutes that start in it, and all
// of them together are those of the connection.
func TestConnectionOverThreeMonths(t *testing.T) {
	loc := zone(t, "Asia/Tokyo")
	connected := time.Date(2026, 10, 31, 23, 59, 30, 0, loc)
	end := time.Date(2026, 12, 1, 0, 0, 0, 1, loc)
	v := version("JPY", perMinute("1"))
	var total int64
	for m, want := range map[time.Month]int64{
		10: 1,            // 23:59:30
		11: 30 * 24 * 60, // 0:00:30 on the 1st to 23:59:30 on the 30th
		12: 0,            // nothing starts in the nanosecond
	} {
		p := month(loc, 2026, m, v, rating.Usage{})
		u := &p.Parts[0].Usage
		u.BilledSeconds = v.Rule.BilledSeconds(connected, end, p.From, p.To)
		bill := rate(t, rating.Statement{Period: p})
		if bill.Subtotal != want {
			t.Errorf("month %d: %d, want %d", m, bill.Subtotal, want)
		}
		total += bill.Subtotal
	}
	if whole := v.Rule.BilledSeconds(connected, end, connected, end.Add(time.Hour)) / 60; total != whole || whole != 30*24*60+1 {
		t.Errorf("the months have %d minutes, the connection %d", total, whole)
	}
}

// TestStartedTenMinutes: ¥10 for each started 10 minutes, of a tenant's total or of each
// connection.
func TestStartedTenMinutes(t *testing.T) {
	connections := []time.Duration{time.Second, 10 * time.Minute, 10*time.Minute + time.Nanosecond} // 1 + 1 + 2 are started
	total := perMinute("10")
	total.Model, total.PackageSize = rating.Package, number("10")
	each := perMinute("10")
	each.PerSeconds = 600
	own := version("JPY", each)
	own.Rule = rating.Rule{IncrementSeconds: 600, MinimumSeconds: 600, Scope: rating.ConnectionScope}
	from := time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		version *rating.Version
		want    int64
	}{
		{version("JPY", total), 30}, // 1 + 10 + 11 minutes are 3 packages
		{own, 40},
	} {
		p := month(time.UTC, 2026, 11, test.version, rating.Usage{})
		for _, length := range connections {
			p.Parts[0].Usage.BilledSeconds += test.version.Rule.BilledSeconds(from, from.Add(length), p.From, p.To)
		}
		if bill := rate(t, rating.Statement{Period: p}); bill.Subtotal != test.want {
			t.Errorf("%d, want %d: %+v", bill.Subtotal, test.want, bill.Lines)
		}
	}
}

// TestSecondsOfAllTogether: with the period's scope, seconds are summed and rounded up
// once.
func TestSecondsOfAllTogether(t *testing.T) {
	v := version("JPY", perMinute("60"))
	v.Rule = rating.Rule{IncrementSeconds: 60, MinimumSeconds: 300, Scope: rating.PeriodScope}
	for seconds, want := range map[int64]int64{0: 0, 1: 300, 300: 300, 301: 360, 3600: 3600} {
		bill := rate(t, rating.Statement{Period: month(time.UTC, 2026, 11, v, rating.Usage{Seconds: seconds, BilledSeconds: 1e6})})
		if bill.Subtotal != want {
			t.Errorf("%d s cost %d, want %d", seconds, bill.Subtotal, want)
		}
	}
	v.Components[0].PerSeconds = 7 // 360 s are no whole number of units, and the amount does not end: 360 × 60 ÷ 7 is 3,085.7…
	bill := rate(t, rating.Statement{Period: month(time.UTC, 2026, 11, v, rating.Usage{Seconds: 301})})
	if line := bill.Lines[0]; line.Amount != 3086 || line.Unrounded.String() != "3085.714285714285" || line.Quantity.String() != "51.428571428571" {
		t.Errorf("%+v", line)
	}
}

// TestMinimumCommitment: it tops up to what was agreed, by the days it was.
func TestMinimumCommitment(t *testing.T) {
	v := version("JPY", perMinute("10"))
	v.Minimum, v.MinimumTax = 50_000, 10
	loc := zone(t, "Asia/Tokyo")
	golden{[]int64{1_000, 49_000}, 50_000, 5_000, 55_000}.check(t, "below", rate(t, rating.Statement{Period: month(loc, 2026, 11, v, minutes(100))}))
	golden{[]int64{50_000}, 50_000, 5_000, 55_000}.check(t, "met", rate(t, rating.Statement{Period: month(loc, 2026, 11, v, minutes(5_000))}))
	golden{[]int64{50_010}, 50_010, 5_001, 55_011}.check(t, "above", rate(t, rating.Statement{Period: month(loc, 2026, 11, v, minutes(5_001))}))
	golden{[]int64{50_000}, 50_000, 5_000, 55_000}.check(t, "nothing used", rate(t, rating.Statement{Period: month(loc, 2026, 11, v, rating.Usage{})}))
	// For 10 of 30 days: 16,666.67.
	free := version("JPY", perMinute("10"))
	golden{[]int64{1_000, 15_667}, 16_667, 1_666, 18_333}.check(t, "for ten days",
		rate(t, rating.Statement{Period: split(loc, 2026, 11, 21, free, v, minutes(50), minutes(50))}))
}

// TestGoldenBill holds a whole bill, with every figure, text and hash, against the file:
// whoever changes what a bill is made of sees it here. -update writes it anew.
func TestGoldenBill(t *testing.T) {
	loc := zone(t, "Asia/Tokyo")
	graduated := rating.Component{Key: "minutes", Name: "Connection minutes", Kind: rating.Metered, TaxPercent: 10,
		Meter: rating.ConnectionMinutes, Model: rating.Graduated, Included: number("1000"), Tiers: []rating.Tier{
			{UpTo: bound("10000"), UnitPrice: number("0.5")}, {UnitPrice: number("0.35"), Flat: number("100")}}}
	recording := rating.Component{Key: "recording", Name: "Recording", Kind: rating.Metered, TaxPercent: 10, Meter: rating.RecordingMinutes,
		Model: rating.Package, UnitPrice: number("10"), PackageSize: number("10")}
	v := version("JPY", flat("9800"), graduated, perGB("12.5", "10"), recording)
	v.Plan, v.Name, v.Minimum, v.MinimumTax = "golden", "Golden", 30_000, 10
	newer := v.With([]rating.Component{flat("12800")})
	newer.Number = 2
	u := rating.Usage{Connections: 321, Seconds: 1_010_101, Minutes: 17_001, BilledSeconds: 17_001 * 60, BytesIn: 5e9, BytesOut: 123_456_789_012, RecordingSeconds: 3601}
	october := month(loc, 2026, 10, v, u)
	billed := rate(t, rating.Statement{Period: october}).Lines
	october.Parts[0].Usage = u.Add(rating.Usage{Connections: 1, Seconds: 61, Minutes: 2, BilledSeconds: 120, BytesOut: 1e9})
	p := split(loc, 2026, 11, 16, v, newer, u, minutes(12))
	bill := rate(t, rating.Statement{Period: p, Late: []rating.Late{{Period: october, Billed: billed}}, Charges: []rating.Charge{
		{Kind: rating.LicenceLine, Key: "lic_1", Name: "Licence, 300 connections", Amount: 2_400_000, From: p.From, To: p.From.AddDate(1, 0, 0), TaxPercent: 10},
		{Kind: rating.ManualLine, Key: "1", Name: "Help with moving", Amount: 5_000, From: p.From, To: p.To, TaxPercent: 10},
	}})
	const file = "testdata/bill.json"
	text := asJSON(t, bill) + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("the bill is another than %s:\n%s", file, text)
	}
}
