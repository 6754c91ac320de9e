package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hibari/hibari/internal/tenant"
)

// dataDir is HIBARI_DATA_DIR: the master key, this installation's identity
// and, without HIBARI_DATABASE_URL, the private Postgres.
type dataDir struct {
	path string
	lock *os.File // held while serving; nil otherwise
}

// openDataDir makes the directory when it is missing.
func openDataDir(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("HIBARI_DATA_DIR: %w", err)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("HIBARI_DATA_DIR: couldn't make the data directory: %w", err)
	}
	return &dataDir{path: path}, nil
}

// errServing says that another process serves from the same directory.
var errServing = errors.New("another platform already serves from this data directory; stop it, or set HIBARI_DATA_DIR elsewhere")

// claim takes the directory for one serving process. The lock goes with the
// process, however it dies, so whoever holds it knows that every earlier node
// of this directory is dead.
func (d *dataDir) claim() error {
	file, err := os.OpenFile(filepath.Join(d.path, "serve.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("HIBARI_DATA_DIR: couldn't open the lock file: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return fmt.Errorf("HIBARI_DATA_DIR %s: %w", d.path, errServing)
	}
	d.lock = file
	return nil
}

// release gives the directory back.
func (d *dataDir) release() {
	if d.lock != nil {
		d.lock.Close()
	}
}

// masterKey returns the key that seals secrets at rest, made on first use.
func (d *dataDir) masterKey() ([]byte, error) {
	text, err := d.once("master.key", func() string {
		key := make([]byte, 32)
		rand.Read(key)
		return base64.StdEncoding.EncodeToString(key)
	})
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s is not 32 bytes in base64; restore it from a backup", filepath.Join(d.path, "master.key"))
	}
	return key, nil
}

// instance returns this installation's identity, which node rows carry.
func (d *dataDir) instance() (string, error) { return d.once("instance", tenant.NewID) }

// spool is where what the database is owed outlives this process.
func (d *dataDir) spool() string { return filepath.Join(d.path, "owed.jsonl") }

// once returns the content of a small file, made by first when it is missing.
// Two processes that meet here agree on one content.
func (d *dataDir) once(name string, first func() string) (string, error) {
	path := filepath.Join(d.path, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := writeNew(path, first()); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("couldn't write %s: %w", path, err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("couldn't read %s: %w", path, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// writeNew writes a file whole or not at all, and never over another one.
func writeNew(path, text string) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.WriteString(text + "\n")
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return os.Link(temporary.Name(), path)
}
