package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/sfu/codec"
	"github.com/hibari/hibari/internal/sfu/packet"
)

// arrived takes one datagram of the inbox.
func (w *worker) arrived(a *arrival) {
	m, d := a.from, &a.datagram
	defer d.Free()
	data, rtcp, err := m.peer().Unprotect(d)
	switch {
	case err != nil:
		w.round.drops[dropUnprotect]++
	case rtcp:
		w.feedbackArrived(m, data, d.At)
	default:
		w.mediaArrived(m, data, d.At)
	}
}

// mediaArrived takes one RTP packet of a publisher. Budget: 0.6 µs, with what it
// calls, half of it for the history's copy.
func (w *worker) mediaArrived(m *member, data []byte, at time.Time) {
	var h packet.Header
	if err := h.Parse(data); err != nil {
		w.round.drops[dropMalformed]++
		return
	}
	m.bytesIn += int64(len(data))
	m.packetsIn++
	w.round.packetsIn++
	m.arrived(h.SSRC, h.Extension(m.transportExt), at)
	meaning := m.payloads[h.PayloadType]
	if !meaning.known {
		w.round.drops[dropNotAnswered]++
		return
	}
	k := formats[meaning.format].kind
	in := &m.in[k]
	in.Bytes += int64(len(data))
	in.Packets++
	t := m.ups[k]
	if t == nil || !t.sending {
		w.round.drops[dropNotAnswered]++
		return
	}
	l := t.layerOf(&h, meaning.rtx)
	switch {
	case l == nil:
		w.round.drops[dropUnknownLayer]++
		return
	case meaning.rtx:
		if len(h.Payload) < 2 || !l.live {
			w.round.drops[dropPadding]++
			return
		}
		in.Resent++
		h.Seq = uint16(h.Payload[0])<<8 | uint16(h.Payload[1])
		h.Payload = h.Payload[2:]
		if !l.canRepair(h.Seq) { // of the source before
			w.round.drops[dropDuplicate]++
			return
		}
	case l.isRetired(h.SSRC, w.now):
		w.round.drops[dropDuplicate]++
		return
	case !l.live || l.ended || h.SSRC != l.ssrc || l.leaps(h.Seq):
		w.settle(l) // what is held belongs to the source before
		l.begin(h.SSRC, w.now)
	}
	w.packetArrived(l, meaning.format, &h, meaning.rtx, at)
}

// packetArrived takes one media packet into its layer.
func (w *worker) packetArrived(l *layer, id formatID, h *packet.Header, resent bool, at time.Time) {
	if !l.live {
		l.live, l.liveAt = true, w.now
	}
	if id != l.format {
		if !l.isNewer(h.Seq) { // of the codec before: it was overtaken by the change
			w.round.drops[dropDuplicate]++
			return
		}
		w.settle(l) // what is held is of the codec before
		l.format, l.keyAt, l.hasKey = id, 0, false
		l.wait()
		if l.kind == video {
			l.owner().conn.videoCodec.Store(&formats[id].codec)
		}
	}
	p := packet.Packet{
		Seq:       l.unwrap.Next(h.Seq),
		Timestamp: h.Timestamp,
		Marker:    h.Marker,
		Payload:   h.Payload,
	}
	if level := h.Extension(l.track.levelExt); len(level) == 1 {
		p.Level, p.HasLevel = level[0], true
	}
	if l.kind == audio && !resent {
		if v := l.owner().voice; v != nil {
			w.spoke(v, p.Level, p.HasLevel)
		}
	}
	l.cameAt = w.now
	l.rate.bytes += int64(len(h.Payload))
	if l.track.simulcast() {
		if l.unwatched() {
			if !resent {
				l.receipt.saw(p.Seq, p.Timestamp, at, l.kind.clock())
			}
			l.sawEnd(h.Marker)
			w.round.drops[dropUnwatched]++
			return
		}
	}
	if l.first == 0 {
		l.first = p.Seq
	}
	kept := l.history.Add(&p)
	if kept == nil {
		w.round.drops[dropDuplicate]++
		return
	}
	l.gaps.Saw(p.Seq, w.now)
	l.sawEnd(p.Marker)
	if !resent {
		l.receipt.saw(p.Seq, p.Timestamp, at, l.kind.clock())
	}
	key := l.kind == audio || codec.KeyFrame(formats[id].codec, p.Payload)
	if key && l.kind == video {
		l.keys.came()
		l.keyAt, l.hasKey = max(l.keyAt, p.Seq), true
	}
	w.hold(l, held{kept, kept.Seq, key})
}

const (
	// frameHold is how long a frame waits for its last packet at most. Browsers
	// send a frame's packets within half a millisecond, and no decoder begins
	// before the last one.
	frameHold = 2 * time.Millisecond
	// voiceHold is how long the packets of several speakers wait for each other,
	// so that a listener gets them as one train: a quarter of the time between two
	// packets of one speaker.
	voiceHold = 5 * time.Millisecond
	// voiceCrowd is how many listeners there must be for that. For fewer it would
	// save little, and a conversation has better use for the time.
	voiceCrowd = 32
	// holdRoom is how many packets a layer holds at most: the rest of a frame
	// that large goes separately.
	holdRoom = 128
)

// hold keeps a packet until its frame is whole, or for a moment if it is audio,
// so that every viewer gets them as one train.
func (w *worker) hold(l *layer, p held) {
	if len(l.pending) == 0 {
		w.loaded = append(w.loaded, l)
		l.since = w.now
	}
	l.pending = append(l.pending, p)
}

// holding is how much longer the layer's packets may wait: not at all, if they
// end a frame.
func (w *worker) holding(l *layer) time.Duration {
	switch {
	case len(l.pending) == 0 || len(l.pending) >= holdRoom:
		return 0
	case l.kind == video && !l.pending[len(l.pending)-1].Marker:
		return max(0, frameHold-w.now.Sub(l.since))
	case l.kind == audio && len(l.viewers) >= voiceCrowd && w.speakers() > 1:
		return max(0, voiceHold-w.now.Sub(l.since))
	}
	return 0
}

// speakers is how many audio sources there are.
func (w *worker) speakers() int {
	n := 0
	for _, m := range w.publishers {
		if t := m.ups[audio]; t != nil && t.live() {
			n++
		}
	}
	return n
}
