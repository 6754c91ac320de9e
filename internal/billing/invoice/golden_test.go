package invoice_test

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
)

const tokyo = "Asia/Tokyo"

func dec(text string) decimal.Decimal { return decimal.RequireFromString(text) }

// The seed's price list: 500 connections with both discounts are ¥3,120,000 a year. Use
// is included in the licence and stands on the invoice.
func TestLicenceAndUseOnOneInvoice(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(tokyo, "2025-06-02 09:00")
	both := []string{"company", "case"}
	year, err := rating.Standard().Licence.Quote(500, both)
	b.must(err)
	b.licence(scope, at(tokyo, "2025-06-10 12:00"), 500, both, billing.LicencePrice{Plan: "standard", Year: year, Charge: year})
	b.connect(scope, at(tokyo, "2025-06-11 10:00"), at(tokyo, "2025-06-11 10:01:10"), 5_000_000)
	b.closeThrough(scope, "2025-07")
	b.golden(b.invoice(scope, "2025-06"), `
2025-06 2025-06-02 00:00:00 to 2025-07-01 00:00:00
licence licence_base 0 @ 0 = JPY 2,400,000
licence licence_discount 0 @ 0 = JPY -480,000
licence licence_packs 0 @ 0 = JPY 1,200,000
metered connection_minutes 2 @ 0 = JPY 0
metered gb_out 0.005 @ 0 = JPY 0
tax 10 % of 3120000: 312000
total JPY 3,432,000`)
	// Nothing in July: it closed without an invoice, and the licence was charged once.
	if n := one[int](b, `select count(*) from invoice where tenant_id = $1`, scope.Tenant()); n != 1 {
		t.Errorf("%d invoices", n)
	}
}

// A flat fee is charged by the days of a leap February, before and after a new version,
// and only from the day of sign-up on.
func TestLeapDay(t *testing.T) {
	b := newBench(t)
	flat := func(amount string) rating.Version {
		return rating.Version{Currency: "JPY", Components: []rating.Component{
			{Key: "base", Name: "Base fee", Kind: rating.Flat, Amount: dec(amount), TaxPercent: 10},
			{Key: "minutes", Name: "Minutes", Kind: rating.Metered, Meter: rating.ConnectionMinutes, Model: rating.PerUnit, UnitPrice: dec("0.5"), TaxPercent: 10},
		}}
	}
	b.plan("leap", 1, "2024-01-01", flat("2900"))
	b.plan("leap", 2, "2024-02-11", flat("5800"))
	scope := b.newTenant(tokyo, "2024-01-15 23:59:59")
	b.give(scope, "2024-01-01", "leap")
	b.connect(scope, at(tokyo, "2024-02-28 23:59:30"), at(tokyo, "2024-03-01 00:01:30"), 0) // all of the 29th
	b.closeThrough(scope, "2024-03")
	b.golden(b.invoice(scope, "2024-01"), `
2024-01 2024-01-15 00:00:00 to 2024-02-01 00:00:00
flat base 0.548387096774 @ 2900 = JPY 1,590
tax 10 % of 1590: 159
total JPY 1,749`)
	// 10 days of 29 at 2,900, 19 at 5,800; 1,441 minutes began in February.
	b.golden(b.invoice(scope, "2024-02"), `
2024-02 2024-02-01 00:00:00 to 2024-03-01 00:00:00
flat base 0.344827586206 @ 2900 = JPY 1,000
flat base 0.655172413793 @ 5800 = JPY 3,800
metered minutes 1441 @ 0.5 = JPY 721
tax 10 % of 5521: 552
total JPY 6,073`)
	b.golden(b.invoice(scope, "2024-03"), `
2024-03 2024-03-01 00:00:00 to 2024-04-01 00:00:00
flat base 1 @ 5800 = JPY 5,800
metered minutes 1 @ 0.5 = JPY 1
tax 10 % of 5801: 580
total JPY 6,381`)
}

// A connection over three months, in a zone whose November has one hour more and whose
// March has one less: the months' minutes are the connection's, billed once each.
func TestConnectionOverThreeMonthsAndClockChanges(t *testing.T) {
	b := newBench(t)
	const newYork = "America/New_York"
	b.plan("usd", 1, "2024-01-01", rating.Version{Currency: "USD", TaxRounding: rating.HalfUp, Components: []rating.Component{
		{Key: "minutes", Name: "Minutes", Kind: rating.Metered, Meter: rating.ConnectionMinutes, Model: rating.PerUnit, UnitPrice: dec("0.0005"), TaxPercent: 8},
		{Key: "gb", Name: "Data", Kind: rating.Metered, Meter: rating.GBOut, Model: rating.PerUnit, UnitPrice: dec("0.09"), TaxPercent: 8},
	}})
	scope := b.newTenant(newYork, "2025-10-01")
	b.give(scope, "2025-10-01", "usd")
	from, to := at(newYork, "2025-10-31 23:30:20"), at(newYork, "2025-12-01 00:30")
	b.connect(scope, from, to, 2_777_000_000_001)
	b.closeThrough(scope, "2025-12")
	b.golden(b.invoice(scope, "2025-10"), `
2025-10 2025-10-01 00:00:00 to 2025-11-01 00:00:00
metered minutes 30 @ 0.0005 = USD 0.02
metered gb 1.901776714 @ 0.09 = USD 0.17
tax 8 % of 19: 2
total USD 0.21`)
	b.golden(b.invoice(scope, "2025-11"), `
2025-11 2025-11-01 00:00:00 to 2025-12-01 00:00:00
metered minutes 43260 @ 0.0005 = USD 21.63
metered gb 2773.175078295 @ 0.09 = USD 249.59
tax 8 % of 27122: 2170
total USD 292.92`)
	var minutes, bytes int64
	for _, month := range []string{"2025-10", "2025-11", "2025-12"} {
		for _, l := range b.invoice(scope, month).Lines {
			minutes, bytes = minutes+l.Usage.Minutes, bytes+l.Usage.BytesOut
		}
	}
	if want := billing.Minutes(from, to, from, to); minutes != want || bytes != 2_777_000_000_001 {
		t.Errorf("%d minutes and %d bytes are on the invoices, want %d", minutes, bytes, want)
	}
}

