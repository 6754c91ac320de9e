package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations"
)

// finding is one thing the doctor looked at.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what was seen and, when not OK, what to do
	// Advice is what would make it better though it works.
	Advice string `json:"advice,omitempty"`
	// Data is what was seen, for programs; of few checks.
	Data any `json:"data,omitempty"`
}

// doctor checks what the platform needs and says what to do about the rest.
// It fails when any check does; advice is no failure.
func doctor(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("doctor", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print one JSON document")
	var findings []finding
	add := func(check string, err error, detail string) {
		if err != nil {
			detail = err.Error()
		}
		findings = append(findings, finding{Check: check, OK: err == nil, Detail: detail})
	}
	err := withTools(ctx, fs, args, io, func(t *tools) error {
		add("settings", nil, "all readable; public URL "+t.config.publicURL.String())
		detail, err := databaseVersion(ctx, t.db.Pool)
		add("database", err, detail)
		detail, err = checkRoles(ctx, t.db.Pool)
		add("roles", err, detail)
		detail, err = checkClock(ctx, t.db.Pool)
		add("clock", err, detail)
		detail, err = checkSecrets(ctx, t.tenants)
		add("secrets", err, detail)
		detail, err = checkPlaces(ctx, t.ledger)
		add("places", err, detail)
		detail, err = checkUsage(ctx, t.ledger)
		add("usage", err, detail)
		detail, advice, err := checkInvoices(ctx, t.db.Pool, t.ledger)
		add("invoices", err, detail)
		findings[len(findings)-1].Advice = advice
		states, err := migrations.PartitionStates(ctx, t.db.Pool)
		if err == nil {
			detail, err = checkPartitions(states, time.Now())
		}
		add("partitions", err, detail)
		nodes, err := cluster.List(ctx, t.db.Pool)
		if err == nil {
			detail, err = checkNodes(nodes, time.Now())
		}
		add("nodes", err, detail)
		detail, err = checkHTTP(ctx, t.config)
		add("http", err, detail)
		detail, err = checkMedia(t.config)
		add("media", err, detail)
		findings = append(findings, checkWire(t.config)...)
		return nil
	})
	if errors.Is(err, errUsage) || errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		add("start", err, "")
	}
	bad := 0
	for _, f := range findings {
		if !f.OK {
			bad++
		}
	}
	if *asJSON {
		err = printJSON(io.out, map[string]any{"ok": bad == 0, "checks": findings})
	} else {
		for _, f := range findings {
			mark, detail := "ok  ", f.Detail
			switch {
			case !f.OK:
				mark = "FAIL"
			case f.Advice != "":
				mark, detail = "note", detail+"; "+f.Advice
			}
			fmt.Fprintf(io.out, "%s  %-10s %s\n", mark, f.Check, detail)
		}
	}
	if bad > 0 {
		return errors.Join(err, fmt.Errorf("%d of %d checks failed", bad, len(findings)))
	}
	return err
}

// databaseVersion says which Postgres it is; that it answers was proven by
// the migrations.
func databaseVersion(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var version string
	if err := pool.QueryRow(ctx, "show server_version").Scan(&version); err != nil {
		return "", err
	}
	return "Postgres " + version + ", migrated", nil
}

// checkRoles finds out whether Postgres keeps tenants apart: the two roles must
// have no way round row level security, and their tables no hole in it.
func checkRoles(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var me string
	var powerful, owned, open []string
	if err := pool.QueryRow(ctx, `
		select current_user,
			array(select rolname::text from pg_roles where rolname in ('hibari_worker', 'hibari_request')
				and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication) order by 1),
			array(select relname::text from pg_class where relnamespace = 'public'::regnamespace
				and relowner::regrole::text in ('hibari_worker', 'hibari_request') order by 1),
			array(select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
				where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity) order by 1)`).
		Scan(&me, &powerful, &owned, &open); err != nil {
		return "", err
	}
	switch {
	case me != tenant.WorkerRole:
		return "", fmt.Errorf("the platform works as the Postgres role %s, not as %s; does something between it and Postgres change roles?", me, tenant.WorkerRole)
	case len(powerful) > 0:
		return "", fmt.Errorf("the Postgres roles %s have rights that pass row level security by; run alter role … nosuperuser nobypassrls nocreaterole nocreatedb noreplication", strings.Join(powerful, ", "))
	case len(owned) > 0:
		return "", fmt.Errorf("the tables %s belong to a role that only works on them; run alter table … owner to the role of HIBARI_DATABASE_URL", strings.Join(owned, ", "))
	case len(open) > 0:
		return "", fmt.Errorf("the tables %s have rows of tenants and no forced row level security; restore the schema, or migrate anew", strings.Join(open, ", "))
	}
	return "works as " + me + "; row level security is forced on every table with rows of tenants", nil
}

// The widest gap between our clock and the database's that tokens' times bear.
const clockLimit = 5 * time.Second

