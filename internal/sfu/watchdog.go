package sfu

import "time"

// The watchdog ends channels whose worker hangs. A goroutine cannot be killed,
// so the channel is cut loose instead: its connections end and its name becomes
// free at once, while the worker, should it ever come round, finds the channel
// closed and ends.

func (s *SFU) startWatchdog() { s.watching.Go(s.runWatchdog) }

// runWatchdog looks at every channel five times within StallLimit. Should it itself
// come late, the process or its machine stood still, and so did all workers: they get
// the time until the next look.
func (s *SFU) runWatchdog() {
	ticker := time.NewTicker(s.cfg.StallLimit / 5)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-s.stop:
			return
		case now := <-ticker.C:
			late := now.Sub(last) > s.cfg.StallLimit
			if last = now; late {
				continue
			}
			s.mu.Lock()
			channels := s.openChannels()
			s.mu.Unlock()
			for _, ch := range channels {
				if busy := ch.busyFor(now); busy > s.cfg.StallLimit {
					s.log.Error("channel does not come round; ending its connections",
						"tenant", ch.key.tenant, "channel", ch.key.name, "busy", busy)
					s.counters.stalls.Add(1)
					ch.abandon()
				}
			}
		}
	}
}
