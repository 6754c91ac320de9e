package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// Entry is what a visitor notes of a visit.
type Entry struct {
	ConnectionID string     `json:"connection_id"`
	Channel      string     `json:"channel"`
	Role         string     `json:"role"`
	Answered     time.Time  `json:"answered"` // about to say which media it takes: none can have flowed before
	Told         *time.Time `json:"told"`     // heard from the platform that it is in: media has connected by then
	Left         time.Time  `json:"left"`     // about to say goodbye, or found itself alone
	Gone         time.Time  `json:"gone"`     // the platform had closed the call by then
	Lost         bool       `json:"lost"`     // by the platform, not by the visitor
	Trouble      string     `json:"trouble,omitempty"`
}

// visit is one in progress.
type visit struct {
	c    *crowd
	out  func()        // leaves; nil: never got in. Owned by live
	told chan struct{} // closed when the platform has said that the visitor is in
	gone chan struct{} // closed when the call is over

	mu    sync.Mutex
	Entry // Guarded by mu
}

// comeTimeout bounds coming in, and leaveTimeout the platform's goodbye.
const (
	comeTimeout  = 20 * time.Second
	leaveTimeout = 10 * time.Second
)

type visitKey struct{}

// come brings the visitor in, and returns when the platform has said so.
func (v *visit) come(ctx context.Context) (err error) {
	v.c.inDoor.Add(1)
	defer v.c.inDoor.Add(-1)
	ctx, cancel := context.WithTimeout(context.WithValue(context.WithoutCancel(ctx), visitKey{}, v), comeTimeout)
	defer cancel()
	if v.Role == "sendonly" {
		v.out, err = v.c.visits.Publish(ctx, v.Channel)
	} else {
		v.out, err = v.c.visits.Watch(ctx, v.Channel)
	}
	if err != nil {
		return err
	}
	select {
	case <-v.told:
		return nil
	case <-v.gone:
		return errors.New("the call ended before the platform said that media had connected")
	case <-ctx.Done():
		return errors.New("the platform did not say in time that media had connected")
	}
}

// leave notes that it begins before it does.
func (v *visit) leave() {
	v.c.inDoor.Add(1)
	defer v.c.inDoor.Add(-1)
	v.mu.Lock()
	select {
	case <-v.gone:
		v.Lost = true
	default:
	}
	v.Left = time.Now()
	v.mu.Unlock()
	if v.out != nil {
		v.out()
	}
}

// words are the Sora dialect as far as a visitor speaks it.
type words struct {
	Type         string         `json:"type"`
	Role         string         `json:"role,omitempty"`
	ChannelID    string         `json:"channel_id,omitempty"`
	Audio        any            `json:"audio,omitempty"`
	Video        *bool          `json:"video,omitempty"`
	DataChannels *bool          `json:"data_channel_signaling,omitempty"`
	Metadata     map[string]any `json:"metadata,omitempty"`
	ConnectionID string         `json:"connection_id,omitempty"`
	EventType    string         `json:"event_type,omitempty"`
	SDP          string         `json:"sdp,omitempty"`
	Reason       string         `json:"reason,omitempty"`
}

// enter is the load.Door of a visit: the signalling, and what is noted of it.
func enter(ctx context.Context, channel, role string, answer func(string) (string, error)) (func(), error) {
	v := ctx.Value(visitKey{}).(*visit)
	ws, _, err := websocket.Dial(ctx, v.c.url, nil)
	if err != nil {
		close(v.gone)
		return nil, err
	}
	ws.SetReadLimit(4 << 20)
	answered, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		v.listen(ws, answer, answered)
	}()
	no := false
	err = wsjson.Write(ctx, ws, words{
		Type: "connect", Role: role, ChannelID: channel, Video: &no, DataChannels: &no,
		Audio: map[string]any{"codec_type": "OPUS"}, Metadata: map[string]any{"access_token": v.c.token},
	})
	if err == nil {
		select {
		case err = <-answered:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	leave := func() {
		goodbye, cancel := context.WithTimeout(context.Background(), leaveTimeout)
		defer cancel()
		_ = wsjson.Write(goodbye, ws, words{Type: "disconnect", Reason: "NO-ERROR"}) // it may be over already
		select {
		case <-over:
		case <-goodbye.Done():
			ws.CloseNow()
			<-over
		}
	}
	if err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// listen hears what the platform says until it says no more.
func (v *visit) listen(ws *websocket.Conn, answer func(string) (string, error), answered chan<- error) {
	defer close(v.gone)
	defer ws.CloseNow()
	err := errors.New("the platform closed the call before it made an offer")
	for {
		_, text, failure := ws.Read(context.Background())
		now := time.Now()
		if failure != nil {
			v.mu.Lock()
			v.Gone = now
			v.mu.Unlock()
			var closed websocket.CloseError
			if errors.As(failure, &closed) {
				err = errors.New(closed.Reason)
			}
			select {
			case answered <- err:
			default: // it has long been answered
			}
			return
		}
		var m words
		if json.Unmarshal(text, &m) == nil {
			v.hear(ws, m, now, answer, answered)
		}
	}
}

// hear takes one message, which came at a time.
func (v *visit) hear(ws *websocket.Conn, m words, now time.Time, answer func(string) (string, error), answered chan<- error) {
	ctx := context.Background()
	switch m.Type {
	case "offer":
		sdp, err := answer(m.SDP)
		v.mu.Lock()
		v.ConnectionID, v.Answered = m.ConnectionID, time.Now()
		v.mu.Unlock()
		if err == nil {
			err = wsjson.Write(ctx, ws, words{Type: "answer", SDP: sdp})
		}
		answered <- err
	case "re-offer":
		if sdp, err := answer(m.SDP); err == nil {
			_ = wsjson.Write(ctx, ws, words{Type: "re-answer", SDP: sdp}) // a call that is over ends the reading
		}
	case "ping":
		_ = wsjson.Write(ctx, ws, words{Type: "pong"})
	case "notify":
		v.mu.Lock()
		defer v.mu.Unlock()
		if m.EventType == "connection.created" && m.ConnectionID == v.ConnectionID && v.Told == nil {
			v.Told = &now
			close(v.told)
		}
	}
}
