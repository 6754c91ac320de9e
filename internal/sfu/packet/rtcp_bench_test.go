package packet_test

import (
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// feedbackOf is what a viewer of 240 packets a second sends twenty times a
// second, with one loss in it.
func feedbackOf() []byte {
	var a packet.Arrivals
	for i := range uint16(12) {
		if i != 5 {
			a.Saw(9, i, time.Duration(i)*700*time.Microsecond)
		}
	}
	return a.AppendFeedback(nil, 1)
}

// reportOf is a viewer's report on an audio and a video source with a NACK.
func reportOf() []byte {
	b := packet.AppendReceiverReport(nil, 1, make([]packet.ReportBlock, 2))
	return packet.AppendNACK(b, 1, 2, []uint16{7, 9, 30})
}

// walk reads everything in a datagram as the media plane does.
func walk(b []byte) (n int) {
	c, err := packet.ReadCompound(b)
	if err != nil {
		return -1
	}
	var p packet.Control
	for c.Next(&p) {
		switch p.Kind {
		case packet.KindReceiverReport, packet.KindSenderReport:
			for block := range p.Blocks() {
				n += int(block.Fraction) + 1
			}
		case packet.KindNACK:
			for seq := range p.Lost() {
				n += int(seq)
			}
		case packet.KindPLI, packet.KindFIR:
			for range p.Wanted() {
				n++
			}
		case packet.KindGoodbye:
			for range p.Left() {
				n++
			}
		case packet.KindTransport:
			if f, ok := p.Transport(); ok {
				n += f.Received
				for seq := range f.Arrivals() {
					n += int(seq)
				}
			}
		}
	}
	return n
}

func TestControlAllocatesNothing(t *testing.T) {
	compound := append(packet.AppendSenderReport(reportOf(), 1, packet.SenderInfo{}), feedbackOf()...)
	compound = append(compound, 0x81, 203, 0, 1, 0, 0, 0, 9)
	compound = append(compound, 0x84, 206, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0)
	var a packet.Arrivals
	scratch, seq, at := make([]byte, 0, 2000), uint16(0), time.Duration(0)
	blocks, lost := make([]packet.ReportBlock, 2), []uint16{1, 2, 40}
	if n := testing.AllocsPerRun(1000, func() {
		if walk(compound) <= 0 {
			t.Fatal("not read")
		}
		for range 60 {
			seq, at = seq+1, at+time.Millisecond
			a.Saw(9, seq, at)
		}
		scratch = a.AppendFeedback(scratch[:0], 1)
		scratch = packet.AppendSenderReport(scratch, 1, packet.SenderInfo{})
		scratch = packet.AppendReceiverReport(scratch, 1, blocks)
		scratch = packet.AppendNACK(scratch, 1, 2, lost)
		scratch = packet.AppendPLI(scratch, 1, 2)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkReadReport(b *testing.B) {
	data := reportOf()
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			walk(data)
		}
	})
	b.Run("pion", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = rtcp.Unmarshal(data)
		}
	})
}

func BenchmarkReadTransportFeedback(b *testing.B) {
	data := feedbackOf()
	b.Run("ours, every packet", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			walk(data)
		}
	})
	b.Run("ours, counts", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, _ := packet.ReadCompound(data)
			var p packet.Control
			for c.Next(&p) {
				p.Transport()
			}
		}
	})
	b.Run("pion", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = rtcp.Unmarshal(data)
		}
	})
}

func BenchmarkWriteReport(b *testing.B) {
	blocks, lost := make([]packet.ReportBlock, 2), []uint16{7, 9, 30}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		scratch := make([]byte, 0, 1500)
		for b.Loop() {
			scratch = packet.AppendSenderReport(scratch[:0], 1, packet.SenderInfo{})
			scratch = packet.AppendReceiverReport(scratch, 1, blocks)
			scratch = packet.AppendNACK(scratch, 1, 2, lost)
		}
	})
	b.Run("pion", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = rtcp.Marshal([]rtcp.Packet{
				&rtcp.SenderReport{SSRC: 1},
				&rtcp.ReceiverReport{SSRC: 1, Reports: make([]rtcp.ReceptionReport, 2)},
				&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: 2, Nacks: rtcp.NackPairsFromSequenceNumbers(lost)},
			})
		}
	})
}

// BenchmarkArrivals is per packet, with feedback every 24.
func BenchmarkArrivals(b *testing.B) {
	const each = 24
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var a packet.Arrivals
		scratch, seq, at := make([]byte, 0, 1500), uint16(0), time.Duration(0)
		for b.Loop() {
			seq, at = seq+1, at+time.Millisecond
			a.Saw(9, seq, at)
			if seq%each == 0 {
				scratch = a.AppendFeedback(scratch[:0], 1)
			}
		}
	})
	b.Run("pion", func(b *testing.B) {
		b.ReportAllocs()
		r := twcc.NewRecorder(1)
		seq, at := uint16(0), int64(0)
		for b.Loop() {
			seq, at = seq+1, at+1000
			r.Record(9, seq, at)
			if seq%each == 0 {
				_, _ = rtcp.Marshal(r.BuildFeedbackPacket())
			}
		}
	})
}
