//go:build !linux

package load

import (
	"errors"
	"time"
)

// usage is what a process has used: CPU so far, memory now.
type usage struct {
	cpu    time.Duration
	memory int64 // resident bytes
}

// processUsage measures on Linux only.
func processUsage(int) (usage, error) {
	return usage{}, errors.New("the server's CPU and memory can be measured on Linux only")
}
