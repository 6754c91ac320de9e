package suite

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// cores says who runs where. With several cores the server has the first to
// itself, so that it is measured alone and Go gives it one processor; the load
// tool and Postgres have the others.
type cores struct {
	server, tool *unix.CPUSet // nil: anywhere
	all          unix.CPUSet
}

// enough reports whether there are so many.
func (c cores) enough(n int) bool { return c.all.Count() >= n }

// first are the first n cores.
func (c cores) first(n int) *unix.CPUSet {
	var set unix.CPUSet
	for i := 0; set.Count() < n; i++ {
		if c.all.IsSet(i) {
			set.Set(i)
		}
	}
	return &set
}

func shareCores() cores {
	var all unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil || all.Count() < 2 {
		return cores{}
	}
	every := all
	var server unix.CPUSet
	for i := 0; server.Count() == 0; i++ {
		if all.IsSet(i) {
			server.Set(i)
			all.Clear(i)
		}
	}
	return cores{&server, &all, every}
}

// start starts a command on a set of cores.
func (c cores) start(cmd *exec.Cmd, on *unix.CPUSet) error { return c.on(on, cmd.Start) }

// on calls f, whose children stay on a set of cores: a child inherits its
// thread's.
func (cores) on(on *unix.CPUSet, f func() error) error {
	if on == nil {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, on); err != nil {
		return err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	return f()
}

// stay keeps this process itself, and what it starts from now on, to the load
// tool's cores.
func (c cores) stay() error {
	if c.tool == nil {
		return nil
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, c.tool); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// ownGroup keeps the terminal's Ctrl-C from a child, and has it end with us.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
