package webhooks

import "sync/atomic"

// Stats counts what this process has done since its start, for all tenants.
type Stats struct {
	Delivered   int64 // attempts that were answered 2xx
	Failed      int64 // attempts that were not, and will be repeated
	Dead        int64 // attempts that were not, and were the last of their delivery
	SlowStreams int64 // streams closed because their reader did not keep up
}

type counters struct {
	delivered, failed, dead, slowStreams atomic.Int64
}

// attempted counts an attempt that has been recorded.
func (c *counters) attempted(o outcome, last bool) {
	switch {
	case o.delivered():
		c.delivered.Add(1)
	case last:
		c.dead.Add(1)
	default:
		c.failed.Add(1)
	}
}

// Stats returns the counts so far.
func (w *Webhooks) Stats() Stats {
	c := &w.counters
	return Stats{
		Delivered: c.delivered.Load(), Failed: c.failed.Load(), Dead: c.dead.Load(),
		SlowStreams: c.slowStreams.Load(),
	}
}
