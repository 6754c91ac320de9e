package sfutest

import (
	"fmt"
	"slices"

	"github.com/pion/webrtc/v4"
)

// knownCodecs are what a client can send and take, with the payload types that
// the platform uses.
var knownCodecs = []struct {
	name string
	pt   uint8
	mime string
	fmtp string
}{
	{"VP8", 96, webrtc.MimeTypeVP8, ""},
	{"VP9", 98, webrtc.MimeTypeVP9, "profile-id=0"},
	{"H264", 102, webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
	{"AV1", 100, webrtc.MimeTypeAV1, "level-idx=5;profile=0;tier=0"},
}

const audioPayloadType = 109

// payloadTypeOf is the payload type of a video codec.
func payloadTypeOf(name string) uint8 {
	for _, k := range knownCodecs {
		if k.name == name {
			return k.pt
		}
	}
	return 0
}

// isRepair reports whether a payload type is that of retransmissions.
func isRepair(pt uint8) bool {
	for _, k := range knownCodecs {
		if k.pt+1 == pt {
			return true
		}
	}
	return false
}

var opusCapability = webrtc.RTPCodecCapability{
	MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
}

// capability is pion's word for a video codec.
func capability(name string) (webrtc.RTPCodecCapability, error) {
	for _, k := range knownCodecs {
		if k.name == name {
			return webrtc.RTPCodecCapability{
				MimeType: k.mime, ClockRate: 90000, SDPFmtpLine: k.fmtp,
				RTCPFeedback: []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}},
			}, nil
		}
	}
	return webrtc.RTPCodecCapability{}, fmt.Errorf("unknown video codec %q", name)
}

func registerCodecs(m *webrtc.MediaEngine, o Options) error {
	own := webrtc.PayloadType(0)
	if o.OwnTypes {
		own = 16
	}
	err := m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: opusCapability, PayloadType: audioPayloadType + own}, webrtc.RTPCodecTypeAudio)
	if err != nil {
		return err
	}
	for _, k := range knownCodecs {
		if len(o.Codecs) > 0 && !slices.Contains(o.Codecs, k.name) {
			continue
		}
		c, err := capability(k.name)
		if err != nil {
			return err
		}
		err = m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: c, PayloadType: webrtc.PayloadType(k.pt) + own}, webrtc.RTPCodecTypeVideo)
		if err != nil {
			return err
		}
		if o.NoRTX {
			continue
		}
		err = m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", webrtc.PayloadType(k.pt)+own),
			},
			PayloadType: webrtc.PayloadType(k.pt) + own + 1,
		}, webrtc.RTPCodecTypeVideo)
		if err != nil {
			return err
		}
	}
	return nil
}

// payload begins b, which is long enough, as packet i of n of a frame in the
// codec's shape, and returns how many bytes that took. A key frame's first packet
// says so. H264 needs two packets for a key frame. A picture's number is written by
// VP8 and VP9, unless it is negative.
func payload(codec string, b []byte, i, n int, key bool, picture int) int {
	first, last := i == 0, i == n-1
	bit := func(on bool, v byte) byte {
		if on {
			return v
		}
		return 0
	}
	switch codec {
	case "VP8": // descriptor, then the frame tag with its inverse key bit
		b[0] = bit(first, 0x10)
		b[1] = bit(!key, 0x01)
		if picture >= 0 { // picture ID and TL0PICIDX
			b[5] = b[1]
			b[0], b[1] = b[0]|0x80, 0xc0
			b[2], b[3], b[4] = 0x80|byte(picture>>8)&0x7f, byte(picture), byte(picture)
			return 6
		}
	case "VP9": // P: inter picture; B and E: its first and last packet
		b[0] = bit(!key, 0x40) | bit(first, 0x08) | bit(last, 0x04)
		b[1] = 0
		if picture >= 0 { // picture ID, layers, TL0PICIDX, the frame's own first byte
			b[0] |= 0xa0
			b[1], b[2] = 0x80|byte(picture>>8)&0x7f, byte(picture)
			b[3], b[4], b[5] = 0, byte(picture), bit(!key, 0x86)
			return 6
		}
	case "H264": // a parameter set before fragments of an IDR slice
		if key && first {
			b[0], b[1] = 0x67, 0x42
			break
		}
		b[0] = 0x60 | 28
		b[1] = bit(first || key && i == 1, 0x80) | bit(last, 0x40) | 1 + bit(key, 4)
	case "AV1": // one OBU fragment; N: a new sequence begins
		b[0] = bit(!first, 0x80) | bit(!last, 0x40) | 0x10 | bit(first && key, 0x08)
		b[1] = 0
	}
	return 2
}
