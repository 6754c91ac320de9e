package transport

import (
	"encoding/binary"

	"github.com/pion/sctp"
)

// The Data Channel Establishment Protocol (RFC 8832): an OPEN from the side that
// opens, an ACK from the other, both in the channel's own stream.

// Message types (RFC 8832 §8.2.1).
const (
	dcepACK  = 2
	dcepOpen = 3
)

// Channel types (RFC 8832 §8.2.2). unorderedBit makes the others unordered.
const (
	typeReliable = 0x00
	typeRexmit   = 0x01
	typeTimed    = 0x02
	unorderedBit = 0x80
)

// reliability is what a channel's OPEN says of it, and its stream is set to.
func (c *DataChannel) reliability() (channelType byte, parameter uint32) {
	switch {
	case c.MaxRetransmits != nil:
		channelType, parameter = typeRexmit, uint32(*c.MaxRetransmits)
	case c.MaxPacketLifeTime != nil:
		channelType, parameter = typeTimed, uint32(*c.MaxPacketLifeTime)
	default:
		channelType = typeReliable
	}
	if c.Unordered {
		channelType |= unorderedBit
	}
	return channelType, parameter
}

// open is the DATA_CHANNEL_OPEN message (RFC 8832 §5.1).
func (c *DataChannel) open() []byte {
	channelType, parameter := c.reliability()
	const normal = 256 // priority (RFC 8831 §6.4)
	b := []byte{dcepOpen, channelType}
	b = binary.BigEndian.AppendUint16(b, normal)
	b = binary.BigEndian.AppendUint32(b, parameter)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Label)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Protocol)))
	return append(append(b, c.Label...), c.Protocol...)
}

// commit sets a stream to the channel's reliability. It is done once the other
// side has acknowledged the OPEN, which an unordered message could overtake.
func (c *DataChannel) commit(s *sctp.Stream) {
	kind := sctp.ReliabilityTypeReliable
	channelType, parameter := c.reliability()
	switch channelType &^ unorderedBit {
	case typeRexmit:
		kind = sctp.ReliabilityTypeRexmit
	case typeTimed:
		kind, parameter = sctp.ReliabilityTypeRexmit, parameter/repeatTime
	}
	s.SetReliabilityParams(c.Unordered, kind, parameter)
}

// repeatTime is how long a retransmission counts in a packet's life time, in ms:
// some round trips. pion measures the life from the last transmission, so that it
// would never end (v1.12); instead there are as many retransmissions as a life has
// time for.
const repeatTime = 100

// payloadOf is the payload protocol identifier of a message (RFC 8831 §8). SCTP
// has no empty messages: one byte stands for them.
func payloadOf(message []byte, binary bool) ([]byte, sctp.PayloadProtocolIdentifier) {
	switch {
	case len(message) > 0 && binary:
		return message, sctp.PayloadTypeWebRTCBinary
	case len(message) > 0:
		return message, sctp.PayloadTypeWebRTCString
	case binary:
		return []byte{0}, sctp.PayloadTypeWebRTCBinaryEmpty
	}
	return []byte{0}, sctp.PayloadTypeWebRTCStringEmpty
}

// messageOf is what a payload means; ok is false if it is no message.
func messageOf(payload []byte, ppid sctp.PayloadProtocolIdentifier) (message []byte, binary, ok bool) {
	switch ppid {
	case sctp.PayloadTypeWebRTCBinary:
		return payload, true, true
	case sctp.PayloadTypeWebRTCString:
		return payload, false, true
	case sctp.PayloadTypeWebRTCBinaryEmpty:
		return nil, true, true
	case sctp.PayloadTypeWebRTCStringEmpty:
		return nil, false, true
	}
	return nil, false, false
}
