package privatepg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a server may take to end: with its clients thrown out and a
// checkpoint written, and then at once.
const (
	fastStop      = 60 * time.Second
	immediateStop = 10 * time.Second
)

// postmaster is a server as it describes itself in postmaster.pid.
type postmaster struct {
	pid       int
	socketDir string
	port      int
	ready     bool // it has said that it takes connections
}

// readPostmaster reads the pid file under data. It reports false when there is
// none, or one that is not complete yet: the lines come as the server starts.
func readPostmaster(data string) (postmaster, bool) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return postmaster{}, false
	}
	lines := strings.Split(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 1 {
		return postmaster{}, false
	}
	pm := postmaster{pid: pid}
	// pid, data folder, start time, port, socket folder, address, shared memory, status
	if len(lines) > 7 {
		pm.ready = strings.TrimSpace(lines[7]) == "ready"
	}
	if len(lines) > 5 {
		pm.port, _ = strconv.Atoi(lines[3]) // 0 reads as not yet known
		pm.socketDir = lines[4]
	}
	return pm, true
}

// running reports whether the pid is still the server of the cluster in data,
// rather than nobody, a zombie, or a stranger who got the number later.
func (pm postmaster) running(data string) bool {
	args := commandLine(pm.pid)
	if len(args) == 0 || !strings.Contains(filepath.Base(args[0]), "postgres") {
		return false
	}
	for i := 1; i+1 < len(args); i++ {
		if args[i] != "-D" {
			continue
		}
		ours, err := os.Stat(data)
		if err != nil {
			return false
		}
		theirs, err := os.Stat(args[i+1])
		// A folder renamed under its server is still its server's.
		return errors.Is(err, fs.ErrNotExist) || err == nil && os.SameFile(ours, theirs)
	}
	return false // a child ("postgres: checkpointer") or somebody else's
}

// commandLine returns the arguments of a process; nil for a zombie and for
// none.
func commandLine(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err == nil {
		return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
	}
	if _, err := os.Stat("/proc/self/cmdline"); err == nil {
		return nil
	}
	out, err := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return nil
	}
	return splitArgs(string(bytes.TrimSpace(out)))
}

// splitArgs takes ps's line apart. Our own server is started with -D as the
// first and -c as the next flag, so the folder may contain spaces.
func splitArgs(line string) []string {
	program, rest, ok := strings.Cut(line, " -D ")
	if !ok {
		return strings.Fields(line)
	}
	folder, _, _ := strings.Cut(rest, " -c ")
	return []string{program, "-D", folder}
}

// url returns what connects to a database of the server.
func (pm postmaster) url(password, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password), Path: "/" + database,
		RawQuery: url.Values{
			"host": {pm.socketDir}, "port": {strconv.Itoa(pm.port)}, "sslmode": {"disable"},
		}.Encode(),
	}
	return u.String()
}

// stop ends the server and returns when it has gone: politely to the data,
// not to the clients; when that takes too long, at once.
func (pm postmaster) stop(data string) error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, fastStop}, {syscall.SIGQUIT, immediateStop}} {
		if err := syscall.Kill(pm.pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("couldn't signal process %d: %w", pm.pid, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), step.wait)
		gone := pm.awaitEnd(ctx, data)
		cancel()
		if gone {
			return nil
		}
	}
	return fmt.Errorf("process %d ignores SIGQUIT", pm.pid)
}

func (pm postmaster) awaitEnd(ctx context.Context, data string) bool {
	for pm.running(data) {
		if pause(ctx, 10*time.Millisecond) != nil {
			return false
		}
	}
	return true
}
