package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// call is the signalling of one client, in progress.
type call interface {
	// candidate tells the server of one of the client's own.
	candidate(ctx context.Context, text string) error
	// close says goodbye.
	close()
}

// enter asks for a role in a stage's channel and has answer answer every offer,
// the first before it returns.
func (r *run) enter(ctx context.Context, s *stage, role string, answer func(offer string) (string, error)) (call, error) {
	if r.Door == nil {
		return dial(ctx, r, s.channel, role, answer)
	}
	leave, err := r.Door(ctx, s.channel, role, answer)
	return doorCall(leave), err
}

// doorCall is a call through Config.Door.
type doorCall func()

func (doorCall) candidate(context.Context, string) error { return nil }
func (leave doorCall) close()                            { leave() }

// webCall is a call over a WebSocket.
type webCall struct {
	ws     *websocket.Conn
	answer func(offer string) (string, error)
	stop   context.CancelFunc // of runSignaling
}

// message is what passes over the WebSocket, as far as load reads it.
type message struct {
	Type      string `json:"type"`
	SDP       string `json:"sdp,omitempty"`
	Candidate string `json:"candidate,omitempty"`
}

// errPutOff is a server that says to try again.
var errPutOff = errors.New("the server can't take clients right now")

// dial asks for a role in a channel and answers the first offer. Where the
// server says to try again, it does, until ctx ends.
func dial(ctx context.Context, r *run, channel, role string, answer func(string) (string, error)) (*webCall, error) {
	for {
		c, err := dialOnce(ctx, r, channel, role, answer)
		if !errors.Is(err, errPutOff) {
			return c, err
		}
		r.retries.Add(1)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryAfter):
		}
	}
}

// dialOnce opens the WebSocket, asks for a role in a channel and answers the
// first offer.
func dialOnce(ctx context.Context, r *run, channel, role string, answer func(string) (string, error)) (*webCall, error) {
	ws, _, err := websocket.Dial(ctx, r.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("couldn't open %s: %w", r.URL, err)
	}
	ws.SetReadLimit(4 << 20)
	c := &webCall{ws: ws, answer: answer}
	request := map[string]any{
		"type": "connect", "role": role, "channel_id": channel, "audio": r.Audio, "video": !r.Audio,
		"sora_client": "Hibari bench", "environment": "pion",
		"data_channel_signaling": false, // what is measured is media
	}
	if r.Token != "" {
		request["metadata"] = map[string]any{"access_token": r.Token}
	}
	if r.Audio {
		request["audio"] = map[string]any{"codec_type": "OPUS"}
	} else {
		request["video"] = map[string]any{"codec_type": "VP8"}
	}
	if err := wsjson.Write(ctx, ws, request); err != nil {
		ws.CloseNow()
		return nil, err
	}
	for {
		m, err := c.read(ctx)
		if err == nil && m.Type == "offer" {
			err = c.follow(ctx, "answer", m.SDP)
		}
		if err != nil {
			ws.CloseNow()
			return nil, err
		}
		if m.Type == "offer" {
			running, stop := context.WithCancel(context.Background())
			c.stop = stop
			go c.runSignaling(running)
			return c, nil
		}
	}
}

// read reads one message; a refusal's reason is the error.
func (c *webCall) read(ctx context.Context) (message, error) {
	var m message
	_, data, err := c.ws.Read(ctx)
	var closed websocket.CloseError
	if errors.As(err, &closed) && strings.HasPrefix(closed.Reason, "unavailable") {
		return m, fmt.Errorf("%w: %d %s", errPutOff, closed.Code, closed.Reason)
	}
	if errors.As(err, &closed) {
		return m, fmt.Errorf("the server closed: %d %s", closed.Code, closed.Reason)
	}
	if err != nil {
		return m, err
	}
	if bytes.HasPrefix(data, []byte(`{"type":"notify"`)) {
		return m, nil // there are as many as there are viewers, squared
	}
	return m, json.Unmarshal(data, &m)
}

// follow answers an offer with a message of the given type.
func (c *webCall) follow(ctx context.Context, kind, offer string) error {
	sdp, err := c.answer(offer)
	if err != nil {
		return fmt.Errorf("couldn't answer: %w", err)
	}
	return wsjson.Write(ctx, c.ws, message{Type: kind, SDP: sdp})
}

// runSignaling answers pings and re-offers until ctx ends or the
// WebSocket closes.
func (c *webCall) runSignaling(ctx context.Context) {
	for {
		m, err := c.read(ctx)
		if err != nil {
			return
		}
		switch m.Type {
		case "ping":
			err = wsjson.Write(ctx, c.ws, message{Type: "pong"})
		case "re-offer":
			err = c.follow(ctx, "re-answer", m.SDP)
		}
		if err != nil {
			return
		}
	}
}

// goodbyeTimeout bounds the wait for a server that no longer reads.
const goodbyeTimeout = 2 * time.Second

func (c *webCall) candidate(ctx context.Context, text string) error {
	return wsjson.Write(ctx, c.ws, message{Type: "candidate", Candidate: text})
}

// close says goodbye and closes the WebSocket.
func (c *webCall) close() {
	c.stop()
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	_ = wsjson.Write(ctx, c.ws, map[string]string{"type": "disconnect", "reason": "NO-ERROR"}) // it may be gone already
	c.ws.CloseNow()
}
