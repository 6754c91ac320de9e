package signaling_test

import (
	"encoding/json"
	"sync"

	"github.com/hibari/hibari/internal/tenant"
)

// diary keeps what clients report of themselves.
type diary struct {
	mu sync.Mutex
	// Guarded by mu
	reports map[string][]string // by connection id
}

func (d *diary) Report(_ tenant.ID, connectionID string, report json.RawMessage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reports == nil {
		d.reports = map[string][]string{}
	}
	d.reports[connectionID] = append(d.reports[connectionID], string(report))
}

// of returns what a client reported.
func (d *diary) of(connectionID string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reports[connectionID]
}
