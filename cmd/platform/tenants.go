package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// tenantCreate makes a tenant with its owner and first keys.
func tenantCreate(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("tenant create", flag.ContinueOnError)
	name := fs.String("name", "", "organization (required)")
	email := fs.String("email", "", "the owner's email (required)")
	fromStdin := fs.Bool("password-stdin", false, "read the owner's password from standard input (default: make one and print it)")
	licence := fs.Int("licence", 300, "connections at once")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		password, made := rand.Text(), true
		if *fromStdin {
			var err error
			if password, err = readPassword(io.in); err != nil {
				return err
			}
			made = false
		}
		created, err := t.tenants.CreateTenant(ctx, tenant.NewTenant{Name: *name, Email: *email, Password: password, Licence: *licence, By: tenant.CommandLine()})
		if err != nil {
			return wrongFlag(err)
		}
		if *asJSON {
			doc := struct {
				tenant.Created
				Password string `json:"password,omitempty"`
			}{Created: created}
			if made {
				doc.Password = password
			}
			return printJSON(io.out, doc)
		}
		fmt.Fprintf(io.out, "tenant        %s\nemail         %s\n", created.Tenant, created.Email)
		if made {
			fmt.Fprintf(io.out, "password      %s\n", password)
		}
		fmt.Fprintf(io.out, "API key       %s\nsigning key   %s\nsigning kid   %s\n\nThese secrets are shown only now.\n",
			created.APIKey, created.SigningKey, created.SigningKeyID)
		return nil
	})
}

// wrongFlag makes a wrong field the fault of the flag of its name; other errors
// stay as they are.
func wrongFlag(err error) error {
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return fmt.Errorf("%w: --%s: %s", errUsage, strings.ReplaceAll(field.Field, "_", "-"), field.Problem)
	}
	return err
}

// tenantList prints every tenant.
func tenantList(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("tenant list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		all, err := t.tenants.Tenants(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"items": all})
		}
		if len(all) == 0 {
			fmt.Fprintln(io.out, "No tenants yet. Make one with: platform tenant create --name N --email E")
			return nil
		}
		w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TENANT\tNAME\tSTATUS\tCREATED")
		for _, one := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", one.ID, one.Name, one.Status, one.CreatedAt.Format(time.RFC3339))
		}
		return w.Flush()
	})
}

// operatorCreate makes an operator login.
func operatorCreate(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("operator create", flag.ContinueOnError)
	email := fs.String("email", "", "the operator's email (required)")
	fromStdin := fs.Bool("password-stdin", false, "read the password from standard input (required)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		if !*fromStdin {
			return fmt.Errorf("%w: give --password-stdin and the password on standard input", errUsage)
		}
		password, err := readPassword(io.in)
		if err != nil {
			return err
		}
		err = t.tenants.CreateOperator(ctx, *email, password)
		if err != nil {
			return wrongFlag(err)
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"email": *email})
		}
		fmt.Fprintf(io.out, "operator %s created\n", *email)
		return nil
	})
}

// tokenCreate prints an access token, signed with the tenant's newest key.
func tokenCreate(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("token", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email (required)")
	channel := fs.String("channel", "", "channel, or a prefix ending in * (required)")
	role := fs.String("role", "", "sendonly, recvonly or sendrecv (default: any)")
	ttl := fs.Duration("ttl", 10*time.Minute, "how long the token may be used to connect")
	clientID := fs.String("client-id", "", "client id of the connection")
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		scope, err := t.find(ctx, *name)
		if err != nil {
			return err
		}
		request := tenant.TokenRequest{Channel: *channel, ClientID: *clientID, TTL: *ttl}
		if *role != "" {
			request.Roles = []string{*role}
		}
		signed, err := t.tenants.SignToken(ctx, scope, request)
		if err != nil {
			return wrongFlag(err)
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"token": signed, "expires_at": time.Now().Add(*ttl).UTC().Format(time.RFC3339)})
		}
		fmt.Fprintln(io.out, signed)
		return nil
	})
}
