package dbtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/migrations"
)

// templateLock is the advisory lock of the templates: shared while one is
// copied, exclusive while they are made or swept away.
const templateLock = 0x686962617269

// oldAge is when a database must be a killed test's.
const oldAge = "4 hours"

var swept sync.Once // Old databases are swept away once per process.

// copyTemplate creates the database name with today's schema.
func copyTemplate(ctx context.Context, admin *pgx.Conn, server, name string) error {
	var err error
	swept.Do(func() { err = exclusively(ctx, admin, func() error { return sweep(ctx, admin) }) })
	if err != nil {
		return err
	}
	if _, err := admin.Exec(ctx, "select pg_advisory_lock_shared($1)", templateLock); err != nil {
		return fmt.Errorf("couldn't lock the templates: %w", err)
	}
	defer admin.Exec(context.Background(), "select pg_advisory_unlock_all()") // the end of the session does it, too
	template, err := findTemplate(ctx, admin)
	if errors.Is(err, pgx.ErrNoRows) {
		template, err = makeTemplate(ctx, admin, server)
	}
	if err != nil {
		return err
	}
	_, err = admin.Exec(ctx, "create database "+name+" template "+template)
	return err
}

func findTemplate(ctx context.Context, admin *pgx.Conn) (name string, err error) {
	err = admin.QueryRow(ctx, `
		select datname from pg_database
		where datistemplate and datname ~ ('^hibari_template_[0-9]+_' || $1::text || '$')
		order by datname desc limit 1`, migrations.Fingerprint()).Scan(&name)
	return name, err
}

// makeTemplate migrates a new database and marks it as a template when it is
// whole. It takes the lock exclusively and ends with it shared again.
func makeTemplate(ctx context.Context, admin *pgx.Conn, server string) (name string, err error) {
	if _, err := admin.Exec(ctx, "select pg_advisory_unlock_shared($1)", templateLock); err != nil {
		return "", fmt.Errorf("couldn't unlock the templates: %w", err)
	}
	err = exclusively(ctx, admin, func() error {
		if name, err = findTemplate(ctx, admin); !errors.Is(err, pgx.ErrNoRows) {
			return err // somebody was faster
		}
		if name, err = newName(ctx, admin, "template", migrations.Fingerprint()); err != nil {
			return err
		}
		if _, err := admin.Exec(ctx, "create database "+name); err != nil {
			return err
		}
		pool, err := pgxpool.New(ctx, onDatabase(server, name))
		if err != nil {
			return err
		}
		_, err = migrations.Apply(ctx, pool)
		pool.Close()
		if err != nil {
			_, dropErr := admin.Exec(ctx, "drop database "+name+" with (force)")
			return errors.Join(err, dropErr)
		}
		// Taken before the exclusive lock goes, so that no sweep comes in between.
		if _, err := admin.Exec(ctx, "select pg_advisory_lock_shared($1)", templateLock); err != nil {
			return err
		}
		_, err = admin.Exec(ctx, "alter database "+name+" with is_template true allow_connections false")
		return err
	})
	if err != nil {
		return "", fmt.Errorf("couldn't make the template database: %w", err)
	}
	return name, nil
}

// exclusively runs f while no other process copies or makes a template.
func exclusively(ctx context.Context, admin *pgx.Conn, f func() error) error {
	if _, err := admin.Exec(ctx, "select pg_advisory_lock($1)", templateLock); err != nil {
		return fmt.Errorf("couldn't lock the templates: %w", err)
	}
	err := f()
	if _, unlockErr := admin.Exec(ctx, "select pg_advisory_unlock($1)", templateLock); unlockErr != nil {
		err = errors.Join(err, fmt.Errorf("couldn't unlock the templates: %w", unlockErr))
	}
	return err
}

// sweep drops what killed tests left, and old templates.
func sweep(ctx context.Context, admin *pgx.Conn) error {
	rows, err := admin.Query(ctx, `
		select datname, datistemplate from pg_database d
		where datname ~ '^hibari_(test|template)_[0-9]+_'
		and to_timestamp(split_part(datname, '_', 3)::bigint) < clock_timestamp() - $1::interval
		and not exists (select from pg_stat_activity a where a.datname = d.datname)`, oldAge)
	if err != nil {
		return fmt.Errorf("couldn't list old test databases: %w", err)
	}
	type old struct {
		Name     string
		Template bool
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[old])
	if err != nil {
		return fmt.Errorf("couldn't list old test databases: %w", err)
	}
	for _, o := range list {
		if o.Template {
			if _, err := admin.Exec(ctx, "alter database "+o.Name+" with is_template false"); err != nil {
				return fmt.Errorf("couldn't drop the old template: %w", err)
			}
		}
		if _, err := admin.Exec(ctx, "drop database if exists "+o.Name+" with (force)"); err != nil {
			return fmt.Errorf("couldn't drop the old test database: %w", err)
		}
	}
	return nil
}
