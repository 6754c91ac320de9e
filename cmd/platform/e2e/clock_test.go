//go:build linux && (amd64 || arm64)

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clock is virtual time: the clocks of all programs that are made for it, and of a
// Postgres, are the machine's and what is wound on top, in one page of memory that they
// share. So they always agree, wall clock and monotonic, to the nanosecond. Programs are
// made of the same sources as ever; what differs is where Go's runtime reads the time.
type clock struct {
	// Static.
	t    *testing.T
	dir  string
	page *[2]int64 // how far the monotonic clock is ahead, and the wall clock of that one

	winding chan struct{} // closed when wind has ended; nil: it does not run. Owned by the test
	halt    context.CancelFunc
}

// newClock makes a clock that shows start.
func newClock(t *testing.T, start time.Time) *clock {
	t.Helper()
	dir, err := os.MkdirTemp("", "hibari-clock-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &clock{t: t, dir: dir}
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres runs as another account
		t.Fatal(err)
	}
	file, err := os.OpenFile(c.path("now"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size := os.Getpagesize()
	if err := file.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	page, err := unix.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	c.page = (*[2]int64)(unsafe.Pointer(&page[0]))
	c.page[1] = start.UnixNano() - monotonic()
	c.preload()
	return c
}

func (c *clock) path(name string) string { return filepath.Join(c.dir, name) }

// monotonic is the machine's clock.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err) // there is no Linux without
	}
	return now.Nano()
}

// now is the virtual time.
func (c *clock) now() time.Time {
	return time.Unix(0, monotonic()+atomic.LoadInt64(&c.page[0])+c.page[1]).UTC()
}

// variable tells a program of the clock.
func (c *clock) variable() string { return "VIRTUAL_CLOCK=" + c.path("now") }

// preload makes what Postgres is loaded with: see postgres.
func (c *clock) preload() {
	c.t.Helper()
	out, err := exec.Command("cc", "-shared", "-fPIC", "-O2", "-o", c.path("clock.so"), "testdata/clock/clock.c").CombinedOutput()
	if err != nil {
		c.t.Fatalf("couldn't compile Postgres's clock: %v\n%s", err, out)
	}
}

// postgres are the variables that have a Postgres go by the clock.
func (c *clock) postgres() []string {
	return []string{c.variable(), "LD_PRELOAD=" + c.path("clock.so")}
}

// build builds a program that goes by the clock, and returns where it is.
func (c *clock) build(name, pkg string) string {
	c.t.Helper()
	build := exec.Command("go", "build", "-overlay", c.overlay(), "-o", c.path(name), pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		c.t.Fatalf("couldn't build %s to go by a virtual clock: %v\n%s", pkg, err, out)
	}
	return c.path(name)
}

// overlay puts a few lines into Go's runtime (go help build, -overlay).
func (c *clock) overlay() string {
	c.t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(root)), "src", "runtime")
	ours, err := filepath.Abs("testdata/clock/runtime.go.txt")
	if err != nil {
		c.t.Fatal(err)
	}
	replace := map[string]string{filepath.Join(dir, "virtual_clock.go"): ours}
	for _, gone := range []string{"timestub.go", "timeasm.go", "time_linux_amd64.s"} { // they read both clocks
		replace[filepath.Join(dir, gone)] = ""
	}
	for _, change := range []struct{ file, from, to string }{
		{"time_nofake.go", "\treturn nanotime1()\n", "\treturn nanotime1() + clockAhead()\n"},
		{"proc.go", "\tgoenvs()\n", "\tgoenvs()\n\tclockInit()\n"},
		{"netpoll_epoll.go", "func netpoll(delay int64) (gList, int32) {\n", "func netpoll(delay int64) (gList, int32) {\n\tdelay = clockCap(delay)\n"},
		{"os_linux.go", "\tts.setNsec(ns)\n\tfutex(", "\tts.setNsec(clockCap(ns))\n\tfutex("},
	} {
		text, err := os.ReadFile(filepath.Join(dir, change.file))
		if err != nil {
			c.t.Fatal(err)
		}
		if n := strings.Count(string(text), change.from); n != 1 {
			c.t.Fatalf("%s of %s has %q %d times: the virtual clock has to be fitted to it", change.file, runtime.Version(), change.from, n)
		}
		replace[filepath.Join(dir, change.file)] = c.path(change.file)
		if err := os.WriteFile(c.path(change.file), []byte(strings.Replace(string(text), change.from, change.to, 1)), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.path("overlay.json"), encoded, 0o644); err != nil {
		c.t.Fatal(err)
	}
	return c.path("overlay.json")
}

// clockStep is by how much the clock is wound at once. Whatever happens between two
// steps happens at the same virtual time but for what it really takes.
const clockStep = 250 * time.Millisecond

// wind winds the clock, at most rate times as fast as time goes by, until rest. Before
// each step it waits until every one of alive has answered: no program finds that more
// than a step and what it took itself has gone by since it was last awake, however busy
// the machine is.
func (c *clock) wind(rate int, alive ...func() error) {
	ctx, halt := context.WithCancel(context.Background())
	c.halt, c.winding = halt, make(chan struct{})
	go func() {
		defer close(c.winding)
		for ctx.Err() == nil {
			begun := time.Now()
			for _, answers := range alive {
				for answers() != nil && ctx.Err() == nil {
					time.Sleep(time.Millisecond) // between two looks at a program that starts
				}
			}
			time.Sleep(clockStep/time.Duration(rate) - time.Since(begun))
			atomic.AddInt64(&c.page[0], int64(clockStep))
		}
	}()
}

// rest lets the clock go as fast as the machine's.
func (c *clock) rest() {
	if c.halt != nil {
		c.halt()
		<-c.winding
		c.halt = nil
	}
}

// jump puts the clock forward while no program runs that goes by it.
func (c *clock) jump(d time.Duration) { atomic.AddInt64(&c.page[0], int64(d)) }

// until waits for a virtual time, while the clock is being wound.
func (c *clock) until(when time.Time) {
	for c.now().Before(when) {
		time.Sleep(10 * time.Millisecond) // between two looks at the clock
	}
}

func (c *clock) String() string { return fmt.Sprint(c.now()) }
