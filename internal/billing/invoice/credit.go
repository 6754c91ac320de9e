package invoice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Prepaid credit is a means of payment: it is taken off an invoice's total when that
// becomes final, and changes neither its lines nor its tax. How it came and went is a
// ledger of double entries that are only ever added; the database itself sees to it
// that those of each transaction sum to zero, and that what is left of a grant is what
// its entries say.

// MaxCredit is the most that one grant may be, in minor units.
const MaxCredit = 1_000_000_000_000

// ErrNoGrant is returned for credit that the tenant does not have.
var ErrNoGrant = errors.New("there is no such credit, or nothing left of it")

// GrantKind says what credit was given for.
type GrantKind string

// The kinds of grants. Of those that end on the same day promotional credit is used
// first and paid credit last.
const (
	PaidCredit        GrantKind = "paid"
	PromotionalCredit GrantKind = "promotional"
	CreditNoteCredit  GrantKind = "credit_note" // instead of paying back what a credit note took off
)

// Grant is credit that a tenant was given at once.
type Grant struct {
	ID         string     `json:"grant_id"` // crg_…
	Kind       GrantKind  `json:"kind"`
	Currency   string     `json:"currency"`
	Amount     int64      `json:"amount"`     // minor units
	Remaining  int64      `json:"remaining"`  // what is left of it
	ExpiresAt  *time.Time `json:"expires_at"` // nil: never
	Reason     string     `json:"reason"`
	CreditNote string     `json:"credit_note_id,omitempty"` // CreditNoteCredit
	GrantedAt  time.Time  `json:"granted_at"`
	GrantedBy  string     `json:"granted_by"` // Scope.Actor
}

// NewGrant is what an operator gives.
type NewGrant struct {
	Kind      GrantKind // PaidCredit or PromotionalCredit
	Currency  string
	Amount    int64      // minor units, 1 to MaxCredit
	ExpiresAt *time.Time // nil: never
	Reason    string
}

// Account is where credit is, as the ledger sees it.
type Account string

// The accounts. What is not the customer's has the other sign: an account of a source
// falls when credit is granted, one of a use rises when it is used.
const (
	CustomerAccount Account = "customer" // what the tenant has
	InvoiceAccount  Account = "invoice"  // what paid invoices
	ExpiredAccount  Account = "expired"  // what nobody used in time
	// The accounts of sources are named like the kinds of grants.
)

// Credit keeps the prepaid credit of all tenants.
type Credit struct {
	pool *pgxpool.Pool
	log  *slog.Logger
}

// NewCredit returns the credit in the database behind pool.
func NewCredit(pool *pgxpool.Pool, log *slog.Logger) *Credit { return &Credit{pool, log} }

// movement is credit of one grant that goes from one account to another.
type movement struct {
	grant    string
	from, to Account
	amount   int64
}

// transaction is what is written in the ledger at once.
type transaction struct {
	tenant                                 tenant.ID
	kind, currency, invoice, reason, actor string
	moves                                  []movement
}

// post writes a transaction with two entries for each movement, and what it leaves of
// the grants, whose rows tx has locked or made.
func (x *transaction) post(ctx context.Context, tx pgx.Tx) error {
	id := "crt_" + tenant.NewID()
	batch := &pgx.Batch{}
	batch.Queue(`
		insert into credit_transaction (tenant_id, transaction_id, kind, currency, invoice_id, reason, actor)
		values ($1, $2, $3, $4, nullif($5, ''), $6, $7)`, x.tenant, id, x.kind, x.currency, x.invoice, x.reason, x.actor)
	for _, m := range x.moves {
		batch.Queue(`
			insert into credit_entry (tenant_id, transaction_id, grant_id, account, currency, amount)
			values ($1, $2, $3, $4, $6, -$7::bigint), ($1, $2, $3, $5, $6, $7)`, x.tenant, id, m.grant, m.from, m.to, x.currency, m.amount)
		if m.from == CustomerAccount {
			batch.Queue(`update credit_grant set remaining = remaining - $3 where tenant_id = $1 and grant_id = $2`, x.tenant, m.grant, m.amount)
		}
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("couldn't write to the credit ledger: %w", err)
	}
	return nil
}

