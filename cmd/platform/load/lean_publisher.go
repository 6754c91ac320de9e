package load

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// leanSender is a publisher's way out that sends a frame's packets at one go,
// as browsers do. The packets of a frame are sealed first; nothing that the
// tool does beside stands between the first and the last.
type leanSender struct {
	*leanPeer
	publisher *publisher
	clock     uint32 // of RTP timestamps, per second
	epoch     time.Time
	paced     bool // by Config.Pace

	// Owned by the publisher's runFrames
	frame []byte // sealed packets, one after the other
	ends  []int  // where they end
}

// startLeanSender joins and returns when media can flow.
func startLeanSender(ctx context.Context, r *run, p *publisher) (sender, error) {
	s := &leanSender{publisher: p, clock: p.clock, epoch: r.epoch, paced: r.Pace != nil}
	var err error
	if s.leanPeer, err = startLeanPeer(ctx, r, p.stage, "sendonly", s); err != nil {
		if s.leanPeer != nil {
			s.leanPeer.close()
		}
		return nil, err
	}
	return s, nil
}

// packet seals a packet of the frame.
func (s *leanSender) packet(packet *rtp.Packet) error {
	packet.SSRC, packet.PayloadType = s.ssrc, s.payloadType
	begin := len(s.frame)
	size := packet.MarshalSize()
	s.frame = slices.Grow(s.frame, size+64) // a tag, and room to spare
	plain := s.frame[begin : begin+size]
	if _, err := packet.MarshalTo(plain); err != nil {
		return err
	}
	sealed, err := s.media.Load().rtp.EncryptRTP(plain, plain, &packet.Header)
	if err != nil {
		return fmt.Errorf("couldn't seal a packet: %w", err)
	}
	s.frame = append(s.frame[:begin], sealed...) // where it is already, if there was room
	s.ends = append(s.ends, len(s.frame))
	return nil
}

// flush sends the frame.
func (s *leanSender) flush() error {
	if s.paced && len(s.ends) > 1 {
		s.socket.sendTrain(s.frame, s.ends[0]) // a server in this process: to send should cost next to nothing
		s.ends = s.ends[:0]
	}
	begin := 0
	for _, end := range s.ends {
		s.socket.send(s.frame[begin:end])
		begin = end
	}
	s.frame, s.ends = s.frame[:0], s.ends[:0]
	return nil
}

// rtp reads nothing: nobody sends media to a publisher.
func (s *leanSender) rtp(*leanMedia, []byte, time.Duration) {}

// rtcp notes key frame requests.
func (s *leanSender) rtcp(m *leanMedia, b []byte) {
	plain, err := m.in.DecryptRTCP(nil, b, nil)
	if err != nil {
		return
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	s.publisher.feedback(packets)
}

// report sends a sender report (RFC 3550 §6.4.1).
func (s *leanSender) report(p *leanPeer, m *leanMedia) {
	now := time.Now()
	sent := s.publisher.sent.Load()
	p.sendRTCP(m, &rtcp.SenderReport{
		SSRC:        p.ssrc,
		NTPTime:     ntp(now),
		RTPTime:     uint32(uint64(now.Sub(s.epoch).Seconds() * float64(s.clock))),
		PacketCount: uint32(sent),
		OctetCount:  uint32(sent * uint64(s.publisher.size)),
	})
}

// ntp is a time in RFC 5905's seconds since 1900, times 2³².
func ntp(t time.Time) uint64 {
	const from1900 = 2208988800
	seconds := uint64(t.Unix() + from1900)
	return seconds<<32 | uint64(float64(t.Nanosecond())/1e9*math.MaxUint32)
}
