package suite

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// Machine says what was measured on.
type Machine struct {
	CPU, Kernel, Go string
	Cores           int
	// Siblings says that the server's core shares its silicon with one of the load
	// tool's (SMT), which slows it while that works.
	Siblings bool
	At       time.Time
}

// String is one line.
func (m Machine) String() string {
	smt := "no SMT siblings"
	if m.Siblings {
		smt = "SMT siblings"
	}
	return fmt.Sprintf("%s: %d × %s (%s), %s, %s", m.At.Format("2006-01-02 15:04 MST"), m.Cores, m.CPU, smt, m.Kernel, m.Go)
}

// machine asks the system, as far as it tells.
func machine() Machine {
	m := Machine{
		CPU: runtime.GOARCH, Kernel: runtime.GOOS, Go: runtime.Version(),
		Cores: runtime.NumCPU(), At: time.Now().UTC(),
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + strings.TrimSpace(string(release))
	}
	if siblings, err := os.ReadFile("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"); err == nil {
		m.Siblings = strings.ContainsAny(string(siblings), ",-") // "0-1" or "0,64" of two, "0" of one
	}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return m
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}
