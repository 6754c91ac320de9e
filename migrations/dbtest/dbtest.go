// Package dbtest gives each test a real Postgres database of its own.
//
// The databases live in one private cluster per user in the temporary folder,
// which all test processes share and which stops a little after the last of
// them. A migrated database is a copy of a template that is migrated once per
// schema. HIBARI_TEST_DATABASE_URL names another server to use, whose role may
// create databases.
package dbtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// workerRole is tenant.WorkerRole: this package knows none of the platform's.
const workerRole = "hibari_worker"

// poolSize keeps a hundred tests at once within the server's connections.
const poolSize = 8

// patience bounds what is done for a test, on a machine busy with others.
const patience = 2 * time.Minute

// New returns a pool on a new, migrated database, whose connections work as the
// platform's do: as a role that owns nothing. Both are gone after the test; what
// the test borrowed from the pool it must have given back.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(URL(t))
	if err != nil {
		t.Fatalf("couldn't read the test database's URL: %v", err)
	}
	config.MaxConns = poolSize
	config.ConnConfig.RuntimeParams["role"] = workerRole
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatalf("couldn't make a pool: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL returns the connection URL of a new, migrated database, dropped after
// the test, for tests that run the binary.
func URL(t testing.TB) string {
	t.Helper()
	return create(t, true)
}

// Empty is URL for a database without a schema.
func Empty(t testing.TB) string {
	t.Helper()
	return create(t, false)
}

// create makes a database, which is dropped when the test ends.
func create(t testing.TB, migrated bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	on, err := theServer()
	if err != nil {
		t.Fatalf("couldn't get a Postgres for the test: %v", err)
	}
	admin, err := pgx.Connect(ctx, on.url)
	if err != nil {
		t.Fatalf("couldn't reach the test Postgres: %v", err)
	}
	defer admin.Close(ctx)
	name, err := newName(ctx, admin, "test", strings.ToLower(rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	if migrated {
		err = copyTemplate(ctx, admin, on.url, name)
	} else {
		_, err = admin.Exec(ctx, "create database "+name)
	}
	if err != nil {
		t.Fatalf("couldn't create a test database: %v", err)
	}
	t.Cleanup(func() { drop(t, on.url, name) })
	return onDatabase(on.url, name)
}

func drop(t testing.TB, server, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Errorf("couldn't reach the test Postgres: %v", err)
		return
	}
	defer admin.Close(ctx)
	if _, err := admin.Exec(ctx, "drop database "+name+" with (force)"); err != nil {
		t.Errorf("couldn't drop %s: %v", name, err)
	}
}

// newName returns hibari_KIND_SECONDS_SUFFIX, which says how old it is.
func newName(ctx context.Context, admin *pgx.Conn, kind, suffix string) (string, error) {
	var now int64
	if err := admin.QueryRow(ctx, "select extract(epoch from clock_timestamp())::bigint").Scan(&now); err != nil {
		return "", fmt.Errorf("couldn't read the database's clock: %w", err)
	}
	return fmt.Sprintf("hibari_%s_%d_%s", kind, now, suffix), nil
}

// onDatabase returns the URL of another database of the same server.
func onDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic(err) // somebody has connected with it
	}
	u.Path = "/" + name
	return u.String()
}
