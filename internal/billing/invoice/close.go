package invoice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// Close closes those of the tenant's periods that have been over for the grace time,
// each in a transaction of its own, and returns how many those were. Any number of
// nodes may do it at once: who has the tenant's billing row does it, once.
func (v *Invoices) Close(ctx context.Context, id tenant.ID) (closed int, err error) {
	for {
		done, err := v.closeNext(ctx, id)
		if err != nil {
			return closed, fmt.Errorf("couldn't close a billing period of %s: %w", id, err)
		}
		if !done {
			return closed, nil
		}
		closed++
	}
}

// closeNext closes one period, if one is due.
func (v *Invoices) closeNext(ctx context.Context, id tenant.ID) (done bool, err error) {
	if due, err := v.due(ctx, id); err != nil || !due {
		return false, err
	}
	if err := v.Ledger.RollUp(ctx, id); err != nil { // most of it, without the lock below
		return false, err
	}
	drafts := 0
	err = pgx.BeginFunc(ctx, v.Pool, func(tx pgx.Tx) error {
		cutoff, err := v.rollIn(ctx, tx, id)
		if err != nil {
			return err
		}
		p, err := v.Ledger.OpenPeriod(ctx, tx, id)
		if err != nil || cutoff.Before(p.To.Add(v.Grace)) { // another node was first, or the clock was set back
			return err
		}
		s, err := v.take(ctx, tx, id, p, cutoff)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update billing_period set cutoff = $3, usage = $4 where tenant_id = $1 and month = $2`, id, p.Month, cutoff, s.usage)
		if err != nil {
			return fmt.Errorf("couldn't write the period: %w", err)
		}
		if drafts, err = s.write(ctx); err != nil {
			return err
		}
		done = true
		_, err = v.Ledger.OpenPeriod(ctx, tx, id) // the next one, in the zone of now
		return err
	})
	if err != nil {
		return false, err
	}
	if done {
		v.counts.closed.Add(1)
		v.counts.drafted.Add(int64(drafts))
	}
	return done, nil
}

// due reports whether the tenant's open period has been over for the grace time. It
// makes the row of a tenant's first period.
func (v *Invoices) due(ctx context.Context, id tenant.ID) (due bool, err error) {
	err = v.Pool.QueryRow(ctx, `select clock_timestamp() >= ends_at + $2::interval from billing_period where tenant_id = $1 and cutoff is null`,
		id, v.Grace).Scan(&due)
	if !errors.Is(err, pgx.ErrNoRows) {
		return due, err
	}
	var p billing.BillingPeriod
	var now time.Time
	err = pgx.BeginFunc(ctx, v.Pool, func(tx pgx.Tx) (err error) {
		if now, err = v.Ledger.LockBilling(ctx, tx, id); err != nil {
			return err
		}
		p, err = v.Ledger.OpenPeriod(ctx, tx, id)
		return err
	})
	return err == nil && !now.Before(p.To.Add(v.Grace)), err
}

// rollIn takes the tenant's billing row, rolls up what is final, and returns a cutoff
// that is after all of it and before all that comes.
func (v *Invoices) rollIn(ctx context.Context, tx pgx.Tx, id tenant.ID) (cutoff time.Time, err error) {
	now, err := v.Ledger.LockBilling(ctx, tx, id)
	if err != nil {
		return now, err
	}
	if err := v.Ledger.Roll(ctx, tx, id, now); err != nil {
		return now, err
	}
	return v.Ledger.LockBilling(ctx, tx, id)
}

// write makes a draft of each statement that comes to something, in place of one that
// there is, and returns how many those are.
func (s *snapshot) write(ctx context.Context) (drafts int, err error) {
	currencies := make([]string, 0, len(s.statements))
	for currency := range s.statements {
		currencies = append(currencies, currency)
	}
	slices.Sort(currencies)
	for _, currency := range currencies {
		in := s.statements[currency]
		bill, lines, err := in.rate()
		if err != nil {
			return drafts, fmt.Errorf("couldn't rate %s of %s: %w", s.period.Month.Format("2006-01"), s.tenant, err)
		}
		if !bill.Charged() {
			if err := s.drop(ctx, currency); err != nil {
				return drafts, err
			}
			continue
		}
		var invoiceID string
		err = s.tx.QueryRow(ctx, `
			insert into invoice (tenant_id, invoice_id, month, currency, cutoff, statement, taxes, subtotal, tax, total, review_until)
			values ($1, $2, $3, $4, $5, '{}', '[]', 0, 0, 0, $5::timestamptz + $6::interval)
			on conflict (tenant_id, month, currency) do update set cutoff = excluded.cutoff
			returning invoice_id`,
			s.tenant, "inv_"+tenant.NewID(), s.period.Month, currency, s.cutoff, s.invoices.Review).Scan(&invoiceID)
		if err != nil {
			return drafts, fmt.Errorf("couldn't write a draft: %w", err)
		}
		if err := writeLines(ctx, s.tx, s.tenant, invoiceID, in, lines); err != nil {
			return drafts, err
		}
		drafts++
	}
	return drafts, nil
}

// drop deletes a draft that has come to nothing.
func (s *snapshot) drop(ctx context.Context, currency string) error {
	for _, sql := range []string{
		`delete from invoice_line where tenant_id = $1 and invoice_id in (select invoice_id from invoice where tenant_id = $1 and month = $2 and currency = $3)`,
		`delete from invoice where tenant_id = $1 and month = $2 and currency = $3`,
	} {
		if _, err := s.tx.Exec(ctx, sql, s.tenant, s.period.Month, currency); err != nil {
			return fmt.Errorf("couldn't drop a draft: %w", err)
		}
	}
	return nil
}
