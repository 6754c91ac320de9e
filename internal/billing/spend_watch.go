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

// How caps are kept: each minute one node looks at each tenant that has one. In one
// transaction, holding the tenant's row, it writes whether newcomers are refused, and
// what the tenant is told with its events and mails, each at most once. A node that dies
// meanwhile has done all of that or nothing, and another looks a minute later.

const (
	// spendCheck is how often each tenant's spending is compared with its cap.
	spendCheck = time.Minute
	// spendTick is how often a node looks for tenants whose turn it is.
	spendTick = 5 * time.Second
	// spendLook is how long one tenant may take.
	spendLook = 30 * time.Second
)

// Run keeps the caps of all tenants until ctx ends. Every node may run it.
func (s *Spend) Run(ctx context.Context) {
	tick := time.NewTicker(spendTick)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wake:
		}
		err := s.Look(ctx)
		if broken := err != nil && ctx.Err() == nil; broken != failing {
			if failing = broken; broken {
				s.Log.Warn("tenants' spending can't be compared with their caps; it is when it works again", "error", err)
			} else {
				s.Log.Info("tenants' spending is compared with their caps again")
			}
		}
	}
}

// stir has caps looked at soon. It never blocks.
func (s *Spend) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// SpendStats are what a process has done about caps.
type SpendStats struct {
	Looks, Failed int64 // looks at a tenant's spending, and those that failed
}

// Stats returns them, since the start.
func (s *Spend) Stats() SpendStats { return SpendStats{s.looks.Load(), s.failed.Load()} }

// Look compares the spending of all tenants whose turn it is with their caps. A tenant
// that fails does not stop the others.
func (s *Spend) Look(ctx context.Context) error {
	var errs []error
	for ctx.Err() == nil {
		id, err := s.next(ctx)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if id == "" {
			break
		}
		if err := s.lookAt(ctx, id); err != nil {
			s.failed.Add(1)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// next takes the tenant that has not been looked at for longest; "": it is nobody's
// turn. No other node takes it within spendCheck.
func (s *Spend) next(ctx context.Context) (id tenant.ID, err error) {
	err = s.Pool.QueryRow(ctx, `
		update spend_cap set evaluated_at = clock_timestamp() where tenant_id = (
			select tenant_id from spend_cap
			where evaluated_at is null or evaluated_at <= clock_timestamp() - $1::interval or evaluated_at > clock_timestamp()
			order by evaluated_at nulls first limit 1 for update skip locked)
		returning tenant_id`, spendCheck).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("couldn't look whose spending is to be compared: %w", err)
	}
	return id, nil
}

// lookAt does all that follows from what one tenant spends.
func (s *Spend) lookAt(ctx context.Context, id tenant.ID) error {
	s.looks.Add(1)
	ctx, cancel := context.WithTimeout(ctx, spendLook)
	defer cancel()
	month, err := s.month(ctx, s.Pool, id)
	if err != nil {
		return err
	}
	var limit *SpendCap
	var changed bool
	var told []SpendAlert
	err = pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) (err error) {
		limit, changed, told, err = s.settle(ctx, tx, id, &month)
		return err
	})
	if err != nil {
		return fmt.Errorf("couldn't compare the spending of %s with its cap: %w", id, err)
	}
	if changed || len(told) > 0 {
		s.Ledger.changed(id)
	}
	if len(told) > 0 && s.Mail != nil {
		s.Mail.WakePostman()
	}
	// Again with each look: somebody may have come in over a node that was cut off, or
	// this node have died before it ended them.
	if limit != nil && limit.Action == CapEnd && month.until(limit) != nil && s.End != nil {
		if err := s.End(ctx, tenant.SystemScope(id), tenant.Parting{Reason: tenant.EndSpendCap}); err != nil {
			return fmt.Errorf("couldn't end the connections of %s: %w", id, err)
		}
	}
	return nil
}

