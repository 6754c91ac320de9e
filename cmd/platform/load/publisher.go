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
	// Static
	index int // of the run's publishers
	stage *stage
	audio bool
	clock uint32 // of RTP timestamps, per second
	size  int    // bytes of RTP payload
	out   sender
	halt  context.CancelFunc
	done  chan struct{}

	sent atomic.Uint64 // packets so far; the number of the next one
	key  atomic.Bool   // somebody asked for a key frame
}

// sender is a publisher's connection: a leanSender or, where there are none, a
// pionSender. packet and flush belong to one goroutine.
type sender interface {
	// packet takes one more packet of a frame; its SSRC and payload type are the
	// sender's.
	packet(*rtp.Packet) error
	// flush sends what of the frame is not sent yet.
	flush() error
	close()
}

// startPublisher joins and starts to send when media is up.
func startPublisher(ctx context.Context, r *run, index int, s *stage) (*publisher, error) {
	p := &publisher{index: index, stage: s, audio: r.Audio, clock: 90000, size: s.size, done: make(chan struct{})}
	if p.audio {
		p.clock = 48000
	}
	start := startLeanSender
	if r.poller == nil {
		start = startPionSender
	}
	var err error
	if p.out, err = start(ctx, r, p); err != nil {
		return nil, err
	}
	running, halt := context.WithCancel(context.Background())
	p.halt = halt
	go p.runFrames(running, r)
	return p, nil
}

// feedback notes key frame requests.
func (p *publisher) feedback(packets []rtcp.Packet) {
	for _, packet := range packets {
		switch packet.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			p.key.Store(true)
		}
	}
}

// runFrames sends a burst of packets for every frame, until ctx ends.
func (p *publisher) runFrames(ctx context.Context, r *run) {
	defer close(p.done)
	pace := newPace(r, p)
	packet := &rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, p.size)}
	for frame := 0; pace.wait(ctx); frame++ {
		key := p.key.Swap(false) || frame%keyEvery == 0
		packet.Timestamp = uint32(pace.next / pace.interval * time.Duration(p.clock/uint32(p.stage.fps)))
		if p.sendFrame(packet, key, r.epoch) != nil {
			return // the connection closed
		}
	}
}

// sendFrame sends one frame of packets like the given one.
func (p *publisher) sendFrame(packet *rtp.Packet, key bool, epoch time.Time) error {
	perFrame := p.stage.rate / p.stage.fps
	number := p.sent.Load()
	for i := range perFrame {
		packet.Marker = !p.audio && i == perFrame-1
		clear(packet.Payload[:headerSize])
		if !p.audio && i == 0 {
			writeVP8(packet.Payload, key)
		}
		stamp{p.index, number + uint64(i), time.Since(epoch)}.write(packet.Payload)
		if err := p.out.packet(packet); err != nil {
			return err
		}
		packet.SequenceNumber++
	}
	if err := p.out.flush(); err != nil {
		return err
	}
	p.sent.Add(uint64(perFrame))
	return nil
}

// pace says when a publisher's frames are due: every interval, each publisher
// at a moment of its own between two of another's, as those of people who know
// nothing of each other are.
type pace struct {
	epoch    time.Time
	interval time.Duration
	next     time.Duration // since epoch
	timer    *time.Timer
	other    func(context.Context) bool // instead; nil: none
}

func newPace(r *run, p *publisher) *pace {
	interval := time.Second / time.Duration(p.stage.fps)
	phase := interval * time.Duration(p.index) / time.Duration(len(r.publishers))
	out := &pace{epoch: r.epoch, interval: interval, next: time.Since(r.epoch).Truncate(interval) + phase, timer: time.NewTimer(0)}
	if r.Pace != nil {
		out.other = func(ctx context.Context) bool { return r.Pace(ctx, p.index) }
	}
	return out
}

// wait waits until the next frame is due; false if ctx ended.
func (p *pace) wait(ctx context.Context) bool {
	p.next += p.interval
	if p.other != nil {
		return p.other(ctx)
	}
	if late := time.Since(p.epoch) - p.next; late > p.interval {
		p.next += late.Truncate(p.interval) // frames are left out, not made up for
	}
	p.timer.Reset(p.next - time.Since(p.epoch))
	select {
	case <-ctx.Done():
		p.timer.Stop()
		return false
	case <-p.timer.C:
		return true
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
	p.out.close()
}

// pionSender is a publisher's way out through a PeerConnection.
type pionSender struct {
	*peer
	track *webrtc.TrackLocalStaticRTP
}

// startPionSender joins and returns when media can flow.
func startPionSender(ctx context.Context, r *run, p *publisher) (sender, error) {
	codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: p.clock}
	if p.audio {
		codec = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: p.clock, Channels: 2}
	}
	track, err := webrtc.NewTrackLocalStaticRTP(codec, "track", "bench")
	if err != nil {
		return nil, err
	}
	pc, err := r.api.NewPeerConnection(webrtc.Configuration{Certificates: r.identity.webrtc})
	if err != nil {
		return nil, err
	}
	out, err := pc.AddTrack(track)
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	s := &pionSender{track: track}
	if s.peer, err = startPeer(ctx, r, p.stage, "sendonly", pc); err != nil {
		return nil, err
	}
	go runFeedback(out, p)
	select {
	case <-s.up:
		return s, nil
	case <-ctx.Done():
		s.close()
		return nil, errors.New("media did not connect in time")
	}
}

// runFeedback tells the publisher what it is asked, until the PeerConnection
// closes.
func runFeedback(from *webrtc.RTPSender, p *publisher) {
	for {
		packets, _, err := from.ReadRTCP()
		if err != nil {
			return
		}
		p.feedback(packets)
	}
}

func (s *pionSender) packet(packet *rtp.Packet) error { return s.track.WriteRTP(packet) }

func (s *pionSender) flush() error { return nil }
