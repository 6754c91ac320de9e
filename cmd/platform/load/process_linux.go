package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what a process has used: CPU so far, memory now.
type usage struct {
	cpu    time.Duration
	memory int64 // resident bytes
}

// processUsage asks the kernel. The process's CPU clock is the utime and stime
// of /proc/PID/stat in nanoseconds; its number is what clock_getcpuclockid(3)
// gives.
func processUsage(pid int) (usage, error) {
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &at); err != nil {
		return usage{}, fmt.Errorf("couldn't read the CPU time of process %d: %w", pid, err)
	}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return usage{}, fmt.Errorf("couldn't read the memory of process %d: %w", pid, err)
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return usage{}, fmt.Errorf("couldn't read the memory of process %d: %q", pid, statm)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return usage{}, fmt.Errorf("couldn't read the memory of process %d: %w", pid, err)
	}
	return usage{time.Duration(at.Nano()), pages * int64(os.Getpagesize())}, nil
}
