// Package dbtest gives each test a real Postgres database of its own.
package dbtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/migrations"
)

// New returns a pool on a new, migrated database, dropped when the test ends.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	ctx := context.Background()
	url := os.Getenv("HIBARI_TEST_DATABASE_URL")
	if url == "" {
		url = "postgres:///postgres?host=/tmp/devpg&user=postgres"
	}
	admin, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("couldn't reach the test Postgres: %v", err)
	}
	defer admin.Close(ctx)
	name := "hibari_test_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec(ctx, "create database "+name); err != nil {
		t.Fatalf("couldn't create a test database: %v", err)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.Database = name
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pool.Close()
		admin, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Errorf("couldn't reach the test Postgres: %v", err)
			return
		}
		defer admin.Close(ctx)
		if _, err := admin.Exec(ctx, fmt.Sprintf("drop database %s with (force)", name)); err != nil {
			t.Errorf("couldn't drop %s: %v", name, err)
		}
	})
	if _, err := migrations.Apply(ctx, pool); err != nil {
		t.Fatal(err)
	}
	return pool
}
