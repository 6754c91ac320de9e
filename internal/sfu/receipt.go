package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// receipt is the receiver's side of one source: what reception reports to its
// publisher say (RFC 3550 §6.4.1, appendix A.3 and A.8).
type receipt struct {
	base, highest uint64 // unwrapped numbers; 0: nothing yet
	received      uint64
	expectedThen  uint64 // at the last report
	receivedThen  uint64
	jitter        uint32 // in ticks, times 16
	transit       int64

	report   senderReport
	reported bool // a sender report has come
}

// senderReport is what a publisher said about its clocks.
type senderReport struct {
	ntp  uint64
	rtp  uint32
	came time.Time
}

// saw notes the first arrival of a packet.
func (r *receipt) saw(seq uint64, ts uint32, at time.Time, clock uint32) {
	transit := int64(ticks(at.Sub(began), clock) - ts)
	if r.received == 0 {
		r.base, r.highest = seq, seq
	} else if d := int64(int32(transit - r.transit)); seq > r.highest {
		if d < 0 {
			d = -d
		}
		r.jitter += uint32(d) - (r.jitter+8)>>4
	}
	r.transit = transit
	r.highest = max(r.highest, seq)
	r.base = min(r.base, seq)
	r.received++
}

// expected is how many packets should have come so far, and lost how many of them
// have not: fewer than none when some came twice.
func (r *receipt) expected() int64 {
	if r.received == 0 {
		return 0
	}
	return int64(r.highest - r.base + 1)
}

func (r *receipt) lost() int64 { return r.expected() - int64(r.received) }

// receipts sums up what came of sources that are over.
type receipts struct{ expected, lost int64 }

func (s *receipts) add(r *receipt) {
	s.expected += r.expected()
	s.lost += r.lost()
}

// block is the reception report for now. It begins a new interval.
func (r *receipt) block(ssrc uint32, now time.Time) packet.ReportBlock {
	expected := r.highest - r.base + 1
	lost := max(int64(expected)-int64(r.received), 0)
	inExpected, inReceived := expected-r.expectedThen, r.received-r.receivedThen
	r.expectedThen, r.receivedThen = expected, r.received
	fraction := uint8(0)
	if inExpected > inReceived && inExpected > 0 {
		fraction = uint8(min((inExpected-inReceived)<<8/inExpected, 255))
	}
	b := packet.ReportBlock{
		SSRC:     ssrc,
		Fraction: fraction,
		Lost:     uint32(min(lost, 0x7fffff)), // 24 bits, signed
		Highest:  uint32(r.highest - 1<<16),   // the unwrapping begins one cycle up
		Jitter:   r.jitter >> 4,
	}
	if r.reported {
		b.LastSR = uint32(r.report.ntp >> 16)
		b.Delay = uint32(now.Sub(r.report.came) * 65536 / time.Second)
	}
	return b
}

// ntpEpoch is the beginning of NTP's first era, in Unix seconds.
const ntpEpoch = -2_208_988_800

// steady is a time as the wall clock would show it had nobody set it since the
// process started: the clocks that we tell others of, and compare with theirs,
// must not jump.
func steady(t time.Time) time.Time { return began.Add(t.Sub(began)) }

// toNTP is a time as a 64-bit NTP timestamp (RFC 5905 §6), which wraps in 2036.
func toNTP(t time.Time) uint64 {
	t = steady(t)
	seconds := uint64(t.Unix() - ntpEpoch)
	return seconds<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
}

// fromNTP is the inverse of toNTP: of the moments that a timestamp means, the one
// in the era that began in 1900 or, below 2^31 seconds, the next.
func fromNTP(n uint64) time.Time {
	seconds := int64(n>>32) + ntpEpoch
	if n>>63 == 0 {
		seconds += 1 << 32
	}
	return time.Unix(seconds, int64((n&0xffffffff)*1_000_000_000>>32))
}
