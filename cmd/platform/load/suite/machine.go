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
	At              time.Time
}

// String is one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s: %d × %s, %s, %s", m.At.Format("2006-01-02 15:04 MST"), m.Cores, m.CPU, m.Kernel, m.Go)
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
