package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// licenceQuote prints what a licence costs a year: by the price list that Hibari comes
// with, for which it needs no database, or by a plan or a tenant's own prices.
func licenceQuote(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("licence quote", flag.ContinueOnError)
	connections := fs.Int("connections", 0, "connections at once (required)")
	discount := fs.String("discount", "", "discounts, with commas between them: company, case")
	asJSON := fs.Bool("json", false, "print one JSON document, in minor units")
	of := fs.String("tenant", "", "by this tenant's prices of today: its id, name or a member's email (default: the price list Hibari comes with)")
	by := fs.String("plan", "", "by this plan's prices of today; see platform plan list")
	c, err := readConfig(fs, args, os.Getenv, io)
	if err != nil {
		return err
	}
	plan := rating.Standard().Licence
	if *of != "" || *by != "" {
		err = c.withTools(ctx, io, func(t *tools) (err error) {
			plan, err = t.licencesOf(ctx, *of, *by)
			return err
		})
	}
	switch {
	case err != nil:
		return err
	case plan == nil:
		return fmt.Errorf("%w: this plan has no licences", errUsage)
	}
	quote, err := plan.Quote(*connections, split(*discount))
	switch {
	case errors.Is(err, rating.ErrSize):
		return fmt.Errorf("%w: --connections: %w", errUsage, err)
	case errors.Is(err, rating.ErrDiscount):
		return fmt.Errorf("%w: --discount: %w", errUsage, err)
	case err != nil:
		return err
	}
	size, err := plan.Size(*connections)
	if err != nil {
		return err
	}
	if *asJSON {
		if size != *connections {
			fmt.Fprintf(io.err, "platform: %d connections take a licence for %d, and this is its price\n", *connections, size)
		}
		return printJSON(io.out, quote)
	}
	line := func(what string, amount int64) {
		fmt.Fprintf(io.out, "  %-26s %15s\n", what, rating.Money(quote.Currency, amount))
	}
	fmt.Fprintf(io.out, "A licence for %d connections, a year:\n", size)
	line(fmt.Sprintf("base, %d connections", plan.BaseConnections), quote.Base)
	if quote.Discount > 0 {
		line("discount on the base", -quote.Discount)
	}
	if packs := plan.Packs(size); packs > 0 {
		line(fmt.Sprintf("%d × %d more connections", packs, plan.PackConnections), quote.Packs)
	}
	line("subtotal", quote.Subtotal)
	line(fmt.Sprintf("tax, %d %%", plan.TaxPercent), quote.Tax)
	line("total", quote.Total)
	return nil
}

// licencesOf returns the licences that a tenant's plan, or a plan, has today; nil: none.
func (t *tools) licencesOf(ctx context.Context, name, plan string) (*rating.Licence, error) {
	if name == "" {
		p, err := t.plan(ctx, plan)
		if err != nil {
			return nil, err
		}
		return p.On(billing.DayOf(time.Now().UTC())).Prices.Licence, nil
	}
	scope, err := t.find(ctx, name)
	if err != nil {
		return nil, err
	}
	state, err := t.ledger.LicenceState(ctx, scope)
	if err != nil {
		return nil, err
	}
	return state.PriceList(), nil
}

// split returns what stands between commas; nothing for "".
func split(list string) (parts []string) {
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// licenceSet changes what a tenant may have, at once. With --connections that is
// a custom licence, whatever there was.
func licenceSet(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("licence set", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email (required)")
	connections := fs.Int("connections", 0, "connections at once in all (default: the licence as it is)")
	perChannel := fs.Int("per-channel", 0, "connections at once in one channel (default: as it is)")
	discount := fs.String("discount", "", "discounts for what the tenant takes by the plan, with commas: company, case (default: as they are)")
	until := fs.String("until", "", "when the licence ends, as 2027-03-31T15:00:00Z (default: it stands)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		scope, err := t.find(ctx, *name)
		if err != nil {
			return err
		}
		var grant billing.LicenceGrant
		fs.Visit(func(f *flag.Flag) {
			switch f.Name {
			case "connections":
				grant.Connections = connections
			case "per-channel":
				grant.PerChannel = perChannel
			case "discount":
				names := split(*discount)
				grant.Discounts = &names
			}
		})
		if *until != "" {
			if grant.Until, err = time.Parse(time.RFC3339, *until); err != nil {
				return fmt.Errorf("%w: --until: want a time such as 2027-03-31T15:00:00Z", errUsage)
			}
		}
		if grant != (billing.LicenceGrant{}) {
			if _, err := t.ledger.GrantLicence(ctx, scope, grant); err != nil {
				return wrongFlag(err)
			}
		}
		now, err := t.ledger.Licence(ctx, scope)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{
				"tenant_id": scope.Tenant(), "max_connections": now.MaxConnections, "max_per_channel": now.MaxPerChannel, "connections": now.Connections,
			})
		}
		fmt.Fprintf(io.out, "%s: %d connections at once, %d in a channel; %d in use now\n", scope.Tenant(), now.MaxConnections, now.MaxPerChannel, now.Connections)
		return nil
	})
}

// licenceShow prints a tenant's licences, the newest first.
func licenceShow(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("licence show", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email (required)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		scope, err := t.find(ctx, *name)
		if err != nil {
			return err
		}
		state, err := t.ledger.LicenceState(ctx, scope)
		if err != nil {
			return err
		}
		history, err := t.ledger.LicenceHistory(ctx, scope, time.Time{}, licencesShown)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(io.out, struct {
				Tenant tenant.ID `json:"tenant_id"`
				billing.LicenceState
				History []billing.LicenceTerm `json:"history"`
			}{scope.Tenant(), state, history})
		}
		fmt.Fprintf(io.out, "%s: %d of %d connections in use, at most %d in a channel\n\n", scope.Tenant(), state.Connections, state.MaxConnections, state.MaxPerChannel)
		w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "FROM\tTO\tKIND\tCONNECTIONS\tPER CHANNEL\tDISCOUNTS\tA YEAR")
		for _, term := range history {
			to, price := "", ""
			if term.To != nil {
				to = term.To.UTC().Format(time.RFC3339)
			} else if term.PeriodTo != nil {
				to = "renewed " + term.PeriodTo.UTC().Format(time.RFC3339)
			}
			if term.Price != nil {
				price = rating.Money(term.Price.Year.Currency, term.Price.Year.Total)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", term.From.UTC().Format(time.RFC3339), to, term.Kind, term.Connections, term.PerChannel,
				strings.Join(term.Discounts, ","), price)
		}
		return w.Flush()
	})
}

// licencesShown bounds what licence show reads.
const licencesShown = 1000
