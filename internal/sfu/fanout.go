package sfu

import (
	"encoding/binary"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// Fan-out: from the shared copy of a packet to every viewer.
//
//	pending packets of one track: a frame, or what a round brought
//	  └─ for each viewer: for each packet
//	       renumber → header → seal into the batch        (nothing is copied, nothing allocated)
//	     batch full enough? flush: the viewer's packets leave as one train

const (
	// trainRoom is how many packets are gathered before they are sent: more
	// would make the first viewer wait for the last.
	trainRoom = 128
	// padRoom is how many bytes of padding a packet may get to be as long as
	// the longest of its frame: a train's packets must be of equal size.
	padRoom = 8
	// catchUpRoom is how many packets a viewer that joins is sent at once at
	// most to begin at a key frame that has passed: some half a second.
	catchUpRoom = 256
)

// release sends what the tracks need not hold any longer.
func (w *worker) release() {
	waiting := w.loaded[:0]
	w.held = 0
	for _, t := range w.loaded {
		if t.holding(w.now) > 0 {
			waiting = append(waiting, t)
			w.held += len(t.pending)
			continue
		}
		w.send(t)
	}
	clear(w.loaded[len(waiting):])
	w.loaded = waiting
}

// fanOut sends all that the tracks hold.
func (w *worker) fanOut() {
	for _, t := range w.loaded {
		w.send(t)
	}
	clear(w.loaded)
	w.loaded, w.held = w.loaded[:0], 0
}

// send fans one track's packets out to its viewers.
func (w *worker) send(t *upTrack) {
	if t.kind == video {
		evenOut(t.pending)
	}
	for _, d := range t.viewers {
		w.forward(d, t)
		if w.sealed >= trainRoom {
			w.flush()
		}
	}
	clear(t.pending)
	t.pending = t.pending[:0]
}

// evenOut decides the padding: for all viewers and resends alike.
func evenOut(pending []held) {
	for i := 0; i < len(pending); {
		longest, j := 0, i
		for j < len(pending) && pending[j].Timestamp == pending[i].Timestamp {
			longest = max(longest, len(pending[j].Payload))
			j++
		}
		for ; i < j; i++ {
			if short := longest - len(pending[i].Payload); short <= padRoom && len(pending[i].Payload) > 0 {
				pending[i].Pad = uint8(short)
			}
		}
	}
}

// forward seals a track's pending packets for one viewer.
func (w *worker) forward(d *downTrack, t *upTrack) {
	f := d.formats[t.format]
	if f.pt == 0 {
		w.round.drops[dropCodecRefused] += int64(len(t.pending))
		return
	}
	if d.waiting && len(t.pending) > 0 {
		w.catchUp(d, t, f.pt)
	}
	for i := range t.pending {
		p := &t.pending[i]
		if d.waiting {
			if !p.key {
				w.round.drops[dropAwaitingKeyFrame]++
				continue
			}
			d.start(p.Packet, w.now)
		}
		w.pass(d, p.Packet, f.pt)
	}
}

// pass renumbers one packet for a viewer and seals it.
func (w *worker) pass(d *downTrack, p *packet.Packet, pt uint8) {
	seq, ts, ok := d.numbers.Map(p.Seq, p.Timestamp)
	if !ok {
		w.round.drops[dropBeforeStart]++
		return
	}
	if w.seal(d, d.head(w.header[:], p, pt, seq, ts), p.Payload, int(p.Pad)) {
		d.sentAt = w.now
	}
}

// catchUp starts a viewer at the newest key frame, if that is so near that the
// packets since then are a small burst: whoever joins sees a picture at once
// and need not wait for the next key frame. A picture with holes would not do.
func (w *worker) catchUp(d *downTrack, t *upTrack, pt uint8) {
	next := t.pending[0].Seq
	if t.kind != video || !t.hasKey || next <= t.keyAt || next-t.keyAt > catchUpRoom {
		return
	}
	for seq := t.keyAt; seq < next; seq++ {
		if t.history.Get(seq) == nil {
			return
		}
	}
	d.start(t.history.Get(t.keyAt), w.now)
	for seq := t.keyAt; seq < next; seq++ {
		w.pass(d, t.history.Get(seq), pt)
		if w.sealed >= trainRoom {
			w.flush()
		}
	}
}

// seal hands one packet to a viewer's transport and counts it.
func (w *worker) seal(d *downTrack, header, payload []byte, pad int) bool {
	m := d.viewer
	if err := m.peer().SealRTP(w.batch, header, payload, pad); err != nil {
		w.round.drops[dropSeal]++
		return false
	}
	size := len(header) + len(payload) + pad
	w.sealed++
	w.round.forwarded++
	m.bytesOut += int64(size)
	m.packetsOut++
	d.packets++
	d.octets += uint32(len(payload))
	return true
}

// resend answers one lost packet of a NACK from the shared history: as a
// retransmission (RFC 4588) when the viewer takes those, else as it was.
func (w *worker) resend(d *downTrack, lost uint16) {
	last := &d.resent[lost%uint16(len(d.resent))]
	if last.seq == lost && w.now.Sub(last.at) < resendPause {
		return
	}
	t := d.source
	if !d.bound || d.waiting {
		w.round.drops[dropExpired]++
		return
	}
	number, ok := d.numbers.Source(lost)
	if !ok {
		w.round.drops[dropExpired]++
		return
	}
	p := t.history.Get(number)
	f := d.formats[t.format]
	if p == nil || f.pt == 0 {
		w.round.drops[dropExpired]++
		return
	}
	*last = resend{lost, w.now}
	seq, ts, _ := d.numbers.Map(p.Seq, p.Timestamp)
	if f.rtx == 0 || d.rtxSSRC == 0 {
		if w.seal(d, d.head(w.header[:], p, f.pt, seq, ts), p.Payload, int(p.Pad)) {
			w.round.resent++
		}
		return
	}
	// The original number goes before the payload. It lies in the header's
	// scratch, which SealRTP cannot join with the payload, so this rare packet
	// is copied once.
	d.rtxSeq++
	w.rtx = binary.BigEndian.AppendUint16(w.rtx[:0], uint16(seq))
	w.rtx = append(w.rtx, p.Payload...)
	header := packet.AppendHeader(w.header[:0], p.Marker, f.rtx, d.rtxSeq, ts, d.rtxSSRC)
	if w.seal(d, header, w.rtx, 0) {
		w.round.resent++
	}
}
