package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// The bounds of what people call a plan, in bytes.
const (
	maxPlanName        = 100
	maxPlanDescription = 500
)

var planID = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// Create makes a plan, whose first version holds from ever, and returns it. Its
// currency is that of the prices, a rating.Version as JSON. A *tenant.FieldError or a
// rating.Invalid says what is wrong.
func (p *Plans) Create(ctx context.Context, by tenant.Authority, id, name, description string, prices []byte) (Plan, error) {
	name, description = strings.TrimSpace(name), strings.TrimSpace(description)
	switch {
	case by.Actor() == "":
		return Plan{}, tenant.ErrScope
	case !planID.MatchString(id):
		return Plan{}, &tenant.FieldError{Field: "id", Problem: "Give 1 to 40 of a-z, 0-9 and -, the first a letter."}
	case name == "" || name != tenant.Printable(name, maxPlanName):
		return Plan{}, &tenant.FieldError{Field: "name", Problem: fmt.Sprintf("Give it a name of at most %d bytes.", maxPlanName)}
	case description != tenant.Printable(description, maxPlanDescription):
		return Plan{}, &tenant.FieldError{Field: "description", Problem: fmt.Sprintf("At most %d bytes on one line.", maxPlanDescription)}
	}
	v, err := rating.Parse(id, name, 1, prices)
	if err != nil {
		return Plan{}, err
	}
	err = pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		made, err := tx.Exec(ctx, `insert into plan (plan_id, name, description, currency, created_by) values ($1, $2, $3, $4, $5) on conflict do nothing`,
			id, name, description, v.Currency, by.Actor())
		if err != nil {
			return err
		}
		if made.RowsAffected() == 0 {
			return &tenant.FieldError{Field: "id", Problem: "There is a plan with this id."}
		}
		if err := insertVersion(ctx, tx, by, v, "2000-01-01"); err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, "", "plan.created", id, tenant.Diff{"name": {nil, name}, "currency": {nil, v.Currency}})
	})
	if err != nil {
		return Plan{}, errOr(err, "make the plan")
	}
	return p.Get(ctx, by, id)
}

