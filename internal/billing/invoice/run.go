package invoice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// checkEvery is how often each node looks for periods to close and drafts to make final.
const checkEvery = 30 * time.Second

// Run closes periods and makes drafts final when they are due, until ctx ends. Every
// node may run it.
func (v *Invoices) Run(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		err := v.Due(ctx)
		if broken := err != nil && ctx.Err() == nil; broken != failing {
			if failing = broken; broken {
				v.Log.Warn("billing periods or invoices can't be dealt with; they are when it works again", "error", err)
			} else {
				v.Log.Info("billing periods and invoices can be dealt with again")
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(checkEvery):
		}
	}
}

// Due does once what is due of all tenants. A tenant that fails does not stop the
// others. As long as nobody has said who issues invoices, drafts stay drafts.
func (v *Invoices) Due(ctx context.Context) (err error) {
	defer func() {
		if err != nil && ctx.Err() == nil {
			v.counts.failed.Add(1)
		}
	}()
	tenants, err := list[tenant.ID](ctx, v, `
		select tenant_id from billing_period where cutoff is null and ends_at + $1::interval <= clock_timestamp()
		union
		select tenant_id from tenant t where not exists (select from billing_period p where p.tenant_id = t.tenant_id and p.cutoff is null)
		order by tenant_id`, v.Grace)
	if err != nil {
		return fmt.Errorf("couldn't look for periods to close: %w", err)
	}
	var failed error
	for _, id := range tenants {
		_, err := v.Close(ctx, id)
		failed = errors.Join(failed, err)
	}
	invoices, err := list[string](ctx, v, `
		select invoice_id from invoice where state = 'draft' and not held and review_until <= clock_timestamp()
			and exists (select from issuer where issuer_id = $1 and set_at is not null)
		order by month, review_until, invoice_id`, defaultIssuer)
	if err != nil {
		return errors.Join(failed, fmt.Errorf("couldn't look for drafts to make final: %w", err))
	}
	for _, invoiceID := range invoices {
		_, err := v.finaliseDue(ctx, invoiceID)
		failed = errors.Join(failed, err)
	}
	var overdue int64
	err = v.Pool.QueryRow(ctx, `select count(*) from invoice where state = 'draft' and review_until <= clock_timestamp()`).Scan(&overdue)
	v.counts.overdue.Store(overdue)
	return errors.Join(failed, err)
}

// list reads one column.
func list[T any](ctx context.Context, v *Invoices, sql string, args ...any) ([]T, error) {
	rows, err := v.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}
