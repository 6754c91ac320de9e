package packet_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// published is a packet as browsers send it: MID, audio level and transport-wide
// number, and 1000 bytes.
func published() []byte {
	var h packet.Head
	h.Start(false, true, 96, 1, 2, 3)
	h.Number(1, 0x85, 1)
	h.Number(3, 77, 2)
	h.Text(4, "0")
	return append(h.Bytes(), make([]byte, 1000)...)
}

// BenchmarkParse is once per packet that arrives: the header and two extensions.
func BenchmarkParse(b *testing.B) {
	raw := published()
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var h packet.Header
		for b.Loop() {
			if h.Parse(raw) != nil || len(h.Extension(1)) != 1 || len(h.Extension(3)) != 2 {
				b.Fatal("not read")
			}
		}
	})
	b.Run("pion", func(b *testing.B) {
		b.ReportAllocs()
		var p rtp.Packet
		for b.Loop() {
			if p.Unmarshal(raw) != nil || len(p.GetExtension(1)) != 1 || len(p.GetExtension(3)) != 2 {
				b.Fatal("not read")
			}
		}
	})
}

// BenchmarkHead is once per packet and viewer.
func BenchmarkHead(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		var h packet.Head
		for seq := uint16(0); b.Loop(); seq++ {
			h.Start(false, true, 96, seq, 2, 3)
			if len(h.Bytes()) != packet.HeaderSize {
				b.Fatal("not written")
			}
		}
	})
	b.Run("two stamps", func(b *testing.B) {
		b.ReportAllocs()
		var h packet.Head
		for seq := uint16(0); b.Loop(); seq++ {
			h.Start(false, true, 96, seq, 2, 3)
			h.Number(2, 12345, 3)
			h.Number(3, uint32(seq), 2)
			if len(h.Bytes()) != 24 {
				b.Fatal("not written")
			}
		}
	})
	b.Run("two stamps, pion", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 100)
		stamp, number := []byte{1, 2, 3}, make([]byte, 2)
		for seq := uint16(0); b.Loop(); seq++ {
			h := rtp.Header{Version: 2, Marker: true, PayloadType: 96, SequenceNumber: seq, Timestamp: 2, SSRC: 3}
			binary.BigEndian.PutUint16(number, seq)
			_ = h.SetExtension(2, stamp)
			_ = h.SetExtension(3, number)
			if n, err := h.MarshalTo(buf); err != nil || n != 24 {
				b.Fatal("not written")
			}
		}
	})
}

func BenchmarkHistory(b *testing.B) {
	const size = 1024
	payload := make([]byte, 1000)
	filled := func() *packet.History {
		h := packet.NewHistory(size)
		for seq := range uint64(size) {
			h.Add(&packet.Packet{Seq: seq, Payload: payload})
		}
		return h
	}
	b.Run("Add", func(b *testing.B) {
		h := filled()
		b.ReportAllocs()
		for seq := uint64(size); b.Loop(); seq++ {
			h.Add(&packet.Packet{Seq: seq, Payload: payload})
		}
	})
	b.Run("Get", func(b *testing.B) {
		h := filled()
		b.ReportAllocs()
		for seq := uint64(0); b.Loop(); seq++ {
			if h.Get(seq%size) == nil {
				b.Fatal("gone")
			}
		}
	})
}

// BenchmarkRenumber is once per packet and viewer.
func BenchmarkRenumber(b *testing.B) {
	r := packet.NewRenumber(1, 2)
	r.Switch(1<<16, 0, 0)
	b.Run("Map", func(b *testing.B) {
		b.ReportAllocs()
		for seq := uint64(1 << 16); b.Loop(); seq++ {
			r.Map(seq, uint32(seq))
		}
	})
	b.Run("Source", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Source(uint16(r.Highest() - 5))
		}
	})
}

func BenchmarkGaps(b *testing.B) {
	now := time.Now()
	b.Run("in order", func(b *testing.B) {
		b.ReportAllocs()
		var g packet.Gaps
		for seq := uint64(1 << 16); b.Loop(); seq++ {
			g.Saw(seq, now)
		}
	})
	b.Run("one in ten lost and repaired", func(b *testing.B) {
		b.ReportAllocs()
		var g packet.Gaps
		due := make([]uint16, 0, 64)
		for seq := uint64(1 << 16); b.Loop(); seq++ {
			if seq%10 != 0 {
				g.Saw(seq, now)
			}
			if seq%10 == 5 {
				now = now.Add(20 * time.Millisecond)
				due = g.Due(now, due[:0])
				g.Saw(seq-5, now)
			}
		}
	})
}
