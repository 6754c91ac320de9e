package packet_test

import (
	"maps"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// anyTransport is feedback with chunks of every kind.
func anyTransport(t *rapid.T) *rtcp.TransportLayerCC {
	f := &rtcp.TransportLayerCC{
		SenderSSRC: rapid.Uint32().Draw(t, "sender"), MediaSSRC: rapid.Uint32().Draw(t, "media"),
		BaseSequenceNumber: rapid.Uint16().Draw(t, "base"), ReferenceTime: rapid.Uint32Range(0, 1<<24-1).Draw(t, "reference"),
		FbPktCount: rapid.Uint8().Draw(t, "number"),
	}
	size := 20
	came := func(symbol uint16) {
		d := rtcp.RecvDelta{Type: symbol}
		switch symbol {
		case rtcp.TypeTCCPacketReceivedSmallDelta:
			d.Delta, size = rtcp.TypeTCCDeltaScaleFactor*rapid.Int64Range(0, 255).Draw(t, "small"), size+1
		case rtcp.TypeTCCPacketReceivedLargeDelta:
			d.Delta, size = rtcp.TypeTCCDeltaScaleFactor*rapid.Int64Range(-32768, 32767).Draw(t, "large"), size+2
		default:
			return
		}
		f.RecvDeltas = append(f.RecvDeltas, &d)
	}
	for range rapid.IntRange(1, 8).Draw(t, "chunks") {
		size += 2
		n := uint16(7)
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			n = rapid.Uint16Range(1, 40).Draw(t, "run")
			symbol := rapid.Uint16Range(0, 2).Draw(t, "symbol")
			f.PacketChunks = append(f.PacketChunks, &rtcp.RunLengthChunk{Type: rtcp.TypeTCCRunLengthChunk, PacketStatusSymbol: symbol, RunLength: n})
			for range n {
				came(symbol)
			}
		case 1:
			n = 14
			v := &rtcp.StatusVectorChunk{Type: rtcp.TypeTCCStatusVectorChunk, SymbolSize: rtcp.TypeTCCSymbolSizeOneBit}
			for range n {
				v.SymbolList = append(v.SymbolList, rapid.Uint16Range(0, 1).Draw(t, "symbol"))
				came(v.SymbolList[len(v.SymbolList)-1])
			}
			f.PacketChunks = append(f.PacketChunks, v)
		default:
			v := &rtcp.StatusVectorChunk{Type: rtcp.TypeTCCStatusVectorChunk, SymbolSize: rtcp.TypeTCCSymbolSizeTwoBit}
			for range n {
				v.SymbolList = append(v.SymbolList, rapid.Uint16Range(0, 2).Draw(t, "symbol"))
				came(v.SymbolList[len(v.SymbolList)-1])
			}
			f.PacketChunks = append(f.PacketChunks, v)
		}
		f.PacketStatusCount += n
	}
	padded := (size + 3) / 4 * 4
	f.Header = rtcp.Header{Padding: padded != size, Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: uint16(padded/4 - 1)}
	return f
}

// arrival is a packet as feedback reports it, in ticks of 250 µs.
type arrival struct {
	seq uint16
	at  uint32
}

// told is what pion's feedback says.
func told(f *rtcp.TransportLayerCC) (all []arrival, count int) {
	at := f.ReferenceTime << 8
	deltas := f.RecvDeltas
	seq, left := f.BaseSequenceNumber, int(f.PacketStatusCount)
	status := func(symbol uint16) {
		if left == 0 {
			return
		}
		left--
		if symbol != rtcp.TypeTCCPacketNotReceived {
			at += uint32(deltas[0].Delta / rtcp.TypeTCCDeltaScaleFactor)
			deltas = deltas[1:]
			all = append(all, arrival{seq, at})
		}
		seq++
	}
	for _, c := range f.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				status(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, s := range c.SymbolList {
				status(s)
			}
		}
	}
	return all, int(f.PacketStatusCount)
}

// tooMuch: pion reads deltas for packets beyond the count.
func tooMuch(f *rtcp.TransportLayerCC) bool {
	n := 0
	for _, c := range f.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			n += int(c.RunLength)
		case *rtcp.StatusVectorChunk:
			for _, s := range c.SymbolList {
				if n++; s == 3 {
					return true
				}
			}
		}
	}
	return n > int(f.PacketStatusCount)
}

