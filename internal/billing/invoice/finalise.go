package invoice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// locked is an invoice as the transaction that locked it sees it, with its tenant's
// billing row.
type locked struct {
	tenant   tenant.ID
	id       string
	state    State
	month    time.Time
	zone     *time.Location
	currency string
	total    int64
	held     bool
	heldWhy  string
	number   string
	now      time.Time // LockBilling's
}

// lock takes the tenant's billing row and then the invoice.
func (v *Invoices) lock(ctx context.Context, tx pgx.Tx, invoiceID string) (*locked, error) {
	i := &locked{id: invoiceID}
	err := tx.QueryRow(ctx, `select tenant_id from invoice where invoice_id = $1`, invoiceID).Scan(&i.tenant)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if i.now, err = v.Ledger.LockBilling(ctx, tx, i.tenant); err != nil {
		return nil, err
	}
	var zone string
	err = tx.QueryRow(ctx, `
		select i.state, i.month, p.time_zone, i.currency, i.total, i.held, i.held_why, coalesce(i.number, '')
		from invoice i join billing_period p using (tenant_id, month)
		where i.tenant_id = $1 and i.invoice_id = $2 for update of i`, i.tenant, invoiceID).
		Scan(&i.state, &i.month, &zone, &i.currency, &i.total, &i.held, &i.heldWhy, &i.number)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	i.zone, err = time.LoadLocation(zone)
	return i, err
}

// change runs f on a draft, in a transaction, and says what failed.
func (v *Invoices) change(ctx context.Context, by tenant.Authority, invoiceID string, f func(pgx.Tx, *locked) error) error {
	if by.Actor() == "" {
		return tenant.ErrScope
	}
	err := pgx.BeginFunc(ctx, v.Pool, func(tx pgx.Tx) error {
		i, err := v.lock(ctx, tx, invoiceID)
		if err != nil {
			return err
		}
		if i.state == Final {
			return ErrFinal
		}
		return f(tx, i)
	})
	if err != nil {
		return fmt.Errorf("couldn't change invoice %s: %w", invoiceID, err)
	}
	return nil
}

// Finalise makes a draft final before its review time is over. It fails with ErrFinal,
// ErrHeld, ErrIssuer or ErrNotFound.
func (v *Invoices) Finalise(ctx context.Context, by tenant.Authority, invoiceID string) error {
	err := v.change(ctx, by, invoiceID, func(tx pgx.Tx, i *locked) error {
		number, err := v.finalise(ctx, tx, i, by.Actor())
		if err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, i.tenant, "invoice.finalised", invoiceID, map[string]any{"number": number})
	})
	if err == nil {
		v.finalised()
	}
	return err
}

// finaliseDue makes a draft final whose review time is over, if it still is one.
func (v *Invoices) finaliseDue(ctx context.Context, invoiceID string) (done bool, err error) {
	err = pgx.BeginFunc(ctx, v.Pool, func(tx pgx.Tx) error {
		i, err := v.lock(ctx, tx, invoiceID)
		if err != nil || i.state == Final || i.held {
			return err
		}
		scope := tenant.SystemScope(i.tenant)
		number, err := v.finalise(ctx, tx, i, scope.Actor())
		if err != nil {
			return err
		}
		done = true
		return tenant.Audit(ctx, tx, scope, "invoice.finalised", invoiceID, map[string]any{"number": number})
	})
	if err != nil {
		return false, fmt.Errorf("couldn't make invoice %s final: %w", invoiceID, err)
	}
	if done {
		v.finalised()
	}
	return done, nil
}

// finalised counts it and has the mail sent.
func (v *Invoices) finalised() {
	v.counts.finalised.Add(1)
	if v.Mail != nil {
		v.Mail.WakePostman()
	}
}

// finalise gives the draft its number and everything else that it will have for ever,
// takes off prepaid credit, and posts the mail. The issuer's row is locked last: all
// tenants' invoices wait for it.
func (v *Invoices) finalise(ctx context.Context, tx pgx.Tx, i *locked, actor string) (number string, err error) {
	if i.held {
		return "", ErrHeld
	}
	customer, err := readCustomer(ctx, tx, i.tenant)
	if err != nil {
		return "", err
	}
	credit := int64(0)
	if v.Credit != nil && i.total > 0 {
		if credit, err = v.Credit.Apply(ctx, tx, i.tenant, i.id, i.currency, i.total); err != nil {
			return "", err
		}
	}
	issuer, sequence, err := v.nextNumber(ctx, tx, "next_invoice")
	if err != nil {
		return "", err
	}
	number = fmt.Sprintf("%s%06d", issuer.InvoicePrefix, sequence)
	issued := day(i.now.In(i.zone))
	due := issued.AddDate(0, 0, issuer.PayDays)
	issuerJSON, customerJSON, err := parties(issuer, customer)
	if err != nil {
		return "", err
	}
	_, err = tx.Exec(ctx, `
		update invoice set state = 'final', issuer_id = $3, sequence = $4, number = $5, issuer = $6, customer = $7, credit = $8,
			issued_on = $9, due_on = $10, finalised_at = $11, finalised_by = $12
		where tenant_id = $1 and invoice_id = $2`,
		i.tenant, i.id, issuer.ID, sequence, number, issuerJSON, customerJSON, credit, issued, due, i.now, actor)
	if err != nil {
		return "", fmt.Errorf("couldn't write the invoice: %w", err)
	}
	if v.Mail == nil {
		return number, nil
	}
	month := i.month.Format("January 2006")
	return number, v.Mail.MailPayers(ctx, tx, i.tenant, "invoice", fmt.Sprintf("Invoice %s for %s", number, month), fmt.Sprintf(`Hello,

the invoice %s of %s for %s is there.

Total:    %s
Due:      %s by %s

%s/console/invoices/%s
`, number, issuer.Name, month, rating.Money(i.currency, i.total), rating.Money(i.currency, i.total-credit), due.Format(time.DateOnly), v.PublicURL, i.id))
}

// nextNumber takes the next number of a kind of documents from the issuer's row, which
// is locked until the end of the transaction: if that fails, the number is not taken.
func (v *Invoices) nextNumber(ctx context.Context, tx pgx.Tx, column string) (i Issuer, sequence int64, err error) {
	err = tx.QueryRow(ctx, `update issuer set `+column+` = `+column+` + 1 where issuer_id = $1 and set_at is not null returning `+issuerColumns+`, `+column+` - 1`,
		defaultIssuer).Scan(append(i.scan(), &sequence)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return i, 0, ErrIssuer
	}
	if err != nil {
		return i, 0, fmt.Errorf("couldn't take a number: %w", err)
	}
	return i, sequence, nil
}

// day is the day that t's clock shows, as a midnight of UTC.
func day(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// parties writes down who a document is from and for.
func parties(i Issuer, c Customer) (issuer, customer []byte, err error) {
	if issuer, err = json.Marshal(i); err != nil {
		return nil, nil, err
	}
	customer, err = json.Marshal(c)
	return issuer, customer, err
}
