package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// BillingPeriod is one calendar month of a tenant. It begins where the month before
// ended, also if the tenant has moved to another time zone since: a new zone counts from
// the month on that begins after the change. A tenant's first period begins with the day
// of its sign-up.
type BillingPeriod struct {
	Month    time.Time // its first day, as a midnight of UTC
	From, To time.Time // From ≤ t < To, in Zone
	Zone     *time.Location
	Cutoff   *time.Time // nil: not closed yet; else what was recorded before is in its snapshot
}

// Rated is the period as rating counts its days, without parts: a whole month.
func (p BillingPeriod) Rated() rating.Period {
	from := monthStart(p.Month, p.Zone)
	if p.From.Before(from) {
		from = p.From
	}
	return rating.Period{From: from, To: p.To, Zone: p.Zone}
}

// Next is the period after it, of a tenant in this zone.
func (p BillingPeriod) Next(zone *time.Location) BillingPeriod {
	month := p.Month.AddDate(0, 1, 0)
	return BillingPeriod{Month: month, From: p.To.In(zone), To: monthStart(month.AddDate(0, 1, 0), zone), Zone: zone}
}

// firstPeriod is that of a tenant who signed up at a moment.
func firstPeriod(signup time.Time, zone *time.Location) BillingPeriod {
	t := signup.In(zone)
	month := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return BillingPeriod{Month: month, From: dayStart(t.Year(), t.Month(), t.Day(), zone), To: monthStart(month.AddDate(0, 1, 0), zone), Zone: zone}
}

// monthStart is when a month begins in a zone.
func monthStart(month time.Time, zone *time.Location) time.Time {
	return dayStart(month.Year(), month.Month(), 1, zone)
}

// dayStart is the first moment of a day in a zone, also where its midnight is skipped or
// comes twice.
func dayStart(year int, month time.Month, day int, zone *time.Location) time.Time {
	return nextDay(time.Date(year, month, day-1, 12, 0, 0, 0, zone))
}

// PeriodAt returns the billing period that a moment lies in, with its cutoff if it is
// closed. Periods that have no row yet are those that will come, if the tenant stays in
// its zone. A moment before the first one is taken for one in it. ErrNotFound.
func (l *Ledger) PeriodAt(ctx context.Context, db querier, id tenant.ID, t time.Time) (BillingPeriod, error) {
	var zoneName string
	var signup time.Time
	var month, from, to, cutoff *time.Time
	var own *string
	err := db.QueryRow(ctx, `
		select t.time_zone, t.created_at, p.month, p.starts_at, p.ends_at, p.time_zone, p.cutoff
		from tenant t left join lateral (
			select * from billing_period p where p.tenant_id = t.tenant_id
			order by p.starts_at <= $2 desc, case when p.starts_at <= $2 then p.starts_at end desc, p.starts_at limit 1
		) p on true where t.tenant_id = $1`, id, t).Scan(&zoneName, &signup, &month, &from, &to, &own, &cutoff)
	if errors.Is(err, pgx.ErrNoRows) {
		return BillingPeriod{}, ErrNotFound
	}
	if err != nil {
		return BillingPeriod{}, fmt.Errorf("couldn't read the billing period of %s: %w", id, err)
	}
	zone, err := time.LoadLocation(zoneName)
	if err != nil {
		return BillingPeriod{}, fmt.Errorf("couldn't load the time zone of %s: %w", id, err)
	}
	p := firstPeriod(signup, zone)
	if month != nil {
		if p, err = newPeriod(*month, *from, *to, *own, cutoff); err != nil {
			return BillingPeriod{}, fmt.Errorf("couldn't load the time zone of %s: %w", id, err)
		}
	}
	for !t.Before(p.To) {
		p = p.Next(zone)
	}
	return p, nil
}

// newPeriod makes a period of its row.
func newPeriod(month, from, to time.Time, zoneName string, cutoff *time.Time) (BillingPeriod, error) {
	zone, err := time.LoadLocation(zoneName)
	if err != nil {
		return BillingPeriod{}, err
	}
	return BillingPeriod{Month: month, From: from.In(zone), To: to.In(zone), Zone: zone, Cutoff: cutoff}, nil
}

// OpenPeriod returns the tenant's period that is not closed yet, in tx, which has the
// tenant's billing row (LockBilling): its row is made if this is the first.
func (l *Ledger) OpenPeriod(ctx context.Context, tx pgx.Tx, id tenant.ID) (BillingPeriod, error) {
	closed, err := l.ClosedPeriods(ctx, tx, id, 1)
	if err != nil {
		return BillingPeriod{}, err
	}
	var month, from, to time.Time
	var zoneName string
	err = tx.QueryRow(ctx, `select month, starts_at, ends_at, time_zone from billing_period where tenant_id = $1 and cutoff is null`, id).
		Scan(&month, &from, &to, &zoneName)
	if err == nil {
		return newPeriod(month, from, to, zoneName, nil)
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return BillingPeriod{}, fmt.Errorf("couldn't read the open period of %s: %w", id, err)
	}
	var signup time.Time
	if err := tx.QueryRow(ctx, `select time_zone, created_at from tenant where tenant_id = $1`, id).Scan(&zoneName, &signup); err != nil {
		return BillingPeriod{}, fmt.Errorf("couldn't read the time zone of %s: %w", id, err)
	}
	zone, err := time.LoadLocation(zoneName)
	if err != nil {
		return BillingPeriod{}, fmt.Errorf("couldn't load the time zone of %s: %w", id, err)
	}
	p := firstPeriod(signup, zone)
	if len(closed) > 0 {
		p = closed[0].Next(zone)
	}
	_, err = tx.Exec(ctx, `insert into billing_period (tenant_id, month, starts_at, ends_at, time_zone) values ($1, $2, $3, $4, $5)`,
		id, p.Month, p.From, p.To, zoneName)
	if err != nil {
		return BillingPeriod{}, fmt.Errorf("couldn't open a period of %s: %w", id, err)
	}
	return p, nil
}

// PeriodOf returns the tenant's period of a month that has a row. ErrNotFound.
func (l *Ledger) PeriodOf(ctx context.Context, db querier, id tenant.ID, month time.Time) (BillingPeriod, error) {
	var from, to time.Time
	var zone string
	var cutoff *time.Time
	err := db.QueryRow(ctx, `select starts_at, ends_at, time_zone, cutoff from billing_period where tenant_id = $1 and month = $2`, id, month).
		Scan(&from, &to, &zone, &cutoff)
	if errors.Is(err, pgx.ErrNoRows) {
		return BillingPeriod{}, ErrNotFound
	}
	if err != nil {
		return BillingPeriod{}, fmt.Errorf("couldn't read a period of %s: %w", id, err)
	}
	return newPeriod(month, from, to, zone, cutoff)
}

// ClosedPeriods returns the tenant's periods that are closed, the newest first, at most
// limit.
func (l *Ledger) ClosedPeriods(ctx context.Context, db querier, id tenant.ID, limit int) ([]BillingPeriod, error) {
	rows, err := db.Query(ctx, `
		select month, starts_at, ends_at, time_zone, cutoff from billing_period
		where tenant_id = $1 and cutoff is not null order by month desc limit $2`, id, limit)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the periods of %s: %w", id, err)
	}
	periods, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (BillingPeriod, error) {
		var month, from, to time.Time
		var zone string
		var cutoff *time.Time
		if err := row.Scan(&month, &from, &to, &zone, &cutoff); err != nil {
			return BillingPeriod{}, err
		}
		return newPeriod(month, from, to, zone, cutoff)
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the periods of %s: %w", id, err)
	}
	return periods, nil
}
