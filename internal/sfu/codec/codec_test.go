package codec_test

import (
	"testing"

	"github.com/hibari/hibari/internal/sfu/codec"
)

func TestKeyFrame(t *testing.T) {
	for _, c := range []struct {
		name, codec string
		payload     []byte
		want        bool
	}{
		{"key frame, plain descriptor", "VP8", []byte{0x10, 0x50, 0x01}, true},
		{"inter frame", "VP8", []byte{0x10, 0x51, 0x01}, false},
		{"key frame with 15-bit picture id, TL0 and TID", "VP8", []byte{0x90, 0xe0, 0x81, 0x02, 0x03, 0x40, 0x10}, true},
		{"inter frame with 7-bit picture id", "VP8", []byte{0x90, 0x80, 0x11, 0x31}, false},
		{"key frame with 7-bit picture id", "VP8", []byte{0x90, 0x80, 0x11, 0x30}, true},
		{"second packet of a key frame", "VP8", []byte{0x00, 0x50}, false},
		{"second partition", "VP8", []byte{0x11, 0x50}, false},
		{"cut short", "VP8", []byte{0x90, 0xe0, 0x81}, false},
		{"empty", "VP8", nil, false},

		{"key frame", "VP9", []byte{0x89, 0x81, 0x02, 0x10}, true},
		{"key frame without picture id", "VP9", []byte{0x08, 0x82}, true},
		{"inter picture", "VP9", []byte{0xc8, 0x81, 0x02, 0x10}, false},
		{"continuation", "VP9", []byte{0x80, 0x01, 0x10}, false},
		{"lowest spatial layer", "VP9", []byte{0xa8, 0x01, 0x10, 0x00, 0x82}, true},
		{"upper spatial layer", "VP9", []byte{0xa8, 0x01, 0x12, 0x00, 0x82}, false},
		{"cut short", "VP9", []byte{0xa8, 0x81}, false},
		{"key frame in flexible mode", "VP9", []byte{0x98, 0x81, 0x02, 0x82, 0x49}, true},
		{"inter frame that claims to predict from nothing", "VP9", []byte{0x98, 0x81, 0x02, 0x86, 0x00}, false},
		{"key frame of which nothing can be read", "VP9", []byte{0x98, 0x81, 0x02, 0x17, 0xfe}, true},
		{"key frame behind a scalability structure", "VP9",
			[]byte{0xaa, 0x01, 0x00, 0x07, 0x38, 1, 0x40, 0, 0xb4, 2, 0x80, 1, 0x68, 2, 0x14, 1, 0x08, 1, 2, 0x82}, true},
		{"inter frame behind one", "VP9", []byte{0x0a, 0x10, 1, 0x40, 0, 0xb4, 0x86}, false},
		{"cut short in one", "VP9", []byte{0x0a, 0x18, 1, 0x40, 0, 0xb4, 9, 0x04}, false},

		{"parameter set alone", "H264", []byte{0x67, 0x42, 0xe0}, true},
		{"parameter sets in a STAP-A", "H264", []byte{0x78, 0, 2, 0x68, 0xce, 0, 3, 0x67, 0x42, 0xe0}, true},
		{"STAP-A of slices", "H264", []byte{0x78, 0, 2, 0x61, 0xce, 0, 2, 0x61, 0x42}, false},
		{"STAP-A that lies about sizes", "H264", []byte{0x78, 0xff, 0xff, 0x67, 0x42}, false},
		{"start of a fragmented parameter set", "H264", []byte{0x7c, 0x87, 0x42}, true},
		{"middle of one", "H264", []byte{0x7c, 0x07, 0x42}, false},
		{"IDR slice without a parameter set", "H264", []byte{0x65, 0x88}, false},
		{"inter slice", "H264", []byte{0x61, 0x88}, false},

		{"new coded video sequence", "AV1", []byte{0x18, 0x0a, 0x0b}, true},
		{"continues the sequence", "AV1", []byte{0x10, 0x32}, false},
		{"continues an OBU", "AV1", []byte{0x98, 0x0a}, false},
		{"empty", "AV1", []byte{0x18}, false},

		{"unknown codec", "H266", []byte{0x10, 0x50, 0x01}, false},
	} {
		if got := codec.KeyFrame(c.codec, c.payload); got != c.want {
			t.Errorf("%s, %s: got %v", c.codec, c.name, got)
		}
	}
}

func FuzzKeyFrame(f *testing.F) {
	f.Add([]byte{0x90, 0xe0, 0x81, 0x02, 0x03, 0x40, 0x10})
	f.Add([]byte{0x78, 0, 2, 0x68, 0xce, 0, 3, 0x67, 0x42, 0xe0})
	f.Add([]byte{0xa8, 0x81, 0x01, 0x12})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []string{codec.VP8, codec.VP9, codec.H264, codec.AV1} {
			if codec.KeyFrame(c, b) && len(b) < 2 {
				t.Fatalf("%s: a key frame of %d bytes", c, len(b))
			}
		}
	})
}
