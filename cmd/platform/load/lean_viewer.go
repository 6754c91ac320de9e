package load

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

// leanViewer watches a channel as cheaply as it can: see the package comment.
type leanViewer struct {
	*receipts
	*leanPeer
	every uint16 // see decryptEvery

	// Owned by the poller
	sources []leanSource
}

// leanSource is one SSRC: which packet of which publisher a sequence number is.
type leanSource struct {
	ssrc      uint32
	seq, last uint16 // of the packet decrypted last, of the newest
	stamp     stamp  // of the packet decrypted last
}

// timedRate is how many packets per second all viewers of a stage together
// should decrypt, which tells their delay.
const timedRate = 6000

// decryptEvery is how many packets go between those that a lean viewer decrypts
// when all viewers together get rate packets a second. It shares no divisor with
// the usual packets of a frame, so that each place in a frame gets its turn.
func decryptEvery(rate int) uint16 {
	for _, every := range []int{1, 3, 7, 11, 13, 17, 23, 31, 43} {
		if rate <= every*timedRate {
			return uint16(every)
		}
	}
	return 61
}

// startLeanViewer joins and returns when the first packet is there. It returns a
// viewer to close even with an error, when it got that far.
func startLeanViewer(ctx context.Context, r *run, s *stage) (watcher, error) {
	v := &leanViewer{receipts: newReceipts(), every: s.every}
	var err error
	if v.leanPeer, err = startLeanPeer(ctx, r, s, "recvonly", v); v.leanPeer == nil {
		return nil, err
	}
	if err != nil {
		return v, err
	}
	return v, r.awaitFirst(ctx, v.receipts)
}

func (v *leanViewer) count() *receipts { return v.receipts }

// rtp notes one packet, mostly by its header alone.
func (v *leanViewer) rtp(m *leanMedia, b []byte, came time.Duration) {
	ssrc, seq := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
	s := v.source(ssrc)
	if s != nil && seq%v.every != 0 {
		s.last = seq
		v.got(s.stamp.publisher, s.stamp.number+uint64(int64(int16(seq-s.seq))))
		return
	}
	packet, err := m.in.DecryptRTP(m.plain[:0], b, nil)
	if err != nil {
		return
	}
	at, ok := readStamp(packet)
	if !ok {
		return
	}
	if s == nil {
		v.sources = append(v.sources, leanSource{ssrc: ssrc})
		s = &v.sources[len(v.sources)-1]
	}
	s.seq, s.last, s.stamp = seq, seq, at
	v.got(at.publisher, at.number)
	v.delayed(came - at.sent)
}

func (v *leanViewer) source(ssrc uint32) *leanSource {
	for i := range v.sources {
		if v.sources[i].ssrc == ssrc {
			return &v.sources[i]
		}
	}
	return nil
}

// rtcp reads nothing: what the server reports is not what is measured.
func (v *leanViewer) rtcp(*leanMedia, []byte) {}

// report sends a receiver report about every source (RFC 3550 §6.4.2), as
// browsers do.
func (v *leanViewer) report(p *leanPeer, m *leanMedia) {
	if len(v.sources) == 0 {
		return
	}
	report := &rtcp.ReceiverReport{SSRC: p.ssrc}
	for _, s := range v.sources[:min(len(v.sources), 31)] {
		report.Reports = append(report.Reports, rtcp.ReceptionReport{SSRC: s.ssrc, LastSequenceNumber: uint32(s.last)})
	}
	p.sendRTCP(m, report)
}

// sendRTCP sends one RTCP packet or loses it.
func (p *leanPeer) sendRTCP(m *leanMedia, packet rtcp.Packet) {
	plain, err := packet.Marshal()
	if err != nil {
		return
	}
	if sealed, err := m.out.EncryptRTCP(nil, plain, nil); err == nil {
		p.socket.send(sealed)
	}
}
