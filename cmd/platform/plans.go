package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// plan returns the plan that an operator named.
func (t *tools) plan(ctx context.Context, id string) (billing.Plan, error) {
	p, err := t.plans.Get(ctx, tenant.CommandLine(), id)
	if errors.Is(err, tenant.ErrNotFound) {
		return p, fmt.Errorf("%w: no plan %q; see platform plan list", errUsage, id)
	}
	return p, err
}

// planList prints the plans.
func planList(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("plan list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		plans, err := t.plans.List(ctx, tenant.CommandLine())
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"plans": plans})
		}
		w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "PLAN\tNAME\tCURRENCY\tVERSION\tFROM\tTENANTS")
		for _, p := range plans {
			now := p.On(billing.DayOf(time.Now().UTC()))
			id := p.ID
			if p.Default {
				id += " (default)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%d\n", id, p.Name, p.Currency, now.Number, now.From, p.Tenants)
		}
		return w.Flush()
	})
}

// planShow prints a plan's prices through time, or by which a tenant is billed.
func planShow(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("plan show", flag.ContinueOnError)
	id := fs.String("plan", "", "a plan's id; see platform plan list")
	name := fs.String("tenant", "", "or a tenant's id, name or a member's email: which plans it has when, with its own prices")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		if *name == "" {
			p, err := t.plan(ctx, *id)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(io.out, p)
			}
			fmt.Fprintf(io.out, "%s (%s): %s\n", p.Name, p.ID, p.Description)
			for _, v := range p.Versions {
				printPrices(io, v.From, v.Prices)
			}
			return nil
		}
		scope, err := t.find(ctx, *name)
		if err != nil {
			return err
		}
		timeline, err := t.plans.Mine(ctx, scope)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"tenant_id": scope.Tenant(), "time_zone": timeline.Zone().String(), "plans": stepRows(timeline)})
		}
		fmt.Fprintf(io.out, "%s, by days of %s\n", scope.Tenant(), timeline.Zone())
		for _, step := range timeline.Steps() {
			printPrices(io, step.From, step.Version)
		}
		return nil
	})
}

// stepRow is a time of equal prices in JSON.
type stepRow struct {
	From     billing.Day       `json:"from"` // "": from ever
	Plan     string            `json:"plan_id"`
	Version  int               `json:"version"`
	Override *billing.Override `json:"override,omitempty"`
	Prices   *rating.Version   `json:"prices"`
}

func stepRows(t *billing.Timeline) (rows []stepRow) {
	for _, s := range t.Steps() {
		rows = append(rows, stepRow{s.From, s.Version.Plan, s.Version.Number, s.Override, s.Version})
	}
	return rows
}

// printPrices prints a version as people read it.
func printPrices(io stdio, from billing.Day, v *rating.Version) {
	if from == "" {
		from = "the beginning"
	}
	fmt.Fprintf(io.out, "\nfrom %s: %s, version %d, in %s\n", from, v.Plan, v.Number, v.Currency)
	for _, p := range v.Prices() {
		fmt.Fprintf(io.out, "  %-24s %s\n", p.Name, p.Text)
	}
}

// planSet gives a tenant a plan.
func planSet(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("plan set", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email (required)")
	id := fs.String("plan", "", "a plan's id (required); see platform plan list")
	from := fs.String("from", "", "the first day, as 2027-04-01 (default: today, or tomorrow if anything was used today)")
	file := fs.String("override", "", "a file with prices of the tenant's own, as JSON; see docs/plans.md (default: none)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		scope, err := t.find(ctx, *name)
		if err != nil {
			return err
		}
		var day billing.Day
		if *from != "" {
			if day, err = billing.ParseDay(*from); err != nil {
				return fmt.Errorf("%w: --from: %w", errUsage, err)
			}
		}
		var own *billing.Override
		if *file != "" {
			text, err := os.ReadFile(*file)
			if err != nil {
				return fmt.Errorf("%w: --override: %w", errUsage, err)
			}
			if own, err = billing.ParseOverride(text); err != nil {
				return fmt.Errorf("%w: --override: %w", errUsage, err)
			}
		}
		if day, err = t.plans.Assign(ctx, tenant.CommandLine(), scope.Tenant(), *id, day, own); err != nil {
			return wrongPlan(err)
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"tenant_id": scope.Tenant(), "plan_id": *id, "from": day})
		}
		fmt.Fprintf(io.out, "%s has the plan %s from %s on\n", scope.Tenant(), *id, day)
		return nil
	})
}

// planPrice gives a plan new prices, or makes one.
func planPrice(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("plan price", flag.ContinueOnError)
	id := fs.String("plan", "", "a plan's id (required); with --name a new one")
	name := fs.String("name", "", "make a new plan of this name, whose first prices hold from ever")
	about := fs.String("description", "", "of a new plan")
	from := fs.String("from", "", "the first day of the new prices, as 2027-04-01 (required for a plan that there is)")
	file := fs.String("prices", "", "a file with the prices as JSON (required); see docs/plans.md")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		prices, err := os.ReadFile(*file)
		if err != nil {
			return fmt.Errorf("%w: --prices: %w", errUsage, err)
		}
		number := 1
		if *name != "" {
			_, err = t.plans.Create(ctx, tenant.CommandLine(), *id, *name, *about, prices)
		} else {
			var day billing.Day
			if day, err = billing.ParseDay(*from); err != nil {
				return fmt.Errorf("%w: --from: %w", errUsage, err)
			}
			if _, err = t.plan(ctx, *id); err == nil {
				number, err = t.plans.AddVersion(ctx, tenant.CommandLine(), *id, day, prices)
			}
		}
		if err != nil {
			return wrongPlan(err)
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"plan_id": *id, "version": number})
		}
		fmt.Fprintf(io.out, "%s has a version %d\n", *id, number)
		return nil
	})
}

// wrongPlan says of which flag a problem is.
func wrongPlan(err error) error {
	var prices rating.Invalid
	if errors.As(err, &prices) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return wrongFlag(err)
}