// 31 lines of ¥105: tax is rounded once, ¥325 and not 31 × ¥10.
func TestTaxOnceForManyLines(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(tokyo, "2025-01-01")
	b.plan("small", 1, "2025-01-01", rating.Version{Currency: "JPY", Components: []rating.Component{
		{Key: "base", Name: "Base", Kind: rating.Flat, Amount: dec("105"), TaxPercent: 10}}})
	b.give(scope, "2025-01-01", "small")
	b.closeThrough(scope, "2025-01")
	i := b.invoice(scope, "2025-01")
	for range 30 {
		b.must(b.AddLine(t.Context(), operator, i.ID, invoice.Extra{Name: "Work", Amount: 105, TaxPercent: 10, Reason: "as agreed"}))
	}
	i = b.invoice(scope, "2025-01")
	if len(i.Lines) != 31 || i.Subtotal != 3255 || i.Tax != 325 || i.Total != 3580 || len(i.Taxes) != 1 || i.Taxes[0] != (rating.Tax{Percent: 10, Base: 3255, Amount: 325}) {
		t.Errorf("%d lines, %d + %d = %d, %v", len(i.Lines), i.Subtotal, i.Tax, i.Total, i.Taxes)
	}
}

// "¥10 for each started 10 minutes", and dinars with three digits.
func TestPackagesAndDinars(t *testing.T) {
	b := newBench(t)
	yen, dinar := b.newTenant(tokyo, "2025-05-01"), b.newTenant("Asia/Kuwait", "2025-05-01")
	b.give(yen, "2025-05-01", "metered")
	b.plan("kwd", 1, "2025-01-01", rating.Version{Currency: "KWD", TaxRounding: rating.Up, Minimum: 1_000, MinimumTax: 5, Components: []rating.Component{
		{Key: "minutes", Name: "Minutes", Kind: rating.Metered, Meter: rating.ConnectionMinutes, Model: rating.PerUnit, UnitPrice: dec("0.0007"), TaxPercent: 5}}})
	b.give(dinar, "2025-05-01", "kwd")
	for range 7 {
		b.connect(yen, at(tokyo, "2025-05-03 10:00"), at(tokyo, "2025-05-03 10:02:01"), 2_000_000_000)
		b.connect(dinar, at("Asia/Kuwait", "2025-05-03 10:00"), at("Asia/Kuwait", "2025-05-03 10:02:01"), 0)
	}
	b.closeThrough(yen, "2025-05")
	b.closeThrough(dinar, "2025-05")
	b.golden(b.invoice(yen, "2025-05"), `
2025-05 2025-05-01 00:00:00 to 2025-06-01 00:00:00
metered connection_minutes 21 @ 10 = JPY 30
metered gb_out 14 @ 12.5 = JPY 50
tax 10 % of 80: 8
total JPY 88`)
	b.golden(b.invoice(dinar, "2025-05"), `
2025-05 2025-05-01 00:00:00 to 2025-06-01 00:00:00
metered minutes 21 @ 0.0007 = KWD 0.015
minimum minimum 0 @ 0 = KWD 0.985
tax 5 % of 1000: 50
total KWD 1.050`)
}

// A tenant that moves to another zone: the running month keeps its bounds, the next one
// begins where it ended and counts as one month, though it has another length.
func TestChangeOfZone(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(tokyo, "2025-02-01")
	b.plan("flat", 1, "2025-01-01", rating.Version{Currency: "JPY", Components: []rating.Component{
		{Key: "base", Name: "Base", Kind: rating.Flat, Amount: dec("3100"), TaxPercent: 10},
		{Key: "minutes", Name: "Minutes", Kind: rating.Metered, Meter: rating.ConnectionMinutes, Model: rating.PerUnit, UnitPrice: dec("1"), TaxPercent: 10}}})
	b.give(scope, "2025-01-01", "flat")
	// One minute in each hour around the change, and over it.
	first, last := at(tokyo, "2025-02-28 12:00"), at(tokyo, "2025-03-02 12:00")
	hours := 0
	for h := first; h.Before(last); h = h.Add(time.Hour) {
		b.connect(scope, h, h.Add(time.Minute), 0)
		hours++
	}
	b.closeThrough(scope, "2025-02") // opens March in the zone of then
	b.exec(`update tenant set time_zone = 'America/Los_Angeles' where tenant_id = $1`, scope.Tenant())
	b.closeThrough(scope, "2025-04")
	var minutes int64
	for _, month := range []string{"2025-02", "2025-03", "2025-04"} {
		i := b.invoice(scope, month)
		for _, l := range i.Lines {
			minutes += l.Usage.Minutes
			if l.Component == "base" && l.Amount != 3100 {
				t.Errorf("%s: the base is %d", month, l.Amount)
			}
		}
	}
	if minutes != int64(hours) {
		t.Errorf("%d minutes of %d are on invoices", minutes, hours)
	}
	b.golden(b.invoice(scope, "2025-04"), `
2025-04 2025-03-31 08:00:00 to 2025-05-01 00:00:00
flat base 1 @ 3100 = JPY 3,100
tax 10 % of 3100: 310
total JPY 3,410`)
}
