package rating

import (
	"time"
)

// MaxExample bounds each number of an Example, so that none overflows.
const MaxExample = 1_000_000

// An Example is a month of use that somebody thinks of, to see what it would cost.
type Example struct {
	Connections int64 // each of Minutes
	Minutes     int64 // at most those of a month
	GB          int64 // sent to clients, 10^9 bytes each
	Recording   int64 // minutes recorded in all
}

// Usage returns the example as the meter would count it under a rule. Numbers below 0
// count as 0, larger ones than MaxExample as that.
func (e Example) Usage(r Rule) Usage {
	bound := func(n int64) int64 { return min(max(n, 0), MaxExample) }
	n, length := bound(e.Connections), min(bound(e.Minutes), 31*24*60)
	begin := exampleMonth
	end := begin.Add(time.Duration(length) * time.Minute)
	each := r.BilledSeconds(begin, end, begin, end.Add(time.Nanosecond))
	return Usage{
		Connections: n, Seconds: n * length * 60, Minutes: n * max(1, length), BilledSeconds: n * each,
		BytesOut: bound(e.GB) * bytesPerGB, RecordingSeconds: bound(e.Recording) * 60,
	}
}

// exampleMonth is some month: fees for whole ones are the same in all.
var exampleMonth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Bill rates the example as a whole month by a version, without a licence.
func (e Example) Bill(v *Version) (Bill, error) {
	from, to := exampleMonth, exampleMonth.AddDate(0, 1, 0)
	return Rate(Statement{Period: Period{From: from, To: to, Zone: time.UTC,
		Parts: []Part{{From: from, To: to, Version: v, Usage: e.Usage(v.Rule)}}}})
}