func checkClock(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var theirs time.Time
	before := time.Now()
	if err := pool.QueryRow(ctx, "select clock_timestamp()").Scan(&theirs); err != nil {
		return "", err
	}
	skew := theirs.Sub(before.Add(time.Since(before) / 2))
	if skew.Abs() > clockLimit {
		return "", fmt.Errorf("%s away from the database's; run NTP on both machines", skew.Round(time.Second))
	}
	return "within " + skew.Abs().Round(time.Millisecond).String() + " of the database's", nil
}

// checkSecrets finds out whether this is the master key that the tenants'
// secrets were sealed with.
func checkSecrets(ctx context.Context, tenants *tenant.Store) (string, error) {
	keys, unusable, err := tenants.CheckSecrets(ctx)
	if err != nil {
		return "", err
	}
	if unusable > 0 {
		return "", fmt.Errorf("%d of %d signing keys were sealed with another master key; "+
			"set HIBARI_MASTER_KEY, or restore master.key in the data directory, as it was when they were made", unusable, keys)
	}
	return fmt.Sprintf("the master key opens all of %d signing keys", keys), nil
}

// checkPlaces recounts the licence places that are taken.
func checkPlaces(ctx context.Context, ledger *billing.Ledger) (string, error) {
	drifts, err := ledger.Recount(ctx)
	if err != nil {
		return "", err
	}
	if len(drifts) > 0 {
		d := drifts[0]
		return "", fmt.Errorf("%d counts of licence places are wrong, the first of tenant %s, channel %q: it says %d, and there are %d; "+
			"this is a bug, please report it", len(drifts), d.Tenant, d.Channel, d.Counted, d.Places)
	}
	return "every count of licence places is right", nil
}

// checkUsage adds up all connections, and what is rolled up of them.
func checkUsage(ctx context.Context, ledger *billing.Ledger) (string, error) {
	drifts, err := ledger.Reconcile(ctx)
	if err != nil {
		return "", err
	}
	if len(drifts) > 0 {
		d := drifts[0]
		return "", fmt.Errorf("the usage of %d tenants is not the sum of their connections, the first of tenant %s: rolled up are %+v, and the connections come to %+v; "+
			"this is a bug, please report it", len(drifts), d.Tenant, d.RolledUp, d.Segments)
	}
	return "what is rolled up is the sum of the connections", nil
}

// invoicesProven is how many of the newest invoices the doctor makes anew.
const invoicesProven = 50

// checkInvoices makes the newest invoices anew from what was used, and looks whether they
// can be made final.
func checkInvoices(ctx context.Context, pool *pgxpool.Pool, ledger *billing.Ledger) (detail, advice string, err error) {
	invoices := invoice.New(invoice.Config{Pool: pool, Ledger: ledger, Plans: billing.NewPlans(pool)})
	n, err := invoices.ProveNewest(ctx, tenant.CommandLine(), invoicesProven)
	if err != nil {
		return "", "", fmt.Errorf("%w; this is a bug, please report it", err)
	}
	issuer, err := invoices.Issuer(ctx, tenant.CommandLine())
	if err != nil {
		return "", "", err
	}
	if issuer.Name == "" {
		advice = "say who issues invoices, in the operator's console: until then they stay drafts"
	}
	return fmt.Sprintf("the newest are what was used comes to: %d", n), advice, nil
}

// checkNodes finds nodes that clients cannot be sent to: each channel is on one
// node, and a URL that two have leads to either.
func checkNodes(nodes []cluster.Info, now time.Time) (string, error) {
	up, byURL := 0, map[string]cluster.Info{}
	for _, n := range nodes {
		if n.EndedAt != nil || n.LeaseUntil.Before(now) {
			continue
		}
		up++
		if other, taken := byURL[n.PublicURL]; taken {
			return "", fmt.Errorf("%s and %s both have the public URL %q, so that clients cannot be sent from one to a channel on the other; "+
				"give each its own HIBARI_PUBLIC_URL", other.ID, n.ID, n.PublicURL)
		}
		byURL[n.PublicURL] = n
	}
	if up == 1 {
		return "1 is up", nil
	}
	return fmt.Sprintf("%d are up, no two with one URL", up), nil
}

// checkHTTP asks a running server whether it is ready, or finds out whether
// its address is free.
func checkHTTP(ctx context.Context, c *config) (string, error) {
	listener, err := net.Listen("tcp", c.httpAddr)
	if err == nil {
		return c.httpAddr + " is free; nothing serves there now", listener.Close()
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return "", fmt.Errorf("HIBARI_HTTP_ADDR: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.publicURL.String(), "/")+"/readyz", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("%s is taken, and no platform answers at %s: %w", c.httpAddr, c.publicURL, err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s/readyz answers %s; see the server's log", c.publicURL, response.Status)
	}
	return "a platform is ready at " + c.publicURL.String(), nil
}
