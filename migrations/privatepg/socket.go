package privatepg

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// longestSocketFolder is in bytes: with "/.s.PGSQL.5432.lock" and its NUL it
// fits the 104 bytes that macOS gives a socket's path; Linux gives 108.
const longestSocketFolder = 88

// plain is what needs no quoting in unix_socket_directories, a list.
var plain = regexp.MustCompile(`^[A-Za-z0-9/._+@-]+$`)

// socketFolder makes and returns a folder that only the account and root may
// enter: beside the data, or in the temporary folder when that path is too
// long for a socket.
func (c *Cluster) socketFolder() (string, error) {
	dir := filepath.Join(c.dir, "run")
	if len(dir) > longestSocketFolder || !plain.MatchString(dir) {
		sum := sha256.Sum256([]byte(c.dir))
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("hibari-pg-%d-%x", c.account.uid, sum[:8]))
	}
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return dir, c.account.own(dir)
	}
	if !os.IsExist(err) {
		return "", err
	}
	// In a folder where everybody may write, somebody else could have been first.
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || st.Uid != c.account.uid {
		return "", fmt.Errorf("%s is in the way: it is no folder of %s", dir, c.account.name)
	}
	return dir, os.Chmod(dir, 0o700)
}
