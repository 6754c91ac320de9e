package sfutest

import (
	"time"

	"github.com/pion/rtp/codecs"
)

// Decoder is what a viewer's jitter buffer and decoder would make of a video:
// it decodes a frame when it has all of its packets and has decoded the frame
// before it, or when it is a key frame. It knows no more than they: sequence
// numbers, markers, and where key frames begin.
//
// Its clock is the publisher's, which goes one tick a frame: the newest frame
// of which something has come. So a busy machine does not look like a frozen
// picture. It belongs to one goroutine; the zero value is ready.
type Decoder struct {
	packets map[uint64]Packet // not yet decoded; by unwrapped number
	next    uint64            // number of the next frame's first packet; 0: a key frame must come
	clock   uint32            // the newest frame seen
	since   uint32            // clock when the last frame was decoded
	asked   uint32            // clock when a key frame was asked for
	last    int64             // the frame decoded last; -1: none
	lastTS  uint32            // its timestamp
	picture int               // its picture ID; negative: it had none
	time    time.Duration     // the time by timestamps, from that of publishing at the first frame
	begun   bool
	report  Decoded
}

// Decoded is what became of a video's frames.
type Decoded struct {
	Frames, Keys  int64
	Skipped       int64 // frames given up for a later key frame
	LongestFreeze int64 // most frames that were published while the picture stood still, the present one included
	Repeated      int64 // frames decoded that are not newer than one decoded before
	Late          int64 // packets of frames that were given up
	KeysAsked     int64
	TimeFaults    int64 // frames that were not later than the one before
	PictureFaults int64 // frames whose picture ID did not follow on the one before, or was behind it
	// Drift is how much the time by timestamps was off that of publishing, less
	// what it was at the first frame: the furthest ahead and behind.
	DriftAhead, DriftBehind time.Duration
}

// patience is how many frames a decoder stands still before it asks for a key
// frame, and then between its requests: a third of a second.
const patience = 10

// Take takes a packet under its unwrapped sequence number, each only once, and
// reports whether a key frame should be asked for.
func (d *Decoder) Take(seq uint64, p Packet) (askKey bool) {
	if d.packets == nil {
		d.packets = map[uint64]Packet{}
		d.last = -1
	}
	if !d.begun || p.Frame > d.clock {
		d.clock = p.Frame
	}
	if !d.begun {
		d.begun, d.since, d.asked = true, d.clock, d.clock
	}
	if seq < d.next {
		d.report.Late++
		return false
	}
	d.packets[seq] = p
	for d.decodeNext() || d.skipToKey() {
	}
	d.report.LongestFreeze = max(d.report.LongestFreeze, int64(d.clock-d.since))
	if d.clock-d.since < patience || d.clock-d.asked < patience {
		return false
	}
	d.asked = d.clock
	d.report.KeysAsked++
	return true
}

// Report says what was decoded so far.
func (d *Decoder) Report() Decoded { return d.report }

// whole returns the number after the frame that begins at seq; 0 while it is
// not complete.
func (d *Decoder) whole(seq uint64) uint64 {
	began := d.packets[seq].RTP
	for {
		p, ok := d.packets[seq]
		if !ok || p.RTP.Timestamp != began.Timestamp { // the rest of a frame that was given up
			return 0
		}
		seq++
		if p.RTP.Marker {
			return seq
		}
	}
}

func (d *Decoder) decodeNext() bool {
	if d.next == 0 {
		return false
	}
	end := d.whole(d.next)
	if end == 0 {
		return false
	}
	d.decode(d.next, end)
	return true
}

// skipToKey goes on at the first whole key frame, if there is one.
func (d *Decoder) skipToKey() bool {
	first, end := uint64(0), uint64(0)
	for seq, p := range d.packets {
		if p.Key && (first == 0 || seq < first) {
			if e := d.whole(seq); e != 0 {
				first, end = seq, e
			}
		}
	}
	if first == 0 {
		return false
	}
	if d.last >= 0 {
		d.report.Skipped += int64(d.packets[first].Frame) - d.last - 1
	}
	for seq := range d.packets {
		if seq < first {
			delete(d.packets, seq)
			d.report.Late++
		}
	}
	d.decode(first, end)
	return true
}

func (d *Decoder) decode(from, end uint64) {
	p := d.packets[from]
	d.report.Frames++
	if p.Key {
		d.report.Keys++
	}
	if int64(p.Frame) <= d.last {
		d.report.Repeated++
	}
	d.checkOrder(from, p)
	d.last = int64(p.Frame)
	d.report.LongestFreeze = max(d.report.LongestFreeze, int64(d.clock-d.since))
	d.since, d.asked = d.clock, d.clock
	for seq := from; seq < end; seq++ {
		delete(d.packets, seq)
	}
	d.next = end
}

// checkOrder looks at what a decoder relies on besides numbers: time, and the
// count of pictures.
func (d *Decoder) checkOrder(from uint64, p Packet) {
	picture := pictureOf(p)
	now := p.SentAt.Sub(epoch)
	if d.report.Frames > 1 {
		ahead := int32(p.RTP.Timestamp - d.lastTS)
		if ahead <= 0 {
			d.report.TimeFaults++
		}
		if picture >= 0 && d.picture >= 0 {
			if step := (picture - d.picture) & 0x7fff; step != 1 && (from == d.next || step == 0 || step > 1<<14) {
				d.report.PictureFaults++
			}
		}
		d.time += time.Duration(ahead) * time.Second / 90_000
		off := d.time - now
		d.report.DriftAhead = max(d.report.DriftAhead, off)
		d.report.DriftBehind = max(d.report.DriftBehind, -off)
	} else {
		d.time = now
	}
	d.lastTS, d.picture = p.RTP.Timestamp, picture
}

// epoch is any time, to count from.
var epoch = time.Now()

// pictureOf is a packet's picture ID; negative: it has none.
func pictureOf(p Packet) int {
	switch p.Codec {
	case "VP8":
		var h codecs.VP8Packet
		if _, err := h.Unmarshal(p.RTP.Payload); err == nil && h.I == 1 {
			return int(h.PictureID)
		}
	case "VP9":
		var h codecs.VP9Packet
		if _, err := h.Unmarshal(p.RTP.Payload); err == nil && h.I {
			return int(h.PictureID)
		}
	}
	return -1
}
