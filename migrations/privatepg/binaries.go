package privatepg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first major version the platform runs on.
const oldest = 15

// places are where packages put Postgres outside the PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
	"/usr/pgsql-*/bin",                  // Red Hat, from postgresql.org
	"/usr/libexec/postgresql*",          // Alpine
	"/opt/homebrew/opt/postgresql*/bin", // Homebrew on Apple silicon
	"/usr/local/opt/postgresql*/bin",    // Homebrew on Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin", // built from source
}

// installation is one set of binaries.
type installation struct {
	bin   string
	major int
}

// findBinaries returns the folder with initdb and postgres of the wanted major
// version, or of the newest usable one if wanted is 0.
func findBinaries(ctx context.Context, dirs []string, wanted int) (string, error) {
	found := installations(ctx, dirs)
	for _, in := range found {
		if in.major == wanted || wanted == 0 && in.major >= oldest {
			return in.bin, nil
		}
	}
	if wanted == 0 || len(found) == 0 {
		return "", ErrNoPostgres
	}
	var have []string
	for _, in := range found {
		have = append(have, strconv.Itoa(in.major))
	}
	return "", fmt.Errorf("%w: it holds Postgres %d, this machine has Postgres %s; "+
		"install Postgres %d, or move the folder away to start empty",
		ErrVersion, wanted, strings.Join(slices.Compact(have), " and "), wanted)
}

// installations lists what is on the machine, or in dirs, the newest first.
func installations(ctx context.Context, dirs []string) []installation {
	if dirs == nil {
		dirs = candidates(ctx)
	}
	var found []installation
	seen := map[string]bool{}
	for _, dir := range dirs {
		// A link such as /usr/local/bin/postgres has no initdb beside it, but
		// what it points to has.
		program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil {
			continue
		}
		bin := filepath.Dir(program)
		if seen[bin] {
			continue
		}
		seen[bin] = true
		if _, err := exec.LookPath(filepath.Join(bin, "initdb")); err != nil {
			continue
		}
		if major, ok := majorOf(ctx, program); ok {
			found = append(found, installation{bin, major})
		}
	}
	slices.SortStableFunc(found, func(a, b installation) int { return b.major - a.major })
	return found
}

// candidates lists the folders that may hold binaries.
func candidates(ctx context.Context) []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, place := range places {
		matches, _ := filepath.Glob(place) // the patterns are well-formed
		dirs = append(dirs, matches...)
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	return dirs
}

// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", also "17beta1"
var version = regexp.MustCompile(`^postgres \([^)]*\) (\d+)`)

// majorOf asks a server binary which version it is.
func majorOf(ctx context.Context, program string) (int, bool) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0, false
	}
	m := version.FindSubmatch(out)
	if m == nil {
		return 0, false
	}
	major, err := strconv.Atoi(string(m[1]))
	return major, err == nil
}
