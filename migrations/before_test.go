package migrations_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/hibari/hibari/migrations/dbtest"
)

// A database that is owned by a role without special rights, and has tenants from
// before licences were kept as a history, which keep what they have, and has
// deliveries. All of it can be taken back.
func TestTenantsFromBefore(t *testing.T) {
	ctx := context.Background()
	at := dbtest.Empty(t)
	admin, err := pgx.Connect(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	owner := "hibari_test_owner_" + strings.ToLower(rand.Text()[:8])
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var database string
	if err := admin.QueryRow(ctx, "select current_database()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	exec("create role " + owner + " login password 'lark'")
	defer func() {
		exec("drop owned by " + owner)
		exec("drop role " + owner)
	}()
	for _, role := range []string{"hibari_worker", "hibari_request"} {
		_, err := admin.Exec(ctx, "create role "+role+" nologin")
		if err != nil && !strings.Contains(err.Error(), "already exists") && !strings.Contains(err.Error(), "pg_authid_rolname_index") {
			t.Fatal(err)
		}
		exec("grant " + role + " to " + owner)
	}
	exec("grant create on database " + database + " to " + owner)
	exec("alter schema public owner to " + owner)

	as, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	as.User = url.UserPassword(owner, "lark")
	pool, err := pgxpool.New(ctx, as.String())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(ctx, 10); err != nil {
		t.Fatal(err)
	}
	exec(`insert into tenant (tenant_id, name, created_at) values ('ten_LARK', 'Lark', now() - interval '1 year')`)
	exec(`insert into tenant_live (tenant_id, connections, max_connections, max_per_channel) values ('ten_LARK', 7, 500, 200)`)
	exec(`insert into event (tenant_id, seq, event_id, type, occurred_at) values ('ten_LARK', 1, 'evt_1', 'ping', now())`)
	exec(`insert into webhook_endpoint (endpoint_id, tenant_id, url, secret_sealed, from_seq) values ('ep_1', 'ten_LARK', 'https://example.com', '', 0)`)
	exec(`insert into delivery (delivery_id, tenant_id, endpoint_id, event_id, event_seq, ordering_key, state)
		values ('dlv_1', 'ten_LARK', 'ep_1', 'evt_1', 1, '', 'delivered')`)
	exec(`insert into delivery_attempt (delivery_id, attempt, duration_ms) values ('dlv_1', 1, 5)`)
	if _, err := provider.Up(ctx); err != nil {
		t.Fatal(err)
	}
	var got string
	err = admin.QueryRow(ctx, `
		select format('%s %s/%s from %s, applied: %s', kind, connections, per_channel, lower(valid)::date, applied_at is not null) from licence`).Scan(&got)
	if err != nil {
		t.Fatal(err)
	}
	var year string
	if err := admin.QueryRow(ctx, `select (now() - interval '1 year')::date::text`).Scan(&year); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("custom 500/200 from %s, applied: t", year); got != want {
		t.Errorf("the licence is %s, want %s", got, want)
	}
	err = admin.QueryRow(ctx, `select format('%s %s of %s, attempt of %s', peak, low_connections, peak_max, a.tenant_id) from tenant_live, delivery_attempt a`).Scan(&got)
	if want := "7 7 of 500, attempt of ten_LARK"; err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	err = admin.QueryRow(ctx, `
		select format('%s to %s in %s, open: %s', (starts_at at time zone time_zone)::date = date_trunc('month', now() at time zone time_zone)::date,
			(ends_at at time zone time_zone)::date = (date_trunc('month', now() at time zone time_zone) + interval '1 month')::date, time_zone, cutoff is null)
		from billing_period`).Scan(&got)
	if want := "t to t in Asia/Tokyo, open: t"; err != nil || got != want {
		t.Errorf("it is billed from the month's start: %s, %v, want %s", got, err, want)
	}
	if _, err := provider.DownTo(ctx, 0); err != nil {
		t.Fatal(err)
	}
	var left []string
	err = admin.QueryRow(ctx, `
		select array(select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v') and relname not like 'goose%')
			|| array(select proname::text from pg_proc where pronamespace = 'public'::regnamespace)`).Scan(&left)
	if err != nil || len(left) > 0 {
		t.Errorf("left after all was taken back: %v, %v", left, err)
	}
}
