// Package codec looks into RTP payloads of video: which packet begins a key
// frame? It is a leaf: bytes only, any bytes, and it never allocates.
package codec

// The codecs' names, as SDP and the Sora protocol write them in capitals.
const (
	Opus = "OPUS"
	VP8  = "VP8"
	VP9  = "VP9"
	H264 = "H264"
	AV1  = "AV1"
)

// KeyFrame reports whether payload is the first packet of a picture that can be
// decoded without anything before it. A viewer may start with this packet.
func KeyFrame(codec string, payload []byte) bool {
	switch codec {
	case VP8:
		return vp8KeyFrame(payload)
	case VP9:
		return vp9KeyFrame(payload)
	case H264:
		return h264KeyFrame(payload)
	case AV1:
		return av1KeyFrame(payload)
	}
	return false
}

// av1KeyFrame: the aggregation header's N bit says that a new coded video
// sequence begins here, and Z that the packet begins with the rest of another
// (AV1 RTP specification §4.4).
func av1KeyFrame(b []byte) bool {
	const z, n = 0x80, 0x08
	return len(b) > 1 && b[0]&z == 0 && b[0]&n != 0
}
