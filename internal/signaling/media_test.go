package signaling_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// listen opens a media port on loopback.
func listen(t testing.TB) *transport.Endpoint {
	t.Helper()
	e, err := transport.Listen(transport.Config{Addr: "127.0.0.1:0", IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// broadcast starts a house with a real media plane.
func broadcast(t testing.TB, c signaling.Config) (*house, *sfu.SFU) {
	t.Helper()
	plane := newPlane(t)
	c.Media = plane
	return open(t, c), plane
}

// newPlane starts a media plane.
func newPlane(t testing.TB) *sfu.SFU {
	t.Helper()
	plane := sfu.New(sfu.Config{Transport: listen(t)})
	t.Cleanup(func() { plane.Close(tenant.EndShutdown) })
	return plane
}

// caller is a WebRTC client: it answers offers by itself and keeps everything it
// hears, over its WebSocket and over DataChannels (channels_test.go).
type caller struct {
	*client
	pc   *webrtc.PeerConnection
	edit edits

	mu      sync.Mutex
	heard   []map[string]any // every message, in order; "via" is the label of a DataChannel
	raw     []string
	bye     *websocket.CloseError
	streams map[string]int // RTP packets received by stream id
	changed chan struct{}
	mute    bool // answers no offer any more
	pong    bool // answers pings
	today   bool // speaks today's dialect: what it hears must suit all its clients

	compress map[string]bool // of the offer's channels, by label
	channels map[string]*webrtc.DataChannel
	closed   map[string]bool // labels of channels that are closed
	left     bool            // it closed its WebSocket, as it was told it may
}

// edits are what a caller makes of SDPs; nil: they stay as they are.
type edits struct{ offer, answer func(sdp string) string }

// call sends a connect message and starts a caller; a publisher sends audio
// all the time.
func (h *house) call(t testing.TB, connect string, publish bool) *caller {
	t.Helper()
	return h.callWith(t, connect, publish, edits{})
}

// callWith is call, of a client that edits SDPs.
func (h *house) callWith(t testing.TB, connect string, publish bool, edit edits) *caller {
	t.Helper()
	c := &caller{
		client: h.visit(t), edit: edit, streams: map[string]int{}, changed: make(chan struct{}),
		compress: map[string]bool{}, channels: map[string]*webrtc.DataChannel{}, closed: map[string]bool{},
	}
	c.today = !strings.Contains(connect, `"channelId"`) && !strings.Contains(connect, "stream\"")
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient) // what browsers choose
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	var err error
	if c.pc, err = webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ears := make(chan struct{})
	t.Cleanup(func() { cancel(); c.conn.CloseNow(); <-ears; c.pc.Close() })
	if publish {
		track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "voice", "local")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.pc.AddTrack(track); err != nil {
			t.Fatal(err)
		}
		go runVoice(ctx, track)
	}
	c.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { c.runTrack(track) })
	c.pc.OnDataChannel(c.opened)
	go func() { defer close(ears); c.runEars() }()
	c.say(connect)
	return c
}

// runVoice sends an Opus packet every 20 ms.
func runVoice(ctx context.Context, track *webrtc.TrackLocalStaticSample) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			track.WriteSample(media.Sample{Data: []byte{0xf8, 0xff, 0xfe}, Duration: 20 * time.Millisecond})
		case <-ctx.Done():
			return
		}
	}
}

// runTrack counts what arrives.
func (c *caller) runTrack(track *webrtc.TrackRemote) {
	for {
		if _, _, err := track.ReadRTP(); err != nil {
			return
		}
		c.note(func() { c.streams[track.StreamID()]++ })
	}
}

