package billing

import "time"

// Minutes returns how many of a connection's billed minutes belong to the
// period from ≤ t < to. A connection that lasted from connectedAt to end has
// one minute for each started 60 s, and at least one. Minute k (k = 0, 1, …)
// belongs to the period that connectedAt + 60 k s lies in. So the minutes of
// adjoining periods add up, whatever the periods are, and a connection that
// crosses a boundary is neither billed twice nor lost.
func Minutes(connectedAt, end, from, to time.Time) int64 {
	n := minutesOf(end.Sub(connectedAt))
	first := max(0, ceilMinutes(from.Sub(connectedAt))) // the first minute that starts at or after from
	past := min(n, ceilMinutes(to.Sub(connectedAt)))    // the first one that starts at or after to
	return max(0, past-first)
}

// Seconds returns how many of a connection's full seconds belong to the period
// from ≤ t < to. They add up like Minutes: a second belongs to the period in
// which it becomes full, and the sum is the connection's duration rounded down.
func Seconds(connectedAt, end, from, to time.Time) int64 {
	at := func(t time.Time) int64 { return int64(clampTime(t, connectedAt, end).Sub(connectedAt) / time.Second) }
	return max(0, at(to)-at(from))
}

// minutesOf returns how many minutes are billed for d of media.
func minutesOf(d time.Duration) int64 { return max(1, ceilMinutes(d)) }

// ceilMinutes returns the least n with n minutes ≥ d.
func ceilMinutes(d time.Duration) int64 {
	n := int64(d / time.Minute) // rounds towards zero: up where d is negative
	if d%time.Minute > 0 {
		n++
	}
	return n
}

// clampTime returns the time in low ≤ t ≤ high nearest to t.
func clampTime(t, low, high time.Time) time.Time {
	if t.After(high) {
		t = high
	}
	if t.Before(low) {
		return low
	}
	return t
}

// earlier returns the earlier one of both.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// later returns the later one of both.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
