package transport

import "time"

// stoodStill is how late a look at the peers must be for nobody's silence to count:
// the process was stopped, or its machine was, and could not have heard them.
const stoodStill = 5 * time.Second

// runSweeper looks at every peer now and then: one ticker instead of timers for
// each.
func (e *Endpoint) runSweeper() {
	defer close(e.sweeperDone)
	every := min(e.setup, e.consent) / 8
	tick := time.NewTicker(max(5*time.Millisecond, min(every, 500*time.Millisecond)))
	defer tick.Stop()
	var peers []*Peer
	last := time.Now()
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			peers = e.routes.all(peers[:0])
			deaf := now.Sub(last) > stoodStill
			last = now
			for _, p := range peers {
				if deaf {
					p.seen.Store(e.since(now))
				}
				p.sweep(now)
			}
			clear(peers)
		}
	}
}