// runEars hears and answers until the socket is closed.
func (c *caller) runEars() {
	for {
		_, data, err := c.conn.Read(context.Background())
		if err != nil {
			c.note(func() {
				c.bye = &websocket.CloseError{Code: -1, Reason: err.Error()}
				errors.As(err, c.bye)
			})
			return
		}
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			c.t.Errorf("heard %q", data)
			continue
		}
		kind, _ := m["type"].(string)
		sdp, _ := m["sdp"].(string)
		if c.today {
			conforms(c.t, kind, data)
		}
		c.note(func() { c.heard = append(c.heard, m); c.raw = append(c.raw, string(data)) })
		c.mu.Lock()
		mute, pong := c.mute, c.pong
		c.mu.Unlock()
		switch kind {
		case "offer":
			c.expect(m)
		case "re-offer":
			if c.channel("signaling") != nil {
				c.t.Error("a re-offer came over the WebSocket of a client with DataChannels")
			}
		case "switched":
			if m["ignore_disconnect_websocket"] == true {
				c.note(func() { c.left = true })
				c.conn.Close(websocket.StatusNoStatusRcvd, "")
				return
			}
		}
		if pong && kind == "ping" {
			c.conn.Write(context.Background(), websocket.MessageText, []byte(`{"type":"pong","stats":[{"id":"T01"}]}`))
		}
		if mute {
			continue
		}
		if reply, ok := map[string]string{"offer": "answer", "re-offer": "re-answer", "update": "update"}[kind]; ok {
			c.answer(reply, sdp)
		}
	}
}

// answer answers an offer, with all candidates in the SDP.
func (c *caller) answer(reply, offer string) {
	if c.edit.offer != nil {
		offer = c.edit.offer(offer)
	}
	err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer})
	var answer webrtc.SessionDescription
	if err == nil {
		answer, err = c.pc.CreateAnswer(nil)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err == nil {
		err = c.pc.SetLocalDescription(answer)
	}
	if err != nil {
		// Once the server has said goodbye on the media path there is no way on.
		if !errors.Is(err, webrtc.ErrConnectionClosed) && c.pc.ConnectionState() != webrtc.PeerConnectionStateClosed {
			c.t.Errorf("couldn't answer: %v\n%s", err, offer)
		}
		return
	}
	<-gathered
	sdp := c.pc.LocalDescription().SDP
	if c.edit.answer != nil {
		sdp = c.edit.answer(sdp)
	}
	text, _ := json.Marshal(map[string]string{"type": reply, "sdp": sdp})
	if c.channel("signaling") != nil {
		c.sayOver("signaling", string(text))
		return
	}
	c.conn.Write(context.Background(), websocket.MessageText, text) // it may be closed by now
}

// note changes what the caller knows.
func (c *caller) note(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// await waits for a condition; c.mu is held while it is checked.
func (c *caller) await(what string, condition func() bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		ok, changed := condition(), c.changed
		failure := fmt.Sprintf("never saw %s; heard %.3000s, bye %v, packets %v", what, c.raw, c.bye, c.streams)
		over := c.bye != nil
		c.mu.Unlock()
		if ok {
			return
		}
		if over {
			c.t.Fatal(failure)
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatal(failure)
		}
	}
}

// message waits for the n-th message (from 0) with these values, and returns it.
func (c *caller) message(n int, values map[string]any) map[string]any {
	c.t.Helper()
	var found map[string]any
	c.await(label(values), func() bool {
		left := n
		for _, m := range c.heard {
			if matches(m, values) {
				if left == 0 {
					found = m
					return true
				}
				left--
			}
		}
		return false
	})
	return found
}

// id is the caller's connection id, in either dialect.
func (c *caller) id() string {
	c.t.Helper()
	offer := c.message(0, map[string]any{"type": "offer"})
	if id, ok := offer["connection_id"].(string); ok {
		return id
	}
	return offer["clientId"].(string)
}

// connected waits until the caller's own media is up.
func (c *caller) connected() {
	c.t.Helper()
	up := make(chan struct{})
	var once sync.Once
	c.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(up) })
		}
	})
	if c.pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
		return
	}
	select {
	case <-up:
	case <-time.After(patience):
		c.t.Fatalf("media never came up: %s", c.pc.ConnectionState())
	}
}

// ended waits for the close frame.
func (c *caller) ended() (int, string) {
	c.t.Helper()
	c.await("the end", func() bool { return c.bye != nil })
	return int(c.bye.Code), c.bye.Reason
}

func matches(m, values map[string]any) bool {
	for name, value := range values {
		if m[name] != value {
			return false
		}
	}
	return true
}

func label(values map[string]any) string {
	text, _ := json.Marshal(values)
	return string(text)
}
