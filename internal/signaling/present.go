package signaling

import (
	"context"
	"fmt"

	"github.com/hibari/hibari/internal/tenant"
)

// present is what a door has to do with, or how that changes.
type present struct {
	sessions int // clients, from their WebSocket's opening to their last word
	sockets  int // open WebSockets
	requests int // of clients that come in by HTTP, under way
	calls    int // connections the ledger may still hold open
}

// Drain refuses every client from now on. Connections go on.
func (d *Door) Drain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.drained {
		d.drained = true
		d.shut()
	}
}

func (d *Door) isDraining() bool {
	select {
	case <-d.draining:
		return true
	default:
		return false
	}
}

// Wait returns when every session is over and the ledger has taken the end of
// every connection. If ctx ends first it gives up, and so do the retries: the
// process is about to end, and its node's lease will close what is left.
func (d *Door) Wait(ctx context.Context) error {
	d.mu.Lock()
	if d.present == (present{}) {
		d.mu.Unlock()
		return nil
	}
	if d.idle == nil {
		d.idle = make(chan struct{})
	}
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		d.giveUp()
		return fmt.Errorf("couldn't settle every connection: %w", ctx.Err())
	}
}

// arrive counts a socket in; false if the door is draining.
func (d *Door) arrive() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drained {
		d.refused[tenant.Draining]++
		return false
	}
	d.present.sessions++
	d.present.sockets++
	return true
}

// count changes what is present.
func (d *Door) count(change present) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.present.sessions += change.sessions
	d.present.sockets += change.sockets
	d.present.calls += change.calls
	d.tellIdle()
}

// beginRequest counts in a request that may let a client in; false if the door is
// draining.
func (d *Door) beginRequest() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drained {
		d.refused[tenant.Draining]++
		return false
	}
	d.present.requests++
	return true
}

// endRequest counts it out.
func (d *Door) endRequest() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.present.requests--
	d.tellIdle()
}

// tellIdle tells who waits for nothing being present. The caller holds mu.
func (d *Door) tellIdle() {
	if d.idle != nil && d.present == (present{}) {
		close(d.idle)
		d.idle = nil
	}
}