// Grant gives a tenant credit. A *tenant.FieldError says what is wrong with it;
// billing.ErrNotFound: there is no such tenant.
func (c *Credit) Grant(ctx context.Context, by tenant.Authority, id tenant.ID, n NewGrant) (g Grant, err error) {
	if by.Actor() == "" {
		return g, tenant.ErrScope
	}
	n.Reason = tenant.Printable(strings.TrimSpace(n.Reason), tenant.MaxNameBytes)
	if err := n.check(); err != nil {
		return g, err
	}
	g = Grant{Kind: n.Kind, Currency: n.Currency, Amount: n.Amount, ExpiresAt: n.ExpiresAt, Reason: n.Reason, GrantedBy: by.Actor()}
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if err := grant(ctx, tx, id, &g); err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, id, "credit.granted", g.ID, map[string]any{
			"kind": g.Kind, "amount": rating.Money(g.Currency, g.Amount), "expires_at": g.ExpiresAt, "reason": g.Reason,
		})
	})
	return g, err
}

// check says what is wrong with it.
func (n *NewGrant) check() error {
	_, known := rating.Exponent(n.Currency)
	switch {
	case n.Kind != PaidCredit && n.Kind != PromotionalCredit:
		return &tenant.FieldError{Field: "kind", Problem: "Choose paid or promotional."}
	case !known:
		return &tenant.FieldError{Field: "currency", Problem: "Choose of " + strings.Join(rating.Currencies(), ", ") + "."}
	case n.Amount < 1 || n.Amount > MaxCredit:
		return &tenant.FieldError{Field: "amount", Problem: "Choose " + rating.Money(n.Currency, 1) + " to " + rating.Money(n.Currency, MaxCredit) + "."}
	case n.Reason == "":
		return &tenant.FieldError{Field: "reason", Problem: "Say what it is given for; the tenant reads it."}
	}
	return nil
}

// grant writes a grant and the transaction that brings it, and fills in what it became.
func grant(ctx context.Context, tx pgx.Tx, id tenant.ID, g *Grant) error {
	g.ID, g.Remaining = "crg_"+tenant.NewID(), g.Amount
	err := tx.QueryRow(ctx, `
		insert into credit_grant (tenant_id, grant_id, kind, currency, amount, remaining, expires_at, reason, credit_note_id, granted_by)
		values ($1, $2, $3, $4, $5, $5, $6, $7, nullif($8, ''), $9) returning granted_at`,
		id, g.ID, g.Kind, g.Currency, g.Amount, g.ExpiresAt, g.Reason, g.CreditNote, g.GrantedBy).Scan(&g.GrantedAt)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.ConstraintName {
		case "credit_grant_tenant_id_fkey":
			return fmt.Errorf("tenant %s: %w", id, billing.ErrNotFound)
		case "credit_grant_expiry":
			return &tenant.FieldError{Field: "expires_at", Problem: "Choose a time to come."}
		}
	}
	if err != nil {
		return fmt.Errorf("couldn't grant credit: %w", err)
	}
	x := transaction{tenant: id, kind: "grant", currency: g.Currency, reason: g.Reason, actor: g.GrantedBy,
		moves: []movement{{g.ID, Account(g.Kind), CustomerAccount, g.Amount}}}
	return x.post(ctx, tx)
}

// Note makes the amount of a credit note credit that does not expire, once: again, it
// does nothing.
func (c *Credit) Note(ctx context.Context, tx pgx.Tx, id tenant.ID, creditNoteID, currency string, amount int64) error {
	var done bool
	err := tx.QueryRow(ctx, `select exists (select from credit_grant where tenant_id = $1 and credit_note_id = $2)`, id, creditNoteID).Scan(&done)
	if err != nil {
		return fmt.Errorf("couldn't look for the credit of %s: %w", creditNoteID, err)
	}
	if done || amount <= 0 {
		return nil
	}
	return grant(ctx, tx, id, &Grant{Kind: CreditNoteCredit, Currency: currency, Amount: amount, Reason: "Credit note", CreditNote: creditNoteID,
		GrantedBy: tenant.SystemScope(id).Actor()})
}
