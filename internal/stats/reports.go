package stats

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// reportPause is the least time between two reports of one client that are read.
	reportPause = 5 * time.Second
	// reportKept is for how long after its last report a client's is kept. Clients are
	// asked each minute.
	reportKept = 5 * time.Minute
	// maxReporters is how many clients of a tenant and node are remembered, and
	// maxReportsHeld how many bytes of their reports may wait for the database.
	maxReporters   = 10_000
	maxReportsHeld = 8 << 20
)

// reports is what clients last said of themselves. Its methods may be called from any
// goroutine.
type reports struct {
	mu sync.Mutex
	// Guarded by mu
	tenants map[tenant.ID]*reporters
	counts  ReportCounts
}

// reporters are the clients of one tenant, by connection id. Guarded by the reports' mu.
type reporters struct {
	clients map[string]*reporter
	held    int // bytes of raw
}

// reporter is one client. Guarded by the reports' mu.
type reporter struct {
	at     time.Time // of the newest report
	client Client
	fresh  bool   // no sample has it yet
	raw    []byte // not written yet; nil: it is
}

// ReportCounts says what became of clients' reports since the process's start.
type ReportCounts struct {
	Taken     int64
	TooMany   int64 // too soon after the last, or of too many clients of a tenant
	Malformed int64 // no list of RTCStats, or too large
	Unwritten int64 // taken, but not kept as they came: the database was away
}

// claim reports whether a client's report is to be read now.
func (r *reports) claim(id tenant.ID, connectionID string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tenants == nil {
		r.tenants = map[tenant.ID]*reporters{}
	}
	t := r.tenants[id]
	if t == nil {
		t = &reporters{clients: map[string]*reporter{}}
		r.tenants[id] = t
	}
	c := t.clients[connectionID]
	if c == nil && len(t.clients) < maxReporters {
		c = &reporter{}
		t.clients[connectionID] = c
	}
	if c == nil || now.Sub(c.at) < reportPause {
		r.counts.TooMany++
		return false
	}
	c.at = now
	return true
}

// put takes a report that was read.
func (r *reports) put(id tenant.ID, connectionID string, client Client, raw []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tenants[id]
	if t == nil || t.clients[connectionID] == nil {
		return // it has ended meanwhile
	}
	c := t.clients[connectionID]
	client.Reports = c.client.Reports + 1
	c.client, c.fresh = client, true
	t.held -= len(c.raw)
	c.raw = nil
	r.counts.Taken++
	if t.held+len(raw) > maxReportsHeld {
		r.counts.Unwritten++
		return
	}
	c.raw = raw
	t.held += len(raw)
}

func (r *reports) malformed() {
	r.mu.Lock()
	r.counts.Malformed++
	r.mu.Unlock()
}

// news is what a client reported since this was last asked; zero: nothing.
func (r *reports) news(id tenant.ID, connectionID string) Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tenants[id]
	if t == nil || t.clients[connectionID] == nil || !t.clients[connectionID].fresh {
		return Client{}
	}
	c := t.clients[connectionID]
	c.fresh = false
	return c.client
}

// forget drops what is known of a client that has gone.
func (r *reports) forget(id tenant.ID, connectionID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(id, connectionID)
}

// drop is forget; mu is held.
func (r *reports) drop(id tenant.ID, connectionID string) {
	t := r.tenants[id]
	if t == nil {
		return
	}
	if c := t.clients[connectionID]; c != nil {
		t.held -= len(c.raw)
		delete(t.clients, connectionID)
	}
	if len(t.clients) == 0 {
		delete(r.tenants, id)
	}
}

// sweep forgets clients that have said nothing for long.
func (r *reports) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range r.tenants {
		for connectionID, c := range t.clients {
			if now.Sub(c.at) > reportKept {
				r.drop(id, connectionID)
			}
		}
	}
}

// unwritten is a report as it came, on its way to the database.
type unwritten struct {
	tenant       tenant.ID
	connectionID string
	at           time.Time
	raw          []byte
}

// take takes out up to limit reports that are not written. One that then cannot be
// is replaced by the client's next.
func (r *reports) take(limit int) (taken []unwritten) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range r.tenants {
		for connectionID, c := range t.clients {
			if c.raw == nil {
				continue
			}
			if len(taken) == limit {
				return taken
			}
			taken = append(taken, unwritten{id, connectionID, c.at, c.raw})
			t.held -= len(c.raw)
			c.raw = nil
		}
	}
	return taken
}

func (r *reports) lost(n int) {
	r.mu.Lock()
	r.counts.Unwritten += int64(n)
	r.mu.Unlock()
}

func (r *reports) counted() ReportCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// Report takes what a client reports of itself: a list of RTCStats as JSON, which
// stays the caller's. It does not wait. What is no such list, too large or comes too
// often is dropped and counted.
func (s *Store) Report(id tenant.ID, connectionID string, report json.RawMessage) {
	if !s.reports.claim(id, connectionID, time.Now()) {
		return
	}
	client, err := ParseReport(report)
	if err != nil {
		s.reports.malformed()
		return
	}
	s.reports.put(id, connectionID, client, bytes.Clone(report))
}
