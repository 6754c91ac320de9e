package webhooks

import (
	"sync"

	"github.com/hibari/hibari/internal/tenant"
)

// bell wakes one loop for a set of tenants. Any number of rings before the
// loop looks cost it one turn.
type bell struct {
	rung chan struct{} // holds at most one token

	mu  sync.Mutex
	who map[tenant.ID]struct{} // Guarded by mu
}

func newBell() *bell {
	return &bell{rung: make(chan struct{}, 1), who: map[tenant.ID]struct{}{}}
}

// ringFor adds t to the set and wakes the loop; it never blocks.
func (b *bell) ringFor(t tenant.ID) {
	b.mu.Lock()
	b.who[t] = struct{}{}
	b.mu.Unlock()
	b.ring()
}

// ring wakes the loop; it never blocks.
func (b *bell) ring() {
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

// take empties the set.
func (b *bell) take() []tenant.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]tenant.ID, 0, len(b.who))
	for t := range b.who {
		list = append(list, t)
	}
	clear(b.who)
	return list
}
