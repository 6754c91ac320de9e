package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/hibari/hibari/internal/tenant"
)

// tenantSuspend refuses a tenant's new connections.
func tenantSuspend(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("tenant suspend", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email (required)")
	reason := fs.String("reason", "", "why, for the tenant's members to read (required)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		scope, err := t.find(ctx, *name)
		if err != nil {
			return err
		}
		if err := t.tenants.Suspend(ctx, tenant.CommandLine(), scope.Tenant(), *reason); err != nil {
			return wrongFlag(err)
		}
		return printStatus(io, *asJSON, scope.Tenant(), "suspended", "its clients are refused within two seconds; who is connected stays")
	})
}

// tenantResume lets a suspended tenant's clients in again.
func tenantResume(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("tenant resume", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email (required)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		scope, err := t.find(ctx, *name)
		if err != nil {
			return err
		}
		if err := t.tenants.Resume(ctx, tenant.CommandLine(), scope.Tenant()); err != nil {
			return err
		}
		return printStatus(io, *asJSON, scope.Tenant(), "active", "its clients are let in again")
	})
}

func printStatus(io stdio, asJSON bool, id tenant.ID, status, words string) error {
	if asJSON {
		return printJSON(io.out, map[string]any{"tenant_id": id, "status": status})
	}
	_, err := fmt.Fprintf(io.out, "%s is %s: %s\n", id, status, words)
	return err
}
