package packet

import (
	"encoding/binary"
	"errors"
	"iter"
)

// ErrMalformedRTCP: the bytes are no RTCP packets.
var ErrMalformedRTCP = errors.New("malformed RTCP packet")

// The packet types (RFC 3550 §12.1, RFC 4585 §6.1) and the formats of feedback
// that are known here (RFC 4585, RFC 5104, and the drafts named below).
const (
	typeSenderReport   = 200
	typeReceiverReport = 201
	typeGoodbye        = 203
	typeTransport      = 205
	typePayload        = 206

	formatNACK      = 1
	formatTransport = 15
	formatPLI       = 1
	formatFIR       = 4
	formatREMB      = 15
)

// Sizes in bytes: a packet's common header, a sender's clocks and counts, a
// report block, and the SSRCs that begin every feedback.
const (
	controlSize     = 4
	senderInfoSize  = 20
	reportBlockSize = 24
	feedbackSize    = 8
)

// Kind says what an RTCP packet is.
type Kind uint8

// The kinds of RTCP packets. Which methods of a Control mean something depends
// on its kind.
const (
	KindUnknown        Kind = iota // of no interest: descriptions, extended reports, the future
	KindMalformed                  // too short for what it says that it is
	KindSenderReport               // Info, Blocks
	KindReceiverReport             // Blocks
	KindGoodbye                    // Left
	KindNACK                       // Lost
	KindPLI                        // Wanted
	KindFIR                        // Wanted
	KindEstimate                   // Estimate
	KindTransport                  // Transport
)

// Control is one RTCP packet. It points into the bytes it was read from.
type Control struct {
	Kind  Kind
	SSRC  uint32 // who sent it; 0 in a goodbye
	Media uint32 // feedback: the source it is about
	count int    // report blocks, or sources
	body  []byte // what follows these
}

// Compound walks the packets of one RTCP datagram, in place.
type Compound struct{ rest []byte }

// ReadCompound checks that b is a row of whole RTCP packets. That need not begin
// with a report (RFC 5506).
func ReadCompound(b []byte) (Compound, error) {
	if len(b) == 0 {
		return Compound{}, ErrMalformedRTCP
	}
	for rest := b; len(rest) > 0; {
		if len(rest) < controlSize || rest[0]>>6 != 2 {
			return Compound{}, ErrMalformedRTCP
		}
		size := controlLength(rest)
		if size > len(rest) {
			return Compound{}, ErrMalformedRTCP
		}
		rest = rest[size:]
	}
	return Compound{b}, nil
}

// controlLength is the size of the packet that b begins with, in bytes.
func controlLength(b []byte) int { return controlSize + 4*int(binary.BigEndian.Uint16(b[2:])) }

// Next reads the next packet into p; it is false after the last one.
func (c *Compound) Next(p *Control) bool {
	if len(c.rest) == 0 {
		return false
	}
	size := controlLength(c.rest)
	one := c.rest[:size:size]
	c.rest = c.rest[size:]
	*p = Control{Kind: KindMalformed}
	if one[0]&0x20 != 0 { // padded
		padding := int(one[size-1])
		if padding == 0 || padding > size-controlSize {
			return true
		}
		one = one[:size-padding]
	}
	count, body := int(one[0]&0x1f), one[controlSize:]
	switch one[1] {
	case typeSenderReport:
		p.report(KindSenderReport, senderInfoSize, count, body)
	case typeReceiverReport:
		p.report(KindReceiverReport, 0, count, body)
	case typeGoodbye:
		if len(body) >= 4*count {
			p.Kind, p.count, p.body = KindGoodbye, count, body
		}
	case typeTransport, typePayload:
		if len(body) >= feedbackSize {
			p.SSRC = binary.BigEndian.Uint32(body)
			p.Media = binary.BigEndian.Uint32(body[4:])
			p.body = body[feedbackSize:]
			p.Kind = p.feedback(one[1], count)
		}
	default:
		p.Kind = KindUnknown
	}
	return true
}

func (p *Control) report(kind Kind, info, count int, body []byte) {
	if len(body) >= 4+info+count*reportBlockSize {
		p.Kind, p.SSRC, p.count, p.body = kind, binary.BigEndian.Uint32(body), count, body[4:]
	}
}

