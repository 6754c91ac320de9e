package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// RTCP in both directions. Publishers are asked for key frames and lost packets
// and told how their packets arrive; viewers ask, and are told the publishers'
// clocks, so that their picture and sound stay together.

// feedbackArrived takes one RTCP datagram of a connection.
func (w *worker) feedbackArrived(m *member, data []byte, at time.Time) {
	compound, err := packet.ReadCompound(data)
	if err != nil {
		w.round.drops[dropMalformed]++
		return
	}
	var p packet.Control
	for compound.Next(&p) {
		switch p.Kind {
		case packet.KindMalformed:
			w.round.drops[dropMalformed]++
		case packet.KindSenderReport:
			w.senderReported(m, &p, at)
			m.viewsReported(&p, at)
		case packet.KindReceiverReport:
			m.viewsReported(&p, at)
		case packet.KindNACK:
			w.lossReported(m, &p)
		case packet.KindPLI, packet.KindFIR:
			for ssrc := range p.Wanted() {
				w.pictureLost(m, ssrc, p.Kind)
			}
		case packet.KindEstimate:
			m.quality.bandwidth = p.Estimate()
		case packet.KindTransport:
			if f, ok := p.Transport(); ok {
				m.quality.arrived(f)
			} else {
				w.round.drops[dropMalformed]++
			}
		case packet.KindGoodbye:
			for ssrc := range p.Left() {
				m.sourceEnded(ssrc)
			}
		}
	}
}

// view is the section that a member is shown under an SSRC.
func (m *member) view(ssrc uint32) *downTrack {
	for _, s := range m.sections {
		if s.down != nil && s.down.ssrc == ssrc {
			return s.down
		}
	}
	return nil
}

// viewsReported: a viewer that reports on an SSRC knows it, so that packets need
// not name their section any more.
func (m *member) viewsReported(p *packet.Control, at time.Time) {
	m.quality.reported(m, p, at)
	for block := range p.Blocks() {
		if d := m.view(block.SSRC); d != nil && d.packets > 0 {
			d.midUntil = min(d.midUntil, d.numbers.Highest()+1)
		}
	}
}

// lossReported answers a NACK.
func (w *worker) lossReported(m *member, p *packet.Control) {
	d := m.view(p.Media)
	if d == nil || d.layer == nil {
		return
	}
	m.out[d.kind].NACKs++
	for seq := range p.Lost() {
		w.resend(d, seq)
	}
}

// pictureLost hands a viewer's wish for a key frame on.
func (w *worker) pictureLost(m *member, ssrc uint32, asked packet.Kind) {
	if d := m.view(ssrc); d != nil && d.bound && d.layer != nil {
		if asked == packet.KindFIR {
			m.out[d.kind].FIRs++
		} else {
			m.out[d.kind].PLIs++
		}
		w.askKeyFrame(d.layer)
	}
}

// sourceEnded: the client said goodbye to a source; what comes next is another.
func (m *member) sourceEnded(ssrc uint32) {
	for l := range m.layers() {
		if l.ssrc == ssrc {
			l.ended = true
		}
	}
}

// senderReported notes a publisher's clocks. Its offset to ours is kept for
// audio and video together: what is said at one moment stays at one moment.
func (w *worker) senderReported(m *member, p *packet.Control, at time.Time) {
	info := p.Info()
	for l := range m.layers() {
		if l.ssrc != p.SSRC || !l.live {
			continue
		}
		first := !l.receipt.reported
		l.receipt.report = senderReport{ntp: info.NTP, rtp: info.RTP, came: at}
		l.receipt.reported = true
		l.clock.reported(l.receipt.report, l.kind.clock())
		offset := steady(at).Sub(fromNTP(info.NTP))
		// The least delayed report is the truest; a jump is a clock set anew.
		if drift := offset - m.clockOffset; !m.clockKnown || drift < 0 || drift > 500*time.Millisecond {
			m.clockOffset, m.clockKnown = offset, true
		}
		if first {
			for _, d := range l.viewers {
				d.viewer.nextReport = w.now
			}
		}
	}
}

// controlRoom is how many bytes of RTCP are gathered before they are sent: with
// one more packet they still fit a datagram.
const controlRoom = 1100

// reportTo sends a connection its reports: on what it publishes, and on the
// clocks of what it is shown.
func (w *worker) reportTo(m *member) {
	b := w.control[:0]
	for _, s := range m.sections {
		if s.down == nil {
			continue
		}
		if info, ok := s.down.senderReport(w.now); ok {
			b = packet.AppendSenderReport(b, s.down.ssrc, info)
		}
		if len(b) > controlRoom {
			w.sendFeedback(m, b)
			b = b[:0]
		}
	}
	var blocks [layersMost]packet.ReportBlock
	n := 0
	for l := range m.layers() {
		if l.live && !l.ended && l.receipt.received > 0 {
			blocks[n] = l.receipt.block(l.ssrc, w.now)
			n++
		}
	}
	if n > 0 {
		b = packet.AppendReceiverReport(b, w.ssrc, blocks[:n])
	}
	if len(b) > 0 {
		w.sendFeedback(m, b)
	}
	w.control = b
}

// senderReport translates the publisher's newest sender report into the viewer's
// numbers; false while there is nothing to say.
func (d *downTrack) senderReport(now time.Time) (packet.SenderInfo, bool) {
	if !d.bound || d.layer == nil || d.waiting || d.packets == 0 || !d.layer.receipt.reported {
		return packet.SenderInfo{}, false
	}
	m, report := d.source.owner, d.layer.receipt.report
	said := fromNTP(report.ntp).Add(m.clockOffset) // when, on our clock
	return packet.SenderInfo{
		NTP:     toNTP(now),
		RTP:     d.numbers.Timestamp(report.rtp + ticks(steady(now).Sub(said), d.kind.clock())),
		Packets: d.packets,
		Octets:  d.octets,
	}, true
}

// sendTransportFeedback tells a publisher when its packets arrived, from which it
// works out how much the path carries.
func (w *worker) sendTransportFeedback(m *member) {
	for m.arrivals.Pending() > 0 {
		if w.control = m.arrivals.AppendFeedback(w.control[:0], w.ssrc); len(w.control) > 0 {
			w.sendFeedback(m, w.control)
		}
	}
	m.feedbackAt = w.now
}

// askAgain asks a publisher for lost packets of a layer.
func (w *worker) askAgain(l *layer, lost []uint16) {
	l.owner().in[l.kind].NACKs++
	w.control = packet.AppendNACK(w.control[:0], w.ssrc, l.ssrc, lost)
	w.sendFeedback(l.owner(), w.control)
}

// sendFeedback seals RTCP packets for a connection.
func (w *worker) sendFeedback(m *member, packets []byte) {
	if !m.up {
		return
	}
	if err := m.peer().SealRTCP(w.batch, packets); err != nil {
		w.round.drops[dropSeal]++
		return
	}
	w.sealed++
}
