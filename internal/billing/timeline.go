package billing

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// A Timeline says by which prices a tenant is billed on each day: which plan it has,
// which version of it is in force then, and with which prices of its own. It is read
// once and then known; its methods are pure.
type Timeline struct {
	zone  *time.Location
	steps []PlanStep // in order of From; the first is from ever
}

// A PlanStep is a time in which a tenant's prices stay the same: from a day on until
// the next step.
type PlanStep struct {
	From     Day             // "": from ever
	Version  *rating.Version // what holds: with Override in it
	Override *Override       // the tenant's own prices; nil: none
}

// Zone returns the tenant's time zone.
func (t *Timeline) Zone() *time.Location { return t.zone }

// Steps returns the steps in order, at least one. They are not the caller's to change.
func (t *Timeline) Steps() []PlanStep { return t.steps }

// At returns the version in force at a moment, by the tenant's clock.
func (t *Timeline) At(at time.Time) *rating.Version { return t.On(DayOf(at.In(t.zone))).Version }

// On returns the step that a day lies in.
func (t *Timeline) On(day Day) PlanStep {
	return t.steps[sort.Search(len(t.steps), func(i int) bool { return t.steps[i].From > day })-1]
}

// Parts cuts from ≤ t < to at the midnights of zone at which another version comes
// into force. The parts adjoin and have no usage yet.
func (t *Timeline) Parts(from, to time.Time, zone *time.Location) []rating.Part {
	var parts []rating.Part
	for _, step := range t.steps {
		start := from
		if step.From != "" {
			start = step.From.Start(zone)
		}
		if n := len(parts); n > 0 && start.Before(to) {
			parts[n-1].To = start
			if !parts[n-1].From.Before(start) { // it was over before from, or its days were skipped
				parts = parts[:n-1]
			}
		}
		if start.Before(from) {
			start = from
		}
		if start.Before(to) {
			parts = append(parts, rating.Part{From: start, To: to, Version: step.Version})
		}
	}
	return parts
}

// readTimeline reads a tenant's plans, in one statement. ErrNotFound: there is no such
// tenant.
func readTimeline(ctx context.Context, db querier, id tenant.ID) (*Timeline, error) {
	fail := func(err error) (*Timeline, error) {
		return nil, fmt.Errorf("couldn't read the plans of %s: %w", id, err)
	}
	rows, err := db.Query(ctx, `
		select t.time_zone, coalesce(mine.from_day::text, ''), p.plan_id, p.name, mine.override, v.number, v.valid_from::text, v.prices
		from tenant t
		cross join lateral (
			select from_day, plan_id, override from tenant_plan where tenant_id = t.tenant_id
			union all
			select null, plan_id, null from plan where is_default
		) mine
		join plan p on p.plan_id = mine.plan_id
		join plan_version v on v.plan_id = p.plan_id
		where t.tenant_id = $1
		order by mine.from_day nulls first, v.valid_from`, id)
	if err != nil {
		return fail(err)
	}
	var (
		r     planRow
		zone  string
		given []givenPlan
	)
	_, err = pgx.ForEachRow(rows, []any{&zone, &r.from, &r.plan, &r.name, &r.override, &r.number, &r.validFrom, &r.prices}, func() (err error) {
		given, err = r.add(given)
		return err
	})
	if err != nil {
		return fail(err)
	}
	if len(given) == 0 {
		return nil, ErrNotFound
	}
	t := &Timeline{}
	if t.zone, err = time.LoadLocation(zone); err != nil {
		return fail(err)
	}
	t.steps = stepsOf(given)
	return t, nil
}

// planRow is a row of readTimeline: one version of a plan that the tenant has.
type planRow struct {
	from, validFrom  Day
	plan, name       string
	number           int
	override, prices []byte
}

// add reads the row's prices and adds them to those of the same plan and day.
func (r *planRow) add(given []givenPlan) ([]givenPlan, error) {
	if n := len(given); n == 0 || given[n-1].from != r.from {
		g := givenPlan{from: r.from}
		if r.override != nil {
			g.override = &Override{}
			if err := json.Unmarshal(r.override, g.override); err != nil {
				return nil, fmt.Errorf("its own prices from %s on: %w", r.from, err)
			}
		}
		given = append(given, g)
	}
	version, err := rating.Parse(r.plan, r.name, r.number, r.prices)
	if err != nil {
		return nil, fmt.Errorf("version %d of the plan %s: %w", r.number, r.plan, err)
	}
	g := &given[len(given)-1]
	g.versions = append(g.versions, PlanStep{From: r.validFrom, Version: g.override.over(version), Override: g.override})
	return given, nil
}

// givenPlan is a plan that a tenant has from a day on, with all its versions in order.
type givenPlan struct {
	from     Day // "": from ever
	override *Override
	versions []PlanStep
}

// stepsOf lays the versions of each plan over the days on which the tenant has it. A
// plan's first version holds from ever.
func stepsOf(given []givenPlan) (steps []PlanStep) {
	for i, g := range given {
		for j, step := range g.versions {
			if j+1 < len(g.versions) && g.versions[j+1].From <= g.from {
				continue // over before the tenant had the plan
			}
			if j == 0 || step.From < g.from {
				step.From = g.from
			}
			if i+1 < len(given) && step.From >= given[i+1].from {
				break
			}
			steps = append(steps, step)
		}
	}
	return steps
}
