package sfutest

import (
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
	Number uint32 // the publisher's number of the packet
	Intact bool   // no byte differs from what was published
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
	NewestFrame     int64 // the publisher's number of the newest frame of which something came; -1: none
	Corrupt         int64 // packets that are not as they were published
	Shifts          int64 // how often sequence numbers stopped being the publisher's numbers plus a constant
	Backwards       int64 // packets with a later number but an earlier timestamp
	Decoded         Decoded
	Latency         time.Duration
	Ended           bool // the track is over: the publisher left

	ssrc   webrtc.SSRC
	recent *[4096]uint64 // the number last seen in each place: tells repeats
	lowest uint64
	newest uint64
	shift  uint64 // sequence number less publisher's number
	lastTS uint32 // of newest

	asked   map[uint64]int // how often a missing number was asked for
	decoder *Decoder       // nil: none
}

// Streams is a copy of the counts, by stream id, "/" and kind. A publisher that
// left keeps its counts.
func (c *Client) Streams() map[string]Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	streams := make(map[string]Stream, len(c.streams))
	for key, s := range c.streams {
		copied := *s
		copied.recent, copied.asked, copied.decoder = nil, nil, nil
		if s.decoder != nil {
			copied.Decoded = s.decoder.Report()
		}
		if s.Packets > 0 {
			copied.Lost = int64(s.newest-s.lowest+1) - s.Packets
		}
		streams[key] = copied
	}
	return streams
}

// Stream is one of Streams; the zero Stream when it is not there.
func (c *Client) Stream(id, kind string) Stream { return c.Streams()[id+"/"+kind] }

// LongestGap is how many of a stream's last 4096 numbers, in a row, never came.
func (c *Client) LongestGap(id, kind string) (longest int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id+"/"+kind]
	if s == nil {
		return 0
	}
	size, run := uint64(len(s.recent)), int64(0)
	for n := max(s.lowest, s.newest-min(s.newest, size-1)); n <= s.newest; n++ {
		if run++; s.recent[n%size] == n {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

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
	s := &Stream{NewestFrame: -1, ID: track.StreamID(), Kind: track.Kind().String(), ssrc: track.SSRC(), recent: new([4096]uint64)}
	if c.options.Decode && s.Kind == "video" {
		s.decoder = &Decoder{}
	}
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
		if c.count(s, p) {
			_ = c.peer.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(s.ssrc)}})
		}
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
	said, intact := readStamp(packet.Payload)
	p.Frame, p.Number, p.SentAt, p.Intact = said.frame, said.number, said.at, intact
	return p
}

// count takes a packet into the counts and reports whether the decoder wants a
// key frame.
func (c *Client) count(s *Stream, p Packet) (stuck bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seq := uint64(p.RTP.SequenceNumber) + 1<<16
	if s.Packets == 0 {
		s.FirstIsKey = p.Key
		s.lowest, s.newest = seq, seq
		s.shift = seq - uint64(p.Number)
		s.lastTS = p.RTP.Timestamp
	} else {
		seq = s.newest + uint64(int64(int16(p.RTP.SequenceNumber-uint16(s.newest))))
	}
	place := &s.recent[seq%uint64(len(s.recent))]
	if *place == seq {
		return false
	}
	*place = seq
	if seq > s.newest {
		if int32(p.RTP.Timestamp-s.lastTS) < 0 {
			s.Backwards++
		}
		s.newest, s.lastTS = seq, p.RTP.Timestamp
	}
	s.lowest = min(s.lowest, seq)
	s.NewestFrame = max(s.NewestFrame, int64(p.Frame))
	if shift := seq - uint64(p.Number); shift != s.shift {
		s.shift = shift
		s.Shifts++
	}
	if !p.Intact {
		s.Corrupt++
	}
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
	return s.decoder != nil && s.decoder.Take(seq, p)
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
