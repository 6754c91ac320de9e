package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/pion/webrtc/v4"
)

// client is one WebSocket and one PeerConnection that follow the server's
// offers.
type client struct {
	ws *websocket.Conn
	pc *webrtc.PeerConnection
}

// message is what passes over the WebSocket, as far as load reads it.
type message struct {
	Type string `json:"type"`
	SDP  string `json:"sdp,omitempty"`
}

// connect opens the WebSocket, asks for a role and answers the offer.
func connect(ctx context.Context, r *run, role string, pc *webrtc.PeerConnection) (*client, error) {
	ws, _, err := websocket.Dial(ctx, r.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("couldn't open %s: %w", r.URL, err)
	}
	ws.SetReadLimit(4 << 20)
	c := &client{ws: ws, pc: pc}
	request := map[string]any{
		"type": "connect", "role": role, "channel_id": r.Channel,
		"audio": false, "video": map[string]any{"codec_type": "VP8"},
		"metadata":    map[string]any{"access_token": r.Token},
		"sora_client": "Hibari bench", "environment": "pion",
	}
	if err := wsjson.Write(ctx, ws, request); err != nil {
		ws.CloseNow()
		return nil, err
	}
	for {
		m, err := c.read(ctx)
		if err != nil {
			ws.CloseNow()
			return nil, err
		}
		if m.Type != "offer" {
			continue
		}
		if err := c.answer(ctx, "answer", m.SDP); err != nil {
			ws.CloseNow()
			return nil, err
		}
		return c, nil
	}
}

// read reads one message; a refusal's reason is the error.
func (c *client) read(ctx context.Context) (message, error) {
	var m message
	_, data, err := c.ws.Read(ctx)
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return m, fmt.Errorf("the server closed: %d %s", closed.Code, closed.Reason)
	}
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(data, &m)
}

// answer takes an offer and sends the answer as a message of the given type.
func (c *client) answer(ctx context.Context, kind, offer string) error {
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return fmt.Errorf("couldn't take the offer: %w", err)
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("couldn't answer: %w", err)
	}
	if err := c.pc.SetLocalDescription(answer); err != nil {
		return fmt.Errorf("couldn't answer: %w", err)
	}
	return wsjson.Write(ctx, c.ws, message{Type: kind, SDP: answer.SDP})
}

// runSignaling answers pings and re-offers until the WebSocket closes.
func (c *client) runSignaling(ctx context.Context) {
	for {
		m, err := c.read(ctx)
		if err != nil {
			return
		}
		switch m.Type {
		case "ping":
			err = wsjson.Write(ctx, c.ws, message{Type: "pong"})
		case "re-offer":
			err = c.answer(ctx, "re-answer", m.SDP)
		}
		if err != nil {
			return
		}
	}
}

// goodbyeTimeout bounds the wait for a server that no longer reads.
const goodbyeTimeout = 2 * time.Second

// close says goodbye and closes both.
func (c *client) close() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	wsjson.Write(ctx, c.ws, map[string]string{"type": "disconnect", "reason": "NO-ERROR"}) // it may be gone already
	c.ws.CloseNow()
	c.pc.Close()
}
