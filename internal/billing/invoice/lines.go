package invoice

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// writeLines writes what a statement comes to into its draft, in place of what was
// there.
func writeLines(ctx context.Context, tx pgx.Tx, id tenant.ID, invoiceID string, in *statement, lines []line) error {
	kept, err := in.keep()
	if err != nil {
		return fmt.Errorf("couldn't write a statement: %w", err)
	}
	bill, _, err := in.rate()
	if err != nil {
		return err
	}
	taxes, err := json.Marshal(bill.Taxes)
	if err != nil {
		return fmt.Errorf("couldn't write the taxes: %w", err)
	}
	batch := &pgx.Batch{}
	batch.Queue(`delete from invoice_line where tenant_id = $1 and invoice_id = $2`, id, invoiceID)
	for i, l := range lines {
		detail, err := json.Marshal(l.Line)
		if err != nil {
			return fmt.Errorf("couldn't write a line: %w", err)
		}
		batch.Queue(`
			insert into invoice_line (tenant_id, invoice_id, line, kind, component, starts_at, ends_at, detail, unrounded, amount, tax_percent,
				hash, adjusts, licence_id, added_by, reason)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, nullif($14, ''), $15, $16)`,
			id, invoiceID, i+1, l.Kind, l.Component, l.From, l.To, detail, l.Unrounded.String(), l.Amount, l.TaxPercent,
			l.Hash, adjusted(l), l.LicenceID, l.AddedBy, l.Reason)
	}
	batch.Queue(`update invoice set statement = $3, taxes = $4, subtotal = $5, tax = $6, total = $7 where tenant_id = $1 and invoice_id = $2`,
		id, invoiceID, kept, taxes, bill.Subtotal, bill.Tax, bill.Total)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("couldn't write the lines of invoice %s: %w", invoiceID, err)
	}
	return nil
}

// adjusted is the month that a line adjusts; nil: it is about its own.
func adjusted(l line) *time.Time {
	if l.Adjusts == nil {
		return nil
	}
	// A period ends in the first moments of the next month, whatever it began with.
	last := l.Adjusts.To.Add(-time.Second)
	month := time.Date(last.Year(), last.Month(), 1, 0, 0, 0, 0, time.UTC)
	return &month
}
