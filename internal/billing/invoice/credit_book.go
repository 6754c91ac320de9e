package invoice

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Balance is the credit that a tenant has in one currency.
type Balance struct {
	Currency string  `json:"currency"`
	Amount   int64   `json:"amount"` // minor units
	Grants   []Grant `json:"grants"` // of which something is left, in the order of their use
}

// Transaction is one change of a tenant's credit.
type Transaction struct {
	ID       string    `json:"transaction_id"` // crt_…
	Number   int64     `json:"number"`         // rising with time
	Kind     string    `json:"kind"`           // grant, use, expiry or withdrawal
	Currency string    `json:"currency"`
	Amount   int64     `json:"amount"` // minor units that the customer has more, or less where it is below 0
	Invoice  string    `json:"invoice_id,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
	By       string    `json:"by"` // Scope.Actor
	Entries  []Entry   `json:"entries"`
}

// Entry is one side of a Transaction. The amounts of all sum to zero.
type Entry struct {
	Account Account `json:"account"`
	Grant   string  `json:"grant_id"`
	Amount  int64   `json:"amount"` // minor units
}

// Balances returns what the tenant can still use, by currency. Credit that has expired
// is not in it.
func (c *Credit) Balances(ctx context.Context, scope tenant.Scope) ([]Balance, error) {
	rows, err := scope.In(c.pool).Query(ctx, `
		select grant_id, kind, currency, amount, remaining, expires_at, reason, coalesce(credit_note_id, ''), granted_at, granted_by
		from credit_grant where tenant_id = $1 and remaining > 0 and (expires_at is null or expires_at > clock_timestamp())
		order by currency, expires_at nulls last, array_position(array['promotional', 'credit_note', 'paid'], kind), granted_at, grant_id`,
		scope.Tenant())
	if err != nil {
		return nil, fmt.Errorf("couldn't read the credit of %s: %w", scope.Tenant(), err)
	}
	var all []Balance
	var g Grant
	_, err = pgx.ForEachRow(rows, []any{&g.ID, &g.Kind, &g.Currency, &g.Amount, &g.Remaining, &g.ExpiresAt, &g.Reason, &g.CreditNote, &g.GrantedAt, &g.GrantedBy}, func() error {
		if len(all) == 0 || all[len(all)-1].Currency != g.Currency {
			all = append(all, Balance{Currency: g.Currency})
		}
		b := &all[len(all)-1]
		b.Amount, b.Grants = b.Amount+g.Remaining, append(b.Grants, g)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the credit of %s: %w", scope.Tenant(), err)
	}
	return all, nil
}

// Transactions returns at most limit changes of the tenant's credit with their entries,
// the newest first: all, or with a before other than 0 those before that Number.
func (c *Credit) Transactions(ctx context.Context, scope tenant.Scope, before int64, limit int) ([]Transaction, error) {
	rows, err := scope.In(c.pool).Query(ctx, `
		select t.transaction_id, t.number, t.kind, t.currency, coalesce(t.invoice_id, ''), t.reason, t.at, t.actor, e.account, e.grant_id, e.amount
		from (
			select * from credit_transaction where tenant_id = $1 and ($2::bigint = 0 or number < $2) order by number desc limit $3
		) t join credit_entry e using (tenant_id, transaction_id)
		order by t.number desc, e.grant_id, e.account`, scope.Tenant(), before, limit)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the credit ledger of %s: %w", scope.Tenant(), err)
	}
	var all []Transaction
	var t Transaction
	var e Entry
	_, err = pgx.ForEachRow(rows, []any{&t.ID, &t.Number, &t.Kind, &t.Currency, &t.Invoice, &t.Reason, &t.At, &t.By, &e.Account, &e.Grant, &e.Amount}, func() error {
		if len(all) == 0 || all[len(all)-1].ID != t.ID {
			all = append(all, t)
		}
		last := &all[len(all)-1]
		last.Entries = append(last.Entries, e)
		if e.Account == CustomerAccount {
			last.Amount += e.Amount
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the credit ledger of %s: %w", scope.Tenant(), err)
	}
	return all, nil
}
