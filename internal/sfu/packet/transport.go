package packet

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"time"
)

// Feedback on transport-wide sequence numbers, as it is read and written
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1):
//
//	base, count, reference time, number of this feedback
//	chunks   16 bits each: did a packet come, and how long is its delta?
//	deltas   for each that came: the time since the one before, in ticks
const (
	transportSize = 8 // the part before the chunks, in bytes
	chunkSize     = 2

	// FeedbackTick is the unit of arrival times.
	FeedbackTick = 250 * time.Microsecond
	// referenceShift makes ticks of reference times: those are in 64 ms.
	referenceShift = 8
)

// What a chunk says of a packet.
const (
	symbolLost  = 0
	symbolSmall = 1 // came; the delta is one byte, unsigned
	symbolLarge = 2 // came; the delta is two bytes, signed
)

// TransportFeedback says which packets of a stretch of transport-wide sequence
// numbers came, and when. It points into the bytes it was read from.
type TransportFeedback struct {
	Base      uint16 // the first number
	Count     int    // how many numbers it is about
	Received  int    // how many of them came
	Number    uint8  // counts the feedback packets
	reference uint32 // 24 bits
	chunks    []byte
	deltas    []byte
}

// Transport is the feedback on transport-wide sequence numbers; it is false when
// that contradicts itself. Its cost grows with the chunks, not with the packets.
func (p *Control) Transport() (TransportFeedback, bool) {
	if p.Kind != KindTransport {
		return TransportFeedback{}, false
	}
	b := p.body
	f := TransportFeedback{
		Base:      binary.BigEndian.Uint16(b),
		Count:     int(binary.BigEndian.Uint16(b[2:])),
		reference: binary.BigEndian.Uint32(b[4:]) >> 8,
		Number:    b[7],
	}
	f.chunks = b[transportSize:]
	left, at, deltaBytes := f.Count, 0, 0
	for left > 0 {
		if len(f.chunks) < at+chunkSize {
			return TransportFeedback{}, false
		}
		n, small, large, ok := measure(binary.BigEndian.Uint16(f.chunks[at:]), left)
		if !ok {
			return TransportFeedback{}, false
		}
		at += chunkSize
		left -= n
		f.Received += small + large
		deltaBytes += small + 2*large
	}
	f.deltas = f.chunks[at:]
	f.chunks = f.chunks[:at]
	if len(f.deltas) < deltaBytes {
		return TransportFeedback{}, false
	}
	return f, true
}

// measure is how many packets, left at most, a chunk is about, and how many of
// them came with which kind of delta. The fourth symbol is reserved.
func measure(chunk uint16, left int) (n, small, large int, ok bool) {
	switch chunk >> 14 {
	default: // a run
		n = min(int(chunk&0x1fff), left)
		switch chunk >> 13 & 3 {
		case symbolLost:
		case symbolSmall:
			small = n
		case symbolLarge:
			large = n
		default:
			return 0, 0, 0, false
		}
	case 2: // 14 packets, one bit each
		n = min(14, left)
		small = bits.OnesCount16(chunk & 0x3fff >> (14 - n) << (14 - n))
	case 3: // seven, two bits each
		n = min(7, left)
		v := chunk & 0x3fff >> (14 - 2*n) << (14 - 2*n)
		if v&(v>>1)&0x1555 != 0 {
			return 0, 0, 0, false
		}
		small, large = bits.OnesCount16(v&0x1555), bits.OnesCount16(v&0x2aaa)
	}
	return n, small, large, true
}

// symbol is what a chunk says of its i-th packet.
func symbol(chunk uint16, i int) uint16 {
	switch chunk >> 14 {
	default:
		return chunk >> 13 & 3
	case 2:
		return chunk >> (13 - i) & 1
	case 3:
		return chunk >> (12 - 2*i) & 3
	}
}

// Arrivals are the packets that came: their numbers, and the times, in
// FeedbackTicks of the receiver's clock. That clock wraps after 2^32 ticks.
func (f *TransportFeedback) Arrivals() iter.Seq2[uint16, uint32] {
	return func(yield func(uint16, uint32) bool) {
		seq, left, deltas := f.Base, f.Count, f.deltas
		at := f.reference << referenceShift
		for chunks := f.chunks; len(chunks) > 0; chunks = chunks[chunkSize:] {
			chunk := binary.BigEndian.Uint16(chunks)
			n, _, _, _ := measure(chunk, left)
			left -= n
			for i := range n {
				switch symbol(chunk, i) {
				case symbolSmall:
					at += uint32(deltas[0])
					deltas = deltas[1:]
				case symbolLarge:
					at += uint32(int32(int16(binary.BigEndian.Uint16(deltas))))
					deltas = deltas[2:]
				default:
					seq++
					continue
				}
				if !yield(seq, at) {
					return
				}
				seq++
			}
		}
	}
}
