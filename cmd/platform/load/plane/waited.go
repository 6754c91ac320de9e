package plane

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// waited is how long this process's threads have stood ready to run while others
// had the cores, all together. 0 where the system doesn't say.
func waited() (sum time.Duration) {
	threads, _ := filepath.Glob("/proc/self/task/*/schedstat") // the pattern is well-formed
	for _, path := range threads {
		text, err := os.ReadFile(path) // of time on a core, of waiting for one, of turns
		if err != nil {
			continue // the thread has ended
		}
		if fields := strings.Fields(string(text)); len(fields) == 3 {
			ns, _ := strconv.ParseInt(fields[1], 10, 64) // the kernel's own
			sum += time.Duration(ns)
		}
	}
	return sum
}
