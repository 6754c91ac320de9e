package sfu

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hibari/hibari/internal/sfu/codec"
	"github.com/hibari/hibari/internal/sfu/packet"
)

// downTrack is one viewer's view of one track, or a slot that shows changing
// ones. Owned by the channel's worker.
type downTrack struct {
	// Static
	viewer    *member
	section   *section
	kind      kind
	isDefault bool   // a slot or dummy, of no publisher in particular
	stream    string // msid: the publisher's connection id
	track     string
	ssrc      uint32
	rtxSSRC   uint32 // 0: audio

	source  *track // nil: nothing to show now
	layer   *layer // that of its layers which the viewer gets; nil: none
	next    *layer // the one that it will get from its next key frame on; nil: no other
	ready   bool   // the client's answer takes it
	bound   bool   // it is to get what comes
	waiting bool   // nothing goes out before a key frame (audio: the next packet)
	joining bool   // the key frame may be one that has passed

	formats  [formatCount]answerFormat // how the client wants to be sent each codec
	midUntil uint64                    // packets below this number carry the MID

	// Ids of header extensions; 0: not to be sent
	midExt, levelExt      uint8
	timeExt, transportExt uint8 // stamps

	// Simulcast: what happened at the last turn. See turn.go.
	left          *layer  // still has the view among its viewers; nil: none has
	shown         string  // the layer that the viewer was told of; "": none yet
	because       trigger // of the turn
	started       *layer  // the layer that the numbers are of
	startedSource int     // and which of its sources
	limit         int     // the best layer that it was to get, by place
	cap           int     // the best one that the way carries
	ahead         uint32  // by how much timestamps are later than true
	pictures      codec.Pictures

	numbers packet.Renumber
	sentAt  time.Time // of the newest packet
	packets uint32    // sent, for sender reports
	octets  uint32
	rtxSeq  uint16
	repairs repairs
	report  viewReport // the viewer's
}

// newDownTrack makes a view of a track; without one it is a default.
func newDownTrack(m *member, s *section, t *track) *downTrack {
	d := &downTrack{
		viewer:   m,
		section:  s,
		kind:     s.kind,
		ssrc:     freshSSRC(m),
		source:   t,
		waiting:  true,
		midUntil: math.MaxUint64,
		cap:      len(rids) - 1,
		numbers:  packet.NewRenumber(uint16(rand.Uint32N(1<<15)), rand.Uint32()),
		rtxSeq:   uint16(rand.Uint32N(1 << 15)),
		repairs:  newRepairs(),
	}
	if s.kind == video {
		d.rtxSSRC = freshSSRC(m)
	}
	if t == nil {
		d.isDefault = true
		d.stream, d.track = "default", s.kind.String()+"-default"
	} else {
		d.stream = t.owner.conn.ID()
		d.track = s.kind.String() + "-" + d.stream
	}
	return d
}

// freshSSRC is a random SSRC that none of a member's sections uses.
func freshSSRC(m *member) uint32 {
	for {
		ssrc := rand.Uint32()
		used := slices.ContainsFunc(m.sections, func(s *section) bool {
			return s.down != nil && (s.down.ssrc == ssrc || s.down.rtxSSRC == ssrc)
		})
		if ssrc != 0 && !used {
			return ssrc
		}
	}
}

// agreed notes the client's answer to the track's section.
func (d *downTrack) agreed(a answerSection) {
	if d.ready && a.receives {
		return // as before; numbers and formats go on
	}
	d.ready = a.receives
	d.formats = a.formats
	d.midExt = a.extensions[uriMID]
	d.levelExt = a.extensions[uriLevel]
	d.timeExt, d.transportExt = 0, 0
	if d.repairsApart() {
		d.timeExt = a.extensions[uriTime]
		d.transportExt = a.extensions[uriTransport]
	}
	if !d.ready {
		d.unbind()
	}
}

// bind begins the flow.
func (d *downTrack) bind() {
	d.bound, d.waiting, d.joining = true, true, true
	if d.source.simulcast() {
		return // it has no layer yet
	}
	d.layer = d.source.layers[0]
	d.layer.admit(d)
}

