package packet_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pion/rtcp"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// controls reads a datagram to its end.
func controls(t rapid.TB, b []byte) []packet.Control {
	t.Helper()
	c, err := packet.ReadCompound(b)
	if err != nil {
		t.Fatalf("%v: %x", err, b)
	}
	var all []packet.Control
	for {
		var p packet.Control
		if !c.Next(&p) {
			return all
		}
		all = append(all, p)
	}
}

func marshal(t rapid.TB, packets ...rtcp.Packet) []byte {
	t.Helper()
	b, err := rtcp.Marshal(packets)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	reportBlocks = rapid.Custom(func(t *rapid.T) rtcp.ReceptionReport {
		return rtcp.ReceptionReport{
			SSRC: rapid.Uint32().Draw(t, "ssrc"), FractionLost: rapid.Uint8().Draw(t, "fraction"),
			TotalLost:          rapid.Uint32Range(0, 1<<24-1).Draw(t, "lost"),
			LastSequenceNumber: rapid.Uint32().Draw(t, "highest"), Jitter: rapid.Uint32().Draw(t, "jitter"),
			LastSenderReport: rapid.Uint32().Draw(t, "last"), Delay: rapid.Uint32().Draw(t, "delay"),
		}
	})
	anyControl = rapid.OneOf(
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			return &rtcp.SenderReport{
				SSRC: rapid.Uint32().Draw(t, "ssrc"), NTPTime: rapid.Uint64().Draw(t, "ntp"), RTPTime: rapid.Uint32().Draw(t, "rtp"),
				PacketCount: rapid.Uint32().Draw(t, "packets"), OctetCount: rapid.Uint32().Draw(t, "octets"),
				Reports:           rapid.SliceOfN(reportBlocks, 0, 31).Draw(t, "blocks"),
				ProfileExtensions: make([]byte, 4*rapid.IntRange(0, 2).Draw(t, "extensions")),
			}
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			return &rtcp.ReceiverReport{SSRC: rapid.Uint32().Draw(t, "ssrc"), Reports: rapid.SliceOfN(reportBlocks, 0, 31).Draw(t, "blocks")}
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			n := &rtcp.TransportLayerNack{SenderSSRC: rapid.Uint32().Draw(t, "sender"), MediaSSRC: rapid.Uint32().Draw(t, "media")}
			for range rapid.IntRange(1, 20).Draw(t, "pairs") {
				n.Nacks = append(n.Nacks, rtcp.NackPair{PacketID: rapid.Uint16().Draw(t, "pid"), LostPackets: rtcp.PacketBitmap(rapid.Uint16().Draw(t, "blp"))})
			}
			return n
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			return &rtcp.PictureLossIndication{SenderSSRC: rapid.Uint32().Draw(t, "sender"), MediaSSRC: rapid.Uint32().Draw(t, "media")}
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			f := &rtcp.FullIntraRequest{SenderSSRC: rapid.Uint32().Draw(t, "sender"), MediaSSRC: rapid.Uint32().Draw(t, "media")}
			for range rapid.IntRange(1, 5).Draw(t, "entries") {
				f.FIR = append(f.FIR, rtcp.FIREntry{SSRC: rapid.Uint32().Draw(t, "ssrc"), SequenceNumber: rapid.Uint8().Draw(t, "number")})
			}
			return f
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			return &rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: rapid.Uint32().Draw(t, "sender"),
				Bitrate: float32(rapid.Uint32Range(1, 1<<32-1).Draw(t, "rate")), SSRCs: rapid.SliceOfN(rapid.Uint32(), 0, 5).Draw(t, "ssrcs")}
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			return &rtcp.Goodbye{Sources: rapid.SliceOfN(rapid.Uint32(), 0, 31).Draw(t, "sources"), Reason: rapid.StringN(0, 20, 200).Draw(t, "reason")}
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet { return anyTransport(t) }),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			return rtcp.NewCNAMESourceDescription(rapid.Uint32().Draw(t, "ssrc"), rapid.StringN(0, 20, 200).Draw(t, "name"))
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			return &rtcp.ExtendedReport{SenderSSRC: rapid.Uint32().Draw(t, "ssrc"), Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 1}}}
		}),
		rapid.Custom(func(t *rapid.T) rtcp.Packet {
			return &rtcp.ApplicationDefined{SubType: 3, SSRC: rapid.Uint32().Draw(t, "ssrc"), Name: "test", Data: make([]byte, 8)}
		}),
	)
)

