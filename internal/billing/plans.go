package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Plans are the plans that are sold and who has which. A plan has versions, each with
// its prices from a day on; a tenant has one plan after the other, and before the first
// that was given to it the default one. Days are those of the tenant's own calendar.
// What has begun is never changed, so that what was billed can be computed again.
// Methods may be called from any goroutine.
type Plans struct {
	pool *pgxpool.Pool // Static
}

// NewPlans returns the plans in the database behind pool.
func NewPlans(pool *pgxpool.Pool) *Plans { return &Plans{pool} }

// A Plan is something to be had, with its prices through time.
type Plan struct {
	ID          string        `json:"plan_id"`
	Name        string        `json:"name"`
	Description string        `json:"description"`
	Currency    string        `json:"currency"` // ISO 4217; of all its versions
	Default     bool          `json:"default"`  // of tenants that no plan was given to
	Tenants     int           `json:"tenants"`  // that have it today, by UTC
	Versions    []PlanVersion `json:"versions"` // the newest first, at least one
	CreatedAt   time.Time     `json:"created_at"`
	CreatedBy   string        `json:"created_by"`
}

// A PlanVersion is the prices of a plan from a day on.
type PlanVersion struct {
	Number    int             `json:"number"`
	From      Day             `json:"valid_from"`
	Begun     bool            `json:"begun"` // somewhere on earth: it is not changed any more
	Prices    *rating.Version `json:"prices"`
	CreatedAt time.Time       `json:"created_at"`
	CreatedBy string          `json:"created_by"`
}

// On returns the version that is in force on a day. A plan's first version holds from
// ever.
func (p *Plan) On(day Day) PlanVersion {
	for _, v := range p.Versions {
		if v.From <= day {
			return v
		}
	}
	return p.Versions[len(p.Versions)-1]
}

// Timeline reads by which prices a tenant is billed on each day. db is a pool, a
// transaction, or a tenant's own view. ErrNotFound: there is no such tenant.
func (p *Plans) Timeline(ctx context.Context, db querier, id tenant.ID) (*Timeline, error) {
	return readTimeline(ctx, db, id)
}

// At reads which version a tenant is billed by at a moment.
func (p *Plans) At(ctx context.Context, db querier, id tenant.ID, at time.Time) (*rating.Version, error) {
	t, err := readTimeline(ctx, db, id)
	if err != nil {
		return nil, err
	}
	return t.At(at), nil
}

// Parts reads how from ≤ t < to is cut where another version comes into force, at the
// midnights of zone. The parts have no usage yet.
func (p *Plans) Parts(ctx context.Context, db querier, id tenant.ID, from, to time.Time, zone *time.Location) ([]rating.Part, error) {
	t, err := readTimeline(ctx, db, id)
	if err != nil {
		return nil, err
	}
	return t.Parts(from, to, zone), nil
}

// Mine reads the same as Timeline for the tenant itself.
func (p *Plans) Mine(ctx context.Context, scope tenant.Scope) (*Timeline, error) {
	if scope.Tenant() == "" {
		return nil, tenant.ErrScope
	}
	return readTimeline(ctx, scope.In(p.pool), scope.Tenant())
}

// List returns all plans, the default one first, then by name.
func (p *Plans) List(ctx context.Context, by tenant.Authority) ([]Plan, error) {
	return p.read(ctx, by, "")
}

// Get returns a plan; ErrNotFound.
func (p *Plans) Get(ctx context.Context, by tenant.Authority, id string) (Plan, error) {
	if id == "" {
		return Plan{}, ErrNotFound
	}
	all, err := p.read(ctx, by, id)
	if err != nil {
		return Plan{}, err
	}
	if len(all) == 0 {
		return Plan{}, ErrNotFound
	}
	return all[0], nil
}

