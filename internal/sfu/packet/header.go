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

// AppendHeader appends the fixed header of an outgoing packet to dst. Add
// extensions with AppendExtension and finish with FinishExtensions.
func AppendHeader(dst []byte, marker bool, payloadType uint8, seq uint16, timestamp, ssrc uint32) []byte {
	second := payloadType & 0x7f
	if marker {
		second |= 0x80
	}
	dst = append(dst, 0x80, second)
	dst = binary.BigEndian.AppendUint16(dst, seq)
	dst = binary.BigEndian.AppendUint32(dst, timestamp)
	return binary.BigEndian.AppendUint32(dst, ssrc)
}

// AppendExtension appends a one-byte-form header extension (id 1 to 14, value 1
// to 16 bytes) to a packet that AppendHeader began at the start of dst.
func AppendExtension[T string | []byte](dst []byte, id uint8, value T) []byte {
	if dst[0]&0x10 == 0 {
		dst[0] |= 0x10
		dst = append(dst, profileOneByte>>8, profileOneByte&0xff, 0, 0)
	}
	dst = append(dst, id<<4|uint8(len(value)-1))
	return append(dst, value...)
}

// FinishExtensions pads the extensions to whole words and writes their length;
// a header without extensions is left as it is.
func FinishExtensions(dst []byte) []byte {
	if dst[0]&0x10 == 0 {
		return dst
	}
	for len(dst)%4 != 0 {
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint16(dst[HeaderSize+2:], uint16((len(dst)-HeaderSize-4)/4))
	return dst
}
