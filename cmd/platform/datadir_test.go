package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func openTestDir(t *testing.T) *dataDir {
	t.Helper()
	d, err := openDataDir(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Two processes that start on an empty directory must seal with one key.
func TestMasterKeyIsMadeOnce(t *testing.T) {
	first := openTestDir(t)
	keys := make([][]byte, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			d, err := openDataDir(first.path)
			if err != nil {
				t.Error(err)
				return
			}
			if keys[i], err = d.masterKey(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, key := range keys {
		if len(key) != 32 || !bytes.Equal(key, keys[0]) {
			t.Fatalf("got the keys %x and %x", keys[0], key)
		}
	}
	info, err := os.Stat(filepath.Join(first.path, "master.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file is %v (%v)", info.Mode(), err)
	}
	entries, err := os.ReadDir(first.path)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

// A damaged key must stop the start: a new one in its place would make every
// stored secret unreadable.
func TestDamagedMasterKeyIsNotReplaced(t *testing.T) {
	d := openTestDir(t)
	path := filepath.Join(d.path, "master.key")
	if err := os.WriteFile(path, []byte("c2hvcnQ=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := d.masterKey(); err == nil {
		t.Errorf("took %x for a master key", key)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "c2hvcnQ=\n" {
		t.Errorf("the file holds %q now (%v)", text, err)
	}
}

func TestInstanceStaysTheSame(t *testing.T) {
	d := openTestDir(t)
	first, err := d.instance()
	if err != nil {
		t.Fatal(err)
	}
	again, err := openDataDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.instance(); err != nil || second != first || first == "" {
		t.Errorf("the instance was %q and is %q (%v)", first, second, err)
	}
}

func TestOneProcessServesFromADirectory(t *testing.T) {
	d := openTestDir(t)
	if err := d.claim(); err != nil {
		t.Fatal(err)
	}
	other, err := openDataDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.claim(); !errors.Is(err, errServing) {
		t.Errorf("a second claim ended with %v", err)
	}
	d.release()
	if err := other.claim(); err != nil {
		t.Errorf("the directory was not given back: %v", err)
	}
	other.release()
}
