package browsertest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Browsers encode and decode in software here, and go test runs packages side by
// side: two with browsers at once would starve each other's pictures. So the
// browsers of a machine take turns, by a lock on a file: all of one process's
// together.
var turn struct {
	mu sync.Mutex
	// Guarded by mu.
	users int
	file  *os.File
}

// takeTurn waits until no other process has browsers, and keeps it so until the
// test ends.
func takeTurn(t testing.TB) {
	t.Helper()
	turn.mu.Lock()
	defer turn.mu.Unlock()
	if turn.users == 0 {
		file, err := lock(filepath.Join(os.TempDir(), "hibari-browsers.lock"))
		if err != nil {
			t.Fatalf("couldn't wait for other tests' browsers: %v", err)
		}
		turn.file = file
	}
	turn.users++
	t.Cleanup(func() {
		turn.mu.Lock()
		defer turn.mu.Unlock()
		if turn.users--; turn.users == 0 {
			_ = turn.file.Close() // and with it the lock
		}
	})
}

// lock opens a file that any account may open, and locks it.
func lock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(file.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
