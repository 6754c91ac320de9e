package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// someValue are values of each type that a column without a default can have, by
// a number that is another for each tenant.
var someValue = map[string]func(n int) string{
	"text":                     func(n int) string { return fmt.Sprintf("'value %d'", n) },
	"bytea":                    func(n int) string { return fmt.Sprintf("'\\x%02x'", n) },
	"integer":                  func(n int) string { return fmt.Sprint(n) },
	"bigint":                   func(n int) string { return fmt.Sprint(n) },
	"smallint":                 func(n int) string { return fmt.Sprint(n) },
	"numeric":                  func(n int) string { return fmt.Sprint(n) },
	"boolean":                  func(int) string { return "true" },
	"timestamp with time zone": func(n int) string { return fmt.Sprintf("'2026-01-%02d'", n) },
	"date":                     func(n int) string { return fmt.Sprintf("'2026-01-%02d'", n) },
	"interval":                 func(n int) string { return fmt.Sprintf("'%d s'", n) },
	"jsonb":                    func(n int) string { return fmt.Sprintf("'{\"n\": %d}'", n) },
	"text[]":                   func(n int) string { return fmt.Sprintf("'{%d}'", n) },
	"integer[]":                func(n int) string { return fmt.Sprintf("'{%d}'", n) },
	"tstzrange":                func(n int) string { return fmt.Sprintf("'[2026-01-%02d, 2026-01-%02d)'", n, n+1) },
	"uuid":                     func(n int) string { return fmt.Sprintf("'00000000-0000-0000-0000-0000000000%02d'", n) },
	"inet":                     func(n int) string { return fmt.Sprintf("'192.0.2.%d'", n) },
	"xid8":                     func(n int) string { return fmt.Sprintf("'%d'", n) },
}

// strangers is a database in which every table of tenants has a row of each of
// two tenants, and nothing but row level security keeps them apart: there are no
// checks, foreign keys or triggers that would refuse a statement before it does.
type strangers struct {
	t      *testing.T
	worker *pgxpool.Pool
	tables []string
}

func newStrangers(t *testing.T) *strangers {
	t.Helper()
	url := dbtest.URL(t)
	owner, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.Background())
	if _, err := owner.Exec(t.Context(), `
		do $$ declare c record; begin
			for c in select conrelid::regclass as t, conname from pg_constraint
				where connamespace = 'public'::regnamespace and contype in ('c', 'f', 'x') and conparentid = 0 order by contype = 'x' loop
				execute format('alter table %s drop constraint %I', c.t, c.conname);
			end loop;
			for c in select tgrelid::regclass as t, tgname from pg_trigger where not tgisinternal loop
				execute format('drop trigger %I on %s', c.tgname, c.t);
			end loop;
		end $$`); err != nil {
		t.Fatal(err)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["role"] = tenant.WorkerRole
	s := &strangers{t: t}
	if s.worker, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.worker.Close)
	s.tables = tenantTables(t, s.worker)
	for i, id := range []string{"ten_a", "ten_b"} {
		for _, table := range s.tables {
			if _, err := s.worker.Exec(t.Context(), s.row(table, id, i+1)); err != nil {
				t.Fatalf("couldn't give %s a row in %s: %v", id, table, err)
			}
		}
	}
	return s
}

// row is the statement that inserts a row of the tenant, with values by n.
func (s *strangers) row(table, id string, n int) string {
	s.t.Helper()
	rows, err := s.worker.Query(s.t.Context(), `
		select attname, format_type(atttypid, atttypmod) from pg_attribute
		where attrelid = $1::regclass and attnum > 0 and not attisdropped and attnotnull and not atthasdef
			and attidentity = '' and attgenerated = ''`, table)
	if err != nil {
		s.t.Fatal(err)
	}
	var names, values []string
	var name, kind string
	if _, err := pgx.ForEachRow(rows, []any{&name, &kind}, func() error {
		make := someValue[kind]
		if make == nil {
			return fmt.Errorf("%s.%s is of type %s: give someValue one", table, name, kind)
		}
		value := make(n)
		if name == "tenant_id" {
			value = "'" + id + "'"
		}
		names, values = append(names, name), append(values, value)
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("insert into %s (%s) values (%s)", table, strings.Join(names, ", "), strings.Join(values, ", "))
}

// denied reports whether Postgres refused for want of a right: a table's or, of a
// row, the policy's.
func denied(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "42501"
}

// Read, update, delete and insert in every table as another tenant: nothing is
// seen, nothing changed, nothing written. A new table is tried without being
// named here.
func TestTenantsAreStrangers(t *testing.T) {
	s := newStrangers(t)
	ctx := t.Context()
	me := tenant.OperatorScope("ten_a").In(s.worker)
	for _, table := range s.tables {
		var mine, theirs int
		err := me.QueryRow(ctx, `select count(*) filter (where tenant_id = 'ten_a'), count(*) filter (where tenant_id <> 'ten_a') from `+table).Scan(&mine, &theirs)
		if !denied(err) && (err != nil || mine != 1 || theirs != 0) {
			t.Errorf("%s: saw %d rows of its own and %d of others (%v)", table, mine, theirs, err)
		}
		for _, sql := range []string{
			`update ` + table + ` set tenant_id = tenant_id where tenant_id = 'ten_b'`,
			`delete from ` + table + ` where tenant_id = 'ten_b'`,
		} {
			if tag, err := me.Exec(ctx, sql); !denied(err) && (err != nil || tag.RowsAffected() != 0) {
				t.Errorf("%s: changed %d rows (%v)", sql, tag.RowsAffected(), err)
			}
		}
		for _, sql := range []string{
			s.row(table, "ten_b", 3),
			s.row(table, "ten_c", 4),
			`update ` + table + ` set tenant_id = 'ten_b' where tenant_id = 'ten_a'`,
		} {
			if _, err := me.Exec(ctx, sql); !denied(err) {
				t.Errorf("%s: %v, want it refused", sql, err)
			}
		}
		var a, b, all int
		if err := s.worker.QueryRow(ctx, `
			select count(*) filter (where tenant_id = 'ten_a'), count(*) filter (where tenant_id = 'ten_b'), count(*) from `+table).Scan(&a, &b, &all); err != nil || a != 1 || b != 1 || all != 2 {
			t.Errorf("%s: %d and %d of %d rows are left (%v)", table, a, b, all, err)
		}
	}
}

// A request that says no tenant has nothing: neither a connection's first nor
// one after another's.
func TestRequestsWithoutATenantSeeNothing(t *testing.T) {
	s := newStrangers(t)
	ctx := t.Context()
	for _, before := range []bool{false, true} {
		conn, err := s.worker.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if before {
			if _, err := conn.Exec(ctx, `select set_config('hibari.tenant_id', 'ten_a', true)`); err != nil {
				t.Fatal(err)
			}
		}
		for _, table := range s.tables {
			var n int
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, `set local role hibari_request`); err != nil {
					t.Fatal(err)
				}
				return tx.QueryRow(ctx, `select count(*) from `+table).Scan(&n)
			})
			if err == nil && n != 0 {
				t.Errorf("%s: saw %d rows without a tenant", table, n)
			}
			if err != nil && !before && !denied(err) && !strings.Contains(err.Error(), "hibari.tenant_id") {
				t.Errorf("%s: %v", table, err)
			}
		}
		conn.Release()
	}
}
