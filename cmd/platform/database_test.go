package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// A process that is stopped in a transaction must not keep its locks for ever.
func TestPoolBoundsIdleTransactions(t *testing.T) {
	pool, err := connect(t.Context(), dbtest.URL(t), tenant.WorkerRole, (&net.Dialer{}).DialContext)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var bound string
	if err := pool.QueryRow(t.Context(), `show idle_in_transaction_session_timeout`).Scan(&bound); err != nil || bound != "10s" {
		t.Fatal(bound, err)
	}
}

// The role of HIBARI_DATABASE_URL need not be an administrator's. What it lacks,
// the start says in one line, with the statement that helps; and once it is given,
// tenants are kept apart from the owner of the tables, too.
func TestDatabaseOfAnOrdinaryRole(t *testing.T) {
	ctx := t.Context()
	empty := dbtest.Empty(t)
	administrator, err := pgx.Connect(ctx, empty)
	if err != nil {
		t.Fatal(err)
	}
	defer administrator.Close(context.Background())
	run := func(sql string) {
		t.Helper()
		if _, err := administrator.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	role := "hibari_test_" + strings.ToLower(tenant.NewID())
	run("create role " + role + " login password 'lark'")
	defer func() {
		for _, sql := range []string{"reassign owned by " + role + " to current_user", "drop owned by " + role, "drop role " + role} {
			if _, err := administrator.Exec(context.Background(), sql); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}()
	run(fmt.Sprintf("alter database %s owner to %s", pgx.Identifier{administrator.Config().Database}.Sanitize(), role))
	run("alter schema public owner to " + role)
	address, err := url.Parse(empty)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(role, "lark")

	open := func() (*database, error) {
		db := &database{}
		return db, db.open(ctx, address.String(), (&net.Dialer{}).DialContext, slog.New(slog.DiscardHandler))
	}
	db, err := open()
	if err == nil {
		db.Close()
		t.Fatal("a role that may not work as hibari_worker did")
	}
	// Which of the two it says depends on whether another database of the server has the roles.
	if line := err.Error(); strings.Contains(line, "\n") || !strings.Contains(line, "as an administrator run") || !strings.Contains(line, role) {
		t.Fatalf("the start says %q", line)
	}
	for _, wanted := range []string{"hibari_worker", "hibari_request"} {
		var there bool
		if err := administrator.QueryRow(ctx, "select exists (select from pg_roles where rolname = $1)", wanted).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if !there {
			run("create role " + wanted + " nologin")
		}
	}
	run("grant hibari_worker, hibari_request to " + role)
	if db, err = open(); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if detail, err := checkRoles(ctx, db.Pool); err != nil {
		t.Errorf("the doctor: %v", err)
	} else if !strings.Contains(detail, tenant.WorkerRole) {
		t.Errorf("the doctor: %s", detail)
	}
	if _, err := db.Exec(ctx, "insert into tenant (tenant_id, name) values ('ten_a', 'Lark'), ('ten_b', 'Wren')"); err != nil {
		t.Fatal(err)
	}
	var names int
	if err := tenant.OperatorScope("ten_a").In(db.Pool).QueryRow(ctx, "select count(*) from tenant").Scan(&names); err != nil || names != 1 {
		t.Errorf("a tenant saw %d tenants (%v)", names, err)
	}
	// Migrations change rows as the owner, whom row level security binds, too: as a
	// member of hibari_worker it has them all.
	owner, err := pgx.Connect(ctx, address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.Background())
	if tag, err := owner.Exec(ctx, "update tenant set name = name"); err != nil || tag.RowsAffected() != 2 {
		t.Errorf("a migration would change %d of 2 rows (%v)", tag.RowsAffected(), err)
	}
	if _, err := owner.Exec(ctx, "alter table ban no force row level security"); err != nil {
		t.Fatal(err)
	}
	if _, err := checkRoles(ctx, db.Pool); err == nil || !strings.Contains(err.Error(), "ban") {
		t.Errorf("the doctor on a table with a hole: %v", err)
	}
}
