package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// client2015 speaks the dialect of 2015 with a pion PeerConnection that knows
// nothing of Hibari: one offer, one answer, no renegotiation.
type client2015 struct {
	t       *testing.T
	ws      *websocket.Conn
	pc      *webrtc.PeerConnection
	id      string       // clientId of the offer
	video   atomic.Int64 // packets received
	audio   atomic.Int64
	ended   chan struct{} // closed when the WebSocket ended
	endCode websocket.StatusCode
	endText string
}

// message2015 is every message of the dialect.
type message2015 struct {
	Type        string `json:"type"`
	Role        string `json:"role,omitempty"`
	ChannelID   string `json:"channelId,omitempty"`
	AccessToken string `json:"accessToken,omitempty"`
	SDP         string `json:"sdp,omitempty"`
	ClientID    string `json:"clientId,omitempty"`
	Candidate   string `json:"candidate,omitempty"`
}

// refusal2015 is the close of a client that was not let in.
type refusal2015 struct {
	code   websocket.StatusCode
	reason string
}

func (r refusal2015) Error() string { return r.reason }

// dial2015 connects and answers the offer; a refusal is a refusal2015.
func dial2015(t *testing.T, s *server, role, channel, token string) (*client2015, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+"/signaling", nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	c := &client2015{t: t, ws: ws, ended: make(chan struct{})}
	if err := wsjson.Write(ctx, ws, message2015{Type: "connect", Role: role, ChannelID: channel, AccessToken: token}); err != nil {
		return nil, err
	}
	var offer message2015
	if err := wsjson.Read(ctx, ws, &offer); err != nil {
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			return nil, refusal2015{closed.Code, closed.Reason}
		}
		return nil, err
	}
	if offer.Type != "offer" || offer.SDP == "" || offer.ClientID == "" {
		t.Fatalf("the first message was %+v, want an offer", offer)
	}
	c.id = offer.ClientID
	if err := c.answer(ctx, offer.SDP, role == "upstream"); err != nil {
		return nil, err
	}
	go c.read()
	t.Cleanup(c.close)
	return c, nil
}

// answer sets up the PeerConnection, with tracks to send for an upstream.
func (c *client2015) answer(ctx context.Context, offer string, sends bool) (err error) {
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICETimeouts(2*time.Minute, 2*time.Minute, 2*time.Second) // it waits for a platform that stands still
	if c.pc, err = webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{}); err != nil {
		return err
	}
	c.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		count := &c.audio
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			count = &c.video
		}
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			count.Add(1)
		}
	})
	if sends {
		if err := c.send(); err != nil {
			return err
		}
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return err
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	c.pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			wsjson.Write(context.Background(), c.ws, message2015{Type: "candidate", Candidate: candidate.ToJSON().Candidate})
		}
	})
	if err := wsjson.Write(ctx, c.ws, message2015{Type: "answer", SDP: answer.SDP}); err != nil {
		return err
	}
	return c.pc.SetLocalDescription(answer)
}

// send adds an audio and a video track and feeds them until the
// PeerConnection closes.
func (c *client2015) send() error {
	video, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "up")
	if err != nil {
		return err
	}
	audio, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "up")
	if err != nil {
		return err
	}
	for _, track := range []webrtc.TrackLocal{audio, video} {
		if _, err := c.pc.AddTrack(track); err != nil {
			return err
		}
	}
	key := append([]byte{0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00}, make([]byte, 2500)...)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-c.ended:
				return
			case <-tick.C:
				video.WriteSample(media.Sample{Data: key, Duration: 20 * time.Millisecond})
				audio.WriteSample(media.Sample{Data: []byte{0xf8, 0xff, 0xfe}, Duration: 20 * time.Millisecond})
			}
		}
	}()
	return nil
}

// read waits for the end of the WebSocket. A client of 2015 must be asked
// nothing that it does not know.
func (c *client2015) read() {
	defer close(c.ended)
	for {
		_, data, err := c.ws.Read(context.Background())
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			c.endCode, c.endText = closed.Code, closed.Reason
		}
		if err != nil {
			return
		}
		var m message2015
		if json.Unmarshal(data, &m) != nil || m.Type == "update" || m.Type == "re-offer" {
			c.t.Errorf("the server sent %s", data)
		}
	}
}

func (c *client2015) close() {
	c.ws.CloseNow()
	c.pc.Close()
}

// mustDial2015 fails the test on a refusal.
func mustDial2015(t *testing.T, s *server, role, channel, token string) *client2015 {
	t.Helper()
	var c *client2015
	var err error
	eventually(t, role+" meets a media plane that is not at its limit", func() bool {
		c, err = dial2015(t, s, role, channel, token)
		return err == nil || !atLimit(err.Error())
	})
	if err != nil {
		t.Fatalf("%s couldn't connect: %v", role, err)
	}
	return c
}