// unbind ends the flow.
func (d *downTrack) unbind() {
	if !d.bound {
		return
	}
	d.bound = false
	for _, l := range []*layer{d.layer, d.next, d.left} {
		if l != nil {
			l.dismiss(d)
		}
	}
	d.layer, d.next, d.left, d.shown = nil, nil, nil, ""
}

// count counts a packet under the track's SSRC for sender reports, which count
// payload without padding (RFC 3550 §6.4.1). Retransmissions under an SSRC of
// their own are not of it.
func (d *downTrack) count(p *packet.Packet) {
	d.packets++
	d.octets += uint32(len(p.Payload))
}

// missed counts a frame that its viewer did not get, by its last packet.
func (d *downTrack) missed(p *packet.Packet) {
	if p.Marker && d.kind == video {
		d.viewer.out[video].FramesDropped++
	}
}

// ticks is a duration on an RTP clock; it wraps as that does.
func ticks(d time.Duration, clock uint32) uint32 {
	whole := int64(d/time.Second) * int64(clock)
	return uint32(whole + int64(d%time.Second)*int64(clock)/int64(time.Second))
}

// Stamps are header extensions that are true for one sending only: when it was,
// and its number among all packets to the viewer. AES-GCM must never get two
// different packets under one number of an SSRC; it would give its key away (RFC
// 7714 §9.1). So
//
//   - a number is sent for the first time only once (packet.Renumber.Map);
//   - what may be repeated under its own number gets no stamps, and the same
//     bytes each time: MID, level and padding do not change once it was sent
//     (packet.Packet.Ready);
//   - stamps go on tracks that are repaired by retransmissions under an SSRC of
//     their own, each a packet with a new number and stamps of its own, and on
//     audio, which is never repeated then.

// repairsApart reports whether repairs of the track, if there are any, have an
// SSRC of their own, whichever codec it is.
func (d *downTrack) repairsApart() bool {
	for _, f := range d.formats {
		if d.kind == video && f.pt != 0 && f.rtx == 0 {
			return false
		}
	}
	return true
}

// stamped reports whether packets carry stamps.
func (d *downTrack) stamped() bool { return d.timeExt != 0 || d.transportExt != 0 }

// head writes the header of an outgoing packet.
func (d *downTrack) head(o *sender, p *packet.Packet, pt uint8, seq uint64, ts uint32) []byte {
	h := &o.header
	h.Start(p.Pad > 0, p.Marker, pt, uint16(seq), ts, d.ssrc)
	if d.midExt != 0 && seq < d.midUntil {
		h.Text(d.midExt, d.section.mid)
	}
	if p.HasLevel && d.levelExt != 0 {
		h.Number(d.levelExt, uint32(p.Level), 1)
	}
	d.stamp(o)
	return h.Bytes()
}

// rtxHead writes the header of the next retransmission (RFC 4588 §4).
func (d *downTrack) rtxHead(o *sender, p *packet.Packet, pt uint8, ts uint32) []byte {
	d.rtxSeq++
	o.header.Start(false, p.Marker, pt, d.rtxSeq, ts, d.rtxSSRC)
	d.stamp(o)
	return o.header.Bytes()
}

func (d *downTrack) stamp(o *sender) {
	if d.timeExt != 0 {
		o.header.Number(d.timeExt, sendTime(o.now), 3)
	}
	if d.transportExt != 0 {
		d.viewer.transportSeq++
		o.header.Number(d.transportExt, uint32(d.viewer.transportSeq), 2)
	}
}

// sendTime is a time as abs-send-time writes it: seconds, 6 bits, and their
// fraction, 18 bits. It wraps every 64 s. The clock was read once for the round.
func sendTime(t time.Time) uint32 {
	const perNanosecond = 1 << 82 / 1_000_000_000 // 2^18 units a second, times 2^64
	units, _ := bits.Mul64(uint64(t.Sub(began)), perNanosecond)
	return uint32(units) & 0xffffff
}
