package sfu

import (
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// quality is what a viewer's reports say of the way to it. Owned by the
// channel's worker.
type quality struct {
	rtt       time.Duration // smoothed; 0: not known
	reports   int           // of loss that came
	bandwidth uint64        // its own estimate, in bit/s; 0: it makes none

	// By transport-wide feedback, where the client sends that
	acknowledged, missing int64
}

// viewReport is the newest that a viewer reported of one track.
type viewReport struct {
	any      bool
	highest  uint32 // number, with its cycles
	expected uint32 // packets since the report before
	lost     uint8  // of these, in 1/256
	total    uint32 // lost in all, 24 bits
	jitter   time.Duration
}

// reported takes the report blocks of a receiver about what it is shown, which
// came at a time.
func (q *quality) reported(m *member, p *packet.Control, at time.Time) {
	for block := range p.Blocks() {
		d := m.view(block.SSRC)
		if d == nil || d.packets == 0 {
			continue
		}
		r := &d.report
		expected := block.Highest - r.highest
		out := &m.out[d.kind]
		switch {
		case !r.any:
			out.Expected += int64(d.packets)
		case expected <= 1<<20:
			out.Expected += int64(expected)
		}
		if !r.any || expected > 1<<20 {
			expected = 1 // its first, or it makes this up
		}
		out.Lost += int64(int32((block.Lost-r.total)<<8) >> 8) // 24 bits, signed
		*r = viewReport{
			any: true, highest: block.Highest, expected: expected, lost: block.Fraction, total: block.Lost,
			jitter: time.Duration(block.Jitter) * time.Second / time.Duration(d.kind.clock()),
		}
		q.returned(block, at)
		q.reports++
	}
}

// loss is the loss and jitter of all that a member is shown: a track counts
// as much for the loss as was expected of it; the largest jitter counts.
func (m *member) loss() (lost float64, jitter time.Duration) {
	var expected, missing uint64
	for _, s := range m.sections {
		if d := s.down; d != nil && d.bound && d.report.any {
			expected += uint64(d.report.expected)
			missing += uint64(d.report.expected) * uint64(d.report.lost)
			jitter = max(jitter, d.report.jitter)
		}
	}
	if expected > 0 {
		lost = float64(missing) / float64(expected) / 256
	}
	return lost, jitter
}

// returned measures a round trip: from our sender report to its report, less the
// time between at its side (RFC 3550 §6.4.1).
func (q *quality) returned(block packet.ReportBlock, at time.Time) {
	if block.LastSR == 0 {
		return
	}
	units := int32(uint32(toNTP(at)>>16) - block.LastSR - block.Delay) // of 1/65536 s
	if units < 0 || units > 60<<16 {
		return // its clock or ours is off, or it makes this up
	}
	rtt := max(time.Duration(units)*time.Second>>16, time.Microsecond)
	if q.rtt == 0 {
		q.rtt = rtt
		return
	}
	q.rtt += (rtt - q.rtt) / 8
}

// arrived takes transport-wide feedback. Nothing but its counts is used, which
// costs as much as its chunks; whoever comes to estimate bandwidth walks its
// Arrivals.
func (q *quality) arrived(f packet.TransportFeedback) {
	q.acknowledged += int64(f.Received)
	q.missing += int64(f.Count - f.Received)
}

// publishedQuality is a quality that anybody may read.
type publishedQuality struct {
	loss                  atomic.Int64 // in millionths
	jitter, rtt           atomic.Int64 // in ns
	bandwidth             atomic.Int64
	acknowledged, missing atomic.Int64
}

func (p *publishedQuality) store(m *member) {
	lost, jitter := m.loss()
	q := &m.quality
	p.loss.Store(int64(lost * 1e6))
	p.jitter.Store(int64(jitter))
	p.rtt.Store(int64(q.rtt))
	p.bandwidth.Store(int64(min(q.bandwidth, 1<<62)))
	p.acknowledged.Store(q.acknowledged)
	p.missing.Store(q.missing)
}

// fill completes what is known about a connection.
func (p *publishedQuality) fill(i *ConnectionInfo) {
	i.Loss = float64(p.loss.Load()) / 1e6
	i.Jitter = time.Duration(p.jitter.Load())
	i.RTT = time.Duration(p.rtt.Load())
	i.Bandwidth = p.bandwidth.Load()
	i.Acknowledged, i.Missing = p.acknowledged.Load(), p.missing.Load()
}
