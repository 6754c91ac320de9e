package codec_test

import (
	"bytes"
	"testing"

	"github.com/pion/rtp/codecs"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu/codec"
)

// source writes descriptors of one encoder: VP8 with the numbers that it has, or
// VP9 likewise.
type source struct {
	codec    string
	id, tl0  int
	wide     bool
	flexible bool // VP9
}

func drawSource(t *rapid.T, name string) *source {
	s := &source{codec: name, wide: rapid.Bool().Draw(t, "wide"), flexible: rapid.Bool().Draw(t, "flexible")}
	s.id = rapid.IntRange(0, 1<<15-1).Draw(t, "id")
	s.tl0 = rapid.IntRange(0, 255).Draw(t, "tl0")
	return s
}

// payload is a packet of the next picture but some.
func (s *source) payload(ahead int, body ...byte) []byte {
	id, tl0 := s.id+ahead, byte(s.tl0+ahead)
	number := []byte{byte(id) & 0x7f}
	if s.wide {
		number = []byte{0x80 | byte(id>>8)&0x7f, byte(id)}
	}
	if s.codec == codec.VP8 {
		return append(append(append([]byte{0x90, 0xe0}, number...), tl0, 0x20), body...)
	}
	b := append([]byte{0xa8}, number...)
	if s.flexible {
		b[0] |= 0x10
		return append(append(b, 0), body...)
	}
	return append(append(b, 0, tl0), body...)
}

// read is what pion makes of a payload.
func read(t *rapid.T, name string, b []byte) (id, tl0 int, rest []byte) {
	if name == codec.VP8 {
		var p codecs.VP8Packet
		rest, err := p.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return int(p.PictureID), int(p.TL0PICIDX), rest
	}
	var p codecs.VP9Packet
	rest, err := p.Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return int(p.PictureID), int(p.TL0PICIDX), rest
}

// Whatever sources follow each other, a viewer's pictures are counted without a
// step back or a jump, and a repeat is the same bytes.
func TestPicturesCountOn(t *testing.T) {
	for _, name := range []string{codec.VP8, codec.VP9} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var p codec.Pictures
				wide, flexible := rapid.Bool().Draw(t, "wide"), rapid.Bool().Draw(t, "flexible")
				mask := 1<<7 - 1
				if wide {
					mask = 1<<15 - 1
				}
				var scratch [64]byte
				last, lastTL0, begun := 0, 0, false
				for range rapid.IntRange(1, 6).Draw(t, "sources") {
					s := drawSource(t, name)
					s.wide, s.flexible = wide, flexible
					p.Switch(name, s.payload(0, 1, 2, 3))
					for n := range rapid.IntRange(1, 300).Draw(t, "pictures") {
						published := s.payload(n, 1, 2, 3)
						kept := bytes.Clone(published)
						got := bytes.Clone(p.Rewrite(name, published, scratch[:]))
						p.Sent(name, published)
						if again := p.Rewrite(name, published, scratch[:]); !bytes.Equal(again, got) {
							t.Fatalf("%x was sent as %x, and again as %x", published, got, again)
						}
						if !bytes.Equal(published, kept) {
							t.Fatal("what others are sent, too, was changed")
						}
						id, tl0, rest := read(t, name, got)
						if !bytes.Equal(rest, []byte{1, 2, 3}) {
							t.Fatalf("the picture became %x", rest)
						}
						if begun && id != (last+1)&mask {
							t.Fatalf("picture %d after %d", id, last)
						}
						if begun && !(name == codec.VP9 && flexible) && tl0 != (lastTL0+1)&0xff {
							t.Fatalf("TL0PICIDX %d after %d", tl0, lastTL0)
						}
						last, lastTL0, begun = id, tl0, true
					}
				}
			})
		})
	}
}

// A late packet of an old picture keeps its place, and does not set the count
// back.
func TestPicturesComeLate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{codec.VP8, codec.VP9}).Draw(t, "codec")
		var p codec.Pictures
		a, b := drawSource(t, name), drawSource(t, name)
		a.wide, b.wide, a.flexible, b.flexible = true, true, false, false
		order := rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7}).Draw(t, "order")
		p.Switch(name, a.payload(order[0]))
		for _, n := range order {
			p.Sent(name, a.payload(n, 1))
		}
		newest, _, _ := read(t, name, a.payload(7, 1))
		p.Switch(name, b.payload(0, 1))
		if id, _, _ := read(t, name, p.Rewrite(name, b.payload(0, 1), nil)); id != (newest+1)&0x7fff {
			t.Errorf("picture %d follows on %d", id, newest)
		}
	})
}

func FuzzPictures(f *testing.F) {
	f.Add([]byte{0x90, 0xe0, 0x81, 0x02, 0x03, 0x40, 0x10}, []byte{0x90, 0x80, 0x11, 0x30})
	f.Add([]byte{0xa8, 0x81, 0x01, 0x12, 0x05}, []byte{0x98, 0x81, 0x02, 0x82, 0x49})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, name := range []string{codec.VP8, codec.VP9, codec.H264, codec.AV1} {
			var p codec.Pictures
			p.Switch(name, a)
			p.Sent(name, a)
			p.Switch(name, b)
			got := p.Rewrite(name, b, nil)
			if len(got) != len(b) || codec.KeyFrame(name, got) != codec.KeyFrame(name, b) {
				t.Fatalf("%s: %x became %x", name, b, got)
			}
			if (name == codec.H264 || name == codec.AV1) && !bytes.Equal(got, b) {
				t.Fatalf("%s: %x became %x", name, b, got)
			}
		}
	})
}

func TestPicturesAllocateNothing(t *testing.T) {
	var p codec.Pictures
	payload := []byte{0x90, 0xe0, 0x81, 0x02, 0x03, 0x40, 0x10}
	scratch := make([]byte, 64)
	p.Switch(codec.VP8, payload)
	p.Sent(codec.VP8, payload)
	if n := testing.AllocsPerRun(100, func() {
		p.Switch(codec.VP8, payload)
		scratch = p.Rewrite(codec.VP8, payload, scratch)
		p.Sent(codec.VP8, payload)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPictures(b *testing.B) {
	var p codec.Pictures
	payload := append([]byte{0x90, 0xe0, 0x81, 0x02, 0x03, 0x40, 0x10}, make([]byte, 1000)...)
	scratch := make([]byte, 0, 1500)
	p.Sent(codec.VP8, payload)
	p.Switch(codec.VP8, payload)
	b.ReportAllocs()
	for b.Loop() {
		p.Sent(codec.VP8, payload)
		if len(p.Rewrite(codec.VP8, payload, scratch)) != len(payload) {
			b.Fatal("cut")
		}
	}
}
