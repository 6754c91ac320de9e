package packet_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu/packet"
)

func TestHeadersAreReadByPion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		marker := rapid.Bool().Draw(t, "marker")
		pt := rapid.Uint8Range(0, 127).Draw(t, "pt")
		seq := rapid.Uint16().Draw(t, "seq")
		ts, ssrc := rapid.Uint32().Draw(t, "ts"), rapid.Uint32().Draw(t, "ssrc")
		values := rapid.MapOfN(rapid.Uint8Range(1, 14), rapid.SliceOfN(rapid.Byte(), 1, 7), 0, 5).Draw(t, "extensions")
		payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload")

		var h packet.Head
		h.Start(false, true, 1, 2, 3, 4) // of another packet before
		h.Text(9, "0123456789abcdef")
		h.Start(false, marker, pt, seq, ts, ssrc)
		for id, v := range values {
			if len(v) <= 4 {
				n := uint32(rapid.Uint32().Draw(t, "above"))
				for _, b := range v {
					n = n<<8 | uint32(b)
				}
				h.Number(id, n, len(v))
			} else {
				h.Text(id, string(v))
			}
		}
		b := append(bytes.Clone(h.Bytes()), payload...)

		var theirs rtp.Packet
		if err := theirs.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		var ours packet.Header
		if err := ours.Parse(b); err != nil {
			t.Fatal(err)
		}
		if theirs.Marker != marker || theirs.PayloadType != pt || theirs.SequenceNumber != seq ||
			theirs.Timestamp != ts || theirs.SSRC != ssrc || !bytes.Equal(theirs.Payload, payload) {
			t.Fatalf("pion reads %v", theirs)
		}
		if ours.Marker != marker || ours.PayloadType != pt || ours.Seq != seq ||
			ours.Timestamp != ts || ours.SSRC != ssrc || !bytes.Equal(ours.Payload, payload) {
			t.Fatalf("we read %+v", ours)
		}
		for id, v := range values {
			if !bytes.Equal(theirs.GetExtension(id), v) || !bytes.Equal(ours.Extension(id), v) {
				t.Fatalf("extension %d: pion %x, we %x, want %x", id, theirs.GetExtension(id), ours.Extension(id), v)
			}
		}
	})
}

// FuzzHeader: what we can read, pion reads the same, and nothing panics.
func FuzzHeader(f *testing.F) {
	var one packet.Head
	one.Start(false, true, 96, 7, 8, 9)
	f.Add(append(bytes.Clone(one.Bytes()), 1, 2, 3))
	one.Text(4, "12")
	f.Add(append(bytes.Clone(one.Bytes()), 1))
	one.Start(true, true, 96, 7, 8, 9)
	f.Add(append(bytes.Clone(one.Bytes()), 1, 0, 2))
	f.Add([]byte{0xb1, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 0x10, 0, 0, 1, 1, 1, 5, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h packet.Header
		if h.Parse(b) != nil {
			return
		}
		for id := range uint8(16) {
			h.Extension(id)
		}
		var theirs rtp.Packet
		if theirs.Unmarshal(b) != nil {
			return // pion also checks the extensions, which we read only on demand
		}
		if theirs.SequenceNumber != h.Seq || theirs.SSRC != h.SSRC || !bytes.Equal(theirs.Payload, h.Payload) {
			t.Fatalf("pion reads %v, we %+v", theirs, h)
		}
	})
}

func TestUnwrapFollowsTheSource(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint16().Draw(t, "first")
		var u packet.Unwrap
		at := 1<<16 + uint64(first)
		if got := u.Next(first); got != at {
			t.Fatalf("first is %d, want %d", got, at)
		}
		highest := at
		for _, step := range rapid.SliceOf(rapid.Int64Range(-20_000, 20_000)).Draw(t, "steps") {
			n := highest + uint64(step)
			if got := u.Next(uint16(n)); got != n {
				t.Fatalf("got %d, want %d with highest %d", got, n, highest)
			}
			highest = max(highest, n)
		}
	})
}

