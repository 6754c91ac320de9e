package migrations_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/migrations/dbtest"
)

// shared are the tables without rows of tenants, and why. A table that is
// neither here nor isolated fails the test: new tables are decided about.
var shared = map[string]string{
	"goose_db_version":     "which migrations have run",
	"node":                 "processes serve all tenants",
	"operator":             "operators run the platform and belong to no tenant",
	"operator_session":     "their log-ins",
	"operator_audit_entry": "what they did, to the platform or to any tenant",
	"signup":               "has no tenant before the address is confirmed",
	"mail_outbox":          "mail to members and to strangers alike, sealed; a request may only add to it",
	"throttle":             "counts log-ins and mails of strangers, too, by a hash",
	"plan":                 "what is sold to any tenant; a request may only read it",
	"plan_version":         "its prices, from which day on",
	"issuer":               "issues the invoices of all tenants; only workers see it",
	"partitioned":          "which tables are kept by partitions; only the schema's owner reads it",
}

// catalogue is a look into the catalogue that wants one column of strings.
func catalogue(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// tenantTables lists the tables of tenants' rows: all but the shared ones. Partitions
// are parts of their tables, by which alone rows are reached.
func tenantTables(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	all := catalogue(t, pool, `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`)
	for name := range shared {
		if !slices.Contains(all, name) {
			t.Errorf("%s is on the list of shared tables, and is none", name)
		}
	}
	return slices.DeleteFunc(all, func(name string) bool { return shared[name] != "" })
}

// Every table is isolated as isolate() does it, or on the list above.
func TestEveryTableIsIsolated(t *testing.T) {
	pool := dbtest.New(t)
	tables := tenantTables(t, pool)
	if len(tables) < 18 {
		t.Fatalf("found only %v", tables)
	}
	isolated := catalogue(t, pool, `
		select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and a.attnotnull
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relrowsecurity and c.relforcerowsecurity`)
	for _, table := range tables {
		if !slices.Contains(isolated, table) {
			t.Errorf("%s has no tenant_id that is never null, or no row level security that also binds its owner: select isolate('%[1]s') in its migration, or put it on the list of shared tables", table)
		}
	}
	for _, open := range catalogue(t, pool, `
		select c.relname from pg_class c join pg_inherits h on h.inhrelid = c.oid join pg_class parent on parent.oid = h.inhparent
		where c.relispartition and c.relkind in ('r', 'p') and parent.relrowsecurity and not (c.relrowsecurity and c.relforcerowsecurity)`) {
		t.Errorf("the partition %s is not isolated as its table is", open)
	}
	// One policy for each role, and none that says anything else.
	policies := catalogue(t, pool, `
		select tablename || ': ' || array_to_string(roles, ',') || ' ' || permissive || ' ' || cmd || ' ' || qual || ' / ' || with_check
		from pg_policies where schemaname = 'public'`)
	own := `(tenant_id = current_setting('hibari.tenant_id'::text))`
	for _, table := range tables {
		for _, want := range []string{
			table + ": hibari_worker PERMISSIVE ALL true / true",
			table + ": hibari_request PERMISSIVE ALL " + own + " / " + own,
		} {
			if !slices.Contains(policies, want) {
				t.Errorf("the policy %q is missing", want)
			}
		}
	}
	for _, policy := range policies {
		name, _, _ := strings.Cut(policy, ":")
		if n := len(slices.DeleteFunc(slices.Clone(policies), func(p string) bool { return !strings.HasPrefix(p, name+":") })); n != 2 {
			t.Errorf("%s has %d policies", name, n)
		}
	}
}

// Keys and references of tenants' rows name the tenant.
func TestEveryKeyNamesTheTenant(t *testing.T) {
	pool := dbtest.New(t)
	// A partitioned table's key would have to name the time: its partitions have their own.
	keyed := catalogue(t, pool, `
		select distinct c.conrelid::regclass::text from pg_constraint c
		join pg_attribute a on a.attrelid = c.conrelid and a.attname = 'tenant_id' and a.attnum = any(c.conkey)
		where c.contype in ('p', 'u') and c.connamespace = 'public'::regnamespace
		union select p.oid::regclass::text from pg_class p where p.relkind = 'p' and not exists (
			select from pg_inherits h where h.inhparent = p.oid and not exists (
				select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attname = 'tenant_id' and a.attnum = any(i.indkey)
				where i.indrelid = h.inhrelid and i.indisunique))`)
	tables := tenantTables(t, pool)
	for _, table := range tables {
		if !slices.Contains(keyed, table) {
			t.Errorf("%s has no primary key or unique constraint with tenant_id", table)
		}
	}
	// A foreign key between two of them has tenant_id on both sides, at the same place.
	for _, astray := range catalogue(t, pool, `
		select c.conrelid::regclass || ': ' || pg_get_constraintdef(c.oid) from pg_constraint c
		where c.contype = 'f' and c.conrelid::regclass::text = any($1) and c.confrelid::regclass::text = any($1)
			and not exists (
				select from unnest(c.conkey, c.confkey) as k(here, there)
				join pg_attribute h on h.attrelid = c.conrelid and h.attnum = k.here and h.attname = 'tenant_id'
				join pg_attribute f on f.attrelid = c.confrelid and f.attnum = k.there and f.attname = 'tenant_id')`, tables) {
		t.Errorf("a row can point into another tenant: %s", astray)
	}
	// What is not isolated must not tell of tenants: a view runs with its owner's rights.
	for _, view := range catalogue(t, pool, `
		select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('v', 'm')
			and not coalesce('security_invoker=true' = any(reloptions), false)`) {
		t.Errorf("the view %s shows all tenants: make it with (security_invoker = true)", view)
	}
	for _, function := range catalogue(t, pool, `
		select proname from pg_proc where pronamespace = 'public'::regnamespace and prosecdef
			and not coalesce(array_to_string(proconfig, ',') like '%search_path=%', false)`) {
		t.Errorf("the function %s runs as its owner with a search path of its caller's", function)
	}
}

// The two roles own nothing, pass no policy by, and have no right but to read
// and write rows.
func TestRolesHaveTheRightsTheyNeed(t *testing.T) {
	pool := dbtest.New(t)
	for _, role := range []string{"hibari_worker", "hibari_request"} {
		var powerful bool
		if err := pool.QueryRow(t.Context(), `
			select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication or rolcanlogin from pg_roles where rolname = $1`,
			role).Scan(&powerful); err != nil || powerful {
			t.Errorf("%s has an attribute that it needs not (%v)", role, err)
		}
		for _, owned := range catalogue(t, pool, `select relname from pg_class where relowner = $1::regrole`, role) {
			t.Errorf("%s owns %s", role, owned)
		}
		for _, table := range catalogue(t, pool, `
			select relname || ' ' || privilege from pg_class, unnest(array['TRUNCATE', 'TRIGGER', 'REFERENCES', 'MAINTAIN']) as privilege
			where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
				and (privilege <> 'MAINTAIN' or current_setting('server_version_num')::int >= 170000)
				and has_table_privilege($1, oid, privilege)`, role) {
			t.Errorf("%s has a right that it needs not: %s", role, table)
		}
		var creates bool
		if err := pool.QueryRow(t.Context(), `select has_schema_privilege($1, 'public', 'create')`, role).Scan(&creates); err != nil || creates {
			t.Errorf("%s may create tables (%v)", role, err)
		}
		for _, function := range catalogue(t, pool, `
			select proname from pg_proc where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype
				and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e') -- an extension's
				and has_function_privilege($1, oid, 'execute')`, role) {
			if role != "hibari_worker" || function != "keep_partitions" && function != "partition_state" {
				t.Errorf("%s may call %s", role, function)
			}
		}
		for _, partition := range catalogue(t, pool, `
			select relname from pg_class where relispartition and relkind in ('r', 'p')
				and has_table_privilege($1, oid, 'select, insert, update, delete')`, role) {
			t.Errorf("%s may pass %s's table by", role, partition)
		}
		for _, log := range []string{"audit_entry", "operator_audit_entry", "credit_note", "credit_note_line"} {
			for _, right := range []string{"update", "delete"} {
				var may bool
				if err := pool.QueryRow(t.Context(), `select has_table_privilege($1, $2, $3)`, role, log, right).Scan(&may); err != nil || may {
					t.Errorf("%s may %s in %s (%v)", role, right, log, err)
				}
			}
		}
	}
	var member bool
	if err := pool.QueryRow(t.Context(), `select pg_has_role('hibari_request', 'hibari_worker', 'member')`).Scan(&member); err != nil || member {
		t.Errorf("hibari_request can become hibari_worker (%v)", err)
	}
	for _, name := range []string{"operator", "operator_session", "operator_audit_entry", "issuer"} {
		var may bool
		if err := pool.QueryRow(t.Context(), `select has_table_privilege('hibari_request', $1, 'select, insert, update, delete')`, name).Scan(&may); err != nil || may {
			t.Errorf("a tenant's requests may touch %s (%v)", name, err)
		}
	}
}

// A connection of the platform stays what it started as.
func TestConnectionsStayWorkers(t *testing.T) {
	pool := dbtest.New(t)
	for _, sql := range []string{"reset role", "reset all", "discard all"} {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var role string
		if _, err = conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err == nil {
			err = conn.QueryRow(t.Context(), "select current_user", pgx.QueryExecModeSimpleProtocol).Scan(&role)
		}
		if err != nil || role != "hibari_worker" {
			t.Errorf("after %q the connection is %s's (%v)", sql, role, err)
		}
		conn.Conn().Close(t.Context()) // what it prepared is gone
		conn.Release()
	}
	for _, sql := range []string{"truncate tenant cascade", "drop table ban", "alter table ban disable row level security", "create table stray (n int)", "select isolate('ban')",
		"drop table event_default", "select from event_default", "select from partitioned", "select partition_forget('event')"} {
		if _, err := pool.Exec(t.Context(), sql); err == nil {
			t.Errorf("a worker could %s", sql)
		}
	}
}
