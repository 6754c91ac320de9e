package invoice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Apply takes at most amount off the tenant's credit in a currency, to pay an invoice,
// and returns how much there was. What ends first is used first. It is done once for an
// invoice: asked again, it returns what was applied then.
func (c *Credit) Apply(ctx context.Context, tx pgx.Tx, id tenant.ID, invoiceID, currency string, amount int64) (applied int64, err error) {
	var before *int64
	err = tx.QueryRow(ctx, `
		select sum(e.amount)::bigint from credit_transaction t join credit_entry e using (tenant_id, transaction_id)
		where t.tenant_id = $1 and t.invoice_id = $2 and e.account = $3`, id, invoiceID, InvoiceAccount).Scan(&before)
	if err != nil {
		return 0, fmt.Errorf("couldn't look for credit that was used for %s: %w", invoiceID, err)
	}
	if before != nil {
		return *before, nil
	}
	if amount <= 0 {
		return 0, nil
	}
	grants, err := left(ctx, tx, `
		select grant_id, kind, currency, remaining from credit_grant
		where tenant_id = $1 and currency = $2 and remaining > 0 and (expires_at is null or expires_at > clock_timestamp())
		order by expires_at nulls last, array_position(array['promotional', 'credit_note', 'paid'], kind), granted_at, grant_id
		for no key update`, id, currency)
	if err != nil {
		return 0, err
	}
	x := transaction{tenant: id, kind: "use", currency: currency, invoice: invoiceID, actor: tenant.SystemScope(id).Actor()}
	for _, g := range grants {
		part := min(g.Remaining, amount-applied)
		if part == 0 {
			break
		}
		x.moves = append(x.moves, movement{g.ID, CustomerAccount, InvoiceAccount, part})
		applied += part
	}
	if applied == 0 {
		return 0, nil
	}
	return applied, x.post(ctx, tx)
}

// left reads grants that are locked for what is taken off them.
func left(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]Grant, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("couldn't read credit: %w", err)
	}
	grants, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g Grant, err error) {
		return g, row.Scan(&g.ID, &g.Kind, &g.Currency, &g.Remaining)
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read credit: %w", err)
	}
	return grants, nil
}

// Withdraw takes back what is left of a grant, as when it was a mistake or is paid
// back. It fails with ErrNoGrant where nothing is left.
func (c *Credit) Withdraw(ctx context.Context, by tenant.Authority, id tenant.ID, grantID, reason string) error {
	if by.Actor() == "" {
		return tenant.ErrScope
	}
	reason = tenant.Printable(strings.TrimSpace(reason), tenant.MaxNameBytes)
	if reason == "" {
		return &tenant.FieldError{Field: "reason", Problem: "Say why it is taken back; the tenant reads it."}
	}
	return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		grants, err := left(ctx, tx, `
			select grant_id, kind, currency, remaining from credit_grant
			where tenant_id = $1 and grant_id = $2 and remaining > 0 for no key update`, id, grantID)
		if err != nil {
			return err
		}
		if len(grants) == 0 {
			return ErrNoGrant
		}
		g := grants[0]
		x := transaction{tenant: id, kind: "withdrawal", currency: g.Currency, reason: reason, actor: by.Actor(),
			moves: []movement{{g.ID, CustomerAccount, Account(g.Kind), g.Remaining}}}
		if err := x.post(ctx, tx); err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, id, "credit.withdrawn", g.ID, map[string]any{"amount": rating.Money(g.Currency, g.Remaining), "reason": reason})
	})
}

// expiryCheck is how often each node looks for credit that has expired. It is not used
// any more from its moment on, whenever it is booked.
const expiryCheck = time.Minute

// expiryBatch is how many grants are booked as expired in one transaction.
const expiryBatch = 100

// RunExpiry books credit that has expired until ctx ends. Every node may run it.
func (c *Credit) RunExpiry(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		_, err := c.Expire(ctx)
		if broken := err != nil && ctx.Err() == nil; broken != failing {
			if failing = broken; broken {
				c.log.Warn("expired credit can't be booked; it is when it works again", "error", err)
			} else {
				c.log.Info("expired credit can be booked again")
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(expiryCheck):
		}
	}
}

// Expire books all credit that has expired and returns how many grants it was left of.
func (c *Credit) Expire(ctx context.Context) (n int, err error) {
	for {
		some, err := c.expire(ctx)
		n += some
		if err != nil || some < expiryBatch {
			return n, err
		}
	}
}

// expire books some of it. Grants that somebody else has locked are left for the next
// time.
func (c *Credit) expire(ctx context.Context) (n int, err error) {
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select tenant_id, grant_id, currency, remaining from credit_grant
			where remaining > 0 and expires_at <= clock_timestamp()
			order by expires_at limit $1 for no key update skip locked`, expiryBatch)
		if err != nil {
			return err
		}
		expired, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (x transaction, err error) {
			m := movement{from: CustomerAccount, to: ExpiredAccount}
			err = row.Scan(&x.tenant, &m.grant, &x.currency, &m.amount)
			x.kind, x.actor, x.moves = "expiry", tenant.SystemScope(x.tenant).Actor(), []movement{m}
			return x, err
		})
		var errs []error
		for i := range expired {
			errs = append(errs, expired[i].post(ctx, tx))
		}
		n = len(expired)
		return errors.Join(append(errs, err)...)
	})
	if err != nil {
		return 0, fmt.Errorf("couldn't book expired credit: %w", err)
	}
	return n, nil
}