// insertVersion writes a version.
func insertVersion(ctx context.Context, tx pgx.Tx, by tenant.Authority, v *rating.Version, from Day) error {
	prices, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into plan_version (plan_id, number, valid_from, prices, created_by) values ($1, $2, $3, $4, $5)`,
		v.Plan, v.Number, string(from), prices, by.Actor())
	return err
}

// AddVersion gives a plan new prices, a rating.Version as JSON, from a day on that has
// begun nowhere on earth, and returns their number. Tenants have them from their own
// midnight on. A *tenant.FieldError or a rating.Invalid says what is wrong; ErrNotFound.
func (p *Plans) AddVersion(ctx context.Context, by tenant.Authority, id string, from Day, prices []byte) (number int, err error) {
	if by.Actor() == "" {
		return 0, tenant.ErrScope
	}
	err = pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		var name, currency string
		err := tx.QueryRow(ctx, `select name, currency from plan where plan_id = $1 for no key update`, id).Scan(&name, &currency)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		var latest Day
		if err := tx.QueryRow(ctx, `select coalesce(max(number), 0) + 1, `+latestDay+`::text from plan_version where plan_id = $1`, id).Scan(&number, &latest); err != nil {
			return err
		}
		v, err := rating.Parse(id, name, number, prices)
		switch {
		case err != nil:
			return err
		case v.Currency != currency:
			return rating.Invalid{{Field: "currency", Problem: fmt.Sprintf("%s, as in all of the plan's versions; make another plan for %s", currency, v.Currency)}}
		case from <= latest:
			return &tenant.FieldError{Field: "from", Problem: fmt.Sprintf("Choose %s or a later day: the prices of a day that has begun anywhere on earth stay as they are.", latest.Next())}
		}
		if err := insertVersion(ctx, tx, by, v, from); err != nil {
			var wrong *pgconn.PgError
			if errors.As(err, &wrong) && wrong.ConstraintName == "plan_version_plan_id_valid_from_key" {
				return &tenant.FieldError{Field: "from", Problem: "There is a version from this day on. Remove it first, or choose another day."}
			}
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, "", "plan.priced", id, tenant.Diff{"version": {nil, number}, "valid_from": {nil, from}})
	})
	return number, errOr(err, "add the prices")
}

// DropVersion takes back a version that has begun nowhere. ErrNotFound: there is none.
func (p *Plans) DropVersion(ctx context.Context, by tenant.Authority, id string, number int) error {
	if by.Actor() == "" {
		return tenant.ErrScope
	}
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		var from Day
		err := tx.QueryRow(ctx, `delete from plan_version where plan_id = $1 and number = $2 and valid_from > `+latestDay+` and number > 1 returning valid_from::text`, id, number).Scan(&from)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, "", "plan.price_dropped", id, tenant.Diff{"version": {number, nil}, "valid_from": {from, nil}})
	})
	return errOr(err, "take back the prices")
}

// Assign gives a tenant a plan from a day on, with prices of its own or none (nil), and
// returns the day. That is today at the earliest, and tomorrow if anything was used
// since midnight, by the tenant's clock; "" takes the earliest. What was given from a
// later day on stays. A *tenant.FieldError or a rating.Invalid (of the override) says
// what is wrong; ErrNotFound: there is no such tenant.
func (p *Plans) Assign(ctx context.Context, by tenant.Authority, id tenant.ID, plan string, from Day, override *Override) (Day, error) {
	to, err := p.Get(ctx, by, plan)
	if errors.Is(err, ErrNotFound) {
		return "", &tenant.FieldError{Field: "plan", Problem: "There is no such plan."}
	}
	if err != nil {
		return "", err
	}
	for _, v := range to.Versions {
		if err := override.over(v.Prices).Validate(); err != nil {
			return "", err
		}
	}
	err = pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		before, earliest, err := lockPlans(ctx, tx, id)
		if err != nil {
			return err
		}
		if from == "" {
			from = earliest
		}
		if from < earliest {
			return &tenant.FieldError{Field: "from", Problem: fmt.Sprintf("Choose %s or a later day: what was used before is billed by the plan of that time.", earliest)}
		}
		_, err = tx.Exec(ctx, `
			insert into tenant_plan (tenant_id, from_day, plan_id, override, created_by) values ($1, $2, $3, $4, $5)
			on conflict (tenant_id, from_day) do update set plan_id = excluded.plan_id, override = excluded.override,
				created_at = clock_timestamp(), created_by = excluded.created_by`,
			id, string(from), plan, override, by.Actor())
		if err != nil {
			return err
		}
		had := before.On(from)
		return tenant.AuditOperator(ctx, tx, by, id, "plan.assigned", plan, tenant.Diff{
			"plan": {had.Version.Plan, plan}, "from": {nil, from}, "override": {had.Override, override},
		})
	})
	return from, errOr(err, "give the plan to "+string(id))
}

// Withdraw takes back a plan that was given to a tenant from a day on that has not come
// yet, by its clock. ErrNotFound: there is none.
func (p *Plans) Withdraw(ctx context.Context, by tenant.Authority, id tenant.ID, from Day) error {
	if by.Actor() == "" {
		return tenant.ErrScope
	}
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		_, earliest, err := lockPlans(ctx, tx, id)
		if err != nil {
			return err
		}
		if from < earliest {
			return ErrNotFound
		}
		var plan string
		err = tx.QueryRow(ctx, `delete from tenant_plan where tenant_id = $1 and from_day = $2 returning plan_id`, id, string(from)).Scan(&plan)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, id, "plan.withdrawn", plan, tenant.Diff{"from": {from, nil}})
	})
	return errOr(err, "take back the plan of "+string(id))
}

// lockPlans takes the tenant's billing, so that nothing is rolled up or closed by the
// plan meanwhile, and returns its plans as they are and the first day whose plan may
// still change: today if nothing was used since its midnight.
func lockPlans(ctx context.Context, tx pgx.Tx, id tenant.ID) (t *Timeline, earliest Day, err error) {
	now, err := lockBilling(ctx, tx, id)
	if err != nil {
		return nil, "", err
	}
	if t, err = readTimeline(ctx, tx, id); err != nil {
		return nil, "", err
	}
	today := DayOf(now.In(t.zone))
	var used bool
	err = tx.QueryRow(ctx, `
		select exists (select from connection where tenant_id = $1 and connected_at is not null and (ended_at is null or ended_at >= $2 or connected_at >= $2))`,
		id, today.Start(t.zone)).Scan(&used)
	if err != nil {
		return nil, "", err
	}
	if used {
		return t, today.Next(), nil
	}
	return t, today, nil
}