// feedback tells the kinds of feedback apart.
func (p *Control) feedback(packetType byte, format int) Kind {
	fits := true
	kind := KindUnknown
	switch {
	case packetType == typeTransport && format == formatNACK:
		kind, fits = KindNACK, len(p.body) >= 4
	case packetType == typeTransport && format == formatTransport:
		kind, fits = KindTransport, len(p.body) >= transportSize
	case packetType == typePayload && format == formatPLI:
		kind = KindPLI
	case packetType == typePayload && format == formatFIR:
		kind, fits = KindFIR, len(p.body) >= 8
	case packetType == typePayload && format == formatREMB && len(p.body) >= 4 && string(p.body[:4]) == "REMB":
		kind, fits = KindEstimate, len(p.body) >= 8 && len(p.body) >= 8+4*int(p.body[4])
	}
	if !fits {
		return KindMalformed
	}
	return kind
}

// SenderInfo is what a sender says about its clocks and counts (RFC 3550 §6.4.1).
type SenderInfo struct {
	NTP     uint64 // now, as a 64-bit NTP timestamp
	RTP     uint32 // now, on the source's RTP clock
	Packets uint32
	Octets  uint32 // of payload
}

// Info is what a sender report says of its sender.
func (p *Control) Info() SenderInfo {
	if p.Kind != KindSenderReport {
		return SenderInfo{}
	}
	b := p.body
	return SenderInfo{
		NTP:     binary.BigEndian.Uint64(b),
		RTP:     binary.BigEndian.Uint32(b[8:]),
		Packets: binary.BigEndian.Uint32(b[12:]),
		Octets:  binary.BigEndian.Uint32(b[16:]),
	}
}

// ReportBlock is what a receiver says about one source (RFC 3550 §6.4.1).
type ReportBlock struct {
	SSRC     uint32
	Fraction uint8  // lost since the report before, in 1/256
	Lost     uint32 // in all; 24 bits
	Highest  uint32 // sequence number, with its cycles above
	Jitter   uint32 // in RTP clock ticks
	LastSR   uint32 // the middle 32 bits of the last sender report's NTP; 0: none came
	Delay    uint32 // since that came, in 1/65536 s
}

// Blocks are the report blocks of a sender or receiver report.
func (p *Control) Blocks() iter.Seq[ReportBlock] {
	return func(yield func(ReportBlock) bool) {
		b := p.body
		switch p.Kind {
		case KindSenderReport:
			b = b[senderInfoSize:]
		case KindReceiverReport:
		default:
			return
		}
		for range p.count {
			lost := binary.BigEndian.Uint32(b[4:])
			block := ReportBlock{
				SSRC:     binary.BigEndian.Uint32(b),
				Fraction: uint8(lost >> 24),
				Lost:     lost & 0xffffff,
				Highest:  binary.BigEndian.Uint32(b[8:]),
				Jitter:   binary.BigEndian.Uint32(b[12:]),
				LastSR:   binary.BigEndian.Uint32(b[16:]),
				Delay:    binary.BigEndian.Uint32(b[20:]),
			}
			if !yield(block) {
				return
			}
			b = b[reportBlockSize:]
		}
	}
}

// Lost are the sequence numbers that a NACK asks for again (RFC 4585 §6.2.1).
func (p *Control) Lost() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		if p.Kind != KindNACK {
			return
		}
		for b := p.body; len(b) >= 4; b = b[4:] {
			first, more := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
			if !yield(first) {
				return
			}
			for n := first + 1; more != 0; n, more = n+1, more>>1 {
				if more&1 != 0 && !yield(n) {
					return
				}
			}
		}
	}
}

// Wanted are the sources of which a PLI (RFC 4585 §6.3.1) or a FIR (RFC 5104
// §4.3.1) wants a key frame.
func (p *Control) Wanted() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		switch p.Kind {
		case KindPLI:
			yield(p.Media)
		case KindFIR:
			for b := p.body; len(b) >= 8; b = b[8:] {
				if !yield(binary.BigEndian.Uint32(b)) {
					return
				}
			}
		}
	}
}

// Left are the sources that a goodbye is from.
func (p *Control) Left() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if p.Kind != KindGoodbye {
			return
		}
		for i := range p.count {
			if !yield(binary.BigEndian.Uint32(p.body[4*i:])) {
				return
			}
		}
	}
}

// Estimate is how much the receiver can take in all, in bits per second
// (draft-alvestrand-rmcat-remb-03 §2.2).
func (p *Control) Estimate() uint64 {
	if p.Kind != KindEstimate {
		return 0
	}
	exponent := p.body[5] >> 2
	mantissa := uint64(p.body[5]&0x03)<<16 | uint64(binary.BigEndian.Uint16(p.body[6:]))
	if exponent >= 64-18 { // no path carries that much; it must not wrap
		return 1<<63 - 1
	}
	return mantissa << exponent
}
