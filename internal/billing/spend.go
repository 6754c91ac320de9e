package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// What a tenant spends in the month that is running, what it will come to, and the cap
// that it has set. docs/spending.md has the rules for people.

// SpendConfig is what a Spend needs of others.
type SpendConfig struct {
	Pool   *pgxpool.Pool
	Ledger *Ledger
	Plans  *Plans
	// Mail writes to a tenant's people; nil: nobody is written to.
	Mail SpendMail
	// End ends all live connections of the tenant, wherever they are, for good: nodes
	// that do not hear of it now do it later. nil: none can be ended.
	End func(ctx context.Context, scope tenant.Scope, why tenant.Parting) error
	// PublicURL is the origin that mails lead to.
	PublicURL string
	Log       *slog.Logger
}

// SpendMail writes to those of a tenant who pay.
type SpendMail interface {
	// MailPayers posts a mail to each of them in tx.
	MailPayers(ctx context.Context, tx pgx.Tx, id tenant.ID, kind, subject, text string) error
	// WakePostman has the mails that wait sent soon. It never blocks.
	WakePostman()
}

// Spend knows what tenants spend and keeps their caps. Its methods may be called from
// any goroutine.
type Spend struct {
	SpendConfig                 // Static
	wake          chan struct{} // a look is wanted soon
	looks, failed atomic.Int64
}

// NewSpend returns the spending of the tenants in the database. Run keeps the caps.
func NewSpend(c SpendConfig) *Spend { return &Spend{SpendConfig: c, wake: make(chan struct{}, 1)} }

// CapAction says what happens when spending reaches its cap.
type CapAction string

// The actions.
const (
	CapAlert  CapAction = "alert"  // the tenant is told, and no more
	CapRefuse CapAction = "refuse" // new connections are refused, until the period ends
	CapEnd    CapAction = "end"    // and live ones are ended
)

// CapActions are all of them.
func CapActions() []CapAction { return []CapAction{CapAlert, CapRefuse, CapEnd} }

// SpendCap is what a tenant wants to spend in a month at most.
type SpendCap struct {
	Amount   int64  // with tax, in minor units; more than 0
	Currency string // ISO 4217; a cap in another one than the plan's does nothing
	Action   CapAction
}

// SpendAlert is something that the tenant was told of.
type SpendAlert struct {
	Threshold string // of SpendThresholds
	Cap       int64  // the cap then, in minor units
	Amount    int64  // what was spent, or is forecast
	Currency  string
	At        time.Time
}

// ForecastThreshold is told when the forecast reaches the cap.
const ForecastThreshold = "forecast"

// spendPercents are the parts of a cap that a tenant is told of.
var spendPercents = []int64{50, 80, 100}

// SpendThresholds are what a tenant is told of, in the order in which it usually is.
func SpendThresholds() []string { return []string{"50", "80", ForecastThreshold, "100"} }

// Month is what a tenant spends in its running period.
type Month struct {
	From, To    time.Time // From ≤ t < To, in the tenant's time zone
	DataThrough time.Time // all use until then is counted
	Now         time.Time // the database's clock
	Plan        string    // its name, now
	// Bill is what the period would come to if nothing more were used. What is not of
	// the plan, licences and an operator's lines, is not in it.
	Bill rating.Bill
	// Forecast is what it will come to at the pace of the last seven days; nil: there is
	// less than a day to judge by.
	Forecast    *rating.Bill
	Cap         *SpendCap    // nil: none
	Percent     int64        // of the cap that is spent, rounded down; 0 without one
	Alerts      []SpendAlert // of this period, the newest first
	CappedUntil *time.Time   // new connections are refused until then; nil: they are not
}

const (
	// forecastWindow is how far back a forecast looks to judge the pace.
	forecastWindow = 7 * 24 * time.Hour
	// forecastLeast is how long a tenant must have been here for a forecast.
	forecastLeast = 24 * time.Hour
)

// Month returns what the tenant spends in the period that is running. ErrNotFound.
func (s *Spend) Month(ctx context.Context, scope tenant.Scope) (Month, error) {
	if scope.Tenant() == "" {
		return Month{}, tenant.ErrScope
	}
	return s.month(ctx, scope.In(s.Pool), scope.Tenant())
}

