package tenant_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// What a statement forgets to say about the tenant does not matter.
func TestIsolated(t *testing.T) {
	h := newHouse(t)
	other := h.newTenant("Lark", "lark@example.com")
	ctx, mine := t.Context(), h.scope.In(h.pool)

	var seen []tenant.ID
	rows, err := mine.Query(ctx, `select tenant_id from member`)
	if err != nil {
		t.Fatal(err)
	}
	if seen, err = pgx.CollectRows(rows, pgx.RowTo[tenant.ID]); err != nil || len(seen) != 1 || seen[0] != h.made.Tenant {
		t.Fatalf("saw the members of %v (%v), want its own", seen, err)
	}
	tag, err := mine.Exec(ctx, `update member set role = 'viewer' where tenant_id = $1`, other.Tenant)
	if err != nil || tag.RowsAffected() != 0 {
		t.Errorf("changed %d of another's members (%v)", tag.RowsAffected(), err)
	}
	_, err = mine.Exec(ctx, `insert into tenant_setting (tenant_id) values ($1)`, other.Tenant)
	if err == nil {
		t.Error("wrote another's settings")
	}
	err = mine.Tx(ctx, func(tx pgx.Tx) error {
		var n int
		if err := tx.QueryRow(ctx, `select count(*) from tenant`).Scan(&n); err != nil || n != 1 {
			t.Errorf("saw %d tenants (%v), want 1", n, err)
		}
		_, err := tx.Exec(ctx, `update tenant set name = 'Wren'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Nothing of it is left on a pooled connection.
	var names int
	if err := h.pool.QueryRow(ctx, `select count(*) from tenant where name in ('Wren', 'Lark')`).Scan(&names); err != nil || names != 2 {
		t.Errorf("the worker saw %d names (%v), want 2", names, err)
	}
}

func TestIsolatedRows(t *testing.T) {
	h := newHouse(t)
	ctx, mine := t.Context(), h.scope.In(h.pool)
	if err := mine.QueryRow(ctx, `select 1 where false`).Scan(new(int)); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("no row: %v", err)
	}
	if err := mine.QueryRow(ctx, `select 1 / (n - 1) from generate_series(1, 1) n`).Scan(new(int)); err == nil {
		t.Error("a statement that fails gave a row")
	}
	if _, err := mine.Query(ctx, `select nonsense`); err == nil {
		t.Error("a statement that cannot be read gave rows")
	}
	// Rows that nobody reads to their end, many times: no connection may be lost.
	for range 3 * int(h.pool.Config().MaxConns) {
		rows, err := mine.Query(ctx, `select n from generate_series(1, 1000) n`)
		if err != nil {
			t.Fatal(err)
		}
		if !rows.Next() {
			t.Fatal("no row")
		}
		rows.Close()
		if rows.Next() || rows.Err() != nil {
			t.Fatalf("after Close: %v", rows.Err())
		}
	}
	var nobody tenant.Scope
	if err := nobody.In(h.pool).QueryRow(ctx, `select 1`).Scan(new(int)); !errors.Is(err, tenant.ErrScope) {
		t.Errorf("without a tenant: %v", err)
	}
	if _, err := nobody.In(h.pool).Exec(ctx, `select 1`); !errors.Is(err, tenant.ErrScope) {
		t.Errorf("without a tenant: %v", err)
	}
	if err := nobody.In(h.pool).Tx(ctx, func(pgx.Tx) error { return nil }); !errors.Is(err, tenant.ErrScope) {
		t.Errorf("without a tenant: %v", err)
	}
}
