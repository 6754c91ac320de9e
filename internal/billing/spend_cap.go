package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// MaxSpendCap is the largest cap, in minor units.
const MaxSpendCap = 1_000_000_000_000_000

// Cap returns the tenant's cap; nil: it has none.
func (s *Spend) Cap(ctx context.Context, scope tenant.Scope) (*SpendCap, error) {
	if scope.Tenant() == "" {
		return nil, tenant.ErrScope
	}
	return readCap(ctx, scope.In(s.Pool), scope.Tenant())
}

// CheckCap says what is wrong with a cap as somebody typed it: a *tenant.FieldError, of
// "amount" or "action".
func CheckCap(c SpendCap) error {
	if c.Amount <= 0 || c.Amount > MaxSpendCap {
		return &tenant.FieldError{Field: "amount", Problem: fmt.Sprintf("must be more than 0 and at most %d, in the smallest unit of the currency", int64(MaxSpendCap))}
	}
	if !slices.Contains(CapActions(), c.Action) {
		return &tenant.FieldError{Field: "action", Problem: "must be alert, refuse or end"}
	}
	return nil
}

// SetCap sets the tenant's cap, or takes it away (nil), and returns it. Without a
// currency it is in that of the tenant's plan, and it can be in no other. Whether new
// connections are refused follows at once; what else a cap does, within seconds. The
// error may be a *tenant.FieldError of "amount", "currency" or "action".
func (s *Spend) SetCap(ctx context.Context, scope tenant.Scope, c *SpendCap) (*SpendCap, error) {
	month, err := s.Month(ctx, scope)
	if err != nil {
		return nil, err
	}
	if c != nil {
		own := *c
		if own.Currency == "" {
			own.Currency = month.Bill.Currency
		}
		if err := CheckCap(own); err != nil {
			return nil, err
		}
		if own.Currency != month.Bill.Currency {
			return nil, &tenant.FieldError{Field: "currency", Problem: "must be " + month.Bill.Currency + ", which the plan's prices are in"}
		}
		c = &own
	}
	id := scope.Tenant()
	err = scope.In(s.Pool).Tx(ctx, func(tx pgx.Tx) error {
		if _, err := lockTenant(ctx, tx, id); err != nil {
			return err
		}
		before, err := readCap(ctx, tx, id)
		if err != nil || sameCap(before, c) {
			return err
		}
		if err := writeCap(ctx, tx, scope, c); err != nil {
			return err
		}
		if _, err := refuseUntil(ctx, tx, id, month.until(c)); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, scope, "spend_cap.changed", string(id), tenant.Diff{
			"amount": {capAmount(before), capAmount(c)}, "currency": {capCurrency(before), capCurrency(c)}, "action": {capAction(before), capAction(c)},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't set the spending cap: %w", err)
	}
	s.Ledger.changed(id)
	s.stir()
	return c, nil
}

// readCap reads it; nil: there is none.
func readCap(ctx context.Context, db querier, id tenant.ID) (*SpendCap, error) {
	var c SpendCap
	err := db.QueryRow(ctx, `select amount, currency, action from spend_cap where tenant_id = $1`, id).Scan(&c.Amount, &c.Currency, &c.Action)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read the spending cap of %s: %w", id, err)
	}
	return &c, nil
}

// writeCap writes it; a node looks at it soon.
func writeCap(ctx context.Context, tx pgx.Tx, scope tenant.Scope, c *SpendCap) error {
	if c == nil {
		_, err := tx.Exec(ctx, `delete from spend_cap where tenant_id = $1`, scope.Tenant())
		return err
	}
	_, err := tx.Exec(ctx, `
		insert into spend_cap (tenant_id, amount, currency, action, changed_by) values ($1, $2, $3, $4, $5)
		on conflict (tenant_id) do update set amount = excluded.amount, currency = excluded.currency, action = excluded.action,
			changed_by = excluded.changed_by, changed_at = clock_timestamp(), evaluated_at = null`,
		scope.Tenant(), c.Amount, c.Currency, c.Action, scope.Actor())
	return err
}

// refuseUntil has admission refuse newcomers until a moment; nil: it does not. The
// tenant's row is locked. It returns whether that is a change.
func refuseUntil(ctx context.Context, tx pgx.Tx, id tenant.ID, until *time.Time) (changed bool, err error) {
	tag, err := tx.Exec(ctx, `
		update tenant_live set spend_capped_until = $2 where tenant_id = $1 and spend_capped_until is distinct from $2`, id, until)
	if err != nil {
		return false, fmt.Errorf("couldn't change whether %s is capped: %w", id, err)
	}
	return tag.RowsAffected() > 0, nil
}

func sameCap(a, b *SpendCap) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// What an audit entry shows of a cap; null: there is none.

func capAmount(c *SpendCap) any {
	if c == nil {
		return nil
	}
	return c.Amount
}

func capCurrency(c *SpendCap) any {
	if c == nil {
		return nil
	}
	return c.Currency
}

func capAction(c *SpendCap) any {
	if c == nil {
		return nil
	}
	return c.Action
}
