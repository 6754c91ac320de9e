package invoice

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// What an operator may do with a draft.

// maxAdded bounds what may be added to a draft by hand.
const maxAdded = 100

// Hold keeps a draft from being made final, until it is released. ErrFinal, ErrNotFound.
func (v *Invoices) Hold(ctx context.Context, by tenant.Authority, invoiceID, why string) error {
	if why = strings.TrimSpace(why); why == "" || tenant.Printable(why, maxPartyName) != why {
		return &tenant.FieldError{Field: "why", Problem: "Say why, in at most 200 bytes: other operators will read it."}
	}
	return v.hold(ctx, by, invoiceID, true, why)
}

// Release lets a draft be made final again. ErrFinal, ErrNotFound.
func (v *Invoices) Release(ctx context.Context, by tenant.Authority, invoiceID string) error {
	return v.hold(ctx, by, invoiceID, false, "")
}

func (v *Invoices) hold(ctx context.Context, by tenant.Authority, invoiceID string, held bool, why string) error {
	return v.change(ctx, by, invoiceID, func(tx pgx.Tx, i *locked) error {
		if i.held == held && i.heldWhy == why {
			return nil
		}
		if _, err := tx.Exec(ctx, `update invoice set held = $3, held_why = $4 where tenant_id = $1 and invoice_id = $2`, i.tenant, i.id, held, why); err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, i.tenant, "invoice.held", i.id, tenant.Diff{"held": {i.held, held}, "why": {i.heldWhy, why}})
	})
}

// Recompute takes the snapshot of a draft's month again, by what is recorded now, and
// makes all drafts of the month anew: in each currency, with what was added to them. A
// draft that comes to nothing so is dropped. ErrLater if the next month is closed,
// ErrFinal if a draft of the month is final, ErrNotFound.
func (v *Invoices) Recompute(ctx context.Context, by tenant.Authority, invoiceID string) error {
	return v.change(ctx, by, invoiceID, func(tx pgx.Tx, i *locked) error {
		closed, err := v.Ledger.ClosedPeriods(ctx, tx, i.tenant, 1)
		if err != nil {
			return err
		}
		if len(closed) == 0 || !closed[0].Month.Equal(i.month) {
			return ErrLater
		}
		var final bool
		if err := tx.QueryRow(ctx, `select exists (select from invoice where tenant_id = $1 and month = $2 and state = 'final')`, i.tenant, i.month).Scan(&final); err != nil {
			return err
		}
		if final {
			return ErrFinal
		}
		cutoff, err := v.rollIn(ctx, tx, i.tenant)
		if err != nil {
			return err
		}
		s, err := v.take(ctx, tx, i.tenant, closed[0], cutoff)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update billing_period set cutoff = $3, usage = $4 where tenant_id = $1 and month = $2`, i.tenant, i.month, cutoff, s.usage); err != nil {
			return err
		}
		if _, err := s.write(ctx); err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, i.tenant, "invoice.recomputed", i.id, map[string]any{"cutoff": cutoff, "total_before": i.total})
	})
}

// Extra is a line that an operator adds to a draft.
type Extra struct {
	Name       string `json:"name"`   // what the tenant reads
	Amount     int64  `json:"amount"` // minor units without tax; less than 0: a reduction
	TaxPercent int64  `json:"tax_percent"`
	Reason     string `json:"reason"` // why; the tenant may read it
}

// AddLine adds a line to a draft. ErrFinal, ErrNotFound; a *tenant.FieldError says what
// is wrong with it.
func (v *Invoices) AddLine(ctx context.Context, by tenant.Authority, invoiceID string, x Extra) error {
	for _, text := range []struct {
		field string
		value *string
	}{{"name", &x.Name}, {"reason", &x.Reason}} {
		if err := checkText(text.field, text.value, maxPartyName); err != nil {
			return err
		}
		if *text.value == "" {
			return &tenant.FieldError{Field: text.field, Problem: "Say what it is for."}
		}
	}
	switch {
	case x.Amount == 0 || x.Amount > maxAmount || x.Amount < -maxAmount:
		return &tenant.FieldError{Field: "amount", Problem: "Choose an amount other than 0."}
	case x.TaxPercent < 0 || x.TaxPercent > 100:
		return &tenant.FieldError{Field: "tax_percent", Problem: "Choose 0 to 100 percent."}
	}
	return v.changeLines(ctx, by, invoiceID, "invoice.line_added", x, func(i *locked, s *statement) error {
		n := 0
		for _, c := range s.Charges {
			if c.Kind == rating.ManualLine {
				n++
			}
		}
		if n >= maxAdded {
			return &tenant.FieldError{Field: "name", Problem: fmt.Sprintf("At most %d lines can be added.", maxAdded)}
		}
		s.charge(rating.Charge{Kind: rating.ManualLine, Key: "manual", Name: x.Name, Amount: x.Amount, TaxPercent: x.TaxPercent,
			From: s.Period.From, To: s.Period.To}, chargeOf{AddedBy: by.Actor(), Reason: x.Reason})
		return nil
	})
}

// maxAmount bounds what is added by hand, so that sums stay far from int64's end.
const maxAmount = 1_000_000_000_000

// DropLine takes a line off a draft that was added by hand. ErrFinal; ErrNotFound, also
// if the line was not added by hand.
func (v *Invoices) DropLine(ctx context.Context, by tenant.Authority, invoiceID string, number int) error {
	return v.changeLines(ctx, by, invoiceID, "invoice.line_dropped", map[string]any{"line": number}, func(i *locked, s *statement) error {
		_, lines, err := s.rate()
		if err != nil {
			return err
		}
		if number < 1 || number > len(lines) || lines[number-1].Kind != rating.ManualLine {
			return ErrNotFound
		}
		nth := 0 // among those that were added
		for _, l := range lines[:number-1] {
			if l.Kind == rating.ManualLine {
				nth++
			}
		}
		for at, c := range s.Charges {
			if c.Kind != rating.ManualLine {
				continue
			}
			if nth == 0 {
				s.Charges, s.of = slices.Delete(s.Charges, at, at+1), slices.Delete(s.of, at, at+1)
				return nil
			}
			nth--
		}
		return ErrNotFound
	})
}

// changeLines changes what a draft is made of, and makes its lines anew.
func (v *Invoices) changeLines(ctx context.Context, by tenant.Authority, invoiceID, action string, what any, f func(*locked, *statement) error) error {
	return v.change(ctx, by, invoiceID, func(tx pgx.Tx, i *locked) error {
		var kept []byte
		if err := tx.QueryRow(ctx, `select statement from invoice where tenant_id = $1 and invoice_id = $2`, i.tenant, i.id).Scan(&kept); err != nil {
			return err
		}
		s, err := readStatement(kept)
		if err != nil {
			return err
		}
		if err := f(i, s); err != nil {
			return err
		}
		_, lines, err := s.rate()
		if err != nil {
			return err
		}
		if err := writeLines(ctx, tx, i.tenant, i.id, s, lines); err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, i.tenant, action, i.id, what)
	})
}
