package load

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// keyEvery is how many frames go between key frames nobody asked for.
const keyEvery = 300

// publisher sends frames of equal packets at a steady rate.
type publisher struct {
	*peer
	index int // of the run's publishers
	stage *stage
	track *webrtc.TrackLocalStaticRTP
	sent  atomic.Uint64 // packets so far; the number of the next one
	key   atomic.Bool   // somebody asked for a key frame
	halt  context.CancelFunc
	done  chan struct{}
}

// startPublisher joins and starts to send when media is up.
func startPublisher(ctx context.Context, r *run, index int, s *stage) (*publisher, error) {
	codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	if r.Audio {
		codec = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	}
	track, err := webrtc.NewTrackLocalStaticRTP(codec, "track", "bench")
	if err != nil {
		return nil, err
	}
	pc, err := r.api.NewPeerConnection(webrtc.Configuration{Certificates: r.identity.webrtc})
	if err != nil {
		return nil, err
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	p := &publisher{index: index, stage: s, track: track, done: make(chan struct{})}
	if p.peer, err = startPeer(ctx, r, s, "sendonly", pc); err != nil {
		return nil, err
	}
	go p.runFeedback(sender)
	select {
	case <-p.up:
	case <-ctx.Done():
		p.peer.close()
		return nil, errors.New("media did not connect in time")
	}
	running, halt := context.WithCancel(context.Background())
	p.halt = halt
	go p.runFrames(running, r)
	return p, nil
}

// runFeedback notes key frame requests until the PeerConnection closes.
func (p *publisher) runFeedback(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.key.Store(true)
			}
		}
	}
}

// runFrames sends a burst of packets for every frame, until ctx ends.
func (p *publisher) runFrames(ctx context.Context, r *run) {
	defer close(p.done)
	perFrame := p.stage.rate / p.stage.fps
	clock := p.track.Codec().ClockRate
	interval := time.Second / time.Duration(p.stage.fps)
	// Publishers' frames are spread over the time between two, as those of
	// people who know nothing of each other are.
	next := time.Since(r.epoch).Truncate(interval) + interval*time.Duration(p.index)/time.Duration(len(r.publishers))
	tick := time.NewTimer(0)
	defer tick.Stop()
	packet := &rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, r.PacketSize)}
	for frame := 0; ; frame++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next += interval
		if now := time.Since(r.epoch); now > next+interval {
			next += (now - next).Truncate(interval) // late: frames are left out, not made up for
		}
		tick.Reset(next - time.Since(r.epoch))
		key := p.key.Swap(false) || frame%keyEvery == 0
		packet.Timestamp = uint32(next / interval * time.Duration(clock/uint32(p.stage.fps)))
		for i := range perFrame {
			packet.Marker = !r.Audio && i == perFrame-1
			clear(packet.Payload[:headerSize])
			if !r.Audio && i == 0 {
				writeVP8(packet.Payload, key)
			}
			stamp{p.index, p.sent.Load(), time.Since(r.epoch)}.write(packet.Payload)
			if p.track.WriteRTP(packet) != nil {
				return // the PeerConnection closed
			}
			packet.SequenceNumber++
			p.sent.Add(1)
		}
	}
}

// writeVP8 writes the descriptor and header of a frame's first packet.
func writeVP8(b []byte, key bool) {
	b[0] = 0x10 // start of partition 0, RFC 7741 §4.2
	if !key {
		b[1] = 0x01 // P: an inter frame, RFC 6386 §9.1
		return
	}
	copy(b[4:], []byte{0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01}) // start code, 640 × 480
}

func (p *publisher) close() {
	p.halt()
	<-p.done
	p.peer.close()
}
