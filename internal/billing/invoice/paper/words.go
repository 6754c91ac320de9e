// Package paper puts invoices and credit notes into words, figures and files: the
// same for the console's pages, the PDF, the CSV and the API, so that they cannot
// disagree. It computes nothing: every number is one that stands in the invoice.
package paper

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
)

// Number writes an amount in minor units without its currency, for a column of one:
// "3,120,000", "-34,320.00".
func Number(currency string, minor int64) string {
	return strings.TrimPrefix(rating.Money(currency, minor), currency+" ")
}

// Money writes an amount as it stands on a document: yen by their sign, others by
// the currency's code.
func Money(currency string, minor int64) string {
	number := Number(currency, minor)
	if currency != "JPY" {
		return currency + " " + number
	}
	if positive, negative := strings.CutPrefix(number, "-"); negative {
		return "-¥" + positive
	}
	return "¥" + number
}

// Grouped writes a decimal number with a comma at each thousand.
func Grouped(d decimal.Decimal) string {
	text, sign := d.String(), ""
	if d.Sign() < 0 {
		text, sign = text[1:], "-"
	}
	whole, fraction, cut := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if cut {
		whole += "." + fraction
	}
	return sign + whole
}

// Days writes the time From ≤ t < To by its first and its last day.
func Days(from, to time.Time, zone *time.Location) string {
	first, last := from.In(zone).Format(time.DateOnly), to.Add(-1).In(zone).Format(time.DateOnly)
	if first == last {
		return first
	}
	return first + " – " + last
}

// Zone is the time zone of an invoice's days.
func Zone(i invoice.Invoice) *time.Location {
	zone, err := time.LoadLocation(i.Zone)
	if err != nil {
		return time.UTC // a zone that was known when the invoice was made
	}
	return zone
}

// Quantity is how much a line is for, before what is included; "" if it has none.
func Quantity(l invoice.Line) string {
	switch {
	case l.Per == 0:
		return ""
	case l.Kind == rating.FlatLine && l.Base == l.Per:
		return "1 month"
	case l.Kind == rating.FlatLine:
		return fmt.Sprintf("%d of %d days", l.Base, l.Per)
	}
	return Grouped(l.Quantity) + " " + units(l.Unit, l.Quantity)
}

// UnitPrice is what one unit costs; "" if there is no one price for all.
func UnitPrice(l invoice.Line) string {
	if l.UnitPrice.IsZero() && (l.Model == rating.Graduated || l.Model == rating.Volume || l.Per == 0) {
		return ""
	}
	return Grouped(l.UnitPrice)
}

// units writes the unit of so many: "minutes", "GB".
func units(unit string, n decimal.Decimal) string {
	if unit == "" || unit == "GB" || strings.HasSuffix(unit, "s") || n.Equal(decimal.NewFromInt(1)) {
		return unit
	}
	return unit + "s"
}

// Rate is a line's rate of tax. Japan's reduced rate is marked, as a qualified
// invoice must.
func Rate(currency string, percent int64) string {
	text := strconv.FormatInt(percent, 10) + " %"
	if Reduced(currency, percent) {
		text += " ※"
	}
	return text
}

// Reduced reports whether a rate is Japan's reduced one (軽減税率).
func Reduced(currency string, percent int64) bool { return currency == "JPY" && percent == 8 }

// Details says how a line came about: its days, the price it was rated by, and the
// arithmetic, a sentence each.
func Details(l invoice.Line, zone *time.Location) (lines []string) {
	about := Days(l.From, l.To, zone)
	if l.Adjusts != nil {
		about = "Known late, for " + Days(l.Adjusts.From, l.Adjusts.To, zone)
	}
	if l.Plan != "" {
		about += fmt.Sprintf(", plan %s, version %d", l.Plan, l.Version)
	}
	lines = append(lines, about)
	lines = append(lines, Arithmetic(l.Line)...)
	if l.Reason != "" {
		lines = append(lines, l.Reason)
	}
	return lines
}

// Arithmetic writes the steps of a line's arithmetic.
func Arithmetic(l rating.Line) (lines []string) {
	for _, s := range l.Steps {
		quantity := Grouped(s.Quantity)
		switch {
		case s.Quantity.IsZero() && s.UnitPrice.IsZero(): // an amount only
			lines = append(lines, s.Text+": "+Grouped(s.Amount))
		case s.UnitPrice.IsZero() && s.Amount.IsZero(): // a quantity only
			lines = append(lines, s.Text+": "+quantity+" "+units(l.Unit, s.Quantity))
		default:
			lines = append(lines, s.Text+": "+quantity+" × "+Grouped(s.UnitPrice)+" = "+Grouped(s.Amount))
		}
	}
	return lines
}

// Steps are a line's arithmetic as rows: what, how much of it, and what it comes to.
func Steps(l rating.Line) (rows [][3]string) {
	for _, s := range l.Steps {
		row := [3]string{s.Text, "", ""}
		if !s.Quantity.IsZero() {
			row[1] = Grouped(s.Quantity)
			if s.UnitPrice.IsZero() {
				row[1] += " " + units(l.Unit, s.Quantity)
			}
		}
		if !s.UnitPrice.IsZero() {
			row[1] += " × " + Grouped(s.UnitPrice)
		}
		if !s.Amount.IsZero() || !s.UnitPrice.IsZero() || row[1] == "" {
			row[2] = Grouped(s.Amount)
		}
		rows = append(rows, row)
	}
	return rows
}

// FileName makes a document's number the name of a file: a prefix may have slashes.
func FileName(number string) string { return strings.ReplaceAll(number, "/", "-") }
