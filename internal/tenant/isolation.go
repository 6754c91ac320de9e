package tenant

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// WorkerRole is the Postgres role that the platform's connections start as. It
// sees all tenants.
const WorkerRole = "hibari_worker"

// isolate makes the rest of a transaction a tenant's own: row level security
// lets hibari_request have the rows of the tenant named here, and no others. Both
// settings end with the transaction, so that a pooled connection carries nothing
// to its next user.
const isolate = `select set_config('role', 'hibari_request', true), set_config('hibari.tenant_id', $1, true)`

// Isolated is the database as one tenant may see it. What a statement says about
// the tenant does not matter: rows of others are not there, and none can be
// written. Every method fails with ErrScope if the scope proves no tenant.
type Isolated struct {
	pool *pgxpool.Pool
	id   ID
}

// In returns the scope's own view of the database behind pool.
func (s Scope) In(pool *pgxpool.Pool) Isolated { return Isolated{pool, s.tenant} }

// Tx runs f in a transaction, which is rolled back if f fails. Inside Whole it is
// a part of that one.
func (d Isolated) Tx(ctx context.Context, f func(pgx.Tx) error) error {
	if d.id == "" {
		return ErrScope
	}
	if whole := d.whole(ctx); whole != nil {
		return pgx.BeginFunc(ctx, whole, f)
	}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, isolate, d.id); err != nil {
			return fmt.Errorf("couldn't isolate tenant %s: %w", d.id, err)
		}
		return f(tx)
	})
}

// Exec runs one statement in a transaction of its own, in one round trip, as do
// Query and QueryRow.
func (d Isolated) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if whole := d.whole(ctx); whole != nil {
		return whole.Exec(ctx, sql, args...)
	}
	results, err := d.send(ctx, sql, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := results.Exec()
	if closing := results.Close(); err == nil {
		err = closing
	}
	return tag, err
}

// Query is as pgxpool.Pool's: the rows must be closed, or read to their end.
func (d Isolated) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if whole := d.whole(ctx); whole != nil {
		return whole.Query(ctx, sql, args...)
	}
	results, err := d.send(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	rows, err := results.Query()
	if err != nil {
		results.Close()
		return nil, err
	}
	return &isolatedRows{Rows: rows, results: results}, nil
}

// QueryRow is as pgxpool.Pool's: the row must be scanned.
func (d Isolated) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if whole := d.whole(ctx); whole != nil {
		return whole.QueryRow(ctx, sql, args...)
	}
	rows, err := d.Query(ctx, sql, args...)
	return isolatedRow{rows, err}
}

// send sends both statements. The server takes a batch for one transaction.
func (d Isolated) send(ctx context.Context, sql string, args []any) (pgx.BatchResults, error) {
	if d.id == "" {
		return nil, ErrScope
	}
	batch := &pgx.Batch{}
	batch.Queue(isolate, d.id)
	batch.Queue(sql, args...)
	results := d.pool.SendBatch(ctx, batch)
	if _, err := results.Exec(); err != nil {
		results.Close()
		return nil, fmt.Errorf("couldn't isolate tenant %s: %w", d.id, err)
	}
	return results, nil
}

// isolatedRows gives the connection back when it is closed. Owned by the caller
// of Query.
type isolatedRows struct {
	pgx.Rows
	results pgx.BatchResults
	closing error
}

// Next closes after the last row.
func (r *isolatedRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Close may be called again.
func (r *isolatedRows) Close() {
	r.Rows.Close()
	if r.results != nil {
		r.closing = r.results.Close()
		r.results = nil
	}
}

// Err also tells what the end of the transaction met.
func (r *isolatedRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.closing
}

// isolatedRow is the first of rows.
type isolatedRow struct {
	rows pgx.Rows
	err  error
}

// Scan is as pgx.Row's: pgx.ErrNoRows if there is none.
func (r isolatedRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