// compare checks that ours says what pion's says.
func compare(t rapid.TB, ours *packet.Control, theirs rtcp.Packet) {
	t.Helper()
	var kind packet.Kind
	switch p := theirs.(type) {
	case *rtcp.SenderReport:
		kind = packet.KindSenderReport
		if ours.SSRC != p.SSRC || ours.Info() != (packet.SenderInfo{NTP: p.NTPTime, RTP: p.RTPTime, Packets: p.PacketCount, Octets: p.OctetCount}) {
			t.Fatalf("%v reads as %+v", p, ours.Info())
		}
		compareBlocks(t, ours, p.Reports)
	case *rtcp.ReceiverReport:
		kind = packet.KindReceiverReport
		if ours.SSRC != p.SSRC {
			t.Fatalf("%v reads as of %d", p, ours.SSRC)
		}
		compareBlocks(t, ours, p.Reports)
	case *rtcp.TransportLayerNack:
		kind = packet.KindNACK
		var lost []uint16
		for _, pair := range p.Nacks {
			lost = append(lost, pair.PacketList()...)
		}
		if got := slices.Collect(ours.Lost()); ours.SSRC != p.SenderSSRC || ours.Media != p.MediaSSRC || !slices.Equal(got, lost) {
			t.Fatalf("%v reads as %v", p, got)
		}
	case *rtcp.PictureLossIndication:
		kind = packet.KindPLI
		if got := slices.Collect(ours.Wanted()); ours.SSRC != p.SenderSSRC || !slices.Equal(got, []uint32{p.MediaSSRC}) {
			t.Fatalf("%v reads as %v", p, got)
		}
	case *rtcp.FullIntraRequest:
		kind = packet.KindFIR
		var wanted []uint32
		for _, e := range p.FIR {
			wanted = append(wanted, e.SSRC)
		}
		if got := slices.Collect(ours.Wanted()); ours.SSRC != p.SenderSSRC || !slices.Equal(got, wanted) {
			t.Fatalf("%v reads as %v", p, got)
		}
	case *rtcp.ReceiverEstimatedMaximumBitrate:
		kind = packet.KindEstimate
		if got := ours.Estimate(); ours.SSRC != p.SenderSSRC || float32(got) != p.Bitrate {
			t.Fatalf("%v reads as %d", p, got)
		}
	case *rtcp.Goodbye:
		kind = packet.KindGoodbye
		if got := slices.Collect(ours.Left()); !slices.Equal(got, p.Sources) {
			t.Fatalf("%v reads as %v", p, got)
		}
	case *rtcp.TransportLayerCC:
		kind = packet.KindTransport
		compareTransport(t, ours, p)
	}
	if ours.Kind != kind {
		t.Fatalf("%T reads as kind %d: %v", theirs, ours.Kind, theirs)
	}
}

func compareBlocks(t rapid.TB, ours *packet.Control, theirs []rtcp.ReceptionReport) {
	t.Helper()
	i := 0
	for b := range ours.Blocks() {
		if i == len(theirs) || pionBlock(b) != theirs[i] {
			t.Fatalf("block %d reads as %+v, want %+v", i, b, theirs)
		}
		i++
	}
	if i != len(theirs) {
		t.Fatalf("%d blocks, want %d", i, len(theirs))
	}
}

func pionBlock(b packet.ReportBlock) rtcp.ReceptionReport {
	return rtcp.ReceptionReport{SSRC: b.SSRC, FractionLost: b.Fraction, TotalLost: b.Lost, LastSequenceNumber: b.Highest,
		Jitter: b.Jitter, LastSenderReport: b.LastSR, Delay: b.Delay}
}

func TestWhatPionWritesIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		theirs := rapid.SliceOfN(anyControl, 1, 5).Draw(t, "packets")
		ours := controls(t, marshal(t, theirs...))
		if len(ours) != len(theirs) {
			t.Fatalf("%d packets, want %d", len(ours), len(theirs))
		}
		for i := range ours {
			// REMB rounds when it is marshalled.
			if b := marshal(t, theirs[i]); ours[i].Kind == packet.KindEstimate {
				read, err := rtcp.Unmarshal(b)
				if err != nil {
					t.Fatal(err)
				}
				theirs[i] = read[0]
			}
			compare(t, &ours[i], theirs[i])
		}
	})
}

func TestWhatIsWrittenPionReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sender, media := rapid.Uint32().Draw(t, "sender"), rapid.Uint32().Draw(t, "media")
		info := packet.SenderInfo{NTP: rapid.Uint64().Draw(t, "ntp"), RTP: rapid.Uint32().Draw(t, "rtp"),
			Packets: rapid.Uint32().Draw(t, "packets"), Octets: rapid.Uint32().Draw(t, "octets")}
		var blocks []packet.ReportBlock
		for _, b := range rapid.SliceOfN(reportBlocks, 0, 31).Draw(t, "blocks") {
			blocks = append(blocks, packet.ReportBlock{SSRC: b.SSRC, Fraction: b.FractionLost, Lost: b.TotalLost,
				Highest: b.LastSequenceNumber, Jitter: b.Jitter, LastSR: b.LastSenderReport, Delay: b.Delay})
		}
		lost := rapid.SliceOfN(rapid.Uint16(), 1, 100).Draw(t, "lost")
		slices.Sort(lost)
		lost = slices.Compact(lost)
		if rapid.Bool().Draw(t, "wraps") { // ascending beyond 65535
			lost = append(lost[len(lost)/2:], lost[:len(lost)/2]...)
		}

		prefix := []byte("kept")
		b := packet.AppendSenderReport(bytes.Clone(prefix), sender, info)
		b = packet.AppendReceiverReport(b, sender, blocks)
		b = packet.AppendNACK(b, sender, media, lost)
		b = packet.AppendPLI(b, sender, media)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatal("what stood before was changed")
		}
		b = b[len(prefix):]
		theirs, err := rtcp.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		ours := controls(t, b)
		if len(theirs) != 4 || len(ours) != 4 {
			t.Fatalf("pion reads %d packets, we %d", len(theirs), len(ours))
		}
		for i := range ours {
			compare(t, &ours[i], theirs[i])
		}
		sr, nack := theirs[0].(*rtcp.SenderReport), theirs[2].(*rtcp.TransportLayerNack)
		if sr.SSRC != sender || sr.NTPTime != info.NTP || sr.RTPTime != info.RTP || sr.PacketCount != info.Packets || sr.OctetCount != info.Octets {
			t.Fatalf("%+v was written as %v", info, sr)
		}
		if want := rtcp.NackPairsFromSequenceNumbers(lost); !slices.Equal(nack.Nacks, want) {
			t.Fatalf("%v was written as %v, pion writes %v", lost, nack.Nacks, want)
		}
		if got := slices.Collect(ours[2].Lost()); !slices.Equal(got, lost) {
			t.Fatalf("%v was written as %v", lost, got)
		}
		if pli := theirs[3].(*rtcp.PictureLossIndication); pli.SenderSSRC != sender || pli.MediaSSRC != media {
			t.Fatalf("PLI is %v", pli)
		}
		rr := theirs[1].(*rtcp.ReceiverReport)
		for i, block := range blocks {
			if rr.Reports[i] != pionBlock(block) {
				t.Fatalf("block %+v was written as %+v", block, rr.Reports[i])
			}
		}
	})
}

