package packet

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed: the bytes are no RTP packet.
var ErrMalformed = errors.New("malformed RTP packet")

// HeaderSize is the size of an RTP header without CSRCs and extensions.
const HeaderSize = 12

const (
	profileOneByte = 0xBEDE // RFC 8285 §4.2
	profileTwoByte = 0x1000 // RFC 8285 §4.3; the low four bits are free
)

// Header is a parsed RTP packet. Its slices lie within the packet.
type Header struct {
	Marker      bool
	PayloadType uint8
	Seq         uint16
	Timestamp   uint32
	SSRC        uint32
	Payload     []byte // without padding
	profile     uint16
	extensions  []byte
}

// Parse reads b, which Payload and extensions go on pointing into.
func (h *Header) Parse(b []byte) error {
	if len(b) < HeaderSize || b[0]>>6 != 2 {
		return ErrMalformed
	}
	h.Marker = b[1]&0x80 != 0
	h.PayloadType = b[1] & 0x7f
	h.Seq = binary.BigEndian.Uint16(b[2:])
	h.Timestamp = binary.BigEndian.Uint32(b[4:])
	h.SSRC = binary.BigEndian.Uint32(b[8:])
	h.profile, h.extensions = 0, nil

	n := HeaderSize + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return ErrMalformed
		}
		size := 4 * int(binary.BigEndian.Uint16(b[n+2:]))
		if len(b) < n+4+size {
			return ErrMalformed
		}
		h.profile = binary.BigEndian.Uint16(b[n:])
		h.extensions = b[n+4 : n+4+size]
		n += 4 + size
	}
	if len(b) < n {
		return ErrMalformed
	}
	h.Payload = b[n:]
	if b[0]&0x20 != 0 {
		if len(h.Payload) == 0 {
			return ErrMalformed
		}
		padding := int(h.Payload[len(h.Payload)-1])
		if padding == 0 || padding > len(h.Payload) {
			return ErrMalformed
		}
		h.Payload = h.Payload[:len(h.Payload)-padding]
	}
	return nil
}

// Extension returns the value of the header extension id, nil when the packet
// has none. Id 0 never exists.
func (h *Header) Extension(id uint8) []byte {
	switch {
	case id == 0:
		return nil
	case h.profile == profileOneByte:
		return oneByte(h.extensions, id)
	case h.profile&0xfff0 == profileTwoByte:
		return twoByte(h.extensions, id)
	}
	return nil
}

func oneByte(b []byte, id uint8) []byte {
	for len(b) > 0 {
		if b[0] == 0 { // padding between elements
			b = b[1:]
			continue
		}
		got, size := b[0]>>4, int(b[0]&0x0f)+1
		if got == 15 || len(b) < 1+size { // 15 ends the list
			return nil
		}
		if got == id {
			return b[1 : 1+size]
		}
		b = b[1+size:]
	}
	return nil
}

func twoByte(b []byte, id uint8) []byte {
	for len(b) > 0 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return nil
		}
		size := int(b[1])
		if b[0] == id {
			return b[2 : 2+size : 2+size]
		}
		b = b[2+size:]
	}
	return nil
}

// Head writes the header of an outgoing packet, in memory of its own that every
// packet uses anew. This is done for each packet and viewer: places are fixed
// where they can be, and nothing is appended. The zero value is ready.
type Head struct {
	n   int
	buf [headRoom]byte
}

const (
	// headRoom is the size of the longest header, in bytes: with extensions of
	// two words, and a MID of 16 bytes.
	headRoom = 64
	// extensionsAt is where the first extension is.
	extensionsAt = HeaderSize + 4
)

// Start begins the header of another packet; padded says that its payload ends
// with padding.
func (h *Head) Start(padded, marker bool, payloadType uint8, seq uint16, timestamp, ssrc uint32) {
	first := 0x80<<24 | uint32(payloadType&0x7f)<<16 | uint32(seq)
	if padded {
		first |= 0x20 << 24
	}
	if marker {
		first |= 0x80 << 16
	}
	binary.BigEndian.PutUint32(h.buf[0:], first)
	binary.BigEndian.PutUint32(h.buf[4:], timestamp)
	binary.BigEndian.PutUint32(h.buf[8:], ssrc)
	h.n = extensionsAt
}

// Number adds a header extension (id 1 to 14, RFC 8285 §4.2): the low size bytes
// of value, 1 to 4.
func (h *Head) Number(id uint8, value uint32, size int) {
	h.buf[h.n] = id<<4 | uint8(size-1)
	binary.BigEndian.PutUint32(h.buf[h.n+1:], value<<(32-8*size)) // what is too much is overwritten
	h.n += 1 + size
}

// Text adds a header extension of 1 to 16 bytes.
func (h *Head) Text(id uint8, value string) {
	h.buf[h.n] = id<<4 | uint8(len(value)-1)
	h.n += 1 + copy(h.buf[h.n+1:], value)
}

// Bytes is the header, until the next Start.
func (h *Head) Bytes() []byte {
	if h.n == extensionsAt {
		return h.buf[:HeaderSize]
	}
	h.buf[0] |= 0x10
	binary.BigEndian.PutUint32(h.buf[h.n:], 0) // padding to whole words
	words := (h.n - extensionsAt + 3) / 4
	binary.BigEndian.PutUint32(h.buf[HeaderSize:], profileOneByte<<16|uint32(words))
	return h.buf[:extensionsAt+4*words]
}
