package webhooks

import (
	"sync/atomic"

	"github.com/hibari/hibari/internal/tenant"
)

// Stats counts what this process has done since its start, for all tenants.
type Stats struct {
	Delivered int64 // attempts that were answered 2xx
	Failed    int64 // attempts that were not, and will be repeated
	Dead      int64 // attempts that were not, and were the last of their delivery
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

	// What auth webhooks said.
	AuthAllowed, AuthRejected, AuthTimeouts, AuthUnavailable int64
}

type counters struct {
	delivered, failed, dead, slowStreams                     atomic.Int64
	deadStreams, streamEvents, sharedReads, ownReads         atomic.Int64
	disabled, opened                                         atomic.Int64
	authAllowed, authRejected, authTimeouts, authUnavailable atomic.Int64

	failedBy [len(ErrorClasses)]atomic.Int64 // as ErrorClasses
}

// authorized counts a question to an auth webhook; nil: it let the client in.
func (c *counters) authorized(r *tenant.Refusal) {
	switch {
	case r == nil:
		c.authAllowed.Add(1)
	case r.Code == tenant.AuthRejected:
		c.authRejected.Add(1)
	case r.Code == tenant.AuthTimeout:
		c.authTimeouts.Add(1)
	default:
		c.authUnavailable.Add(1)
	}
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
	s := Stats{
		Delivered: c.delivered.Load(), Failed: c.failed.Load(), Dead: c.dead.Load(),
		EndpointsDisabled: c.disabled.Load(), BreakersOpened: c.opened.Load(),
		SlowStreams: c.slowStreams.Load(), StreamsRefused: w.streams.Refused() + w.open.refused.Load(),
		Streams: w.open.count(), StreamsDead: c.deadStreams.Load(), StreamEvents: c.streamEvents.Load(),
		SharedReads: c.sharedReads.Load(), OwnReads: c.ownReads.Load(),
		AuthAllowed: c.authAllowed.Load(), AuthRejected: c.authRejected.Load(),
		AuthTimeouts: c.authTimeouts.Load(), AuthUnavailable: c.authUnavailable.Load(),
	}
	for i := range c.failedBy {
		s.FailedBy[i] = c.failedBy[i].Load()
	}
	return s
}
