package paper

import (
	"io"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/sheet"
)

// Columns are the columns of an invoice's CSV, which has a row for each line and then
// one for each rate of tax: the column amount sums to the invoice's total.
var Columns = []string{
	"invoice_number", "invoice_id", "month", "period_from", "period_to", "time_zone", "currency",
	"line", "kind", "component", "name", "from", "to", "plan", "version", "reason",
	"connections", "seconds", "minutes", "billed_seconds", "bytes_in", "bytes_out", "recording_seconds",
	"quantity", "unit", "included", "unit_price", "unrounded", "amount", "amount_decimal", "tax_percent", "hash",
}

// CSV writes an invoice's lines and taxes. An error is one of w.
func CSV(w io.Writer, i invoice.Invoice) error {
	table := sheet.New(w)
	head := make([]any, len(Columns))
	for at, name := range Columns {
		head[at] = name
	}
	if err := table.Row(head...); err != nil {
		return err
	}
	zone := Zone(i)
	about := []any{i.Number, i.ID, i.Month, i.From.In(zone), i.To.In(zone), i.Zone, i.Currency}
	for _, l := range i.Lines {
		u := l.Usage
		err := table.Row(append(about[:len(about):len(about)],
			l.Number, string(l.Kind), l.Component, l.Name, l.From.In(zone), l.To.In(zone), l.Plan, l.Version, l.Reason,
			u.Connections, u.Seconds, u.Minutes, u.BilledSeconds, u.BytesIn, u.BytesOut, u.RecordingSeconds,
			sheet.Number(l.Quantity.String()), l.Unit, sheet.Number(l.Included.String()), sheet.Number(l.UnitPrice.String()),
			sheet.Number(l.Unrounded.String()), l.Amount, sheet.Number(rating.Decimal(i.Currency, l.Amount)), l.TaxPercent, l.Hash)...)
		if err != nil {
			return err
		}
	}
	for _, t := range i.Taxes {
		row := append(about[:len(about):len(about)], nil, "tax", "tax", "Tax of "+rating.Decimal(i.Currency, t.Base), i.From.In(zone), i.To.In(zone), nil, nil, nil)
		for len(row) < len(Columns)-4 {
			row = append(row, nil)
		}
		if err := table.Row(append(row, t.Amount, sheet.Number(rating.Decimal(i.Currency, t.Amount)), t.Percent, nil)...); err != nil {
			return err
		}
	}
	return table.Flush()
}
