package sfutest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// layerStep is by how many bytes the packets of a layer are shorter than those of
// the next better one: so a viewer can tell them apart.
const layerStep = 50

// encoding is one layer of a simulcast publisher, in a shape as browsers give it:
// numbers, timestamps and pictures begin anywhere.
type encoding struct {
	track   *webrtc.TrackLocalStaticRTP
	packet  rtp.Packet
	picture int
	number  uint32

	paused   atomic.Bool
	wantKey  atomic.Bool
	requests atomic.Int64
}

// addLayers adds one sender with several encodings.
func (p *publisher) addLayers(codec webrtc.RTPCodecCapability) error {
	for i := range p.media.Layers {
		track, err := webrtc.NewTrackLocalStaticRTP(codec, "video", "sfutest", webrtc.WithRTPStreamID(fmt.Sprintf("r%d", i)))
		if err != nil {
			return err
		}
		e := &encoding{track: track, picture: rand.IntN(1 << 15)}
		e.packet = rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: uint16(rand.Uint32()), Timestamp: rand.Uint32()},
			Payload: make([]byte, p.media.PayloadSize-layerStep*(p.media.Layers-1-i)),
		}
		p.layers = append(p.layers, e)
	}
	t, err := p.client.peer.AddTransceiverFromTrack(p.layers[0].track,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return err
	}
	for _, e := range p.layers[1:] {
		if err := t.Sender().AddEncoding(e.track); err != nil {
			return err
		}
	}
	return nil
}

// sender is the one that sends a layer.
func (p *publisher) sender(e *encoding) *webrtc.RTPSender {
	for _, s := range p.client.peer.GetSenders() {
		if t := s.Track(); t != nil && t.Kind() == e.track.Kind() {
			return s
		}
	}
	return nil
}

// runLayerFeedback counts requests for key frames of a layer and fulfils them.
func (p *publisher) runLayerFeedback(e *encoding) {
	defer p.client.work.Done()
	s := p.sender(e)
	for {
		packets, _, err := s.ReadSimulcastRTCP(e.track.RID())
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				e.requests.Add(1)
				e.wantKey.Store(!p.media.Deaf)
			}
		}
	}
}

// runLayers sends frames in all layers that are not paused, the lowest first.
func (p *publisher) runLayers() {
	defer p.client.work.Done()
	id := p.extension(sdp.SDESRTPStreamIDURI)
	ticker := time.NewTicker(time.Second / time.Duration(p.media.FrameRate))
	defer ticker.Stop()
	var before time.Time
	for frame := uint32(0); ; frame++ {
		now := time.Time{}
		select {
		case <-p.client.stop:
			return
		case now = <-ticker.C:
		}
		if before.IsZero() {
			before = now
		}
		passed := uint32(now.Sub(before) * 90_000 / time.Second)
		before = now
		for i, e := range p.layers {
			e.packet.Timestamp += passed
			if e.paused.Load() {
				continue
			}
			if !p.sendLayer(e, frame, i+1, id, now) {
				return
			}
		}
		p.sent.frames.Add(1)
	}
}

// sendLayer sends a frame of n packets in one layer.
func (p *publisher) sendLayer(e *encoding, frame uint32, n int, id uint8, at time.Time) bool {
	key := e.wantKey.Swap(false) || e.number == 0
	n = max(n, 2) // H264 needs two for a key frame
	for i := range n {
		e.packet.SequenceNumber++
		e.packet.Marker = i == n-1
		head := payload(p.media.Video, e.packet.Payload, i, n, key, e.picture&0x7fff)
		compose(e.packet.Payload, head, stamp{frame, e.number, at})
		e.number++
		e.packet.Header.Extension, e.packet.Header.Extensions = false, nil
		if err := e.packet.SetExtension(id, []byte(e.track.RID())); err != nil {
			return false
		}
		if !p.write(e.track, &e.packet) {
			return false
		}
		p.sent.video.Add(1)
	}
	e.picture++
	if key {
		p.sent.keys.Add(1)
	}
	return true
}

// extension is the id that was agreed on for a header extension of video.
func (p *publisher) extension(uri string) uint8 {
	all := p.sender(p.layers[0]).GetParameters().HeaderExtensions
	if i := slices.IndexFunc(all, func(e webrtc.RTPHeaderExtensionParameter) bool { return e.URI == uri }); i >= 0 {
		return uint8(all[i].ID)
	}
	return 0
}

// PauseLayer stops sending a layer, or goes on with a key frame.
func (c *Client) PauseLayer(i int, pause bool) {
	e := c.publisher.layers[i]
	e.wantKey.Store(!pause)
	e.paused.Store(pause)
}

// LayerOf is the layer, by place, that a packet is of: one of a publisher of Media
// with as many Layers and that PayloadSize.
func LayerOf(p Packet, layers, payloadSize int) int {
	return layers - 1 - (payloadSize-len(p.RTP.Payload))/layerStep
}

// LayerRequests is how many key frames a layer was asked for.
func (c *Client) LayerRequests(i int) int64 { return c.publisher.layers[i].requests.Load() }
