package naive

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/pion/webrtc/v4"
)

// message is what passes over the WebSocket, as far as the yardstick cares.
type message struct {
	Type      string `json:"type"`
	Role      string `json:"role,omitempty"`
	ChannelID string `json:"channel_id,omitempty"`
	SDP       string `json:"sdp,omitempty"`
	Candidate string `json:"candidate,omitempty"`

	Audio json.RawMessage `json:"audio,omitempty"` // false, true or an object
	Video json.RawMessage `json:"video,omitempty"`
}

// client is one participant.
type client struct {
	server  *Server
	ws      *websocket.Conn
	pc      *webrtc.PeerConnection
	channel string
}

// serve is the life of one participant: connect, offer, answer, media, end.
func (s *Server) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	var connect message
	if err := wsjson.Read(ctx, ws, &connect); err != nil || connect.Type != "connect" {
		return
	}
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		ws.Close(websocket.StatusInternalError, err.Error())
		return
	}
	defer pc.Close()
	c := &client{server: s, ws: ws, pc: pc, channel: connect.ChannelID}
	if err := c.offer(ctx, connect); err != nil {
		ws.Close(websocket.StatusInternalError, err.Error())
		return
	}
	c.runSignaling(ctx)
}

// offer sends the client everything it may send or is to see.
func (c *client) offer(ctx context.Context, connect message) error {
	var err error
	if connect.Role == "sendonly" {
		err = c.receive(connect)
	} else {
		err = c.send()
	}
	if err != nil {
		return err
	}
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	return wsjson.Write(ctx, c.ws, message{Type: "offer", SDP: c.pc.LocalDescription().SDP})
}

// receive makes the client a publisher of what it asked to send.
func (c *client) receive(connect message) error {
	for kind, wish := range map[webrtc.RTPCodecType]json.RawMessage{
		webrtc.RTPCodecTypeAudio: connect.Audio, webrtc.RTPCodecTypeVideo: connect.Video,
	} {
		if string(wish) == "false" {
			continue
		}
		_, err := c.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			return err
		}
	}
	c.pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { c.runForward(remote) })
	return nil
}

// runForward is the forwarder: a published track's packets to all its viewers,
// until the publisher is gone.
func (c *client) runForward(remote *webrtc.TrackRemote) {
	local, err := webrtc.NewTrackLocalStaticRTP(remote.Codec().RTPCodecCapability, remote.ID(), remote.StreamID())
	if err != nil {
		return
	}
	c.server.publish(c.channel, local)
	defer c.server.withdraw(c.channel, local)
	buffer := make([]byte, 1500)
	for {
		n, _, err := remote.Read(buffer)
		if err != nil {
			return
		}
		// A viewer that has just left is no reason to stop; the track forgets it.
		_, _ = local.Write(buffer[:n])
	}
}

// send makes the client a viewer of what the channel has now.
func (c *client) send() error {
	tracks := c.server.tracks(c.channel)
	if len(tracks) == 0 {
		// Without any section there would be no connection at all.
		_, err := c.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		return err
	}
	for _, t := range tracks {
		sender, err := c.pc.AddTrack(t)
		if err != nil {
			return err
		}
		go runFeedback(sender)
	}
	return nil
}

// runFeedback reads what a viewer reports, so that the interceptors see it,
// until its PeerConnection closes.
func runFeedback(sender *webrtc.RTPSender) {
	buffer := make([]byte, 1500)
	for {
		if _, _, err := sender.Read(buffer); err != nil {
			return
		}
	}
}

// runSignaling takes the client's messages until it goes.
func (c *client) runSignaling(ctx context.Context) {
	for {
		var m message
		if err := wsjson.Read(ctx, c.ws, &m); err != nil {
			return
		}
		var err error
		switch m.Type {
		case "answer":
			err = c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.SDP})
		case "candidate":
			err = c.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: m.Candidate})
		case "disconnect":
			return
		}
		if err != nil {
			c.ws.Close(websocket.StatusPolicyViolation, err.Error())
			return
		}
	}
}