func compareTransport(t rapid.TB, ours *packet.Control, theirs *rtcp.TransportLayerCC) {
	t.Helper()
	f, ok := ours.Transport()
	if !ok {
		t.Fatalf("cannot be read: %v", theirs)
	}
	want, count := told(theirs)
	if ours.SSRC != theirs.SenderSSRC || ours.Media != theirs.MediaSSRC || f.Base != theirs.BaseSequenceNumber ||
		f.Count != count || f.Received != len(want) || f.Number != theirs.FbPktCount {
		t.Fatalf("%v reads as %+v", theirs, f)
	}
	i := 0
	for seq, at := range f.Arrivals() {
		if i == len(want) || want[i] != (arrival{seq, at}) {
			t.Fatalf("packet %d reads as number %d at %d, want %v", i, seq, at, want)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%d packets came, want %d", i, len(want))
	}
}

func TestTransportFeedbackThatContradictsItself(t *testing.T) {
	head := []byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0}
	for name, c := range map[string]struct {
		rest []byte
		ok   bool
	}{
		"a run, exact":                  {[]byte{0, 4, 0, 0, 0, 0, 0x20, 4, 1, 1, 1, 1, 0, 0}, false}, // 24 + 2: not whole words
		"fewer deltas than packets":     {[]byte{0, 9, 0, 0, 0, 0, 0x20, 9, 1, 1}, false},
		"two-byte deltas cut":           {[]byte{0, 2, 0, 0, 0, 0, 0x40, 2, 1, 1}, false},
		"a chunk too few":               {[]byte{0, 200, 0, 0, 0, 0, 0, 100, 0, 50}, false},
		"runs of nothing":               {[]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		"a reserved run":                {[]byte{0, 1, 0, 0, 0, 0, 0x60, 1, 0, 0}, false},
		"a reserved symbol":             {[]byte{0, 7, 0, 0, 0, 0, 0xc0, 3, 0, 0}, false},
		"a reserved one past the count": {[]byte{0, 6, 0, 0, 0, 0, 0xc0, 3, 0, 0}, true},
		"a run past the count":          {[]byte{0, 2, 0, 0, 0, 0, 0x3f, 0xff, 1, 1}, true},
		"about nothing":                 {[]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, true},
	} {
		b := append(append([]byte{}, head...), c.rest...)
		compound, err := packet.ReadCompound(b)
		if err != nil {
			if c.ok {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var p packet.Control
		compound.Next(&p)
		if _, ok := p.Transport(); ok != c.ok {
			t.Errorf("%s: read %v", name, ok)
		}
	}
}

// report takes all feedback of a recorder of ours, which pion must read too.
func report(t rapid.TB, a *packet.Arrivals) (came map[uint16]uint32, lost map[uint16]bool) {
	t.Helper()
	came, lost = map[uint16]uint32{}, map[uint16]bool{}
	for a.Pending() > 0 {
		b := a.AppendFeedback(nil, 7)
		if len(b) > 1200 {
			t.Fatalf("feedback of %d bytes", len(b))
		}
		theirs, err := rtcp.Unmarshal(b)
		if err != nil || len(theirs) != 1 {
			t.Fatalf("pion reads %d packets: %v", len(theirs), err)
		}
		cc := theirs[0].(*rtcp.TransportLayerCC)
		ours := controls(t, b)
		compareTransport(t, &ours[0], cc)
		merge(cc, came, lost)
	}
	return came, lost
}

func merge(cc *rtcp.TransportLayerCC, came map[uint16]uint32, lost map[uint16]bool) {
	for i := range cc.PacketStatusCount {
		lost[cc.BaseSequenceNumber+i] = true
	}
	all, _ := told(cc)
	for _, a := range all {
		came[a.seq] = a.at
		delete(lost, a.seq)
	}
}

// TestArrivalsAreReportedAsPionDoes: packets get lost, overtake each other, come
// twice and wrap around; both recorders report the same.
func TestArrivalsAreReportedAsPionDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ours packet.Arrivals
		theirs := twcc.NewRecorder(7)
		next := rapid.Uint16().Draw(t, "first")
		// Long after the start, but before pion's clock of microseconds leaves the
		// reference time's 24 bits.
		at := time.Duration(rapid.Int64Range(0, 1000).Draw(t, "start")) * time.Second
		var late []uint16
		saw := func(seq uint16) {
			ours.Saw(9, seq, at)
			theirs.Record(9, seq, at.Microseconds())
		}
		saw(next) // pion can't go back behind 0
		next++
		for range rapid.IntRange(1, 12).Draw(t, "reports") {
			for range rapid.IntRange(0, 60).Draw(t, "packets") {
				at += time.Duration(rapid.IntRange(0, 2000).Draw(t, "µs")) * time.Microsecond
				switch rapid.IntRange(0, 9).Draw(t, "fate") {
				case 0: // lost
				case 1: // overtaken
					late = append(late, next)
				case 2: // twice
					saw(next)
					saw(next)
				case 3: // the network held all of them up for a while
					at += time.Duration(rapid.IntRange(0, 80).Draw(t, "ms")) * time.Millisecond
					saw(next)
				default:
					saw(next)
				}
				next++
				if len(late) > 0 && rapid.IntRange(0, 5).Draw(t, "arrives") == 0 {
					// Pion forgets what is older than half a second, we what is 512
					// numbers back.
					if next-late[0] < 100 {
						saw(late[0])
					}
					late = late[1:]
				}
			}
			came, lost := report(t, &ours)
			wantCame, wantLost := map[uint16]uint32{}, map[uint16]bool{}
			for _, p := range theirs.BuildFeedbackPacket() {
				merge(p.(*rtcp.TransportLayerCC), wantCame, wantLost)
			}
			if !maps.Equal(lost, wantLost) {
				t.Fatalf("lost %v, pion says %v", lost, wantLost)
			}
			for seq, want := range wantCame {
				// Pion rounds, we cut: within a tick.
				if got, ok := came[seq]; !ok || got-want+1 > 2 {
					t.Fatalf("number %d came at %d (%v), pion says %d", seq, got, ok, want)
				}
			}
			if len(came) != len(wantCame) {
				t.Fatalf("%d came, pion says %d", len(came), len(wantCame))
			}
		}
	})
}

