package privatepg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/hibari/hibari/migrations/privatepg"
)

// childFolder makes the test binary a user of the cluster in the folder it
// names, which prints the URL and lets go at the end of its input.
const childFolder = "PRIVATEPG_TEST_FOLDER"

func TestMain(m *testing.M) {
	dir := os.Getenv(childFolder)
	if dir == "" {
		os.Exit(m.Run())
	}
	c, err := privatepg.Open(context.Background(), dir, slog.New(slog.DiscardHandler), privatepg.Volatile())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.URL())
	io.Copy(io.Discard, os.Stdin)
	if err := c.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// child is another process that uses the cluster.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return &child{cmd, stdin, strings.TrimSpace(line)}
}

func (c *child) letGo(t *testing.T) {
	t.Helper()
	c.stdin.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the other process ended with %v", err)
	}
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.cmd.Wait() // an error by intent: it was killed
}

// folder returns a new folder that every account may enter, at which no server
// is left when the test ends.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "privatepg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pid := serverPID(filepath.Join(dir, "postgres")); pid != 0 {
			t.Errorf("server %d was left behind", pid)
			syscall.Kill(pid, syscall.SIGQUIT)
		}
		os.RemoveAll(dir)
	})
	return filepath.Join(dir, "postgres")
}

func open(t *testing.T, dir string, opts ...privatepg.Option) *privatepg.Cluster {
	t.Helper()
	c, err := tryOpen(t, dir, append(opts, privatepg.Volatile())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func tryOpen(t *testing.T, dir string, opts ...privatepg.Option) (*privatepg.Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return privatepg.Open(ctx, dir, slog.New(slog.NewTextHandler(t.Output(), nil)), opts...)
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var s string
	if err := conn.QueryRow(context.Background(), sql).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

// serverPID returns the process named in the cluster's pid file; 0 without one.
func serverPID(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(line)
	return pid
}

func TestFirstStart(t *testing.T) {
	dir := folder(t)
	c, err := tryOpen(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][2]string{
		{"fsync", "on"}, {"listen_addresses", ""}, {"server_encoding", "UTF8"}, {"TimeZone", "UTC"}, {"max_connections", "100"},
	} {
		if got := query(t, c.URL(), "show "+want[0]); got != want[1] {
			t.Errorf("%s = %q, want %q", want[0], got, want[1])
		}
	}
	if got := query(t, c.URL(), "select current_database()::text"); got != "hibari" {
		t.Errorf("the URL leads to database %q", got)
	}
	query(t, c.URL(), "select lo_from_bytea(4711, 'kept')::text")
	info, err := os.Stat(filepath.Join(dir, "password"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password file: %v, %v; want mode 0600", info.Mode(), err)
	}

	pid := serverPID(dir)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("server %d after the last Close: %v", pid, err)
	}
	again := open(t, dir)
	if got := query(t, again.URL(), "select convert_from(lo_get(4711), 'UTF8')"); got != "kept" {
		t.Errorf("after a restart the data is %q", got)
	}
	if c.URL() != again.URL() {
		t.Errorf("the URL changed from %s to %s", c.URL(), again.URL())
	}
}

func TestPasswordIsNeeded(t *testing.T) {
	c := open(t, folder(t))
	u, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	if password, _ := u.User.Password(); len(password) < 20 {
		t.Errorf("password %q is short", password)
	}
	for _, user := range []*url.Userinfo{url.User("hibari"), url.UserPassword("hibari", "guess"), url.UserPassword("postgres", "")} {
		u.User = user
		if conn, err := pgx.Connect(context.Background(), u.String()); err == nil {
			conn.Close(context.Background())
			t.Errorf("%s was let in", user)
		}
	}
}

func TestLastOneOutStops(t *testing.T) {
	dir := folder(t)
	first := open(t, dir)
	second := startChild(t, dir)
	if first.URL() != second.url {
		t.Errorf("two users have %s and %s", first.URL(), second.url)
	}
	pid := serverPID(dir)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	query(t, second.url, "select 'still there'")
	third := open(t, dir)
	second.letGo(t)
	query(t, third.URL(), "select 'still there'")
	if now := serverPID(dir); now != pid {
		t.Errorf("server %d became %d", pid, now)
	}
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
	if now := serverPID(dir); now != 0 {
		t.Errorf("server %d runs after the last user left", now)
	}
}

// A platform killed hard leaves its server running; the next one takes it over.
func TestKilledOwner(t *testing.T) {
	dir := folder(t)
	owner := startChild(t, dir)
	query(t, owner.url, "select lo_from_bytea(4711, 'kept')::text")
	pid := serverPID(dir)
	sid, err := unix.Getsid(pid)
	if err != nil || sid != pid {
		t.Errorf("server %d is in session %d, %v; want its own, out of Ctrl-C's way", pid, sid, err)
	}
	owner.kill(t)
	c := open(t, dir)
	if now := serverPID(dir); now != pid {
		t.Errorf("server %d was replaced by %d", pid, now)
	}
	if got := query(t, c.URL(), "select convert_from(lo_get(4711), 'UTF8')"); got != "kept" {
		t.Errorf("the data is %q", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if now := serverPID(dir); now != 0 {
		t.Errorf("server %d runs after its heir let go", now)
	}
}

// A server killed hard leaves a pid file whose number may be another's by now.
func TestStalePID(t *testing.T) {
	dir := folder(t)
	owner := startChild(t, dir)
	query(t, owner.url, "select lo_from_bytea(4711, 'kept')::text")
	file := filepath.Join(dir, "data", "postmaster.pid")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	account := info.Sys().(*syscall.Stat_t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(serverPID(dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	owner.kill(t)

	stranger := exec.Command("sleep", "600") // of the same account, so Postgres would believe in it
	stranger.Dir = "/"
	if os.Geteuid() == 0 {
		stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: account.Uid, Gid: account.Gid}}
	}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(file, []byte(strconv.Itoa(stranger.Process.Pid)+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	if got := query(t, c.URL(), "select convert_from(lo_get(4711), 'UTF8')"); got != "kept" {
		t.Errorf("the data is %q", got)
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger was harmed: %v", err)
	}
}

func TestDeletedSocket(t *testing.T) {
	dir := folder(t)
	owner := startChild(t, dir)
	owner.kill(t)
	if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil {
		t.Fatal(err)
	}
	query(t, open(t, dir).URL(), "select 'reachable again'")
}

// Everybody who comes and goes at once always finds a server while it holds on.
func TestManyAtOnce(t *testing.T) {
	dir := folder(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 3 {
				c, err := tryOpen(t, dir, privatepg.Volatile())
				if err != nil {
					t.Error(err)
					return
				}
				conn, err := pgx.Connect(context.Background(), c.URL())
				if err != nil {
					t.Error(err)
				} else {
					conn.Close(context.Background())
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestOpenHonoursItsContext(t *testing.T) {
	dir := folder(t)
	open(t, dir)
	f, err := os.OpenFile(filepath.Join(dir, "start.lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := privatepg.Open(ctx, dir, slog.New(slog.DiscardHandler)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open behind a lock: %v", err)
	}
}
