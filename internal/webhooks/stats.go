package webhooks

import (
	"sync/atomic"
	"time"
)

// Stats counts what this process has done since its start, for all tenants.
type Stats struct {
	Delivered int64 // attempts that were answered 2xx
	Failed    int64 // attempts that were not, and will be repeated
	Dead      int64 // attempts that were not, and were the last of their delivery
	// InFlight are requests under way now, Waiting due deliveries in memory that have no
	// slot, Lag for how long the oldest of these has been due.
	InFlight, Waiting int
	Lag               time.Duration
	// EndpointsDisabled were disabled by us, BreakersOpened the breakers that opened.
	EndpointsDisabled, BreakersOpened int64
	SlowStreams                       int64 // streams closed because their reader did not keep up
	// FailedBy are the attempts that were not answered 2xx, in the order of ErrorClasses.
	FailedBy [len(ErrorClasses)]int64
	// StreamsRefused were one too many of their tenant.
	StreamsRefused int64
	Streams        int64 // open now
	StreamsDead    int64 // streams ended because their reader was not there any more
	StreamEvents   int64 // events written to streams
	SharedReads    int64 // reads of events that served all streams of a tenant
	OwnReads       int64 // reads of events for one stream that was behind

	// Auth is what came of questions to auth webhooks, in the order of AuthDecisions.
	Auth [len(AuthDecisions)]int64
	// AuthTook is how long those that were asked took: below each of AuthBuckets, and
	// the last all.
	AuthTook    [len(AuthBuckets) + 1]int64
	AuthSeconds float64 // all of them together
	AuthOpen    int     // tenants whose auth webhook is taken for dead here, now
	AuthUnsaid  int64   // decisions that found no room in their log
}

type counters struct {
	delivered, failed, dead, slowStreams             atomic.Int64
	deadStreams, streamEvents, sharedReads, ownReads atomic.Int64
	auth                                             [len(AuthDecisions)]atomic.Int64
	authTook                                         [len(AuthBuckets) + 1]atomic.Int64
	authNanos                                        atomic.Int64
	disabled, opened                                 atomic.Int64

	failedBy [len(ErrorClasses)]atomic.Int64 // as ErrorClasses
}

// AuthBuckets are the bounds of the histogram of AuthTook, in seconds.
var AuthBuckets = [...]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5}

// authorized counts a question to an auth webhook, and how long it took if it was
// asked.
func (c *counters) authorized(d AuthDecision, took time.Duration) {
	c.auth[d.index()].Add(1)
	if d == AuthBreakerOpen {
		return
	}
	c.authNanos.Add(int64(took))
	for i, bound := range AuthBuckets {
		if took.Seconds() <= bound {
			c.authTook[i].Add(1)
		}
	}
	c.authTook[len(AuthBuckets)].Add(1)
}

// attempted counts an attempt that has been recorded.
func (c *counters) attempted(o outcome, last bool) {
	if !o.delivered() {
		c.failedBy[o.class.index()].Add(1)
	}
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
	open, waiting, lag := w.lanes.load(time.Now())
	s := Stats{
		InFlight: open, Waiting: waiting, Lag: lag,
		Delivered: c.delivered.Load(), Failed: c.failed.Load(), Dead: c.dead.Load(),
		EndpointsDisabled: c.disabled.Load(), BreakersOpened: c.opened.Load(),
		SlowStreams: c.slowStreams.Load(), StreamsRefused: w.streams.Refused() + w.open.refused.Load(),
		Streams: w.open.count(), StreamsDead: c.deadStreams.Load(), StreamEvents: c.streamEvents.Load(),
		SharedReads: c.sharedReads.Load(), OwnReads: c.ownReads.Load(),
		AuthSeconds: time.Duration(c.authNanos.Load()).Seconds(), AuthOpen: w.circuits.count(), AuthUnsaid: w.authLog.dropped.Load(),
	}
	for i := range c.failedBy {
		s.FailedBy[i] = c.failedBy[i].Load()
	}
	for i := range c.auth {
		s.Auth[i] = c.auth[i].Load()
	}
	for i := range c.authTook {
		s.AuthTook[i] = c.authTook[i].Load()
	}
	return s
}
