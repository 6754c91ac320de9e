package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/golang-jwt/jwt/v5"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/internal/tenant"
)

// errand is a client's attempt: whose, where to, and with what.
type errand struct {
	h       *house
	server  *server
	channel string
	token   string
}

// errand draws one. Channels are of one process and are used once, so that nobody is
// sent elsewhere; the crowd makes tenant_full of some.
func (c *conservation) errand(server int) errand {
	h := c.houses[c.chance(len(c.houses))]
	c.mu.Lock()
	c.calls++
	v := errand{h: h, server: c.servers[server], channel: fmt.Sprintf("c%d", c.calls)}
	c.mu.Unlock()
	claims := jwt.MapClaims{"exp": time.Now().Add(10 * time.Minute).Unix(), "channel_id": "c*", "metadata": map[string]any{"n": v.channel}}
	signed := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	signed.Header["kid"] = h.account.SigningKeyID
	v.token, _ = signed.SignedString([]byte(h.account.SigningKey)) // a key of bytes always signs
	return v
}

// admit notes what the platform told a client, for which it must answer later.
func (c *conservation) admit(h *house, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.admitted[id] = h.account.Tenant
}

func (v errand) dial(ctx context.Context, path string) (*websocket.Conn, error) {
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(v.server.url, "http")+path, nil)
	if err == nil {
		ws.SetReadLimit(1 << 20)
	}
	return ws, err
}

// runDuets has two clients after two call each other: the cheapest connections that
// are `created`. Any step may fail, because something died.
func (c *conservation) runDuets(ctx context.Context, server int) {
	for ctx.Err() == nil {
		if c.duet(ctx, server) != nil {
			c.pause(ctx, 200*time.Millisecond)
		}
	}
}

type ayameWords struct {
	Type         string `json:"type"`
	ConnectionID string `json:"connectionId,omitempty"`
	RoomID       string `json:"roomId,omitempty"`
	SignalingKey string `json:"signalingKey,omitempty"`
	ClientID     string `json:"clientId,omitempty"`
	SDP          string `json:"sdp,omitempty"`
}

func (c *conservation) duet(ctx context.Context, server int) error {
	v := c.errand(server)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	first, err := c.register(ctx, v)
	if err != nil {
		return err
	}
	defer first.CloseNow()
	if c.chance(8) == 0 { // nobody comes
		c.pause(ctx, 500*time.Millisecond)
		return nil
	}
	second, err := c.register(ctx, v)
	if err != nil {
		return err
	}
	defer second.CloseNow()
	for _, pass := range []struct {
		from, to *websocket.Conn
		kind     string
	}{{second, first, "offer"}, {first, second, "answer"}} {
		if err := wsjson.Write(ctx, pass.from, ayameWords{Type: pass.kind, SDP: "v=0"}); err != nil {
			return err
		}
		var heard ayameWords
		for heard.Type != pass.kind {
			if err := wsjson.Read(ctx, pass.to, &heard); err != nil {
				return err
			}
		}
	}
	c.pause(ctx, 700*time.Millisecond)
	if c.chance(2) == 0 {
		return first.Close(websocket.StatusNormalClosure, "")
	}
	return nil
}

// register brings a client into a room.
func (c *conservation) register(ctx context.Context, v errand) (*websocket.Conn, error) {
	ws, err := v.dial(ctx, "/ayame")
	if err != nil {
		return nil, err
	}
	words := ayameWords{Type: "register", RoomID: v.channel, SignalingKey: v.token}
	if c.chance(20) == 0 {
		words.ClientID = unwanted
	}
	if err = wsjson.Write(ctx, ws, words); err == nil {
		var heard ayameWords
		if err = wsjson.Read(ctx, ws, &heard); err == nil && heard.Type == "accept" {
			c.admit(v.h, heard.ConnectionID)
			return ws, nil
		}
		if err == nil {
			err = fmt.Errorf("%s", heard.Type)
		}
	}
	ws.CloseNow()
	return nil, err
}

// runPassers has clients take an offer and never answer it.
func (c *conservation) runPassers(ctx context.Context, server int) {
	for ctx.Err() == nil {
		c.pass(ctx, server)
		c.pause(ctx, 300*time.Millisecond)
	}
}

func (c *conservation) pass(ctx context.Context, server int) {
	v := c.errand(server)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ws, err := v.dial(ctx, "/signaling")
	if err != nil {
		return
	}
	defer ws.CloseNow()
	if wsjson.Write(ctx, ws, message2015{Type: "connect", Role: "upstream", ChannelID: v.channel, AccessToken: v.token}) != nil {
		return
	}
	var offer message2015
	if wsjson.Read(ctx, ws, &offer) == nil && offer.Type == "offer" {
		c.admit(v.h, offer.ClientID)
		c.pause(ctx, 500*time.Millisecond)
	}
}

// runViewers has media: a publisher and those who watch, group after group.
func (c *conservation) runViewers(ctx context.Context, server int) {
	for ctx.Err() == nil {
		v := c.errand(server)
		joining, cancel := context.WithTimeout(ctx, 6*time.Second)
		crowd, err := load.Join(joining, load.Config{
			URL: "ws" + strings.TrimPrefix(v.server.url, "http") + "/signaling", Token: v.token, Channel: v.channel,
			Channels: 1, Publishers: 1, Viewers: 3, Rate: 10, FrameRate: 10, PacketSize: 200, Joining: 3,
		})
		cancel()
		if err == nil {
			c.pause(ctx, time.Second)
			crowd.Close()
		}
	}
}

// runReader follows a tenant's stream, at either process, through everything.
func (c *conservation) runReader(ctx context.Context, h *house) {
	for last := int64(0); ctx.Err() == nil; {
		s := c.servers[c.chance(len(c.servers))]
		ws, _, err := websocket.Dial(ctx, fmt.Sprintf("ws%s/stream?after=%d", strings.TrimPrefix(s.url, "http"), last),
			&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + h.account.APIKey}}})
		for err == nil {
			var e tenant.Event
			if err = wsjson.Read(ctx, ws, &e); err != nil || e.ID == "" {
				continue // hello, heartbeat
			}
			if e.Seq != last+1 {
				c.t.Errorf("the stream has seq %d after %d", e.Seq, last)
			}
			last = e.Seq
			c.mu.Lock()
			h.stream = append(h.stream, e)
			c.mu.Unlock()
		}
		if ws != nil {
			ws.CloseNow()
		}
		c.pause(ctx, 300*time.Millisecond)
	}
}
