package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/hibari/hibari/internal/billing"
)

// licenceQuote prints what a licence costs a year. It needs no database.
func licenceQuote(_ context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("licence quote", flag.ContinueOnError)
	connections := fs.Int("connections", 0, "connections at once (required)")
	discount := fs.String("discount", "", "discounts, with commas between them: company, case")
	asJSON := fs.Bool("json", false, "print one JSON document, in minor units")
	if err := parseFlags(fs, args, io); err != nil {
		return err
	}
	plan := billing.DefaultPlan
	quote, err := plan.Quote(*connections, split(*discount))
	switch {
	case errors.Is(err, billing.ErrSize):
		return fmt.Errorf("%w: --connections: %w", errUsage, err)
	case errors.Is(err, billing.ErrDiscount):
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
		fmt.Fprintf(io.out, "  %-26s %15s\n", what, billing.Money(quote.Currency, amount))
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

// split returns what stands between commas; nothing for "".
func split(list string) (parts []string) {
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// licenceSet changes how many connections a tenant may have.
func licenceSet(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("licence set", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email (required)")
	connections := fs.Int("connections", 0, "connections at once in all (default: as it is)")
	perChannel := fs.Int("per-channel", 0, "connections at once in one channel (default: as it is)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		scope, err := t.find(ctx, *name)
		if err != nil {
			return err
		}
		now, err := t.ledger.Licence(ctx, scope)
		if err != nil {
			return err
		}
		given := map[string]bool{}
		fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["connections"] {
			*connections = now.MaxConnections
		}
		if !given["per-channel"] {
			*perChannel = now.MaxPerChannel
		}
		if err := t.ledger.SetLicence(ctx, scope, *connections, *perChannel); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{
				"tenant_id": scope.Tenant(), "max_connections": *connections, "max_per_channel": *perChannel, "connections": now.Connections,
			})
		}
		fmt.Fprintf(io.out, "%s: %d connections at once, %d in a channel; %d in use now\n", scope.Tenant(), *connections, *perChannel, now.Connections)
		return nil
	})
}
