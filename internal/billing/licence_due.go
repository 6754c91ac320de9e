package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// licenceCheck is how often each node looks for changes of licences that are due,
// beside the moments at which it knows one to be. So one is late by what a
// transaction takes; by at most this, if it was written by another node so shortly
// before, or when the database was away.
const licenceCheck = 10 * time.Second

// RunLicences applies the scheduled changes of all tenants' licences when they are
// due, and renews those whose year is over, until ctx ends. Every node may run it.
func (l *Ledger) RunLicences(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		wait, err := l.ApplyLicences(ctx)
		if broken := err != nil && ctx.Err() == nil; broken != failing {
			if failing = broken; broken {
				l.log.Warn("scheduled changes of licences can't be applied; they are when it works again", "error", err)
			} else {
				l.log.Info("scheduled changes of licences can be applied again")
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// ApplyLicences applies what is due of all tenants, each in a transaction of its
// own, and returns how long to wait for the next. What has been applied already,
// here or by another node, is left alone. A tenant that fails does not stop the
// others.
func (l *Ledger) ApplyLicences(ctx context.Context) (wait time.Duration, err error) {
	rows, err := l.pool.Query(ctx, `
		select tenant_id from licence where applied_at is null and lower(valid) <= clock_timestamp()
		union
		select tenant_id from licence where upper_inf(valid) and upper(period) <= clock_timestamp()
		order by tenant_id`)
	if err != nil {
		return licenceCheck, fmt.Errorf("couldn't look for licences that are due: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowTo[tenant.ID])
	if err != nil {
		return licenceCheck, fmt.Errorf("couldn't look for licences that are due: %w", err)
	}
	var errs []error
	for _, id := range due {
		errs = append(errs, l.withTerms(ctx, tenant.SystemScope(id), func(*terms) error { return nil }))
	}
	var next *time.Duration
	err = l.pool.QueryRow(ctx, `
		select least(
			(select min(lower(valid)) from licence where applied_at is null),
			(select min(upper(period)) from licence where upper_inf(valid) and period is not null)
		) - clock_timestamp()`).Scan(&next)
	if err = errors.Join(append(errs, err)...); err != nil || next == nil {
		return licenceCheck, err
	}
	return min(max(*next, time.Millisecond), licenceCheck), nil
}

// applyDue brings the licences up to now, as if each change had been applied at
// its moment.
func (b *terms) applyDue(ctx context.Context) error {
	for {
		switch {
		case b.current != nil && !b.now.After(b.current.From): // the clock stepped back
			b.now = b.current.From.Add(time.Microsecond) // what Postgres can tell apart
		case b.next != nil && !b.next.From.After(b.now):
			if err := b.applyNext(ctx); err != nil {
				return err
			}
		case b.next == nil && b.current != nil && b.current.PeriodTo != nil && !b.current.PeriodTo.After(b.now):
			if err := b.renew(ctx); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// applyNext puts in force what was scheduled.
func (b *terms) applyNext(ctx context.Context) error {
	if _, err := b.tx.Exec(ctx, `update licence set applied_at = $3 where tenant_id = $1 and licence_id = $2`,
		b.scope.Tenant(), b.next.ID, b.now); err != nil {
		return err
	}
	var before LicenceTerm
	if b.current != nil {
		before = *b.current
	}
	b.current, b.next = b.next, nil
	if err := b.apply(ctx); err != nil {
		return err
	}
	return b.bySystem().audit(ctx, "licence.began", before, *b.current)
}

// renew begins the year after the current one.
func (b *terms) renew(ctx context.Context) error {
	before := *b.current
	t := renewed(b.plans, before)
	if err := b.endCurrent(ctx, t.From); err != nil {
		return err
	}
	system := b.bySystem()
	if err := system.insert(ctx, &t, nil, true); err != nil {
		return err
	}
	b.current = &t
	return system.audit(ctx, "licence.renewed", before, t)
}

// bySystem is b for what nobody asks for just now.
func (b *terms) bySystem() *terms {
	system := *b
	system.scope = tenant.SystemScope(b.scope.Tenant())
	return &system
}
