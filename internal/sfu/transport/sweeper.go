package transport

import "time"

// runSweeper looks at every peer now and then: one ticker instead of timers for
// each.
func (e *Endpoint) runSweeper() {
	defer close(e.sweeperDone)
	every := min(e.setup, e.consent) / 8
	tick := time.NewTicker(max(5*time.Millisecond, min(every, 500*time.Millisecond)))
	defer tick.Stop()
	var peers []*Peer
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			peers = e.routes.all(peers[:0])
			for _, p := range peers {
				p.sweep(now)
			}
			clear(peers)
		}
	}
}
