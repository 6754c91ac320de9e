package codec

import "encoding/binary"

// The NAL unit types that matter (RFC 6184 §5.2, ITU-T H.264 table 7-1).
const (
	nalSPS   = 7
	nalSTAPA = 24
	nalFUA   = 28
)

// h264KeyFrame looks for a sequence parameter set: encoders for the network
// repeat it before every IDR picture, and a decoder cannot start without one, so
// that an IDR slice alone is no place to start.
func h264KeyFrame(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	switch b[0] & 0x1f {
	case nalSPS:
		return true
	case nalFUA:
		const start = 0x80
		return b[1]&start != 0 && b[1]&0x1f == nalSPS
	case nalSTAPA:
		for b = b[1:]; len(b) > 2; {
			size := int(binary.BigEndian.Uint16(b))
			if size == 0 || len(b) < 2+size {
				return false
			}
			if b[2]&0x1f == nalSPS {
				return true
			}
			b = b[2+size:]
		}
	}
	return false
}