// month is Month over any connection that sees the tenant.
func (s *Spend) month(ctx context.Context, db querier, id tenant.ID) (Month, error) {
	var m Month
	var signup time.Time
	var capped, action, currency = (*time.Time)(nil), (*string)(nil), (*string)(nil)
	var amount *int64
	err := db.QueryRow(ctx, `
		select clock_timestamp(), t.created_at, case when l.spend_capped_until > clock_timestamp() then l.spend_capped_until end,
			c.amount, c.currency, c.action
		from tenant t join tenant_live l using (tenant_id) left join spend_cap c using (tenant_id) where t.tenant_id = $1`, id).
		Scan(&m.Now, &signup, &capped, &amount, &currency, &action)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, ErrNotFound
	}
	if err != nil {
		return m, fmt.Errorf("couldn't read the spending of %s: %w", id, err)
	}
	m.CappedUntil, m.DataThrough = capped, m.Now
	if amount != nil {
		m.Cap = &SpendCap{*amount, *currency, CapAction(*action)}
	}
	period, err := s.Ledger.PeriodAt(ctx, db, id, m.Now)
	if err != nil {
		return m, err
	}
	m.From, m.To = period.From, period.To
	rated, err := s.used(ctx, db, id, period, &m)
	if err != nil {
		return m, err
	}
	if m.Bill, err = rating.Rate(rating.Statement{Period: rated}); err != nil {
		return m, fmt.Errorf("couldn't rate the spending of %s: %w", id, err)
	}
	if m.Forecast, err = s.forecast(ctx, db, id, rated, m.Now, signup); err != nil {
		return m, err
	}
	if m.Cap != nil && m.Cap.Currency == m.Bill.Currency {
		m.Percent = rating.Percent(m.Bill.Total, m.Cap.Amount)
	}
	m.Alerts, err = readAlerts(ctx, db, id, m.From)
	return m, err
}

// used reads what was used in the period so far, in the parts that are billed in the
// currency of now: the others are another invoice.
func (s *Spend) used(ctx context.Context, db querier, id tenant.ID, period BillingPeriod, m *Month) (rating.Period, error) {
	timeline, err := s.Plans.Timeline(ctx, db, id)
	if err != nil {
		return rating.Period{}, err
	}
	version := timeline.At(m.Now)
	m.Plan = version.Name
	rated := period.Rated()
	for _, part := range timeline.Parts(period.From, period.To, period.Zone) {
		if part.Version.Currency != version.Currency {
			continue
		}
		if part.From.Before(m.Now) {
			to := part.To
			if m.Now.Before(to) {
				to = m.Now
			}
			if part.Usage, m.DataThrough, err = s.Ledger.Used(ctx, db, id, part.From, to); err != nil {
				return rating.Period{}, err
			}
		}
		rated.Parts = append(rated.Parts, part)
	}
	return rated, nil
}

// forecast rates the period as it will be; nil: that cannot be told yet.
func (s *Spend) forecast(ctx context.Context, db querier, id tenant.ID, rated rating.Period, now, signup time.Time) (*rating.Bill, error) {
	window := min(forecastWindow, now.Sub(signup))
	if window < forecastLeast {
		return nil, nil
	}
	recent, _, err := s.Ledger.Used(ctx, db, id, now.Add(-window), now)
	if err != nil {
		return nil, err
	}
	bill, err := rating.Rate(rating.Statement{Period: rated.Ahead(now, recent, window)})
	if errors.Is(err, rating.ErrTooLarge) || errors.Is(err, rating.ErrStatement) { // beyond what can be counted
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't rate the forecast of %s: %w", id, err)
	}
	return &bill, nil
}

// readAlerts reads what the tenant was told in a period, the newest first.
func readAlerts(ctx context.Context, db querier, id tenant.ID, from time.Time) ([]SpendAlert, error) {
	rows, err := db.Query(ctx, `
		select threshold, cap, amount, currency, told_at from spend_alert where tenant_id = $1 and period_from = $2 order by told_at desc`, id, from)
	if err != nil {
		return nil, fmt.Errorf("couldn't read what %s was told of its spending: %w", id, err)
	}
	alerts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[SpendAlert])
	if err != nil {
		return nil, fmt.Errorf("couldn't read what %s was told of its spending: %w", id, err)
	}
	slices.SortStableFunc(alerts, func(a, b SpendAlert) int { // of one look, as they would have come
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return slices.Index(SpendThresholds(), b.Threshold) - slices.Index(SpendThresholds(), a.Threshold)
	})
	return alerts, nil
}

// until says until when a cap refuses new connections, at what is spent now; nil: it
// does not.
func (m *Month) until(limit *SpendCap) *time.Time {
	if !m.applies(limit) || limit.Action == CapAlert || m.Bill.Total < limit.Amount {
		return nil
	}
	return &m.To
}

// applies reports whether the cap can be compared with what is spent.
func (m *Month) applies(limit *SpendCap) bool {
	return limit != nil && limit.Currency == m.Bill.Currency
}

// reached returns what of a cap has been reached, in order.
func (m *Month) reached(limit *SpendCap) (all []SpendAlert) {
	if !m.applies(limit) {
		return nil
	}
	alert := func(threshold string, amount int64) {
		all = append(all, SpendAlert{Threshold: threshold, Cap: limit.Amount, Amount: amount, Currency: limit.Currency, At: m.Now})
	}
	spent := rating.Percent(m.Bill.Total, limit.Amount)
	for _, percent := range spendPercents {
		if percent == 100 && spent < 100 && m.Forecast != nil && m.Forecast.Total >= limit.Amount {
			alert(ForecastThreshold, m.Forecast.Total)
		}
		if spent >= percent {
			alert(fmt.Sprint(percent), m.Bill.Total)
		}
	}
	return all
}
