package rating

import (
	"math"
	"math/bits"
	"time"
)

// Usage is what was used in some time. Usage of adjoining times adds up exactly.
type Usage struct {
	Connections      int64 `json:"connections"`       // whose media connected in this time
	Seconds          int64 `json:"seconds"`           // full seconds of connections
	Minutes          int64 `json:"minutes"`           // by the standard minute: each started 60 s of a connection, at least one
	BilledSeconds    int64 `json:"billed_seconds"`    // by the Rule of the version in force when each connection connected
	BytesIn          int64 `json:"bytes_in"`          // from clients
	BytesOut         int64 `json:"bytes_out"`         // to clients
	RecordingSeconds int64 `json:"recording_seconds"` // full seconds of recordings
}

// Add returns the sum of both. A sum that int64 cannot hold becomes its largest
// value, which Rate refuses.
func (u Usage) Add(v Usage) Usage { return u.each(v, add) }

// Sub returns what u has more than v.
func (u Usage) Sub(v Usage) Usage { return u.each(v, func(a, b int64) int64 { return a - b }) }

func (u Usage) each(v Usage, f func(a, b int64) int64) Usage {
	return Usage{
		f(u.Connections, v.Connections), f(u.Seconds, v.Seconds), f(u.Minutes, v.Minutes), f(u.BilledSeconds, v.BilledSeconds),
		f(u.BytesIn, v.BytesIn), f(u.BytesOut, v.BytesOut), f(u.RecordingSeconds, v.RecordingSeconds),
	}
}

// of returns what of the usage a meter is about: a bill with one component for
// each meter shows all usage once.
func (u Usage) of(m Meter) Usage {
	switch m {
	case ConnectionMinutes:
		return Usage{Connections: u.Connections, Seconds: u.Seconds, Minutes: u.Minutes, BilledSeconds: u.BilledSeconds}
	case GBOut:
		return Usage{BytesIn: u.BytesIn, BytesOut: u.BytesOut}
	}
	return Usage{RecordingSeconds: u.RecordingSeconds}
}

// IsZero reports whether nothing was used.
func (u Usage) IsZero() bool { return u == Usage{} }

// valid reports whether it can be a count: no part of it below 0 or too large.
func (u Usage) valid() bool {
	for _, n := range []int64{u.Connections, u.Seconds, u.Minutes, u.BilledSeconds, u.BytesIn, u.BytesOut, u.RecordingSeconds} {
		if n < 0 || n == math.MaxInt64 {
			return false
		}
	}
	return true
}

// add returns a + b, both ≥ 0 or the sum small, and at most the largest int64.
func add(a, b int64) int64 {
	if a > 0 && b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

// A Scope says what the increments of a Rule are rounded up for.
type Scope string

// The scopes of a Rule.
const (
	ConnectionScope Scope = "connection" // each connection, as is the norm
	PeriodScope     Scope = "period"     // the sum of all connections' seconds, once
)

// A Rule says how the time of connections becomes billed time. The first
// MinimumSeconds, rounded up to whole increments, are charged at once when the
// media connect, and after them each started increment when it starts.
type Rule struct {
	IncrementSeconds int64 `json:"increment_seconds"` // at least 1
	MinimumSeconds   int64 `json:"minimum_seconds"`   // for a connection, or with PeriodScope for a period with any use
	Scope            Scope `json:"scope"`
}

// StandardMinute is the rule of Usage.Minutes and of connection events: each
// started minute, and at least one.
var StandardMinute = Rule{IncrementSeconds: 60, MinimumSeconds: 60, Scope: ConnectionScope}

// BilledSeconds returns how much of a connection's billed time belongs to the
// period from ≤ t < to. The connection lasted from connectedAt to end. An
// increment belongs to the period in which it starts: increment k starts at
// connectedAt + k increments, those of the minimum all start at connectedAt. So
// none starts after the end, and the billed time of adjoining periods adds up,
// whatever the periods are. A connection of no length has its minimum at
// connectedAt: a period that is to have it must have to > connectedAt.
//
// The scope does not matter here: with PeriodScope, Rate takes Usage.Seconds.
func (r Rule) BilledSeconds(connectedAt, end, from, to time.Time) int64 {
	length := time.Duration(r.IncrementSeconds) * time.Second
	if length <= 0 || r.IncrementSeconds > math.MaxInt64/int64(time.Second) {
		return 0
	}
	first := max(1, (r.MinimumSeconds+r.IncrementSeconds-1)/r.IncrementSeconds)
	all := max(first, ceil(end.Sub(connectedAt), length))
	before := func(t time.Time) int64 { // how many increments started before t
		if !t.After(connectedAt) {
			return 0
		}
		return min(all, max(first, ceil(t.Sub(connectedAt), length)))
	}
	return max(0, before(to)-before(from)) * r.IncrementSeconds
}

// ceil returns the least n with n × unit ≥ d.
func ceil(d, unit time.Duration) int64 {
	n := int64(d / unit) // rounds towards zero: up where d is negative
	if d%unit > 0 {
		n++
	}
	return n
}

// share returns amount × part ÷ of, half a unit rounded up. The product has 128
// bits. The amount must be no less than 0, and part no more than of.
func share(amount, part, of int64) int64 {
	high, low := bits.Mul64(uint64(amount), uint64(part))
	low, carry := bits.Add64(low, uint64(of)/2, 0)
	whole, _ := bits.Div64(high+carry, low, uint64(of))
	return int64(whole)
}
