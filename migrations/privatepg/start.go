package privatepg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errNotRunning says that there is no server to adopt.
var errNotRunning = errors.New("no server is running")

// How long a server that starts may be without its socket, how long the
// processes of a killed one may keep a new one from starting, and the size at
// which the log of the last run is set aside.
const (
	socketGrace = 10 * time.Second
	orphanGrace = 30 * time.Second
	logLimit    = 16 << 20
)

// adopt takes over the server that already runs, whoever started it.
func (c *Cluster) adopt(ctx context.Context) error {
	pm, ok := readPostmaster(c.data)
	if !ok {
		return errNotRunning
	}
	if !pm.running(c.data) {
		return c.clearStale(pm)
	}
	deadline := time.Now().Add(socketGrace)
	for !pm.listening() {
		if pm.ready || time.Now().After(deadline) {
			return c.replace(pm)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("couldn't wait for Postgres: %w", err)
		}
		if pm, ok = readPostmaster(c.data); !ok || !pm.running(c.data) {
			return errNotRunning // it was on its way out
		}
	}
	if err := c.await(ctx, pm, nil); err != nil {
		return err
	}
	c.server, c.ended = pm, nil
	c.log.Debug("joined a running Postgres", "dir", c.dir, "pid", pm.pid)
	return nil
}

// clearStale removes what a killed server left. Postgres does so itself unless
// its old process number now belongs to another process of the same account,
// which is likely after a reboot.
func (c *Cluster) clearStale(pm postmaster) error {
	stale := []string{filepath.Join(c.data, "postmaster.pid")}
	if pm.socketDir != "" {
		stale = append(stale, pm.socket(), pm.socket()+".lock")
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("couldn't remove the leavings of a killed Postgres: %w", err)
		}
	}
	c.log.Info("Postgres did not stop in good order last time; recovering", "dir", c.dir)
	return errNotRunning
}

// replace stops a server whose socket somebody deleted, if nobody uses it.
func (c *Cluster) replace(pm postmaster) error {
	alone := upgrade(c.users)
	if err := flock(c.users, shared); err != nil {
		return fmt.Errorf("couldn't join the users of Postgres: %w", err)
	}
	if !alone {
		return fmt.Errorf("couldn't reach Postgres (process %d): its socket in %q is gone, and others still use it; stop them first",
			pm.pid, pm.socketDir)
	}
	c.log.Warn("restarting Postgres, whose socket was deleted", "socket", pm.socketDir)
	if err := pm.stop(c.data); err != nil {
		return fmt.Errorf("couldn't stop Postgres: %w", err)
	}
	return errNotRunning
}

func (pm postmaster) socket() string {
	return filepath.Join(pm.socketDir, ".s.PGSQL."+strconv.Itoa(pm.port))
}

func (pm postmaster) listening() bool {
	if pm.socketDir == "" || pm.port == 0 {
		return false
	}
	_, err := os.Stat(pm.socket())
	return err == nil
}

// start runs a new server and returns when it takes connections. The
// processes of a killed one may need a moment to notice; until then its shared
// memory keeps a new one out.
func (c *Cluster) start(ctx context.Context) error {
	sockets, err := c.socketFolder()
	if err != nil {
		return fmt.Errorf("couldn't make a folder for the Postgres socket: %w", err)
	}
	deadline := time.Now().Add(orphanGrace)
	for {
		err := c.launch(ctx, sockets)
		if err == nil {
			c.log.Info("started a private Postgres", "dir", c.dir, "pid", c.server.pid, "account", c.account.name)
			return nil
		}
		if !strings.Contains(err.Error(), "pre-existing shared memory block") || time.Now().After(deadline) {
			return fmt.Errorf("couldn't start Postgres (log: %s): %w", filepath.Join(c.dir, "log"), err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("couldn't wait for a killed Postgres to end: %w", err)
		}
	}
}

// launch makes one attempt to start a server.
func (c *Cluster) launch(ctx context.Context, sockets string) error {
	log, err := c.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(c.bin, "postgres"), c.arguments(sockets)...)
	cmd.Env = append(environment(), c.options.environment...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := c.account.run(cmd, c.dir, sockets); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		if c.account.refused(err, c.dir) {
			return c.account.unreachable(c.dir)
		}
		return err
	}
	ended := make(chan struct{})
	go runWait(cmd, ended)
	pm := postmaster{pid: cmd.Process.Pid, socketDir: sockets, port: port}
	if err := c.await(ctx, pm, ended); err != nil {
		select {
		case <-ended:
			said, _ := io.ReadAll(io.NewSectionReader(log, before, 1<<20)) // what there is of it
			return fmt.Errorf("it ended at once: %s", complaint(string(said)))
		default:
			return errors.Join(err, pm.stop(c.data))
		}
	}
	c.server, c.ended = pm, ended
	return nil
}

// runWait reaps the server when it ends, however long that takes: it may
// outlive its Cluster, but not this process's memory of it.
func runWait(cmd *exec.Cmd, ended chan<- struct{}) {
	_ = cmd.Wait() // how it ended stands in its log
	close(ended)
}

// port is only a part of the socket's name.
const port = 5432

// arguments are the server's. -D comes first and -c next: see splitArgs.
func (c *Cluster) arguments(sockets string) []string {
	args := []string{"-D", c.data}
	for _, setting := range []string{
		"listen_addresses=", // no network
		"unix_socket_directories=" + sockets,
		"unix_socket_permissions=0700",
		"port=" + strconv.Itoa(port),
		"max_connections=" + strconv.Itoa(c.options.maxConnections),
		"logging_collector=off",
		"log_destination=stderr",
		"timezone=UTC",
		"log_timezone=UTC",
	} {
		args = append(args, "-c", setting)
	}
	if c.options.volatile {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	return args
}

// openLog opens the server's log for both: it appends, we read.
func (c *Cluster) openLog() (*os.File, error) {
	path := filepath.Join(c.dir, "log")
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return log, c.account.own(path)
}

// await returns when the server takes connections. A server that recovers
// from a crash may need minutes, so only ctx and the server's end cut it short.
func (c *Cluster) await(ctx context.Context, pm postmaster, ended <-chan struct{}) error {
	for {
		conn, err := pgx.Connect(ctx, pm.url(c.password, "postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && refusal.Code != "57P03" && refusal.Code != "53300" { // cannot_connect_now, too_many_connections
			return fmt.Errorf("couldn't log in to Postgres: %w", err)
		}
		if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EACCES) {
			return fmt.Errorf("couldn't log in to Postgres: %w", err)
		}
		select {
		case <-ended:
			return errNotRunning
		default:
		}
		if ended == nil && !pm.running(c.data) {
			return errNotRunning
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("couldn't wait for Postgres to take connections: %w", err)
		}
	}
}

// createDatabase makes the platform's database unless it is there.
func (c *Cluster) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.server.url(c.password, "postgres"))
	if err != nil {
		return fmt.Errorf("couldn't reach Postgres: %w", err)
	}
	defer conn.Close(ctx)
	var there bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", database).Scan(&there); err != nil {
		return fmt.Errorf("couldn't look for the database: %w", err)
	}
	if there {
		return nil
	}
	if _, err := conn.Exec(ctx, "create database "+database); err != nil {
		return fmt.Errorf("couldn't create the database: %w", err)
	}
	return nil
}
