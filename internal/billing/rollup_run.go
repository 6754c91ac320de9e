package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// rollInterval is how often each node looks for what is to be rolled up.
	rollInterval = 20 * time.Second
	// rollLag is how long after a quarter of an hour it is rolled up: live connections
	// have been metered past it by then.
	rollLag = 30 * time.Second
	// rollBacklog is how many ended connections of a tenant are not left until their
	// quarter is over, so that pages need not read more.
	rollBacklog = 5_000
	// rollTime bounds one part of a tenant's roll.
	rollTime = time.Minute
)

// RunRollups rolls up every tenant's use shortly after each quarter of an hour until ctx
// ends, and now and then checks the sums (Reconcile). Every node may run it: a tenant
// that one is at is passed over by the others.
func (l *Ledger) RunRollups(ctx context.Context) {
	ticker := time.NewTicker(rollInterval)
	defer ticker.Stop()
	failing := false
	checked := time.Now()
	for {
		err := l.RollDue(ctx)
		if broken := err != nil && ctx.Err() == nil; broken != failing {
			if failing = broken; broken {
				l.log.Warn("usage can't be rolled up; it is when it works again, and pages read it from the connections", "error", err)
			} else {
				l.log.Info("usage can be rolled up again")
			}
		}
		if time.Since(checked) >= reconcileInterval && err == nil {
			checked = time.Now()
			l.reconcile(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// rollsDue finds the tenants that have something to roll up: connections that ended
// before a moment, many that ended since, or live ones that were metered past a quarter
// of an hour since they were rolled up.
const rollsDue = `
	with due as (select date_bin('15 minutes', clock_timestamp() - $1 * interval '1 microsecond', 'epoch') as at)
	select tenant_id from connection
	where rolled_at is null and ended_at is not null and connected_at is not null
	group by tenant_id having min(ended_at) < (select at from due) or count(*) >= $2
	union
	select c.tenant_id from due, live_connection l join connection c using (tenant_id, connection_id)
	where c.connected_at < due.at and c.ended_at is null and c.metered_through >= due.at and not exists (
		select from connection_mark m where m.tenant_id = c.tenant_id and m.connection_id = c.connection_id and m.at >= due.at)
	order by tenant_id`

// RollDue rolls up what is due of all tenants, each in transactions of its own. A tenant
// that fails does not stop the others; nor does one that somebody else holds.
func (l *Ledger) RollDue(ctx context.Context) error {
	rows, err := l.pool.Query(ctx, rollsDue, rollLag.Microseconds(), rollBacklog)
	if err != nil {
		return fmt.Errorf("couldn't look for usage to roll up: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowTo[tenant.ID])
	if err != nil {
		return fmt.Errorf("couldn't look for usage to roll up: %w", err)
	}
	var errs []error
	for _, id := range due {
		errs = append(errs, l.rollUnlessHeld(ctx, id))
	}
	return errors.Join(errs...)
}

// rollUnlessHeld is RollUp, but gives up as soon as somebody else has the tenant's billing row.
func (l *Ledger) rollUnlessHeld(ctx context.Context, id tenant.ID) error {
	for more := true; more; {
		err := l.rollPart(ctx, id, func(ctx context.Context, tx pgx.Tx) (err error) {
			if more, err = holdBilling(ctx, tx, id); err != nil || !more {
				return err
			}
			now, err := l.LockBilling(ctx, tx, id)
			if err != nil {
				return err
			}
			more, err = l.roll(ctx, tx, id, now)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rollPart runs f in a transaction of limited time.
func (l *Ledger) rollPart(ctx context.Context, id tenant.ID, f func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, rollTime)
	defer cancel()
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error { return f(ctx, tx) })
	if err != nil {
		return fmt.Errorf("couldn't roll up the usage of tenant %s: %w", id, err)
	}
	return nil
}

// holdBilling takes the tenant's billing row if nobody else has it.
func holdBilling(ctx context.Context, tx pgx.Tx, id tenant.ID) (held bool, err error) {
	if _, err := tx.Exec(ctx, `insert into billing_account (tenant_id, recorded_at)
		select $1, clock_timestamp() where not exists (select from billing_account where tenant_id = $1)
		on conflict do nothing`, id); err != nil {
		return false, err
	}
	err = tx.QueryRow(ctx, `select true from billing_account where tenant_id = $1 for update skip locked`, id).Scan(&held)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return held, err
}