// TestRenumberIsContinuous plays sources of any length and any numbers one
// after the other and checks what a viewer sees.
func TestRenumberIsContinuous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint16().Draw(t, "first")
		r := packet.NewRenumber(first, rapid.Uint32().Draw(t, "timestamp"))
		if _, ok := r.Source(first); ok {
			t.Fatal("a number was known before any was given out")
		}
		next := uint16(first)
		for range rapid.IntRange(1, 5).Draw(t, "sources") {
			in := rapid.Uint64Range(1<<16, 1<<40).Draw(t, "in")
			ts := rapid.Uint32().Draw(t, "ts")
			r.Switch(in, ts, 3000)
			if _, _, ok := r.Map(in-1, ts); ok {
				t.Fatal("a packet from before the switch was let through")
			}
			n := rapid.IntRange(1, 70_000).Draw(t, "packets")
			var lastTS uint32
			for i := range n {
				out, outTS, ok := r.Map(in+uint64(i), ts+uint32(i))
				if !ok || uint16(out) != next {
					t.Fatalf("packet %d is number %d (%v), want %d", i, uint16(out), ok, next)
				}
				if i > 0 && outTS != lastTS+1 {
					t.Fatalf("timestamp %d after %d", outTS, lastTS)
				}
				lastTS = outTS
				next++
			}
			back := uint64(rapid.IntRange(0, min(n-1, 30_000)).Draw(t, "back"))
			if source, ok := r.Source(next - 1 - uint16(back)); !ok || source != in+uint64(n-1)-back {
				t.Fatalf("number %d back is packet %d (%v), want %d", back, source, ok, in+uint64(n-1)-back)
			}
			if n < 30_000 {
				if _, ok := r.Source(next - 1 - uint16(n)); ok {
					t.Fatal("a number of an earlier source was found in this one")
				}
			}
			if _, ok := r.Source(next); ok {
				t.Fatal("a number was known before it was given out")
			}
		}
	})
}

// TestNoNumberIsGivenOutTwice sends packets late, twice and far apart.
func TestNoNumberIsGivenOutTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const reach = 1024
		r := packet.NewRenumber(rapid.Uint16().Draw(t, "first"), 0)
		given := map[uint64]bool{}
		base := rapid.Uint64Range(1<<16, 1<<40).Draw(t, "in")
		highest := base - 1
		r.Switch(base, 0, 0)
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0:
				base = rapid.Uint64Range(1<<16, 1<<40).Draw(t, "in")
				highest = base - 1
				r.Switch(base, 0, 0)
			default:
				seq := highest + uint64(rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64Range(-2*reach, 2*reach)).Draw(t, "step"))
				out, _, ok := r.Map(seq, 0)
				again, _ := r.Again(seq, 0)
				switch {
				case ok && (given[out] || out != again):
					t.Fatalf("number %d was given out twice, or is %d again", out, again)
				case ok:
					given[out] = true
					highest = max(highest, seq)
				case seq >= base && !given[again] && seq+reach > highest:
					t.Fatalf("packet %d was refused as number %d, highest is %d", seq, again, highest)
				}
			}
		}
	})
}

// TestPaddingLiesBehindThePayload: pion takes off what SetPad put on.
func TestPaddingLiesBehindThePayload(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := packet.NewHistory(4)
		payload := rapid.SliceOfN(rapid.Byte(), 1, 1500).Draw(t, "payload")
		for seq := range uint64(8) { // once in new memory, once in used
			p := history.Add(&packet.Packet{Seq: seq, Payload: payload})
			if p.Ready || p.Pad != 0 {
				t.Fatal("padding is decided before it could be")
			}
			n := rapid.IntRange(0, packet.PadRoom).Draw(t, "padding")
			p.SetPad(n)
			var h packet.Head
			h.Start(n > 0, true, 96, 1, 2, 3)
			var theirs rtp.Packet
			if err := theirs.Unmarshal(append(bytes.Clone(h.Bytes()), p.Padded()...)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(theirs.Payload, payload) || int(theirs.PaddingSize) != n || !bytes.Equal(p.Payload, payload) {
				t.Fatalf("%d bytes of padding became %d", n, theirs.PaddingSize)
			}
		}
	})
}

