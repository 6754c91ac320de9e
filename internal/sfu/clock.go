package sfu

import "time"

// mediaClock relates a source's RTP clock to its publisher's wall clock, by which
// the layers of a track, whose timestamps begin anywhere, are of one time.
type mediaClock struct {
	source int    // counts the layer's sources
	known  bool   // a sender report has come
	offset uint32 // wall clock in ticks, less the timestamp of the same moment
}

// clockJump is what a publisher's reports may differ by: more is another clock.
const clockJump = 20 * time.Millisecond

// reported takes a sender report. Browsers round these to milliseconds, so that
// each one changes little.
func (c *mediaClock) reported(r senderReport, rate uint32) {
	offset := wallTicks(r.ntp, rate) - r.rtp
	drift := int32(offset - c.offset)
	if limit := int32(ticks(clockJump, rate)); !c.known || drift > limit || drift < -limit {
		c.known, c.offset = true, offset
		return
	}
	c.offset += uint32(drift / 8)
}

// wallTicks is a time of NTP on a clock of that rate; it wraps.
func wallTicks(ntp uint64, rate uint32) uint32 {
	return uint32(ntp>>32)*rate + uint32((ntp&0xffffffff)*uint64(rate)>>32)
}