// TestLengthsThatLie cuts and stretches one packet of each kind.
func TestLengthsThatLie(t *testing.T) {
	ssrcs := []byte{0, 0, 0, 1, 0, 0, 0, 2}
	control := func(first, packetType byte, body ...byte) []byte {
		return append([]byte{first, packetType, 0, byte(len(body) / 4)}, body...)
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  packet.Kind // KindUnknown: the datagram is refused
	}{
		"nothing":                         {nil, 0},
		"less than a header":              {[]byte{0x80, 200, 0}, 0},
		"version 1":                       {[]byte{0x40, 201, 0, 1, 0, 0, 0, 1}, 0},
		"longer than the datagram":        {[]byte{0x80, 201, 0, 2, 0, 0, 0, 1}, 0},
		"65535 words":                     {[]byte{0x80, 201, 0xff, 0xff, 0, 0, 0, 1}, 0},
		"bytes after the last packet":     {[]byte{0x80, 201, 0, 1, 0, 0, 0, 1, 0x80}, 0},
		"sender report without clocks":    {control(0x80, 200, ssrcs...), packet.KindMalformed},
		"sender report without its block": {control(0x81, 200, make([]byte, 24)...), packet.KindMalformed},
		"receiver report without SSRC":    {control(0x80, 201), packet.KindMalformed},
		"31 blocks, none there":           {control(0x9f, 201, ssrcs...), packet.KindMalformed},
		"goodbye of more than are there":  {control(0x83, 203, ssrcs...), packet.KindMalformed},
		"goodbye of nobody":               {control(0x80, 203), packet.KindGoodbye},
		"NACK for nothing":                {control(0x81, 205, ssrcs...), packet.KindMalformed},
		"PLI without source":              {control(0x81, 206, ssrcs[:4]...), packet.KindMalformed},
		"FIR of half an entry":            {control(0x84, 206, append(ssrcs, 0, 0, 0, 0)...), packet.KindMalformed},
		"estimate without a rate":         {control(0x8f, 206, append(ssrcs, "REMB"...)...), packet.KindMalformed},
		"estimate for more than it lists": {control(0x8f, 206, append(ssrcs, 'R', 'E', 'M', 'B', 9, 0, 0, 0)...), packet.KindMalformed},
		"padding of nothing":              {control(0xa0, 201, 0, 0, 0, 0), packet.KindMalformed},
		"padding longer than the packet":  {control(0xa0, 201, 0, 0, 0, 9), packet.KindMalformed},
		"padding over the SSRC":           {control(0xa0, 201, 0, 0, 0, 4), packet.KindMalformed},
		"transport feedback without head": {control(0x8f, 205, append(ssrcs, 0, 0, 0, 1)...), packet.KindMalformed},
	} {
		compound, err := packet.ReadCompound(c.bytes)
		if (err != nil) != (c.want == packet.KindUnknown) {
			t.Errorf("%s: %v", name, err)
		}
		var p packet.Control
		if err == nil && (!compound.Next(&p) || p.Kind != c.want) {
			t.Errorf("%s: kind %d, want %d", name, p.Kind, c.want)
		}
	}
}

// FuzzCompound: any bytes are read to an end, and what pion can read means the
// same.
func FuzzCompound(f *testing.F) {
	f.Add(packet.AppendReceiverReport(nil, 1, make([]packet.ReportBlock, 2)))
	f.Add(packet.AppendNACK(packet.AppendSenderReport(nil, 1, packet.SenderInfo{NTP: 5}), 1, 2, []uint16{1, 3, 40}))
	f.Add([]byte{0xaf, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 3, 1, 2, 3, 4, 0xd8, 0x80, 7, 7, 7, 7, 0, 1})
	f.Add([]byte{0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 'R', 'E', 'M', 'B', 1, 0x1f, 0xff, 0xff, 0, 0, 0, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := bytes.Clone(b)
		c, err := packet.ReadCompound(b)
		if err != nil {
			return
		}
		var p packet.Control
		size := 0
		for c.Next(&p) {
			one := whole[size:]
			one = one[:4+4*int(binary.BigEndian.Uint16(one[2:]))]
			size += len(one)
			use(t, &p)
			theirs, err := rtcp.Unmarshal(one)
			if err != nil || p.Kind == packet.KindMalformed || one[0]&0x20 != 0 {
				continue // each of us is stricter in one thing or another; padding pion mostly reads as content
			}
			if cc, ok := theirs[0].(*rtcp.TransportLayerCC); ok {
				if _, fine := p.Transport(); !fine || tooMuch(cc) {
					continue
				}
			}
			if _, ok := theirs[0].(*rtcp.ReceiverEstimatedMaximumBitrate); ok {
				continue // pion's are floats, and may be infinite
			}
			compare(t, &p, theirs[0])
		}
		if size != len(whole) || !bytes.Equal(whole, b) {
			t.Fatal("not read to the end, or changed")
		}
	})
}

// use calls all there is to be called.
func use(t *testing.T, p *packet.Control) {
	n := 0
	for range p.Blocks() {
		n++
	}
	for range p.Lost() {
		n++
	}
	for range p.Wanted() {
		n++
	}
	for range p.Left() {
		n++
	}
	if n > 0 && p.Kind == packet.KindMalformed {
		t.Fatal("a malformed packet says something")
	}
	p.Info()
	p.Estimate()
	if f, ok := p.Transport(); ok {
		came := 0
		for range f.Arrivals() {
			came++
		}
		if came != f.Received || came > f.Count {
			t.Fatalf("%d packets came of %d, counted %d", came, f.Count, f.Received)
		}
	}
}