// TestArrivalsForgetNothingInReach compares with a map over the widest jumps and
// longest pauses.
func TestArrivalsForgetNothingInReach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a packet.Arrivals
		const reach = 512
		at, seq := time.Duration(0), rapid.Uint16().Draw(t, "first")
		newest := seq
		a.Saw(9, seq, at)
		due := map[uint16]uint32{seq: 0}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at += time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "pause"))
			step := rapid.IntRange(-2*reach, 2*reach).Draw(t, "step")
			seq = newest + uint16(step)
			_, twice := due[seq]
			a.Saw(9, seq, at)
			switch {
			case step >= reach+1 || step < -reach+1: // too far: it begins anew
				due = map[uint16]uint32{seq: uint32(at / packet.FeedbackTick)}
				newest = seq
			case step > 0:
				newest = seq
				for s := range due {
					if newest-s >= reach {
						delete(due, s)
					}
				}
				due[seq] = uint32(at / packet.FeedbackTick)
			case !twice:
				due[seq] = uint32(at / packet.FeedbackTick)
			}
			if rapid.IntRange(0, 3).Draw(t, "report") > 0 {
				continue
			}
			came, _ := report(t, &a)
			for s, when := range due {
				if got, ok := came[s]; !ok || got != when {
					t.Fatalf("number %d is reported at %d (%v), came at %d", s, got, ok, when)
				}
			}
			// What was reported may be reported again, when one before it came late.
			due = map[uint16]uint32{}
			a = packet.Arrivals{}
			a.Saw(9, newest, at)
			due[newest] = uint32(at / packet.FeedbackTick)
		}
	})
}

// TestFeedbackClockWraps: reference times are 24 bits of 64 ms, some twelve days.
func TestFeedbackClockWraps(t *testing.T) {
	var a packet.Arrivals
	wrap := time.Duration(1<<32) * packet.FeedbackTick
	for i := range uint16(10) {
		a.Saw(9, 65530+i, wrap-time.Second+time.Duration(i)*200*time.Millisecond)
	}
	came, lost := report(t, &a)
	if len(came) != 10 || len(lost) != 0 {
		t.Fatalf("%d came, %d lost", len(came), len(lost))
	}
	for i := range uint16(9) {
		if d := came[65531+i] - came[65530+i]; d != 800 {
			t.Errorf("packets %d and %d are %d ticks apart, want 800", i, i+1, d)
		}
	}
}
