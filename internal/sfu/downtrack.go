package sfu

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

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

	source  *upTrack // nil: nothing to show now
	ready   bool     // the client's answer takes it
	bound   bool     // it is among the source's viewers
	waiting bool     // nothing goes out before a key frame (audio: the next packet)
	joining bool     // the key frame may be one that has passed

	formats  [formatCount]answerFormat // how the client wants to be sent each codec
	midExt   uint8                     // id of the MID extension; 0: not negotiated
	levelExt uint8
	midUntil uint64 // packets below this number carry the MID

	numbers packet.Renumber
	sentAt  time.Time // of the newest packet
	packets uint32    // sent, for sender reports
	octets  uint32
	rtxSeq  uint16
	repairs repairs
}

// newDownTrack makes a view of a track; without one it is a default.
func newDownTrack(m *member, s *section, t *upTrack) *downTrack {
	d := &downTrack{
		viewer:   m,
		section:  s,
		kind:     s.kind,
		ssrc:     freshSSRC(m),
		source:   t,
		waiting:  true,
		midUntil: math.MaxUint64,
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
	if !d.ready {
		d.unbind()
	}
}

// bind begins the flow.
func (d *downTrack) bind() {
	d.bound, d.waiting, d.joining = true, true, true
	t := d.source
	t.viewers = append(slices.Clip(t.viewers), d)
}

// unbind ends the flow.
func (d *downTrack) unbind() {
	if !d.bound {
		return
	}
	d.bound = false
	t := d.source
	if i := slices.Index(t.viewers, d); i >= 0 {
		t.viewers = slices.Concat(t.viewers[:i], t.viewers[i+1:])
	}
}

// start makes a source's packet the next one of the track.
func (d *downTrack) start(p *packet.Packet, now time.Time) {
	elapsed := time.Duration(0)
	if !d.sentAt.IsZero() {
		elapsed = now.Sub(d.sentAt)
	}
	d.numbers.Switch(p.Seq, p.Timestamp, ticks(elapsed, d.kind.clock()))
	d.waiting, d.joining = false, false
}

// ticks is a duration on an RTP clock; it wraps as that does.
func ticks(d time.Duration, clock uint32) uint32 {
	whole := int64(d/time.Second) * int64(clock)
	return uint32(whole + int64(d%time.Second)*int64(clock)/int64(time.Second))
}

// head writes the header of an outgoing packet. The same packet always gets the
// same bytes: encrypting two different ones under one number would give the key
// away (RFC 7714 §9.1).
func (d *downTrack) head(dst []byte, p *packet.Packet, pt uint8, seq uint64, ts uint32) []byte {
	dst = packet.AppendHeader(dst[:0], p.Marker, pt, uint16(seq), ts, d.ssrc)
	if d.midExt != 0 && seq < d.midUntil {
		dst = packet.AppendExtension(dst, d.midExt, d.section.mid)
	}
	if p.HasLevel && d.levelExt != 0 {
		level := [1]byte{p.Level}
		dst = packet.AppendExtension(dst, d.levelExt, level[:])
	}
	return packet.FinishExtensions(dst)
}
