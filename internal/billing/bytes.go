package billing

import (
	"math/bits"
	"sort"
	"time"
)

// bytePoint is how many bytes a connection had moved at a moment.
type bytePoint struct {
	at      time.Time
	in, out int64
}

// byteLine is how a connection's bytes are put down to time: they are counted at some
// moments only (when it connected, its marks, and its end or last beat), and spread
// evenly between. Points are in order of time, with bytes that never fall; what comes
// with the second of two points at one moment belongs to the time from that moment on.
// The first point has no bytes.
type byteLine []bytePoint

// share returns which part of the bytes belongs to the time from ≤ t < to. The parts of
// adjoining times add up to the whole, to the byte.
func (l byteLine) share(from, to time.Time) (in, out int64) {
	if !from.Before(to) {
		return 0, 0
	}
	inFrom, outFrom := l.until(from)
	in, out = l.until(to)
	return in - inFrom, out - outFrom
}

// until returns how many bytes belong to the time before t, those of the first point
// at least.
func (l byteLine) until(t time.Time) (in, out int64) {
	next := sort.Search(len(l), func(i int) bool { return !l[i].at.Before(t) })
	if next == 0 {
		return l[0].in, l[0].out
	}
	if next == len(l) {
		return l[next-1].in, l[next-1].out
	}
	a, b := l[next-1], l[next]
	part, length := t.Sub(a.at), b.at.Sub(a.at)
	return a.in + partOf(b.in-a.in, part, length), a.out + partOf(b.out-a.out, part, length)
}

// partOf returns total × part / length, rounded down, for 0 ≤ part ≤ length.
func partOf(total int64, part, length time.Duration) int64 {
	high, low := bits.Mul64(uint64(max(total, 0)), uint64(part))
	share, _ := bits.Div64(high, low, uint64(length)) // part ≤ length, so it cannot overflow
	return int64(share)
}
