package webhooks

import (
	"math/rand/v2"
	"time"
)

// The health of an endpoint. Everything in this file is a pure function of what is
// known, of one result and of the time: health.go applies it to the row.
//
//	        fails and fails (strain.add)
//	closed ───────────────────────────────► open ◄─────────┐
//	   ▲                                      │ until       │ the probe
//	   │    the probe is answered 2xx         ▼             │ fails
//	   └─────────────────────────────────  half-open ───────┘
//
// and from anywhere to disabled: at once when the receiver says 410, or after
// DisableAfter without one success.

// The states of a breaker.
const (
	Closed   = "closed"    // deliveries go out
	Open     = "open"      // nothing goes out before the next probe
	HalfOpen = "half_open" // the next delivery goes out, as the probe; in the row this is Open, with its time come
)

// Why an endpoint is disabled.
const (
	DisabledFailing = "failing" // no success for DisableAfter, by us
	DisabledGone    = "gone"    // it answered 410, by us
	DisabledManual  = "manual"  // by a member or an API key
)

// How patient the platform is with an endpoint that fails.
const (
	// probeFirst is how long an open breaker waits before its first probe; each that
	// fails doubles the wait, up to probeMost.
	probeFirst = 30 * time.Second
	probeMost  = time.Hour
	// DisableAfter is how long an endpoint may fail without one success.
	DisableAfter = 5 * 24 * time.Hour
	// quietAfter is after how long without a try the time starts anew: an endpoint
	// that is seldom told something is not disabled for two failures in a week.
	quietAfter = 48 * time.Hour
	// failureNoted is how precisely the row knows of the latest failure, so that
	// the row is not written by every attempt.
	failureNoted = time.Hour
)

// breaker is what is kept of an endpoint's health: columns of webhook_endpoint.
type breaker struct {
	state        string
	until        time.Time // of the next probe; zero: closed
	epoch        int64     // the number of changes of state, by which a late result is known
	probes       int       // probes failed since it opened
	openedAt     time.Time // zero: closed
	failingSince time.Time // the first failure since the last success; zero: none
	failedAt     time.Time // the latest failure, as far as it was noted
}

// trial is how one attempt ended, as its endpoint's health sees it.
type trial struct {
	ok         bool
	gone       bool          // answered 410
	probe      bool          // claimed when the breaker was half-open
	epoch      int64         // of the breaker when the attempt was claimed
	retryAfter time.Duration // the receiver's wish
	tripped    bool          // with this failure the process has seen enough
}

// consequence is what follows from a trial, besides the new state.
type consequence struct {
	disable string        // "" or why
	hold    time.Duration // of a failed probe: its delivery is not due before
	changed bool          // the state must be written
}

// after returns the state after a trial at now, by the database's clock. spread is
// in [0, 1) and moves the next probe within the jitter.
func (b breaker) after(r trial, now time.Time, spread float64) (breaker, consequence) {
	current := r.probe && b.state == Open && r.epoch == b.epoch
	if r.ok {
		v := consequence{changed: current || !b.failingSince.IsZero()}
		b.failingSince, b.failedAt = time.Time{}, time.Time{}
		if current {
			b = b.moved(Closed)
		}
		return b, v
	}
	v := consequence{changed: b.failingSince.IsZero() || now.Sub(b.failedAt) >= failureNoted}
	last := b.failedAt
	if last.IsZero() {
		last = b.failingSince
	}
	if b.failingSince.IsZero() || now.Sub(last) > quietAfter {
		b.failingSince = now
	}
	if v.changed {
		b.failedAt = now
	}
	switch {
	case r.gone:
		v.disable = DisabledGone
	case now.Sub(b.failingSince) >= DisableAfter:
		v.disable = DisabledFailing
	}
	switch {
	case v.disable != "":
		b, v.changed = b.moved(Closed), true
	case current:
		b.probes++
		b, v.changed = b.opened(b.openedAt, now, r.retryAfter, spread), true
	case r.tripped && b.state == Closed && r.epoch == b.epoch:
		b.probes = 0
		b, v.changed = b.opened(now, now, r.retryAfter, spread), true
	}
	if r.probe { // also one that came late: its delivery waits like the others
		v.hold = max(b.until.Sub(now), 0)
	}
	return b, v
}