// settle writes what follows from a month, by the cap as it is now.
func (s *Spend) settle(ctx context.Context, tx pgx.Tx, id tenant.ID, m *Month) (limit *SpendCap, changed bool, told []SpendAlert, err error) {
	now, err := lockTenant(ctx, tx, id)
	if err != nil || !now.Before(m.To) { // the period has ended meanwhile, and with it all of this
		return nil, false, nil, err
	}
	if limit, err = readCap(ctx, tx, id); err != nil {
		return nil, false, nil, err
	}
	if changed, err = refuseUntil(ctx, tx, id, m.until(limit)); err != nil {
		return nil, false, nil, err
	}
	if told, err = tellOnce(ctx, tx, id, m.From, m.reached(limit)); err != nil || len(told) == 0 {
		return limit, changed, nil, err
	}
	events := make([]tenant.Event, len(told))
	for i, alert := range told {
		if events[i], err = channelEvent(id, "", tenant.UsageThreshold, now, m.data(limit, alert)); err != nil {
			return nil, false, nil, err
		}
	}
	if err := s.Ledger.outbox(ctx, tx, events...); err != nil {
		return nil, false, nil, err
	}
	if s.Mail != nil { // one of the last: it says all that the others would
		subject, text := m.mail(limit, told[len(told)-1], s.PublicURL)
		if err := s.Mail.MailPayers(ctx, tx, id, "spend_threshold", subject, text); err != nil {
			return nil, false, nil, err
		}
	}
	return limit, changed, told, nil
}

// tellOnce returns those that the tenant has not been told of in this period, and notes
// that it is now. The tenant's row is locked.
func tellOnce(ctx context.Context, tx pgx.Tx, id tenant.ID, from time.Time, reached []SpendAlert) (fresh []SpendAlert, err error) {
	for _, alert := range reached {
		tag, err := tx.Exec(ctx, `
			insert into spend_alert (tenant_id, period_from, cap, currency, threshold, amount) values ($1, $2, $3, $4, $5, $6)
			on conflict do nothing`, id, from, alert.Cap, alert.Currency, alert.Threshold, alert.Amount)
		if err != nil {
			return nil, fmt.Errorf("couldn't note what %s is told: %w", id, err)
		}
		if tag.RowsAffected() > 0 {
			fresh = append(fresh, alert)
		}
	}
	return fresh, nil
}

// data is what the event about an alert carries.
func (m *Month) data(limit *SpendCap, alert SpendAlert) SpendData {
	return SpendData{
		Threshold: alert.Threshold, Currency: limit.Currency,
		Amount: alert.Amount, Decimal: rating.Decimal(limit.Currency, alert.Amount),
		Cap: limit.Amount, CapDecimal: rating.Decimal(limit.Currency, limit.Amount), Action: limit.Action,
		PeriodFrom: m.From.UTC(), PeriodTo: m.To.UTC(), DataThrough: m.DataThrough.UTC(),
	}
}

// mail is what the tenant's people are written.
func (m *Month) mail(limit *SpendCap, alert SpendAlert, publicURL string) (subject, text string) {
	most, amount := rating.Money(limit.Currency, limit.Amount), rating.Money(limit.Currency, alert.Amount)
	until := m.To.Format("2 January 2006, 15:04 MST")
	first := fmt.Sprintf("%s has been spent since %s, tax included. That is %s %% of the cap of %s.",
		amount, m.From.Format("2 January 2006"), alert.Threshold, most)
	subject = fmt.Sprintf("%s %% of your spending cap on Hibari", alert.Threshold)
	next := map[CapAction]string{
		CapAlert:  "At 100 % you are told, and nothing else happens.",
		CapRefuse: "At 100 % new connections are refused until the period ends; those that are in go on.",
		CapEnd:    "At 100 % new connections are refused until the period ends, and those that are in are ended.",
	}[limit.Action]
	switch alert.Threshold {
	case ForecastThreshold:
		subject = "Your spending on Hibari is going to reach its cap"
		first = fmt.Sprintf("If use goes on as in the last days, this period comes to %s, tax included. The cap is %s; so far\n%s has been spent.",
			amount, most, rating.Money(limit.Currency, m.Bill.Total))
	case "100":
		subject = "Your spending on Hibari has reached its cap"
		first = fmt.Sprintf("%s has been spent since %s, tax included. The cap is %s.", amount, m.From.Format("2 January 2006"), most)
		next = map[CapAction]string{
			CapAlert:  "Nothing else happens: the cap only tells you.",
			CapRefuse: "New connections are refused from now on (spend_cap_reached). Those that are in go on.",
			CapEnd:    "New connections are refused from now on (spend_cap_reached), and those that are in are ended.",
		}[limit.Action]
	}
	return subject, fmt.Sprintf(`Hello,

%s
%s

The period ends on %s, and the count begins anew.
See what was used, or change the cap:

%s/console/spending

You are told of each threshold of a cap once in a period.
`, first, next, until, publicURL)
}
