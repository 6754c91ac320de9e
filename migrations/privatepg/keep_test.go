package privatepg_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/migrations/privatepg"
)

// said is a log that is filled by a failure to start the server again.
type said chan struct{}

func (s said) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("couldn't start the private Postgres again")) {
		select {
		case s <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// keep runs c.Run until the test ends or the returned function is called.
func keep(t *testing.T, c *privatepg.Cluster) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

// awaitAnother waits until a server with another process number answers.
func awaitAnother(t *testing.T, dir, url string, old int) int {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		if pid := serverPID(dir); pid != 0 && pid != old {
			ctx, cancel := context.WithDeadline(context.Background(), deadline)
			conn, err := pgx.Connect(ctx, url)
			cancel()
			if err == nil {
				conn.Close(context.Background())
				return pid
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("server %d has not been replaced", old)
		}
	}
}

// A server that dies in use comes back on the same URL with its data, however
// it died and however often.
func TestDeadServerComesBack(t *testing.T) {
	dir := folder(t)
	c := open(t, dir)
	stop := keep(t, c)
	query(t, c.URL(), "select lo_from_bytea(4711, 'kept')::text")
	pid := serverPID(dir)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		pid = awaitAnother(t, dir, c.URL(), pid)
		if got := query(t, c.URL(), "select convert_from(lo_get(4711), 'UTF8')"); got != "kept" {
			t.Errorf("after %s the data is %q", signal, got)
		}
	}
	stop()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if now := serverPID(dir); now != 0 {
		t.Errorf("server %d runs after the last user left", now)
	}
}

// Of several users one starts the server again, and the others find it, also
// those who did not start it in the first place.
func TestDeadServerOfSeveralUsers(t *testing.T) {
	dir := folder(t)
	owner := startChild(t, dir)
	first, second := open(t, dir), open(t, dir)
	owner.kill(t) // its server is nobody's child of ours
	stopFirst, stopSecond := keep(t, first), keep(t, second)
	pid := serverPID(dir)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitAnother(t, dir, first.URL(), pid)
	stopFirst()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	awaitAnother(t, dir, second.URL(), pid) // a third one if it was first's turn, and first did not finish it
	stopSecond()
}

// A cluster whose folder is gone does not come back empty.
func TestDeletedClusterStaysAway(t *testing.T) {
	dir := folder(t)
	failed := make(said, 1)
	c, err := privatepg.Open(t.Context(), dir, slog.New(slog.NewTextHandler(failed, nil)), privatepg.Volatile())
	if err != nil {
		t.Fatal(err)
	}
	stop := keep(t, c)
	pid := serverPID(dir)
	if err := os.Rename(filepath.Join(dir, "data"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-failed:
	case <-time.After(time.Minute):
		t.Fatal("nobody tried to start it again")
	}
	stop()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); !os.IsNotExist(err) {
		t.Errorf("there is a data folder again: %v", err)
	}
}
