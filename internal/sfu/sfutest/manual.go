package sfutest

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
)

// Script is a video source whose packets a test sends itself, with Media.Manual.
// Its fields may be changed between two frames: what the publisher does then is
// as if an encoder or a browser had been started anew.
type Script struct {
	Codec           string // VP8, …
	SSRC            uint32 // 0: the one that the client negotiated
	Seq             uint16 // of the next packet
	Timestamp       uint32 // of the next frame
	PacketsPerFrame int
	PayloadSize     int // bytes; each packet is up to seven shorter
	// RID makes it a layer of simulcast: the name goes into every packet, and
	// pictures are counted, from Picture on.
	RID     string
	Picture int

	frame, number uint32
}

// SendFrame sends a script's next frame. It fails when the client has closed.
func (c *Client) SendFrame(s *Script, key bool) error {
	for _, p := range s.Frame(key) {
		if err := c.SendVideo(p); err != nil {
			return err
		}
	}
	return nil
}

// SendVideo sends a packet of a script. Its SSRC and payload type are kept, and
// so it may also be a late, a repeated or a false one. Only one goroutine at a
// time may send.
func (c *Client) SendVideo(p *rtp.Packet) error {
	c.disguise.as.Store(&p.Header)
	defer c.disguise.as.Store(nil)
	return c.publisher.video.WriteRTP(p)
}

// ridExtension is the platform's id of the header extension of layers.
const ridExtension = 5

// Skip leaves a frame out: an encoder that is paused.
func (s *Script) Skip() {
	s.frame++
	s.Timestamp += 3000
}

// Frame makes a script's next frame.
func (s *Script) Frame(key bool) (packets []*rtp.Packet) {
	picture := -1
	if s.RID != "" {
		picture = s.Picture & 0x7fff
		s.Picture++
	}
	for i := range s.PacketsPerFrame {
		b := make([]byte, s.PayloadSize-int(s.number%8))
		compose(b, payload(s.Codec, b, i, s.PacketsPerFrame, key, picture), stamp{s.frame, s.number, time.Now()})
		packets = append(packets, &rtp.Packet{
			Header: rtp.Header{
				Version: 2, Marker: i == s.PacketsPerFrame-1, PayloadType: payloadTypeOf(s.Codec),
				SequenceNumber: s.Seq, Timestamp: s.Timestamp, SSRC: s.SSRC,
			},
			Payload: b,
		})
		if s.RID != "" {
			p := packets[len(packets)-1]
			if err := p.SetExtension(ridExtension, []byte(s.RID)); err != nil {
				panic(err) // the name is too long
			}
		}
		s.Seq++
		s.number++
	}
	s.frame++
	s.Timestamp += 3000
	return packets
}

// Repair makes a retransmission (RFC 4588) of a script's packet.
func Repair(p *rtp.Packet, ssrc uint32, seq uint16) *rtp.Packet {
	again := rtp.Packet{Header: p.Header, Payload: binary.BigEndian.AppendUint16(nil, p.SequenceNumber)}
	again.Payload = append(again.Payload, p.Payload...)
	again.PayloadType, again.SSRC, again.SequenceNumber = p.PayloadType+1, ssrc, seq
	return &again
}

// Frames is how many frames were sent so far.
func (s *Script) Frames() uint32 { return s.frame }

// disguise is an interceptor next to the wire that gives video packets the SSRC
// and payload type that a Script asks for, instead of the track's.
type disguise struct {
	interceptor.NoOp
	as atomic.Pointer[rtp.Header] // of the packet being sent
}

// NewInterceptor makes the disguise its own factory.
func (d *disguise) NewInterceptor(string) (interceptor.Interceptor, error) { return d, nil }

// BindLocalStream changes the headers of a script's packets, and of no others:
// what is sent again has the SSRC of the retransmission stream.
func (d *disguise) BindLocalStream(info *interceptor.StreamInfo, next interceptor.RTPWriter) interceptor.RTPWriter {
	own := info.SSRC
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		as := d.as.Load()
		if as != nil && h.SSRC == own && h.SequenceNumber == as.SequenceNumber && h.PayloadType != audioPayloadType {
			h.PayloadType = as.PayloadType
			if as.SSRC != 0 {
				h.SSRC = as.SSRC
			}
		}
		return next.Write(h, payload, a)
	})
}