// opened is the breaker open, since since, until its next probe.
func (b breaker) opened(since, now time.Time, retryAfter time.Duration, spread float64) breaker {
	wait := probeWait(b.probes, retryAfter, spread)
	probes := b.probes
	b = b.moved(Open)
	b.openedAt, b.until, b.probes = since, now.Add(wait), probes
	return b
}

func (b breaker) moved(state string) breaker {
	b.state, b.until, b.probes, b.openedAt = state, time.Time{}, 0, time.Time{}
	b.epoch++
	return b
}

// probeWait is how long to wait for the next probe after failed of them have failed.
// A wish of the receiver's is granted between once and twice that, as everywhere.
func probeWait(failed int, retryAfter time.Duration, spread float64) time.Duration {
	step := probeMost
	if failed < 16 {
		step = min(probeFirst<<failed, probeMost)
	}
	if retryAfter > 0 {
		return min(max(retryAfter, step), 2*step)
	}
	return time.Duration(float64(step) * (1 - jitter + 2*jitter*spread))
}

// When a process has seen enough of an endpoint to open its breaker: failures in a
// row, or by their rate, so that one success among many failures does not help. A
// moment's trouble opens nothing, nor does one event that the receiver will not have:
// both have the schedule of tries.
const (
	strainRow     = 5                // failures in a row,
	strainLines   = 3                // of so many different deliveries
	strainLast    = 10 * time.Second // and for so long; or
	strainWindow  = 5 * time.Minute  // of the attempts in this time,
	strainResults = 20               // if they are so many,
	strainRate    = 0.8              // this share
)

// strain is what one process has seen lately of an endpoint that fails. The zero
// strain has seen nothing.
type strain struct {
	epoch   int64 // of the breaker; another begins anew
	row     int
	began   time.Time // of the row
	lines   [strainLines]string
	buckets [strainBuckets]tally // of the window
	since   time.Time            // the first failure since the epoch began
}

const strainBuckets = 10

// tally counts the results of one part of the window.
type tally struct {
	part       int64 // since the zero time
	ok, failed int
}

// add takes a result at now of the delivery named, and reports whether the breaker
// should open.
func (s *strain) add(epoch int64, delivery string, ok bool, now time.Time) (tripped bool) {
	if s.epoch != epoch {
		*s = strain{epoch: epoch}
	}
	part := now.UnixNano() / int64(strainWindow/strainBuckets)
	bucket := &s.buckets[part%strainBuckets]
	if bucket.part != part {
		*bucket = tally{part: part}
	}
	if ok {
		bucket.ok++
		s.row, s.lines = 0, [strainLines]string{}
		return false
	}
	bucket.failed++
	if s.since.IsZero() {
		s.since = now
	}
	if s.row++; s.row == 1 {
		s.began = now
	}
	for i := range s.lines {
		if s.lines[i] == "" {
			s.lines[i] = delivery
		}
		if s.lines[i] == delivery {
			break
		}
	}
	if s.row >= strainRow && s.lines[strainLines-1] != "" && now.Sub(s.began) >= strainLast {
		return true
	}
	var all tally
	for _, b := range s.buckets {
		if b.part > part-strainBuckets && b.part <= part {
			all.ok += b.ok
			all.failed += b.failed
		}
	}
	results := all.ok + all.failed
	return results >= strainResults && float64(all.failed) >= strainRate*float64(results) && now.Sub(s.since) >= strainLast
}

// spread is a fair draw of where in the jitter a wait lies.
func spread() float64 { return rand.Float64() }
