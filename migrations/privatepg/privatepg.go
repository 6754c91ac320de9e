// Package privatepg runs a Postgres cluster of the platform's own, from the
// binaries on the machine, for those who don't bring a database.
//
// Everything lives in one folder:
//
//	data/       the cluster (PGDATA), owned by the account that runs it
//	run/        its Unix socket; in the temporary folder when the path is too long
//	password    of the role "hibari", mode 0600
//	log         what the server says
//	lock        held shared by every user of the cluster
//	start.lock  held by whoever starts or stops the server
//
// The server listens on no network address, outlives a killed platform, and is
// stopped by the last user that lets go; one that dies in use is started again
// by whoever is in Run. The kernel drops a dead process's
// locks, so there is no count that could be wrong.
package privatepg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ErrNoPostgres says that this machine has no Postgres that could be used.
var ErrNoPostgres = errors.New("no Postgres 15 or newer on this machine: install it " +
	"(Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@16) or set HIBARI_DATABASE_URL")

// ErrVersion says that the folder holds the data of a major version of
// Postgres that this machine has no binaries for.
var ErrVersion = errors.New("data folder of another Postgres version")

// ErrUnreachable says that the unprivileged account which runs the server on
// behalf of root cannot get at the folder.
var ErrUnreachable = errors.New("folder closed to the account that runs Postgres")

// database and role are the names inside the cluster; the role owns it.
const (
	database = "hibari"
	role     = "hibari"
)

// Cluster is one user's hold on a running server.
type Cluster struct {
	// Static.
	dir     string
	data    string
	log     *slog.Logger
	options options
	account account
	users   *os.File // dir/lock, held shared

	// Set by Open, static afterwards.
	bin      string // folder of initdb and postgres
	password string
	url      string

	// Owned by Open, then Run, then Close.
	server postmaster
	ended  <-chan struct{} // closed when the server we started has ended; nil if we adopted it

	closed   sync.Once
	closeErr error // Guarded by closed
}

// Option changes how Open runs a server that it has to start.
type Option func(*options)

type options struct {
	volatile       bool
	maxConnections int
	binaries       []string // where to look; nil: the whole machine
	environment    []string // of the server, besides what it always has
}

// Volatile trades the data's safety for speed, for tests: a crash of the
// machine may destroy the cluster. A crash of the server does not.
func Volatile() Option { return func(o *options) { o.volatile = true } }

// MaxConnections sets how many clients the server takes; 100 without it.
func MaxConnections(n int) Option { return func(o *options) { o.maxConnections = n } }

// Binaries looks for initdb and postgres in these folders instead of wherever
// operating systems put them.
func Binaries(dirs ...string) Option {
	return func(o *options) { o.binaries = append([]string{}, dirs...) }
}

// Environment sets variables, as NAME=value, that the server has besides its own: for
// tests that give it a clock.
func Environment(variables ...string) Option {
	return func(o *options) { o.environment = append([]string{}, variables...) }
}

// Open makes sure that a Postgres server runs on the cluster under dir and
// holds on to it until Close. It makes the cluster on first use, starts the
// server or adopts the one already running there, and creates the database.
// Any number of processes may call it at once. As root it runs the server as
// an unprivileged account. ctx bounds the opening, not the life of the server.
//
// Errors are ErrNoPostgres, ErrVersion, ErrUnreachable, or what went wrong
// with the folder or the server.
func Open(ctx context.Context, dir string, log *slog.Logger, opts ...Option) (*Cluster, error) {
	c := &Cluster{log: log, options: options{maxConnections: 100}}
	for _, o := range opts {
		o(&c.options)
	}
	if err := c.prepare(dir); err != nil {
		return nil, fmt.Errorf("couldn't prepare the Postgres folder %s: %w", dir, err)
	}
	starting, err := lockFile(ctx, filepath.Join(c.dir, "start.lock"), exclusive)
	if err != nil {
		return nil, fmt.Errorf("couldn't wait for another process to start or stop Postgres: %w", err)
	}
	defer starting.Close()
	if c.users, err = lockFile(ctx, filepath.Join(c.dir, "lock"), shared); err != nil {
		return nil, fmt.Errorf("couldn't join the users of Postgres: %w", err)
	}
	if err := c.bringUp(ctx); err != nil {
		c.letGo()
		return nil, err
	}
	return c, nil
}

// prepare makes the folder and decides who runs the server.
func (c *Cluster) prepare(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // the server's account has to walk through
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	// The running server is recognised by the path it was given.
	if c.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	c.data = filepath.Join(c.dir, "data")
	c.account, err = chooseAccount(c.data)
	return err
}

// bringUp ends with a server that takes connections and has the database. The
// caller holds start.lock.
func (c *Cluster) bringUp(ctx context.Context) error {
	made, err := c.initialised(ctx)
	if err != nil {
		return err
	}
	if !made {
		if err := c.initialise(ctx); err != nil {
			return err
		}
	}
	if c.password, err = readPassword(c.dir); err != nil {
		return err
	}
	if err := c.adoptOrStart(ctx); err != nil {
		return err
	}
	c.url = c.server.url(c.password, database)
	return c.createDatabase(ctx)
}

// URL returns what connects to the platform's database, password included.
func (c *Cluster) URL() string { return c.url }

// Close lets go of the server and stops it if nobody else holds on to it.
// Connections should be closed before. Closing twice does nothing.
func (c *Cluster) Close() error {
	c.closed.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		starting, err := lockFile(ctx, filepath.Join(c.dir, "start.lock"), exclusive)
		if err != nil {
			c.users.Close()
			c.closeErr = fmt.Errorf("couldn't wait for another process to start or stop Postgres: %w", err)
			return
		}
		defer starting.Close()
		c.closeErr = c.letGo()
	})
	return c.closeErr
}

// letGo drops our hold and stops the server when that was the last. The caller
// holds start.lock, so nobody can join in between.
func (c *Cluster) letGo() error {
	defer c.users.Close()
	if !upgrade(c.users) {
		return nil
	}
	pm, ok := readPostmaster(c.data)
	if !ok || !pm.running(c.data) {
		return nil
	}
	if err := pm.stop(c.data); err != nil {
		return fmt.Errorf("couldn't stop Postgres: %w", err)
	}
	if c.ended != nil && pm.pid == c.server.pid {
		<-c.ended // our child: gone from the process table, too
	}
	c.log.Debug("stopped Postgres", "dir", c.dir)
	return nil
}
