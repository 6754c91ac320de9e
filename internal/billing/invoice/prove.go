package invoice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// ErrUnproven is returned for an invoice that is not what its facts come to: there is a
// bug, or somebody has changed rows by hand.
var ErrUnproven = errors.New("the invoice is not what its facts come to")

// Prove makes an invoice anew: from what was recorded of its month, and of earlier ones
// that it adjusts, by its cutoff, and by the prices that it names. It fails with
// ErrUnproven if a single line, quantity or hash is another, and with ErrNotFound.
func (v *Invoices) Prove(ctx context.Context, by tenant.Authority, invoiceID string) error {
	i, err := v.Any(ctx, by, invoiceID)
	if err != nil {
		return err
	}
	err = by.Over(i.Tenant).In(v.Pool).Tx(ctx, func(tx pgx.Tx) error {
		var kept []byte
		if err := tx.QueryRow(ctx, `select statement from invoice where tenant_id = $1 and invoice_id = $2`, i.Tenant, i.ID).Scan(&kept); err != nil {
			return err
		}
		s, err := readStatement(kept)
		if err != nil {
			return err
		}
		periods := []*rating.Period{&s.Period}
		for n := range s.Late {
			periods = append(periods, &s.Late[n].Period)
		}
		for _, p := range periods {
			if err := v.proveUsage(ctx, tx, &i, p); err != nil {
				return err
			}
		}
		return proveLines(&i, s)
	})
	if err != nil {
		return fmt.Errorf("couldn't prove invoice %s: %w", invoiceID, err)
	}
	return nil
}

// proveUsage compares what was rated of a period with what is recorded.
func (v *Invoices) proveUsage(ctx context.Context, tx pgx.Tx, i *Invoice, p *rating.Period) error {
	for _, part := range p.Parts {
		if !part.From.Before(part.To) {
			continue
		}
		recorded, err := v.Ledger.Slots(ctx, tx, i.Tenant, part.From, part.To, time.Time{}, i.Cutoff)
		if err != nil {
			return err
		}
		if recorded != part.Usage {
			return fmt.Errorf("%w: from %s on %+v was rated, %+v is recorded", ErrUnproven, part.From.Format(time.RFC3339), part.Usage, recorded)
		}
	}
	return nil
}

// proveLines compares the invoice with what its statement comes to.
func proveLines(i *Invoice, s *statement) error {
	bill, lines, err := s.rate()
	if err != nil {
		return err
	}
	if bill.Currency != i.Currency || bill.Subtotal != i.Subtotal || bill.Tax != i.Tax || bill.Total != i.Total || len(lines) != len(i.Lines) {
		return fmt.Errorf("%w: it comes to %d lines and %d %s", ErrUnproven, len(lines), bill.Total, bill.Currency)
	}
	for n, l := range lines {
		if is := i.Lines[n]; is.Hash != l.Hash || is.Amount != l.Amount || is.Usage != l.Usage || !is.Quantity.Equal(l.Quantity) || !is.Unrounded.Equal(l.Unrounded) || is.LicenceID != l.LicenceID {
			return fmt.Errorf("%w: line %d comes to %d, and has %d", ErrUnproven, n+1, l.Amount, is.Amount)
		}
	}
	return nil
}

// ProveNewest proves the newest invoices of all tenants, at most n, drafts included, and
// returns how many it proved. An error says which is the first that it could not prove.
func (v *Invoices) ProveNewest(ctx context.Context, by tenant.Authority, n int) (proven int, err error) {
	if by.Actor() == "" {
		return 0, tenant.ErrScope
	}
	invoices, err := list[string](ctx, v, `select invoice_id from invoice order by created_at desc, invoice_id limit $1`, n)
	if err != nil {
		return 0, fmt.Errorf("couldn't list the newest invoices: %w", err)
	}
	for _, invoiceID := range invoices {
		if err := v.Prove(ctx, by, invoiceID); err != nil {
			return proven, err
		}
		proven++
	}
	return proven, nil
}
