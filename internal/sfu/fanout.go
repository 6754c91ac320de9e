package sfu

import (
	"encoding/binary"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// Fan-out: from the shared copy of a packet to every viewer.
//
//	pending packets of one track
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
)

// fanOut sends what the tracks hold to their viewers.
func (w *worker) fanOut() {
	for _, t := range w.loaded {
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
	clear(w.loaded)
	w.loaded, w.held = w.loaded[:0], 0
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
	for i := range t.pending {
		p := &t.pending[i]
		if d.waiting {
			if !p.key {
				w.round.drops[dropAwaitingKeyFrame]++
				continue
			}
			d.start(p.Packet, w.now)
		}
		seq, ts, ok := d.numbers.Map(p.Seq, p.Timestamp)
		if !ok {
			w.round.drops[dropBeforeStart]++
			continue
		}
		if w.seal(d, d.head(w.header[:], p.Packet, f.pt, seq, ts), p.Payload, int(p.Pad)) {
			d.sentAt = w.now
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
