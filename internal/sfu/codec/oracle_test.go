package codec_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pion/rtp/codecs"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu/codec"
)

// pion's packetizers and depacketizers are the oracle: neither knows this package.

// bytesOf draws bytes that are like a payload: often short, its first bytes free.
func bytesOf(t *rapid.T) []byte {
	return rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "payload")
}

func TestVP8AsPionReadsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bytesOf(t)
		var p codecs.VP8Packet
		_, err := p.Unmarshal(b)
		want := err == nil && p.S == 1 && p.PID == 0 && len(p.Payload) > 0 && p.Payload[0]&1 == 0
		if got := codec.KeyFrame(codec.VP8, b); got != want {
			t.Fatalf("%x: got %v, pion says %+v, %v", b, got, p, err)
		}
	})
}

func TestVP9AsPionReadsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bytesOf(t)
		b[0] |= 0x08 // most of the others are no beginnings
		var p codecs.VP9Packet
		_, err := p.Unmarshal(b)
		if err != nil && (p.P || !p.B || p.L && p.SID != 0) {
			err = nil // it is no key frame, whatever else is wrong
		}
		want := err == nil && p.B && !p.P && (!p.L || p.SID == 0) && len(p.Payload) > 0 && p.Payload[0]&0xfc != 0x84
		if got := codec.KeyFrame(codec.VP9, b); got != want {
			t.Fatalf("%x: got %v, pion says %+v, %v", b, got, p, err)
		}
	})
}

func TestH264AsPionReadsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bytesOf(t)
		const single, aggregate, sps = 23, 24, 7
		kind := rapid.SampledFrom([]byte{sps, 1, 5, single, aggregate}).Draw(t, "kind")
		b[0] = b[0]&0xe0 | kind
		var p codecs.H264Packet
		out, err := p.Unmarshal(b)
		if err != nil || len(b) < 3 {
			return // what is no payload at all needs no agreement
		}
		want := false
		for _, unit := range bytes.Split(out, []byte{0, 0, 0, 1})[1:] {
			want = want || len(unit) > 0 && unit[0]&0x1f == sps
		}
		if bytes.Contains(b, []byte{0, 0, 0, 1}) {
			return // the start code is within a unit, where it doesn't belong
		}
		if got := codec.KeyFrame(codec.H264, b); got != want {
			t.Fatalf("%x: got %v, pion makes %x of it", b, got, out)
		}
	})
}

// packetizer cuts frames into payloads.
type packetizer interface {
	Payload(mtu uint16, frame []byte) [][]byte
}

// Of the packets of a key frame exactly one begins it, and of those of other
// frames none.
func TestKeyFramesOfPacketizers(t *testing.T) {
	unit := func(kind byte, rest []byte) []byte {
		return slices.Concat([]byte{0, 0, 0, 1, 0x60 | kind}, bytes.ReplaceAll(rest, []byte{0}, []byte{1}))
	}
	obu := func(kind byte, rest []byte) []byte { // with its size, in two bytes
		n := len(rest)
		return slices.Concat([]byte{kind<<3 | 2, byte(n)&0x7f | 0x80, byte(n >> 7)}, rest)
	}
	for name, c := range map[string]struct {
		codec      string
		packetizer packetizer
		frame      func(key bool, body []byte) []byte
	}{
		"VP8": {codec.VP8, &codecs.VP8Payloader{}, func(key bool, body []byte) []byte {
			return append([]byte{map[bool]byte{true: 0x50, false: 0x51}[key]}, body...)
		}},
		"VP8 with picture ids": {codec.VP8, &codecs.VP8Payloader{EnablePictureID: true}, func(key bool, body []byte) []byte {
			return append([]byte{map[bool]byte{true: 0x50, false: 0x51}[key]}, body...)
		}},
		"VP9":                  {codec.VP9, &codecs.VP9Payloader{}, vp9Frame},
		"VP9 in flexible mode": {codec.VP9, &codecs.VP9Payloader{FlexibleMode: true}, vp9Frame},
		"H264": {codec.H264, &codecs.H264Payloader{}, func(key bool, body []byte) []byte {
			if key {
				return slices.Concat(unit(7, []byte{0x42, 0xe0, 0x1f}), unit(8, []byte{0xce, 0x38}), unit(5, body))
			}
			return unit(1, body)
		}},
		"H264 unit by unit": {codec.H264, &codecs.H264Payloader{DisableStapA: true}, func(key bool, body []byte) []byte {
			if key {
				return slices.Concat(unit(9, []byte{0x10}), unit(7, []byte{0x42, 0xe0, 0x1f}), unit(8, []byte{0xce, 0x38}), unit(5, body))
			}
			return slices.Concat(unit(6, []byte{5, 5}), unit(1, body))
		}},
		"AV1": {codec.AV1, &codecs.AV1Payloader{}, func(key bool, body []byte) []byte {
			if key {
				return slices.Concat(obu(2, nil), obu(1, []byte{0, 0, 0, 2, 0xaf}), obu(6, body))
			}
			return slices.Concat(obu(2, nil), obu(6, body))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				body := rapid.SliceOfN(rapid.Byte(), 40, 4000).Draw(t, "body")
				key := rapid.Bool().Draw(t, "key")
				mtu := uint16(rapid.IntRange(60, 1200).Draw(t, "mtu"))
				begins := 0
				packets := c.packetizer.Payload(mtu, c.frame(key, body))
				for _, p := range packets {
					if codec.KeyFrame(c.codec, p) {
						begins++
					}
				}
				if len(packets) == 0 || begins != map[bool]int{true: 1, false: 0}[key] {
					t.Fatalf("%d of %d packets begin a key frame; is it one: %v; the first is %x", begins, len(packets), key, packets[0])
				}
			})
		})
	}
}

// vp9Frame is a frame of profile 0 that is shown, 352 by 288.
func vp9Frame(key bool, body []byte) []byte {
	if key {
		return append([]byte{0x82, 0x49, 0x83, 0x42, 0x20, 0x15, 0xf0, 0x11, 0xf0}, body...)
	}
	return append([]byte{0x86, 0x00, 0x40, 0x92}, body...)
}

func BenchmarkKeyFrame(b *testing.B) {
	for name, payload := range map[string][]byte{
		codec.VP8:  {0x90, 0xe0, 0x81, 0x02, 0x03, 0x40, 0x10},
		codec.VP9:  {0xaa, 0x01, 0x00, 0x07, 0x38, 1, 0x40, 0, 0xb4, 2, 0x80, 1, 0x68, 2, 0x14, 1, 0x08, 1, 2, 0x82},
		codec.H264: {0x78, 0, 2, 0x68, 0xce, 0, 3, 0x67, 0x42, 0xe0},
		codec.AV1:  {0x18, 0x0a, 0x0b},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !codec.KeyFrame(name, payload) {
					b.Fatal("not seen")
				}
			}
		})
	}
}

func TestKeyFrameAllocatesNothing(t *testing.T) {
	payload := []byte{0x78, 0, 2, 0x68, 0xce, 0, 3, 0x67, 0x42, 0xe0}
	if n := testing.AllocsPerRun(100, func() {
		for _, c := range []string{codec.VP8, codec.VP9, codec.H264, codec.AV1} {
			codec.KeyFrame(c, payload)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
