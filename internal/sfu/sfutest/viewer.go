package sfutest

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/sfu/codec"
)

// Packet is one received packet of a remote track.
type Packet struct {
	Stream string // the remote stream's id: the publisher's connection id
	Kind   string // audio, video
	Codec  string // VP8, …; OPUS
	Key    bool   // a key frame begins here
	Frame  uint32 // the publisher's frame number
	SentAt time.Time
	CameAt time.Time
	RTP    *rtp.Packet // Payload is without padding
}

// Stream counts what came of one remote track.
type Stream struct {
	ID, Kind, Codec string
	Packets, Bytes  int64
	Frames          int64 // packets with the marker bit
	KeyFrames       int64
	FirstIsKey      bool  // the first packet of all began a key frame
	Lost            int64 // numbers that never came, as far as is known now
	Latency         time.Duration
	Ended           bool // the track is over: the publisher left

	ssrc   webrtc.SSRC
	recent *[4096]uint64 // the number last seen in each place: tells repeats
	lowest uint64
	newest uint64
}

// Streams is a copy of the counts, by stream id, "/" and kind. A publisher that
// left keeps its counts.
func (c *Client) Streams() map[string]Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	streams := make(map[string]Stream, len(c.streams))
	for key, s := range c.streams {
		copied := *s
		copied.recent = nil
		if s.Packets > 0 {
			copied.Lost = int64(s.newest-s.lowest+1) - s.Packets
		}
		streams[key] = copied
	}
	return streams
}

// Stream is one of Streams; the zero Stream when it is not there.
func (c *Client) Stream(id, kind string) Stream { return c.Streams()[id+"/"+kind] }

// AskKeyFrame sends a PLI for every remote video track.
func (c *Client) AskKeyFrame() error {
	c.mu.Lock()
	var packets []rtcp.Packet
	for _, s := range c.streams {
		if s.Kind == "video" && !s.Ended {
			packets = append(packets, &rtcp.PictureLossIndication{MediaSSRC: uint32(s.ssrc)})
		}
	}
	c.mu.Unlock()
	return c.peer.WriteRTCP(packets)
}

// watch reads one remote track to its end.
func (c *Client) watch(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.work.Add(1)
	key := track.StreamID() + "/" + track.Kind().String()
	s := &Stream{ID: track.StreamID(), Kind: track.Kind().String(), ssrc: track.SSRC(), recent: new([4096]uint64)}
	c.streams[key] = s
	c.mu.Unlock()
	go c.runTrack(track, s)
}

func (c *Client) runTrack(track *webrtc.TrackRemote, s *Stream) {
	defer c.work.Done()
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			c.mu.Lock()
			s.Ended = true
			c.mu.Unlock()
			return
		}
		p := describe(s, track, packet)
		c.count(s, p)
		if c.options.OnPacket != nil {
			c.options.OnPacket(p)
		}
	}
}

func describe(s *Stream, track *webrtc.TrackRemote, packet *rtp.Packet) Packet {
	_, name, _ := strings.Cut(track.Codec().MimeType, "/")
	p := Packet{
		Stream: s.ID, Kind: s.Kind, Codec: strings.ToUpper(name), RTP: packet, CameAt: time.Now(),
		Key: codec.KeyFrame(strings.ToUpper(name), packet.Payload),
	}
	if n := len(packet.Payload); n >= trailer {
		end := packet.Payload[n-trailer:]
		p.Frame = binary.BigEndian.Uint32(end)
		p.SentAt = time.Unix(0, int64(binary.BigEndian.Uint64(end[4:])))
	}
	return p
}

func (c *Client) count(s *Stream, p Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq := uint64(p.RTP.SequenceNumber) + 1<<16
	if s.Packets == 0 {
		s.FirstIsKey = p.Key
		s.lowest, s.newest = seq, seq
	} else {
		seq = s.newest + uint64(int64(int16(p.RTP.SequenceNumber-uint16(s.newest))))
		s.lowest, s.newest = min(s.lowest, seq), max(s.newest, seq)
	}
	place := &s.recent[seq%uint64(len(s.recent))]
	if *place == seq {
		return
	}
	*place = seq
	s.Codec = p.Codec
	s.Packets++
	s.Bytes += int64(len(p.RTP.Payload))
	if p.RTP.Marker {
		s.Frames++
	}
	if p.Key {
		s.KeyFrames++
	}
	s.Latency = p.CameAt.Sub(p.SentAt)
}

// SenderReport waits for the next RTCP sender report on a remote track, at most
// 5 s; nil when none came.
func (c *Client) SenderReport(id, kind string) *rtcp.SenderReport {
	for _, t := range c.peer.GetTransceivers() {
		r := t.Receiver()
		if r == nil || r.Track() == nil || r.Track().StreamID() != id || r.Track().Kind().String() != kind {
			continue
		}
		_ = r.SetReadDeadline(time.Now().Add(5 * time.Second))
		for {
			packets, _, err := r.ReadRTCP()
			if err != nil {
				return nil
			}
			for _, p := range packets {
				if report, ok := p.(*rtcp.SenderReport); ok && report.SSRC == uint32(r.Track().SSRC()) {
					return report
				}
			}
		}
	}
	return nil
}
