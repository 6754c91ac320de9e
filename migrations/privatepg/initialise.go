package privatepg

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// initialised reports whether there is a cluster, and finds the binaries for
// it or for the one to be made.
func (c *Cluster) initialised(ctx context.Context) (bool, error) {
	made := true
	wanted := 0
	text, err := os.ReadFile(filepath.Join(c.data, "PG_VERSION"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		made = false
	case err != nil:
		return false, fmt.Errorf("couldn't read the version of the Postgres folder: %w", err)
	default:
		if wanted, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil || wanted < oldest {
			return false, fmt.Errorf("couldn't use %s: %w: it holds Postgres %s, the platform needs %d or newer; "+
				"move the folder away to start empty", c.data, ErrVersion, strings.TrimSpace(string(text)), oldest)
		}
	}
	bin, err := findBinaries(ctx, c.options.binaries, wanted)
	if err != nil {
		return false, fmt.Errorf("couldn't use %s: %w", c.data, err)
	}
	c.bin = bin
	return made, nil
}

// initialise makes the cluster beside its place and moves it there when it is
// whole, so that a run cut short leaves nothing that looks like one.
func (c *Cluster) initialise(ctx context.Context) error {
	password, err := readPassword(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		password, err = rand.Text(), nil
		if werr := writeSynced(filepath.Join(c.dir, "password"), password+"\n"); werr != nil {
			return fmt.Errorf("couldn't keep the Postgres password: %w", werr)
		}
	}
	if err != nil {
		return err
	}
	fresh := c.data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("couldn't clear away an unfinished Postgres folder: %w", err)
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("couldn't make the Postgres folder: %w", err)
	}
	if err := c.account.own(fresh); err != nil {
		return fmt.Errorf("couldn't hand the Postgres folder to %s: %w", c.account.name, err)
	}
	if err := c.initdb(ctx, fresh, password); err != nil {
		return err
	}
	if err := os.Rename(fresh, c.data); err != nil {
		return fmt.Errorf("couldn't move the new Postgres folder to its place: %w", err)
	}
	c.log.Info("made a private Postgres cluster", "dir", c.data)
	return syncFolder(c.dir)
}

// initdb makes a cluster in dir whose every connection needs the password.
func (c *Cluster) initdb(ctx context.Context, dir, password string) error {
	secret := filepath.Join(c.dir, "password.init") // initdb reads it as the account
	defer os.Remove(secret)
	if err := writeSynced(secret, password+"\n"); err != nil {
		return fmt.Errorf("couldn't hand over the Postgres password: %w", err)
	}
	if err := c.account.own(secret); err != nil {
		return fmt.Errorf("couldn't hand over the Postgres password: %w", err)
	}
	args := []string{"-D", dir, "-U", role, "--pwfile", secret, "--auth", "scram-sha-256",
		"--encoding", "UTF8", "--locale", "C"} // C: the same order on every machine, for ever
	if c.options.volatile {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "initdb"), args...)
	cmd.Env = environment()
	if err := c.account.run(cmd, c.dir); err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if c.account.refused(err, c.dir) {
			return c.account.unreachable(c.dir)
		}
		return fmt.Errorf("couldn't make a Postgres cluster with %s: %w: %s", cmd.Path, err, complaint(out.String()))
	}
	return nil
}

// environment is what Postgres sees: none of our settings, and none of the
// PG… variables that would change the server's.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

// readPassword returns the role's password.
func readPassword(dir string) (string, error) {
	path := filepath.Join(dir, "password")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("couldn't read the Postgres password: %w", err)
	}
	password := strings.TrimSpace(string(text))
	if password == "" {
		return "", fmt.Errorf("couldn't read the Postgres password: %s is empty", path)
	}
	return password, nil
}

// writeSynced writes a file for our eyes only that survives a power cut, whole
// or not at all.
func writeSynced(path, text string) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// complaint picks the line of Postgres's output that says what is wrong. The
// last words of a killed server's processes may stand before it.
func complaint(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		if strings.Contains(line, "terminating connection") {
			continue
		}
		if strings.Contains(line, "FATAL:") || strings.Contains(line, "error:") {
			return strings.TrimSpace(line)
		}
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
