package sfu

import (
	"time"

	"github.com/pion/rtcp"
)

// RTCP in both directions. Publishers are asked for key frames and lost packets
// and told how their packets arrive; viewers ask, and are told the publishers'
// clocks, so that their picture and sound stay together.

// feedbackArrived takes one RTCP packet of a connection.
func (w *worker) feedbackArrived(m *member, data []byte, at time.Time) {
	packets, err := rtcp.Unmarshal(data)
	if err != nil {
		w.round.drops[dropMalformed]++
		return
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			w.senderReported(m, p, at)
			for i := range p.Reports {
				m.viewReported(p.Reports[i].SSRC)
			}
		case *rtcp.ReceiverReport:
			for i := range p.Reports {
				m.viewReported(p.Reports[i].SSRC)
			}
		case *rtcp.TransportLayerNack:
			w.lossReported(m, p)
		case *rtcp.PictureLossIndication:
			w.pictureLost(m, p.MediaSSRC)
		case *rtcp.FullIntraRequest:
			for _, entry := range p.FIR {
				w.pictureLost(m, entry.SSRC)
			}
		case *rtcp.Goodbye:
			for _, ssrc := range p.Sources {
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

// viewReported: the viewer knows the SSRC, so that packets need not name their
// section any more.
func (m *member) viewReported(ssrc uint32) {
	if d := m.view(ssrc); d != nil && d.packets > 0 {
		d.midUntil = min(d.midUntil, d.numbers.Highest()+1)
	}
}

// lossReported answers a NACK.
func (w *worker) lossReported(m *member, p *rtcp.TransportLayerNack) {
	d := m.view(p.MediaSSRC)
	if d == nil || d.source == nil {
		return
	}
	for _, pair := range p.Nacks {
		pair.Range(func(seq uint16) bool {
			w.resend(d, seq)
			return true
		})
	}
}

// pictureLost hands a viewer's wish for a key frame on.
func (w *worker) pictureLost(m *member, ssrc uint32) {
	if d := m.view(ssrc); d != nil && d.bound {
		w.askKeyFrame(d.source)
	}
}

// sourceEnded: the client said goodbye to a source; what comes next is another.
func (m *member) sourceEnded(ssrc uint32) {
	for _, t := range m.ups {
		if t != nil && t.ssrc == ssrc {
			t.ssrc = 0
		}
	}
}

// senderReported notes a publisher's clocks. Its offset to ours is kept for
// audio and video together: what is said at one moment stays at one moment.
func (w *worker) senderReported(m *member, p *rtcp.SenderReport, at time.Time) {
	for _, t := range m.ups {
		if t == nil || t.ssrc != p.SSRC || !t.live {
			continue
		}
		first := !t.receipt.reported
		t.receipt.report = senderReport{ntp: p.NTPTime, rtp: p.RTPTime, came: at}
		t.receipt.reported = true
		offset := at.Sub(fromNTP(p.NTPTime))
		// The least delayed report is the truest; a jump is a clock set anew.
		if drift := offset - m.clockOffset; !m.clockKnown || drift < 0 || drift > 500*time.Millisecond {
			m.clockOffset, m.clockKnown = offset, true
		}
		if first {
			for _, d := range t.viewers {
				d.viewer.nextReport = w.now
			}
		}
	}
}

// reportTo sends a connection its reports: on what it publishes, and on the
// clocks of what it is shown.
func (w *worker) reportTo(m *member) {
	var packets []rtcp.Packet
	for _, s := range m.sections {
		if s.down != nil {
			if report := s.down.senderReport(w.now); report != nil {
				packets = append(packets, report)
			}
		}
	}
	receiver := &rtcp.ReceiverReport{SSRC: w.ssrc}
	for _, t := range m.ups {
		if t != nil && t.live && t.receipt.received > 0 {
			receiver.Reports = append(receiver.Reports, t.receipt.block(t.ssrc, w.now))
		}
	}
	if len(receiver.Reports) > 0 {
		packets = append(packets, receiver)
	}
	for len(packets) > 0 { // so many at a time that a datagram holds them
		n := min(len(packets), reportsPerPacket)
		w.sendFeedback(m, packets[:n]...)
		packets = packets[n:]
	}
}

// reportsPerPacket: a sender report and its description take some 90 bytes.
const reportsPerPacket = 12

// senderReport translates the publisher's newest sender report into the viewer's
// numbers; nil while there is nothing to say.
func (d *downTrack) senderReport(now time.Time) *rtcp.SenderReport {
	if !d.bound || d.waiting || d.packets == 0 || !d.source.receipt.reported {
		return nil
	}
	m, report := d.source.owner, d.source.receipt.report
	said := fromNTP(report.ntp).Add(m.clockOffset) // when, on our clock
	return &rtcp.SenderReport{
		SSRC:        d.ssrc,
		NTPTime:     toNTP(now),
		RTPTime:     d.numbers.Timestamp(report.rtp + ticks(now.Sub(said), d.kind.clock())),
		PacketCount: d.packets,
		OctetCount:  d.octets,
	}
}

// sendTransportFeedback tells a publisher when its packets arrived, from which it
// works out how much the path carries.
func (w *worker) sendTransportFeedback(m *member) {
	for _, p := range m.feedback.BuildFeedbackPacket() {
		w.sendFeedback(m, p)
	}
	m.feedbackAt = w.now
}

// sendFeedback seals one RTCP packet for a connection.
func (w *worker) sendFeedback(m *member, packets ...rtcp.Packet) {
	if !m.up {
		return
	}
	data, err := rtcp.Marshal(packets)
	if err == nil {
		err = m.peer().SealRTCP(w.batch, data)
	}
	if err != nil {
		w.round.drops[dropSeal]++
		return
	}
	w.sealed++
}
