package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// tools is what the operator's commands work with: the stores without media
// or HTTP, on the same database as the server.
type tools struct {
	config  *config
	log     *slog.Logger
	db      *database
	tenants *tenant.Store
	ledger  *billing.Ledger
	plans   *billing.Plans
}

// withTools reads the settings and the command's own flags from args and runs
// f with the stores.
func withTools(ctx context.Context, fs *flag.FlagSet, args []string, io stdio, f func(*tools) error) error {
	c, err := readConfig(fs, args, os.Getenv, io)
	if err != nil {
		return err
	}
	return c.withTools(ctx, io, f)
}

// withTools opens the stores, runs f and closes everything.
func (c *config) withTools(ctx context.Context, io stdio, f func(*tools) error) (err error) {
	log := slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: max(c.logLevel, slog.LevelWarn)}))
	dir, err := openDataDir(c.dataDir)
	if err != nil {
		return err
	}
	key := c.masterKey
	if key == nil {
		if key, err = dir.masterKey(); err != nil {
			return err
		}
	}
	t := &tools{config: c, log: log}
	if t.db, err = openDatabase(ctx, c, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.db.Close()) }()
	if t.tenants, err = tenant.NewStore(t.db.Pool, key, log); err != nil {
		return err
	}
	hooks := webhooks.New(t.db.Pool, t.tenants, c.hooks(log))
	t.ledger = billing.NewLedger(t.db.Pool, hooks.Queue, log)
	t.plans = billing.NewPlans(t.db.Pool)
	return f(t)
}

// find returns the scope of the tenant that an operator named by id, name or
// a member's e-mail address.
func (t *tools) find(ctx context.Context, name string) (tenant.Scope, error) {
	if name == "" {
		return tenant.Scope{}, fmt.Errorf("%w: --tenant is missing: give a tenant's id, name or a member's email", errUsage)
	}
	found, err := t.tenants.FindTenant(ctx, name)
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.Scope{}, fmt.Errorf("no tenant %q; see platform tenant list", name)
	}
	if err != nil {
		return tenant.Scope{}, err
	}
	return tenant.OperatorScope(found.ID), nil
}

// readPassword reads one line from standard input.
func readPassword(in io.Reader) (string, error) {
	line, err := bufio.NewReader(in).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return "", fmt.Errorf("couldn't read the password from standard input: %w", err)
	}
	return line, nil
}

// printJSON prints one JSON document.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
