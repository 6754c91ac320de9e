package privatepg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is whom the server runs as. Postgres refuses to run as root.
type account struct {
	name     string
	uid, gid uint32
	drop     bool // we are root and have to become this account
}

// unprivileged are the accounts that root lends to a new cluster, best first.
var unprivileged = []string{"postgres", "_postgres", "nobody"}

// chooseAccount returns ourselves, or as root the owner of the cluster, or for
// a new cluster one of the unprivileged accounts.
func chooseAccount(data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{name: "uid " + strconv.Itoa(os.Geteuid()), uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}, nil
	}
	if info, err := os.Stat(data); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return account{name: nameOf(st.Uid), uid: st.Uid, gid: st.Gid, drop: true}, nil
		}
	}
	for _, name := range unprivileged {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseInt(u.Uid, 10, 64) // macOS writes nobody as -2
		gid, err2 := strconv.ParseInt(u.Gid, 10, 64)
		if err1 == nil && err2 == nil && uid != 0 {
			return account{name: name, uid: uint32(uid), gid: uint32(gid), drop: true}, nil
		}
	}
	return account{}, errors.New("root may not run Postgres, and there is no account postgres or nobody to run it")
}

func nameOf(uid uint32) string {
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		return u.Username
	}
	return "uid " + strconv.FormatUint(uint64(uid), 10)
}

// own hands path to the account.
func (a account) own(path string) error {
	if !a.drop {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// run makes cmd run as the account in a session of its own, so that neither
// Ctrl-C nor a closed terminal reaches it, and able to get at the folders.
func (a account) run(cmd *exec.Cmd, dirs ...string) error {
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !a.drop {
		return nil
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	for _, dir := range dirs {
		if a.barrier(dir) != "" && !passBarriers(cmd.SysProcAttr) {
			return a.unreachable(dir)
		}
	}
	return nil
}

// unreachable is the error for a folder below a closed one.
func (a account) unreachable(dir string) error {
	return fmt.Errorf("%w: root runs Postgres as %s, which may not enter %s; "+
		"set HIBARI_DATA_DIR to a folder it can reach, such as /var/lib/hibari", ErrUnreachable, a.name, a.barrier(dir))
}

// refused reports whether err is the kernel's no to starting a program with
// the privilege that dir needs.
func (a account) refused(err error, dir string) bool {
	return a.drop && errors.Is(err, os.ErrPermission) && a.barrier(dir) != ""
}

// barrier returns the folder on the way to dir that the account may not pass,
// or "".
func (a account) barrier(dir string) string {
	if parent := filepath.Dir(dir); parent != dir {
		if b := a.barrier(parent); b != "" {
			return b
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return dir
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return dir
	}
	pass := os.FileMode(0o001)
	switch {
	case st.Uid == a.uid:
		pass = 0o100
	case st.Gid == a.gid:
		pass = 0o010
	}
	if info.Mode().Perm()&pass == 0 {
		return dir
	}
	return ""
}
