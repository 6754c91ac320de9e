package packet

import "encoding/binary"

// AppendSenderReport appends a sender report without report blocks to dst.
func AppendSenderReport(dst []byte, ssrc uint32, s SenderInfo) []byte {
	dst = appendControl(dst, 0, typeSenderReport, 1+senderInfoSize/4)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	dst = binary.BigEndian.AppendUint64(dst, s.NTP)
	dst = binary.BigEndian.AppendUint32(dst, s.RTP)
	dst = binary.BigEndian.AppendUint32(dst, s.Packets)
	return binary.BigEndian.AppendUint32(dst, s.Octets)
}

// AppendReceiverReport appends a receiver report to dst; there may be 31 blocks.
func AppendReceiverReport(dst []byte, ssrc uint32, blocks []ReportBlock) []byte {
	blocks = blocks[:min(len(blocks), 31)]
	dst = appendControl(dst, len(blocks), typeReceiverReport, 1+len(blocks)*reportBlockSize/4)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	for i := range blocks {
		b := &blocks[i]
		dst = binary.BigEndian.AppendUint32(dst, b.SSRC)
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.Fraction)<<24|min(b.Lost, 0xffffff))
		dst = binary.BigEndian.AppendUint32(dst, b.Highest)
		dst = binary.BigEndian.AppendUint32(dst, b.Jitter)
		dst = binary.BigEndian.AppendUint32(dst, b.LastSR)
		dst = binary.BigEndian.AppendUint32(dst, b.Delay)
	}
	return dst
}

// AppendNACK appends a request for lost packets of a source to dst (RFC 4585
// §6.2.1). lost must not be empty; ascending numbers make it short.
func AppendNACK(dst []byte, sender, media uint32, lost []uint16) []byte {
	at := len(dst)
	dst = appendFeedback(dst, formatNACK, typeTransport, sender, media)
	for i := 0; i < len(lost); {
		first, more := lost[i], uint16(0)
		for i++; i < len(lost); i++ {
			distance := lost[i] - first
			if distance == 0 || distance > 16 {
				break
			}
			more |= 1 << (distance - 1)
		}
		dst = binary.BigEndian.AppendUint16(dst, first)
		dst = binary.BigEndian.AppendUint16(dst, more)
	}
	return finishControl(dst, at)
}

// AppendPLI appends a request for a key frame of a source to dst (RFC 4585
// §6.3.1).
func AppendPLI(dst []byte, sender, media uint32) []byte {
	return appendFeedback(dst, formatPLI, typePayload, sender, media)
}

// appendFeedback appends the beginning of a feedback packet, complete if nothing
// follows.
func appendFeedback(dst []byte, format int, packetType byte, sender, media uint32) []byte {
	dst = appendControl(dst, format, packetType, feedbackSize/4)
	dst = binary.BigEndian.AppendUint32(dst, sender)
	return binary.BigEndian.AppendUint32(dst, media)
}

// appendControl appends the common header of a packet with that many words
// behind it.
func appendControl(dst []byte, count int, packetType byte, words int) []byte {
	return append(dst, 0x80|byte(count), packetType, byte(words>>8), byte(words))
}

// finishControl pads the packet that begins at dst[at] to whole words and writes
// its length.
func finishControl(dst []byte, at int) []byte {
	if short := -(len(dst) - at) & 3; short > 0 {
		dst[at] |= 0x20
		for range short - 1 {
			dst = append(dst, 0)
		}
		dst = append(dst, byte(short))
	}
	binary.BigEndian.PutUint16(dst[at+2:], uint16((len(dst)-at)/4-1))
	return dst
}
