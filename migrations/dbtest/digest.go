package dbtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Digest says of every table that has rows of tenants what one tenant has in it,
// so that a test can see whether anything of it changed, in tables too that are
// made after the test was written. Pool must see all tenants.
func Digest(t testing.TB, pool *pgxpool.Pool, tenant string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := pool.Query(ctx, `
		select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) == 0 {
		t.Fatalf("found the tables %v: %v", tables, err)
	}
	digest := map[string]string{}
	for _, table := range tables {
		var of string
		if err := pool.QueryRow(ctx, `select count(*) || ' rows ' || coalesce(md5(string_agg(r::text, chr(10) order by r::text)), '')
			from `+pgx.Identifier{table}.Sanitize()+` r where tenant_id = $1`, tenant).Scan(&of); err != nil {
			t.Fatalf("couldn't read %s: %v", table, err)
		}
		digest[table] = of
	}
	return digest
}
