package invoice

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// invoiceColumns are those of invoices i with their periods p and tenants t.
const (
	invoiceColumns = `i.invoice_id, i.tenant_id, t.name, i.state, coalesce(i.number, ''), to_char(i.month, 'YYYY-MM'), p.starts_at, p.ends_at, p.time_zone, i.cutoff,
		i.currency, i.subtotal, i.tax, i.total, i.credit, i.taxes, i.issuer, i.customer, i.created_at, i.review_until, i.held, i.held_why,
		i.finalised_at, coalesce(i.finalised_by, ''), i.issued_on, i.due_on,
		(select coalesce(sum(n.total), 0)::bigint from credit_note n where n.tenant_id = i.tenant_id and n.invoice_id = i.invoice_id)`
	invoiceTables = `invoice i join billing_period p using (tenant_id, month) join tenant t using (tenant_id)`
)

func scanInvoice(row pgx.CollectableRow) (i Invoice, err error) {
	var issuer *Issuer
	var customer *Customer
	err = row.Scan(&i.ID, &i.Tenant, &i.TenantName, &i.State, &i.Number, &i.Month, &i.From, &i.To, &i.Zone, &i.Cutoff,
		&i.Currency, &i.Subtotal, &i.Tax, &i.Total, &i.Credit, &i.Taxes, &issuer, &customer, &i.CreatedAt, &i.ReviewUntil, &i.Held, &i.HeldWhy,
		&i.FinalisedAt, &i.FinalisedBy, &i.IssuedOn, &i.DueOn, &i.Credited)
	if issuer != nil {
		i.Issuer = *issuer
	}
	if customer != nil {
		i.Customer = *customer
	}
	i.Due = i.Total - i.Credit
	return i, err
}

// List returns at most limit of the tenant's final invoices, the newest first, from the
// one after the invoice before on; "" starts with the newest.
func (v *Invoices) List(ctx context.Context, scope tenant.Scope, before string, limit int) ([]Invoice, error) {
	return readInvoices(ctx, scope.In(v.Pool), `
		where i.tenant_id = $1 and i.state = 'final' and ($2 = '' or (i.finalised_at, i.invoice_id) < (
			select b.finalised_at, b.invoice_id from invoice b where b.tenant_id = $1 and b.invoice_id = $2))
		order by i.finalised_at desc, i.invoice_id desc limit $3`, scope.Tenant(), before, limit)
}

// Get returns one of the tenant's final invoices with its lines and credit notes.
// ErrNotFound, also for a draft.
func (v *Invoices) Get(ctx context.Context, scope tenant.Scope, invoiceID string) (Invoice, error) {
	return v.readOne(ctx, scope.In(v.Pool), scope.Tenant(), invoiceID, Final)
}

// Drafts returns the drafts of all tenants, those that are made final first before the
// others.
func (v *Invoices) Drafts(ctx context.Context, by tenant.Authority) ([]Invoice, error) {
	if by.Actor() == "" {
		return nil, tenant.ErrScope
	}
	return readInvoices(ctx, v.Pool, `where i.state = 'draft' order by i.held, i.review_until, i.invoice_id limit $1`, mostDrafts)
}

// mostDrafts bounds what Drafts reads.
const mostDrafts = 1000

// OfTenant is List for the operator, of any tenant and with its drafts, the newest month
// first.
func (v *Invoices) OfTenant(ctx context.Context, by tenant.Authority, id tenant.ID, before string, limit int) ([]Invoice, error) {
	if by.Actor() == "" {
		return nil, tenant.ErrScope
	}
	return readInvoices(ctx, v.Pool, `
		where i.tenant_id = $1 and ($2 = '' or (i.month, i.invoice_id) < (
			select b.month, b.invoice_id from invoice b where b.tenant_id = $1 and b.invoice_id = $2))
		order by i.month desc, i.invoice_id desc limit $3`, id, before, limit)
}

// Any returns a draft or a final invoice of any tenant, with its lines and credit notes.
// A draft has the issuer and customer that it would have if it were made final now.
// ErrNotFound.
func (v *Invoices) Any(ctx context.Context, by tenant.Authority, invoiceID string) (Invoice, error) {
	if by.Actor() == "" {
		return Invoice{}, tenant.ErrScope
	}
	var id tenant.ID
	err := v.Pool.QueryRow(ctx, `select tenant_id from invoice where invoice_id = $1`, invoiceID).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Invoice{}, ErrNotFound
	}
	if err != nil {
		return Invoice{}, fmt.Errorf("couldn't read an invoice: %w", err)
	}
	i, err := v.readOne(ctx, v.Pool, id, invoiceID, "")
	if err != nil || i.State == Final {
		return i, err
	}
	if i.Issuer, err = v.Issuer(ctx, by); err != nil {
		return i, err
	}
	i.Customer, err = readCustomer(ctx, v.Pool, id)
	return i, err
}

func readInvoices(ctx context.Context, db querier, where string, args ...any) ([]Invoice, error) {
	rows, err := db.Query(ctx, `select `+invoiceColumns+` from `+invoiceTables+` `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("couldn't read invoices: %w", err)
	}
	invoices, err := pgx.CollectRows(rows, scanInvoice)
	if err != nil {
		return nil, fmt.Errorf("couldn't read invoices: %w", err)
	}
	return invoices, nil
}

// readOne reads an invoice with all that belongs to it; in any state if that is "".
func (v *Invoices) readOne(ctx context.Context, db querier, id tenant.ID, invoiceID string, state State) (Invoice, error) {
	found, err := readInvoices(ctx, db, `where i.tenant_id = $1 and i.invoice_id = $2 and ($3 = '' or i.state = $3)`, id, invoiceID, state)
	if err != nil {
		return Invoice{}, err
	}
	if len(found) == 0 {
		return Invoice{}, ErrNotFound
	}
	i := found[0]
	if i.Lines, err = readLines(ctx, db, id, invoiceID); err != nil {
		return Invoice{}, err
	}
	if i.CreditNotes, err = readNotes(ctx, db, `where n.tenant_id = $1 and n.invoice_id = $2 order by n.sequence`, id, invoiceID); err != nil {
		return Invoice{}, err
	}
	return i, nil
}

func readLines(ctx context.Context, db querier, id tenant.ID, invoiceID string) ([]Line, error) {
	rows, err := db.Query(ctx, `
		select l.detail, l.line, coalesce(l.licence_id, ''), l.added_by, l.reason,
			(select coalesce(sum(c.amount), 0)::bigint from credit_note_line c where c.tenant_id = l.tenant_id and c.invoice_id = l.invoice_id and c.line = l.line)
		from invoice_line l where l.tenant_id = $1 and l.invoice_id = $2 order by l.line`, id, invoiceID)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the lines of invoice %s: %w", invoiceID, err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l Line, err error) {
		err = row.Scan(&l.Line, &l.Number, &l.LicenceID, &l.AddedBy, &l.Reason, &l.Credited)
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the lines of invoice %s: %w", invoiceID, err)
	}
	return lines, nil
}
