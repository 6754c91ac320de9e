package ui

import (
	"sync"

	"github.com/hibari/hibari/internal/tenant"
)

// hub carries "something of this tenant changed" from the ledger to the live
// pages that show it. It carries no content: whoever is woken reads anew.
type hub struct {
	mu sync.Mutex
	// Guarded by mu
	watchers map[tenant.ID]map[chan struct{}]struct{}
}

func newHub() *hub { return &hub{watchers: map[tenant.ID]map[chan struct{}]struct{}{}} }

// watch returns a channel that gets a value after changes of id, several
// changes at once being one value, and the function that ends it.
func (h *hub) watch(id tenant.ID) (wake <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers[id] == nil {
		h.watchers[id] = map[chan struct{}]struct{}{}
	}
	h.watchers[id][c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers[id], c)
		if len(h.watchers[id]) == 0 {
			delete(h.watchers, id)
		}
	}
}

// changed wakes the pages of id. It never blocks.
func (h *hub) changed(id tenant.ID) {
	h.mu.Lock()
	awake := make([]chan struct{}, 0, len(h.watchers[id]))
	for c := range h.watchers[id] {
		awake = append(awake, c)
	}
	h.mu.Unlock()
	for _, c := range awake {
		select {
		case c <- struct{}{}:
		default: // it is already to be woken
		}
	}
}
