package load

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// A payload begins with a VP8 descriptor and frame header that say "key
// frame" or not, then the packet's number and time:
//
//	descriptor 1 | frame header 10 | number 8 | nanoseconds since epoch 8
const (
	headerSize = 11
	minPayload = headerSize + 16
	maxPayload = 1180
)

// keyEvery is how many frames go between key frames nobody asked for.
const keyEvery = 300

// publisher sends frames of equal packets at a steady rate.
type publisher struct {
	*client
	track *webrtc.TrackLocalStaticRTP
	sent  atomic.Uint64 // packets so far; the number of the next one
	key   atomic.Bool   // somebody asked for a key frame
	stop  context.CancelFunc
	done  chan struct{}
}

// startPublisher joins and starts to send when media is up.
func startPublisher(ctx context.Context, r *run) (*publisher, error) {
	pc, err := r.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", "bench")
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	up := make(chan struct{})
	connected := sync.OnceFunc(func() { close(up) }) // a shaken network may bring the state up twice
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			connected()
		}
	})
	c, err := connect(ctx, r, "sendonly", pc)
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	running, stop := context.WithCancel(context.Background())
	p := &publisher{client: c, track: track, stop: stop, done: make(chan struct{})}
	go p.runSignaling(running)
	go p.runFeedback(sender)
	select {
	case <-up:
	case <-ctx.Done():
		stop()
		c.close()
		return nil, errors.New("media did not connect in time")
	}
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
	perFrame := r.Rate / r.FrameRate
	tick := time.NewTicker(time.Second / time.Duration(r.FrameRate))
	defer tick.Stop()
	packet := &rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, r.PacketSize)}
	for frame := 0; ; frame++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		key := p.key.Swap(false) || frame%keyEvery == 0
		packet.Timestamp += uint32(90000 / r.FrameRate)
		for i := range perFrame {
			packet.Marker = i == perFrame-1
			p.fill(packet, i == 0, key, time.Since(r.epoch))
			if p.track.WriteRTP(packet) != nil {
				return // the PeerConnection closed
			}
			packet.SequenceNumber++
			p.sent.Add(1)
		}
	}
}

// fill writes the payload of one packet.
func (p *publisher) fill(packet *rtp.Packet, first, key bool, at time.Duration) {
	b := packet.Payload
	clear(b[:headerSize])
	if first {
		b[0] = 0x10 // start of partition 0, RFC 7741 §4.2
		if !key {
			b[1] = 0x01 // P: an inter frame, RFC 6386 §9.1
		} else {
			copy(b[4:], []byte{0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01}) // start code, 640 × 480
		}
	}
	binary.BigEndian.PutUint64(b[headerSize:], p.sent.Load())
	binary.BigEndian.PutUint64(b[headerSize+8:], uint64(at))
}

func (p *publisher) close() {
	p.stop()
	<-p.done
	p.client.close()
}
