package sfutest

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// stamp is what the end of every payload says.
type stamp struct {
	frame  uint32
	number uint32 // of the packet, among all the publisher sent of its kind
	at     time.Time
}

// trailer is the size of a stamp: frame, number, time of sending, and a checksum
// of all bytes before it but those where codecs count pictures.
const trailer = 4 + 4 + 8 + 4

// unchecked is how many bytes at the beginning the checksum leaves out: an SFU may
// rewrite numbers there.
const unchecked = 5

// compose fills b, a packet's payload, behind the head bytes of its codec: with
// bytes that differ from packet to packet, and the stamp.
func compose(b []byte, head int, s stamp) {
	body := b[:len(b)-trailer]
	x := s.number*2654435761 + 1
	for i := head; i < len(body); i++ {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		body[i] = byte(x)
	}
	end := b[len(b)-trailer:]
	binary.BigEndian.PutUint32(end, s.frame)
	binary.BigEndian.PutUint32(end[4:], s.number)
	binary.BigEndian.PutUint64(end[8:], uint64(s.at.UnixNano()))
	binary.BigEndian.PutUint32(end[16:], crc32.ChecksumIEEE(b[unchecked:len(b)-4]))
}

// readStamp is the inverse of compose; it is false when a byte of the payload
// is not as it was published.
func readStamp(b []byte) (stamp, bool) {
	if len(b) < unchecked+trailer {
		return stamp{}, false
	}
	end := b[len(b)-trailer:]
	s := stamp{
		frame:  binary.BigEndian.Uint32(end),
		number: binary.BigEndian.Uint32(end[4:]),
		at:     time.Unix(0, int64(binary.BigEndian.Uint64(end[8:]))),
	}
	return s, binary.BigEndian.Uint32(end[16:]) == crc32.ChecksumIEEE(b[unchecked:len(b)-4])
}
