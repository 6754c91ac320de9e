package stats

import (
	"sync"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// maxWaiting is how many samples wait for the database on a node at most, and
	// maxTenantWaiting how many of them are one tenant's: ten minutes of 1,000
	// connections, some 600 bytes each.
	maxWaiting       = 60_000
	maxTenantWaiting = 30_000
)

// backlog is the samples that the database does not have yet, by tenant, the oldest
// first. Its methods may be called from any goroutine.
type backlog struct {
	mu sync.Mutex
	// Guarded by mu
	waiting map[tenant.ID][]Sample
	count   int
	dropped int64
}

// add takes a sample in. When there are too many, the oldest of the tenant that has
// the most goes.
func (b *backlog) add(s Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[tenant.ID][]Sample{}
	}
	b.waiting[s.tenant] = append(b.waiting[s.tenant], s)
	b.count++
	if len(b.waiting[s.tenant]) > maxTenantWaiting {
		b.dropOldest(s.tenant)
	}
	if b.count > maxWaiting {
		b.dropOldest(b.largest())
	}
}

// largest is the tenant with the most samples; mu is held.
func (b *backlog) largest() (largest tenant.ID) {
	for id, list := range b.waiting {
		if len(list) > len(b.waiting[largest]) {
			largest = id
		}
	}
	return largest
}

// dropOldest drops a tenant's oldest sample; mu is held.
func (b *backlog) dropOldest(id tenant.ID) {
	b.waiting[id] = b.waiting[id][1:]
	b.count--
	b.dropped++
}

// take takes up to limit samples out. They are the caller's to write, or to give back.
func (b *backlog) take(limit int) (taken []Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, list := range b.waiting {
		n := min(len(list), limit-len(taken))
		taken = append(taken, list[:n]...)
		b.count -= n
		if n < len(list) {
			b.waiting[id] = list[n:]
			break
		}
		delete(b.waiting, id)
	}
	return taken
}

// giveBack puts samples back that could not be written.
func (b *backlog) giveBack(taken []Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(taken) > 0 {
		id, n := taken[0].tenant, 0
		for n < len(taken) && taken[n].tenant == id {
			n++
		}
		room := max(0, min(maxTenantWaiting-len(b.waiting[id]), maxWaiting-b.count))
		kept := taken[max(0, n-room):n] // the newest
		b.dropped += int64(n - len(kept))
		b.count += len(kept)
		if len(kept) > 0 {
			b.waiting[id] = append(append(make([]Sample, 0, len(kept)+len(b.waiting[id])), kept...), b.waiting[id]...)
		}
		taken = taken[n:]
	}
}

// size is how many samples wait, and how many were dropped so far.
func (b *backlog) size() (waiting int, dropped int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count, b.dropped
}
