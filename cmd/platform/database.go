package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations"
	"github.com/hibari/hibari/migrations/privatepg"
)

// database is the pool and, without HIBARI_DATABASE_URL, the private Postgres
// behind it.
type database struct {
	*pgxpool.Pool
	private *privatepg.Cluster // nil: somebody else's Postgres
}

// openDatabase connects to the configured Postgres, or to the private one
// under the data directory, which it starts when nobody has, and migrates it.
// The caller owns the result and must Close it.
func openDatabase(ctx context.Context, c *config, log *slog.Logger) (*database, error) {
	db := &database{}
	url := c.databaseURL
	if url == "" {
		cluster, err := privatepg.Open(ctx, filepath.Join(c.dataDir, "postgres"), log)
		if err != nil {
			return nil, err
		}
		db.private = cluster
		url = cluster.URL()
	}
	var p patience
	if err := db.open(ctx, url, p.dial, log); err != nil {
		if db.private == nil {
			err = fmt.Errorf("HIBARI_DATABASE_URL: %w", err)
		}
		return nil, errors.Join(err, db.Close())
	}
	p.end()
	return db, nil
}

// open migrates the database as the role that its URL names, which owns the
// schema, and then connects as one that does not.
func (db *database) open(ctx context.Context, url string, dial pgconn.DialFunc, log *slog.Logger) error {
	owner, err := connect(ctx, url, "", dial)
	if err != nil {
		return err
	}
	n, err := migrations.Apply(ctx, owner)
	owner.Close()
	if advice := adviceOf(err); advice != "" {
		return errors.New(advice)
	}
	if err != nil {
		return err
	}
	if n > 0 {
		log.Info("migrated the database", "migrations", n)
	}
	db.Pool, err = connect(ctx, url, tenant.WorkerRole, dial)
	return err
}

// adviceOf returns what a migration tells the operator to do; "": nothing.
func adviceOf(err error) string {
	var raised *pgconn.PgError
	if errors.As(err, &raised) && raised.Code == "P0001" { // raise_exception: our own words
		return raised.Message
	}
	return ""
}

// connectPatience is how long a Postgres may take to answer at our start.
const connectPatience = 15 * time.Second

// statementsKept is how many prepared statements a connection remembers. Room for
// them is made at once: pgx's default of 512 is 100 kB for each connection.
const statementsKept = 128

// idleInTransaction is how long Postgres bears a transaction of ours that does nothing. A
// process that was stopped in the middle of one would keep its locks for ever: the row
// that its tenant's clients wait for, and its node's, so that it could not be ended.
const idleInTransaction = 10 * time.Second

// connect opens a pool whose connections work as the role, "" being that of the
// URL, and waits a little for a Postgres that is just starting, as beside us in a
// compose file.
func connect(ctx context.Context, url, role string, dial pgconn.DialFunc) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("is no valid Postgres URL") // err may quote the password
	}
	config.ConnConfig.DialFunc = dial
	config.ConnConfig.RuntimeParams["application_name"] = "hibari"
	config.MaxConns = max(config.MaxConns, 16)
	if role != "" {
		config.ConnConfig.RuntimeParams["role"] = role
		config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(idleInTransaction.Milliseconds(), 10)
		config.MinConns = max(config.MinConns, 4) // a crowd finds them open
	}
	config.ConnConfig.StatementCacheCapacity = statementsKept
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the database: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	for {
		if err = pool.Ping(ctx); err == nil {
			return pool, nil
		}
		select {
		case <-ctx.Done():
			pool.Close()
			return nil, fmt.Errorf("couldn't reach Postgres at %s:%d within %s: %s", // err has a line for each address
				config.ConnConfig.Host, config.ConnConfig.Port, connectPatience, strings.Join(strings.Fields(err.Error()), " "))
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// Run keeps a private Postgres up until ctx ends. Somebody else's is theirs.
func (db *database) Run(ctx context.Context) {
	if db.private != nil {
		db.private.Run(ctx)
	}
}

// Close closes the pool and lets go of the private Postgres, which stops when
// nobody else uses it.
func (db *database) Close() error {
	if db.Pool != nil {
		db.Pool.Close()
	}
	if db.private != nil {
		return db.private.Close()
	}
	return nil
}
