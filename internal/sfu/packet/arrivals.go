package packet

import (
	"encoding/binary"
	"math"
	"time"
)

// arrivalRoom is how many numbers back arrivals are kept: a power of two, and so
// few that any feedback fits a datagram.
const arrivalRoom = 512

// Arrivals notes when a client's packets came, by their transport-wide sequence
// numbers, and writes the feedback that lets it estimate its path. It belongs to
// one goroutine; the zero value is ready.
type Arrivals struct {
	begun   bool
	first   uint64 // the first number to report next
	next    uint64 // one more than the highest seen
	pending int    // seen since the last feedback
	media   uint32 // source of the newest packet
	number  uint8  // counts the feedback
	came    [arrivalRoom / 64]uint64
	at      [arrivalRoom]uint32 // in FeedbackTicks, wrapping
}

// Saw notes a packet of the source media that came at a time since some fixed
// moment. Of duplicates, the first counts. A number out of all reach of those
// before is taken for a new beginning.
func (a *Arrivals) Saw(media uint32, seq uint16, at time.Duration) {
	n := Nearest(a.next, seq)
	if !a.begun || n >= a.next+arrivalRoom || n+arrivalRoom < a.next {
		n = 1<<16 + uint64(seq)
		a.begun, a.first, a.next, a.pending = true, n, n, 0
		clear(a.came[:])
	}
	if n < a.next && a.has(n) {
		return
	}
	for ; a.next <= n; a.next++ {
		a.came[a.next%arrivalRoom/64] &^= 1 << (a.next % 64)
	}
	a.came[n%arrivalRoom/64] |= 1 << (n % 64)
	a.at[n%arrivalRoom] = uint32(at / FeedbackTick)
	a.media = media
	a.pending++
	// One that comes late is reported after all, with what came after it.
	a.first = max(min(a.first, n), a.next-min(a.next, arrivalRoom))
}

// has reports whether one of the last arrivalRoom numbers came.
func (a *Arrivals) has(n uint64) bool {
	return n+arrivalRoom >= a.next && a.came[n%arrivalRoom/64]&(1<<(n%64)) != 0
}

// Pending is how many packets came since they were last reported.
func (a *Arrivals) Pending() int { return a.pending }

// AppendFeedback appends one feedback packet on what has not been reported yet,
// of at most 1200 bytes. While Pending is not 0 there is more to report.
func (a *Arrivals) AppendFeedback(dst []byte, sender uint32) []byte {
	var symbols [arrivalRoom]uint8
	count, reference := a.outline(&symbols)
	if count == 0 {
		a.pending = 0
		return dst
	}
	at := len(dst)
	dst = appendFeedback(dst, formatTransport, typeTransport, sender, a.media)
	dst = binary.BigEndian.AppendUint16(dst, uint16(a.first))
	dst = binary.BigEndian.AppendUint16(dst, uint16(count))
	dst = binary.BigEndian.AppendUint32(dst, reference<<8|uint32(a.number))
	a.number++
	dst = appendChunks(dst, symbols[:count])
	last := reference << referenceShift
	for i, s := range symbols[:count] {
		if s == symbolLost {
			continue
		}
		came := a.at[(a.first+uint64(i))%arrivalRoom]
		delta := came - last
		last = came
		if s == symbolLarge {
			dst = append(dst, byte(delta>>8))
		}
		dst = append(dst, byte(delta))
	}
	if a.first += uint64(count); a.first == a.next {
		a.pending = 0
	}
	return finishControl(dst, at)
}

// outline says what each packet of the next feedback is, how many it is about,
// and its reference time. It ends where a delta would be too long.
func (a *Arrivals) outline(symbols *[arrivalRoom]uint8) (count int, reference uint32) {
	var last uint32
	for n := a.first; n < a.next; n++ {
		if !a.has(n) {
			continue
		}
		came := a.at[n%arrivalRoom]
		if count == 0 {
			reference = came >> referenceShift
			last = reference << referenceShift
		}
		delta := int32(came - last)
		if delta < math.MinInt16 || delta > math.MaxInt16 {
			break
		}
		i := int(n - a.first)
		symbols[i] = symbolLarge
		if delta >= 0 && delta <= math.MaxUint8 {
			symbols[i] = symbolSmall
		}
		count, last = i+1, came
	}
	return count, reference
}

// appendChunks packs symbols into as few chunks as a look ahead finds.
func appendChunks(dst []byte, symbols []uint8) []byte {
	for len(symbols) > 0 {
		run := 1
		for run < len(symbols) && symbols[run] == symbols[0] {
			run++
		}
		plain := true // no large deltas among the next 14
		for _, s := range symbols[:min(14, len(symbols))] {
			plain = plain && s != symbolLarge
		}
		var chunk uint16
		n := run
		switch {
		case run == len(symbols), run >= 14, run >= 7 && !plain:
			chunk = uint16(symbols[0])<<13 | uint16(run)
		case plain:
			n = min(14, len(symbols))
			chunk = 2 << 14
			for i, s := range symbols[:n] {
				chunk |= uint16(s) << (13 - i)
			}
		default:
			n = min(7, len(symbols))
			chunk = 3 << 14
			for i, s := range symbols[:n] {
				chunk |= uint16(s) << (12 - 2*i)
			}
		}
		dst = binary.BigEndian.AppendUint16(dst, chunk)
		symbols = symbols[n:]
	}
	return dst
}
