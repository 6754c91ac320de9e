package sfutest

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// Media says what a client publishes.
type Media struct {
	Audio           bool                    // Opus, 50 packets a second
	Level           func() uint8            // how loud each of these is, in −dBov (RFC 6464); nil: it does not tell
	Video           string                  // VP8, VP9, H264, AV1; "": none
	FrameRate       int                     // frames per second; 0: 30
	PacketsPerFrame int                     // 0: 4
	PayloadSize     int                     // bytes of a video packet; 0: 1000
	KeyInterval     int                     // frames between key frames nobody asked for; 0: none but the first
	Pace            func(frame uint32) bool // asked before each frame that is due; false leaves it for later
	Layers          int                     // of simulcast, named r0 and so on; 0: none. Each has a packet a frame more than the one below it
	Manual          bool                    // no video but what SendFrame sends
	Deaf            bool                    // key frame requests are counted, not answered
}

// Sent says how much a client published.
type Sent struct {
	AudioPackets, VideoPackets int64
	Frames, KeyFrames          int64
	KeyRequests                int64 // PLIs and FIRs received
}

type publisher struct {
	// Static
	client       *Client
	media        Media
	audio, video *webrtc.TrackLocalStaticRTP
	layers       []*encoding // of simulcast; video is the first one's
	senders      []*webrtc.RTPSender

	wantKey atomic.Bool
	sent    struct {
		audio, video, frames, keys, requests atomic.Int64
	}
}

func newPublisher(c *Client, m Media) (*publisher, error) {
	m.FrameRate = orElse(m.FrameRate, 30)
	m.PacketsPerFrame = orElse(m.PacketsPerFrame, 4)
	m.PayloadSize = max(orElse(m.PayloadSize, 1000), trailer+2)
	p := &publisher{client: c, media: m}
	var err error
	if m.Audio {
		if p.audio, err = p.add(opusCapability, "audio"); err != nil {
			return nil, err
		}
	}
	if m.Video != "" {
		codec, err := capability(m.Video)
		if err != nil {
			return nil, err
		}
		if m.Layers > 0 {
			err = p.addLayers(codec)
		} else {
			p.video, err = p.add(codec, "video")
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func orElse(n, fallback int) int {
	if n > 0 {
		return n
	}
	return fallback
}

func (p *publisher) add(codec webrtc.RTPCodecCapability, id string) (*webrtc.TrackLocalStaticRTP, error) {
	track, err := webrtc.NewTrackLocalStaticRTP(codec, id, "sfutest")
	if err != nil {
		return nil, err
	}
	t, err := p.client.peer.AddTransceiverFromTrack(track,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	p.senders = append(p.senders, t.Sender())
	return track, nil
}

// start begins to send; the client's Close ends it. The caller holds the
// client's mu, so that Close does not wait too early.
func (p *publisher) start() {
	for _, s := range p.senders {
		p.client.work.Add(1)
		go p.runFeedback(s)
	}
	for _, e := range p.layers {
		p.client.work.Add(1)
		go p.runLayerFeedback(e)
	}
	if p.audio != nil {
		p.client.work.Add(1)
		go p.runAudio()
	}
	switch {
	case p.media.Manual:
	case p.layers != nil:
		p.client.work.Add(1)
		go p.runLayers()
	case p.video != nil:
		p.client.work.Add(1)
		go p.runVideo()
	}
}

// runFeedback counts requests for key frames and fulfils them.
func (p *publisher) runFeedback(s *webrtc.RTPSender) {
	defer p.client.work.Done()
	for {
		packets, _, err := s.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.sent.requests.Add(1)
				p.wantKey.Store(!p.media.Deaf)
			}
		}
	}
}

func (p *publisher) runAudio() {
	defer p.client.work.Done()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	packet := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, 120)}
	id := p.levelExtension()
	for frame := uint32(0); ; frame++ {
		select {
		case <-p.client.stop:
			return
		case now := <-ticker.C:
			if id != 0 {
				packet.Header.Extension, packet.Header.Extensions = false, nil
				if err := packet.SetExtension(id, []byte{p.media.Level()}); err != nil {
					return
				}
			}
			packet.SequenceNumber++
			packet.Timestamp += 960
			compose(packet.Payload, 0, stamp{frame, frame, now})
			if !p.write(p.audio, &packet) {
				return
			}
			p.sent.audio.Add(1)
		}
	}
}

// levelExtension is the id of the audio level extension; 0: none is to be sent.
func (p *publisher) levelExtension() uint8 {
	if p.media.Level == nil {
		return 0
	}
	for _, s := range p.senders {
		for _, e := range s.GetParameters().HeaderExtensions {
			if e.URI == sdp.AudioLevelURI {
				return uint8(e.ID)
			}
		}
	}
	return 0
}

func (p *publisher) runVideo() {
	defer p.client.work.Done()
	ticker := time.NewTicker(time.Second / time.Duration(p.media.FrameRate))
	defer ticker.Stop()
	packet := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, p.media.PayloadSize)}
	number := uint32(0)
	for frame := uint32(0); ; frame++ {
		select {
		case <-p.client.stop:
			return
		case <-ticker.C:
		}
		if p.media.Pace != nil && !p.media.Pace(frame) {
			frame--
			continue
		}
		key := p.wantKey.Swap(false) || frame == 0 ||
			p.media.KeyInterval > 0 && frame%uint32(p.media.KeyInterval) == 0
		packet.Timestamp += uint32(90000 / p.media.FrameRate)
		for i := range p.media.PacketsPerFrame {
			packet.SequenceNumber++
			packet.Marker = i == p.media.PacketsPerFrame-1
			head := payload(p.media.Video, packet.Payload, i, p.media.PacketsPerFrame, key, -1)
			compose(packet.Payload, head, stamp{frame, number, time.Now()})
			number++
			if !p.write(p.video, &packet) {
				return
			}
			p.sent.video.Add(1)
		}
		p.sent.frames.Add(1)
		if key {
			p.sent.keys.Add(1)
		}
	}
}

// write is false when the client is closing.
func (p *publisher) write(t *webrtc.TrackLocalStaticRTP, packet *rtp.Packet) bool {
	return !errors.Is(t.WriteRTP(packet), io.ErrClosedPipe)
}

func (p *publisher) snapshot() Sent {
	return Sent{
		AudioPackets: p.sent.audio.Load(),
		VideoPackets: p.sent.video.Load(),
		Frames:       p.sent.frames.Load(),
		KeyFrames:    p.sent.keys.Load(),
		KeyRequests:  p.sent.requests.Load(),
	}
}