// read reads all plans, or one.
func (p *Plans) read(ctx context.Context, by tenant.Authority, id string) ([]Plan, error) {
	if by.Actor() == "" {
		return nil, tenant.ErrScope
	}
	rows, err := p.pool.Query(ctx, `
		with now as (select (clock_timestamp() at time zone 'UTC')::date as today), had as (
			select coalesce(t.plan_id, d.plan_id) as plan_id, count(*) as tenants
			from tenant cross join now
			left join lateral (
				select plan_id from tenant_plan where tenant_plan.tenant_id = tenant.tenant_id and from_day <= today order by from_day desc limit 1
			) t on true
			left join plan d on d.is_default
			group by 1
		)
		select p.plan_id, p.name, p.description, p.currency, p.is_default, coalesce(had.tenants, 0), p.created_at, p.created_by,
			v.number, v.valid_from::text, v.valid_from <= `+latestDay+`, v.prices, v.created_at, v.created_by
		from plan p join plan_version v on v.plan_id = p.plan_id left join had on had.plan_id = p.plan_id
		where $1 = '' or p.plan_id = $1
		order by p.is_default desc, p.name, p.plan_id, v.valid_from desc`, id)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the plans: %w", err)
	}
	var (
		all    []Plan
		one    Plan
		v      PlanVersion
		prices []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&one.ID, &one.Name, &one.Description, &one.Currency, &one.Default, &one.Tenants, &one.CreatedAt, &one.CreatedBy,
		&v.Number, &v.From, &v.Begun, &prices, &v.CreatedAt, &v.CreatedBy}, func() (err error) {
		if n := len(all); n == 0 || all[n-1].ID != one.ID {
			all = append(all, one)
		}
		if v.Prices, err = rating.Parse(one.ID, one.Name, v.Number, prices); err != nil {
			return fmt.Errorf("version %d of %s: %w", v.Number, one.ID, err)
		}
		last := &all[len(all)-1]
		last.Versions = append(last.Versions, v)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the plans: %w", err)
	}
	return all, nil
}

// latestDay is the date where a day begins first on earth, in SQL: what is valid from a
// later one has begun nowhere. The triggers of plan_version say the same.
const latestDay = `(clock_timestamp() at time zone 'UTC' + interval '14 hours')::date`

// GivenPlan is a plan that was given to a tenant.
type GivenPlan struct {
	From      Day       `json:"from"` // until the next one's
	Plan      string    `json:"plan_id"`
	Name      string    `json:"name"`
	Override  *Override `json:"override,omitempty"`
	Begun     bool      `json:"begun"` // by the tenant's clock
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

// Given returns what plans were given to a tenant, the newest first. Before the oldest
// it has the default plan.
func (p *Plans) Given(ctx context.Context, scope tenant.Scope) ([]GivenPlan, error) {
	rows, err := scope.In(p.pool).Query(ctx, `
		select g.from_day::text, g.plan_id, p.name, g.override, g.from_day <= (clock_timestamp() at time zone t.time_zone)::date, g.created_at, g.created_by
		from tenant_plan g join plan p on p.plan_id = g.plan_id join tenant t on t.tenant_id = g.tenant_id
		where g.tenant_id = $1 order by g.from_day desc`, scope.Tenant())
	if err != nil {
		return nil, fmt.Errorf("couldn't read the plans of %s: %w", scope.Tenant(), err)
	}
	given, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g GivenPlan, err error) {
		return g, row.Scan(&g.From, &g.Plan, &g.Name, &g.Override, &g.Begun, &g.CreatedAt, &g.CreatedBy)
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the plans of %s: %w", scope.Tenant(), err)
	}
	return given, nil
}

// errOr returns err as it is if it says what a person did wrong, else with what failed.
func errOr(err error, what string) error {
	var field *tenant.FieldError
	var prices rating.Invalid
	if err == nil || errors.As(err, &field) || errors.As(err, &prices) || errors.Is(err, ErrNotFound) || errors.Is(err, tenant.ErrScope) {
		return err
	}
	return fmt.Errorf("couldn't %s: %w", what, err)
}
