package dbtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/migrations"
	"github.com/hibari/hibari/migrations/dbtest"
)

func query[T any](t *testing.T, url, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var v T
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// Each test has a migrated database to itself, even when many start at once.
func TestNew(t *testing.T) {
	var names sync.Map
	t.Run("at once", func(t *testing.T) {
		for range 10 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				pool := dbtest.New(t)
				var name string
				if err := pool.QueryRow(t.Context(), "select current_database() from (select count(*) from event) e").Scan(&name); err != nil {
					t.Fatal(err)
				}
				if _, again := names.LoadOrStore(name, true); again {
					t.Errorf("two tests share %s", name)
				}
				if n, err := migrations.Apply(t.Context(), pool); n != 0 || err != nil {
					t.Errorf("%d migrations were missing, %v", n, err)
				}
			})
		}
	})
	server := dbtest.Empty(t)
	names.Range(func(name, _ any) bool {
		if query[bool](t, server, "select exists (select from pg_database where datname = $1)", name) {
			t.Errorf("%s outlived its test", name)
		}
		return true
	})
}

func TestEmpty(t *testing.T) {
	if n := query[int](t, dbtest.Empty(t), "select count(*) from information_schema.tables where table_schema = 'public'"); n != 0 {
		t.Errorf("an empty database has %d tables", n)
	}
}

func TestServerIsForTests(t *testing.T) {
	url := dbtest.Empty(t)
	if os.Getenv("HIBARI_TEST_DATABASE_URL") != "" {
		query[string](t, url, "show server_version") // whatever its owner likes
		return
	}
	if n := query[int](t, url, "select current_setting('max_connections')::int"); n < 300 {
		t.Errorf("max_connections = %d", n)
	}
	if s := query[string](t, url, "show fsync"); s != "off" {
		t.Errorf("fsync = %s", s)
	}
}

// The next test process drops what a killed one left long ago, and nothing else.
func TestSweep(t *testing.T) {
	url := dbtest.Empty(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	recent := fmt.Sprintf("hibari_test_%d_recent%d", time.Now().Add(-time.Hour).Unix(), os.Getpid())
	old := fmt.Sprintf("hibari_test_%d_old%d", time.Now().Add(-5*time.Hour).Unix(), os.Getpid())
	for _, name := range []string{recent, old} {
		if _, err := conn.Exec(t.Context(), "create database "+name); err != nil {
			t.Fatal(err)
		}
	}
	defer conn.Exec(context.Background(), "drop database "+recent)
	if out, err := exec.Command(os.Args[0], "-test.run", "^TestNew$").CombinedOutput(); err != nil {
		t.Fatalf("the other test process: %v\n%s", err, out)
	}
	exists := "select exists (select from pg_database where datname = $1)"
	if query[bool](t, url, exists, old) {
		t.Errorf("%s is still there", old)
	}
	if !query[bool](t, url, exists, recent) {
		t.Errorf("%s is gone", recent)
	}
}