// TestHistoryAgainstAMap compares the ring with one that forgets nothing.
func TestHistoryAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 16
		h := packet.NewHistory(size)
		kept := map[uint64][]byte{}
		at := rapid.Uint64Range(1<<16, 1<<32).Draw(t, "start")
		highest := uint64(0)
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			seq := at + uint64(rapid.Int64Range(-2*size, 3).Draw(t, "step"))
			payload := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "payload")
			got := h.Add(&packet.Packet{Seq: seq, Payload: payload})
			_, twice := kept[seq]
			switch {
			case twice && seq+size > highest && got != nil:
				t.Fatalf("packet %d was taken twice", seq)
			case got != nil && !bytes.Equal(got.Payload, payload):
				t.Fatal("the copy differs")
			case got != nil:
				kept[seq] = bytes.Clone(payload)
			case !twice && seq > highest:
				t.Fatalf("new packet %d was refused", seq)
			}
			highest = max(highest, seq)
			at = max(at, seq)
			clear(payload) // the history must have a copy of its own
		}
		for seq, payload := range kept {
			p := h.Get(seq)
			if p != nil && (p.Seq != seq || !bytes.Equal(p.Payload, payload)) {
				t.Fatalf("packet %d came out as %d", seq, p.Seq)
			}
		}
		if h.Get(highest) == nil {
			t.Fatal("the newest packet is not there")
		}
		h.Clear()
		if h.Get(highest) != nil {
			t.Fatal("cleared, but still there")
		}
	})
}

func TestGapsAreAskedForUntilTheyClose(t *testing.T) {
	var g packet.Gaps
	now := time.Unix(1000, 0)
	for _, seq := range []uint64{65536, 65537, 65541, 65543} {
		g.Saw(seq, now)
	}
	if got := g.Due(now, nil); len(got) != 0 {
		t.Fatalf("asked at once for %v, though they may only be late", got)
	}
	g.Saw(65539, now) // it was only late
	want := func(at time.Time, seqs ...uint16) {
		t.Helper()
		got := g.Due(at, nil)
		if len(got) != len(seqs) {
			t.Fatalf("due %v, want %v", got, seqs)
		}
		for i := range got {
			if got[i] != seqs[i] {
				t.Fatalf("due %v, want %v", got, seqs)
			}
		}
	}
	now = now.Add(20 * time.Millisecond)
	want(now, 2, 4, 6)
	want(now) // not again at once
	g.Saw(65540, now)
	for range 7 {
		now = now.Add(100 * time.Millisecond)
		want(now, 2, 6)
	}
	now = now.Add(time.Second)
	want(now) // given up
	if g.Open() {
		t.Fatal("still open after giving up")
	}
	g.Saw(65543+1000, now)
	if g.Open() {
		t.Fatal("a jump of the source was taken for a loss")
	}
}

// TestForwardingAllocatesNothing walks a packet through everything that happens
// to it once per viewer, and once per publisher.
func TestForwardingAllocatesNothing(t *testing.T) {
	var head packet.Head
	head.Start(false, true, 96, 1, 2, 3)
	head.Text(4, "0")
	raw := append(bytes.Clone(head.Bytes()), make([]byte, 1000)...)
	history := packet.NewHistory(256)
	renumber := packet.NewRenumber(100, 200)
	renumber.Switch(1<<16, 0, 0)
	var unwrap packet.Unwrap
	var gaps packet.Gaps
	seq, now := uint16(0), time.Now()
	step := func() {
		seq++
		raw[2], raw[3] = byte(seq>>8), byte(seq)
		var h packet.Header
		if err := h.Parse(raw); err != nil {
			t.Fatal(err)
		}
		p := packet.Packet{Seq: unwrap.Next(h.Seq), Timestamp: h.Timestamp, Payload: h.Payload}
		gaps.Saw(p.Seq, now)
		kept := history.Add(&p)
		out, ts, _ := renumber.Map(kept.Seq, kept.Timestamp)
		kept.SetPad(int(seq) % 9)
		head.Start(kept.Pad > 0, kept.Marker, 96, uint16(out), ts, 7)
		head.Text(4, "12")
		head.Number(3, uint32(seq), 2)
		if len(head.Bytes()) != 24 || len(kept.Padded()) != 1000+int(seq)%9 {
			t.Fatal("wrong sizes")
		}
		if string(h.Extension(4)) != "0" {
			t.Fatal("extension lost")
		}
	}
	for range 300 { // fills the history once
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
