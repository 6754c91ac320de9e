package privatepg_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/migrations/privatepg"
)

// socketOf returns the owner and the mode of the folder of the server's
// socket, and the owner of the socket, which is whom the server runs as.
func socketOf(t *testing.T, c *privatepg.Cluster) (dir string, mode os.FileMode, uid int) {
	t.Helper()
	u, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	dir = u.Query().Get("host")
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := os.Stat(filepath.Join(dir, ".s.PGSQL."+u.Query().Get("port")))
	if err != nil {
		t.Fatal(err)
	}
	return dir, info.Mode().Perm(), int(socket.Sys().(*syscall.Stat_t).Uid)
}

func TestAccount(t *testing.T) {
	dir := folder(t)
	_, mode, uid := socketOf(t, open(t, dir))
	if mode != 0o700 {
		t.Errorf("the socket's folder has mode %o", mode)
	}
	switch us := os.Geteuid(); {
	case us == 0 && uid == 0:
		t.Error("the server runs as root")
	case us != 0 && uid != us:
		t.Errorf("the server runs as uid %d, we are %d", uid, us)
	}
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != uid || info.Mode().Perm() != 0o700 {
		t.Errorf("data belongs to uid %d with mode %o, the server is %d", owner, info.Mode().Perm(), uid)
	}
}

// Root's own folders are closed to the account that runs the server.
func TestClosedParent(t *testing.T) {
	dir := folder(t)
	parent := filepath.Dir(dir)
	if err := os.Chmod(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	query(t, c.URL(), "select 'in'")
	if _, _, uid := socketOf(t, c); os.Geteuid() == 0 && uid == 0 {
		t.Error("the server runs as root")
	}
}

// As root the server stays with the account that owns the data, such as the
// user who ran the platform before.
func TestOwnerOfTheData(t *testing.T) {
	dir := folder(t)
	c := open(t, dir)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	want := os.Geteuid()
	if want == 0 {
		want = 54321
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, want, want)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, _, uid := socketOf(t, open(t, dir)); uid != want {
		t.Errorf("the server runs as uid %d, the data belongs to %d", uid, want)
	}
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(folder(t), strings.Repeat("long", 30), "postgres, too")
	c := open(t, dir)
	query(t, c.URL(), "select 'reachable'")
	socket, mode, _ := socketOf(t, c)
	if strings.HasPrefix(socket, dir) || mode != 0o700 {
		t.Errorf("the socket is in %s with mode %o", socket, mode)
	}
	t.Cleanup(func() { os.RemoveAll(socket) })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// Whoever may write the temporary folder cannot have us use theirs.
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), socket); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, dir, privatepg.Volatile()); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("with a planted link: %v", err)
	}
}

func TestNoPostgres(t *testing.T) {
	_, err := tryOpen(t, folder(t), privatepg.Binaries(t.TempDir()))
	if !errors.Is(err, privatepg.ErrNoPostgres) || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("without Postgres: %v", err)
	}
}

func TestOtherMajorVersion(t *testing.T) {
	dir := folder(t)
	c := open(t, dir)
	major := query(t, c.URL(), "select current_setting('server_version_num')::int / 10000 || ''")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"14", "99", "nonsense"} {
		if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte(version+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := tryOpen(t, dir)
		if !errors.Is(err, privatepg.ErrVersion) || !strings.Contains(err.Error(), "Postgres "+version) || strings.Contains(err.Error(), "\n") {
			t.Errorf("with data of %s: %v", version, err)
		}
		if version == "99" && !strings.Contains(err.Error(), "this machine has Postgres "+major) {
			t.Errorf("the error doesn't say what the machine has: %v", err)
		}
	}
}

// A newer Postgres beside the old one doesn't take the data over.
func TestRightVersionOfTwo(t *testing.T) {
	dir := folder(t)
	c := open(t, dir)
	bin := binariesOf(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	for _, program := range []string{"postgres", "initdb"} {
		script := "#!/bin/sh\n[ \"$1\" = --version ] && echo 'postgres (PostgreSQL) 99.1' && exit\nexit 1\n"
		if err := os.WriteFile(filepath.Join(newer, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	query(t, open(t, dir, privatepg.Binaries(newer, bin)).URL(), "select 'the old one'")
	if _, err := tryOpen(t, folder(t), privatepg.Binaries(newer, bin)); err == nil || !strings.Contains(err.Error(), newer) {
		t.Errorf("a new cluster wasn't made with the newest version: %v", err)
	}
}

// binariesOf asks the server where its programs are.
func binariesOf(t *testing.T, c *privatepg.Cluster) string {
	t.Helper()
	return query(t, c.URL(), "select setting from pg_config where name = 'BINDIR'")
}

// A run cut short in the middle of making the cluster leaves nothing in the way.
func TestUnfinishedCluster(t *testing.T) {
	dir := folder(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	query(t, open(t, dir).URL(), "select 'made anew'")
}

func TestLostPassword(t *testing.T) {
	dir := folder(t)
	c := open(t, dir)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "password")); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, dir); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(dir, "password")) {
		t.Errorf("without the password file: %v", err)
	}
}

func TestMaxConnections(t *testing.T) {
	c := open(t, folder(t), privatepg.MaxConnections(17))
	if got := query(t, c.URL(), "show max_connections"); got != strconv.Itoa(17) {
		t.Errorf("max_connections = %s", got)
	}
	for range 16 {
		conn, err := pgx.Connect(context.Background(), c.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
	}
}
