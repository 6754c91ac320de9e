package signaling_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// gone stands for the end of a socket that the client itself closed: whether
// it still reads an answer is up to it.
const gone = -1

// Every end reaches the client as a close frame and the ledger as a reason.
func TestEnds(t *testing.T) {
	tests := []struct {
		name   string
		limits signaling.Limits
		claim  tenant.Claim
		end    func(*caller, *sfu.SFU, *house) // of a connected caller
		code   int
		reason string // what it begins with
		ending string
	}{
		{name: "client says goodbye", end: func(c *caller, _ *sfu.SFU, _ *house) { c.say(`{"type":"disconnect","reason":"NO-ERROR"}`) },
			code: 1000, reason: "TYPE-DISCONNECT", ending: tenant.EndClient},
		{name: "client says why", end: func(c *caller, _ *sfu.SFU, _ *house) {
			c.say(`{"type":"disconnect","reason":"ICE-CONNECTION-STATE-FAILED"}`)
		}, code: 1000, reason: "TYPE-DISCONNECT", ending: "ICE-CONNECTION-STATE-FAILED"},
		{name: "client pretends to be the console", end: func(c *caller, _ *sfu.SFU, _ *house) { c.say(`{"type":"disconnect","reason":"console"}`) },
			code: 1000, reason: "TYPE-DISCONNECT", ending: tenant.EndClient},
		{name: "client's socket breaks", end: func(c *caller, _ *sfu.SFU, _ *house) { c.conn.CloseNow() },
			code: gone, ending: tenant.EndClient},
		{name: "client closes the page", end: func(c *caller, _ *sfu.SFU, _ *house) { c.conn.Close(websocket.StatusGoingAway, "") },
			code: gone, ending: tenant.EndClient},
		{name: "API", end: disconnectFor(tenant.EndAPI), code: 1000, reason: "DISCONNECTED-API", ending: tenant.EndAPI},
		{name: "console", end: disconnectFor(tenant.EndConsole), code: 1000, reason: "DISCONNECTED-API", ending: tenant.EndConsole},
		{name: "shutdown", end: func(_ *caller, s *sfu.SFU, h *house) { h.door.Drain(); s.Close(tenant.EndShutdown) },
			code: 1000, reason: "SERVER-SHUTDOWN", ending: tenant.EndShutdown},
		{name: "lifetime", claim: tenant.Claim{MaxDuration: 100 * time.Millisecond}, end: func(*caller, *sfu.SFU, *house) {},
			code: 1000, reason: "LIFETIME-EXPIRED", ending: tenant.EndLifetime},
		{name: "worker fails", end: disconnectFor(tenant.EndFailed), code: 1011, reason: "failed: ", ending: tenant.EndFailed},
		{name: "network goes silent", end: disconnectFor(tenant.EndTimeout), code: 4490, reason: "timeout: ", ending: tenant.EndTimeout},
		{name: "no pong", limits: signaling.Limits{Ping: 20 * time.Millisecond, Pong: 3 * time.Second}, end: func(*caller, *sfu.SFU, *house) {},
			code: 4490, reason: "timeout: ", ending: tenant.EndTimeout},
		{name: "bad JSON", end: func(c *caller, _ *sfu.SFU, _ *house) { c.say(`{`) },
			code: 4490, reason: "bad_message: ", ending: tenant.EndProtocol},
		{name: "connect twice", end: func(c *caller, _ *sfu.SFU, _ *house) { c.say(knock("good")) },
			code: 4490, reason: "bad_message: connect came twice", ending: tenant.EndProtocol},
		{name: "too large", end: func(c *caller, _ *sfu.SFU, _ *house) {
			c.conn.Write(context.Background(), websocket.MessageText, []byte(`{"type":"pong","stats":"`+strings.Repeat("x", 1<<20)+`"}`))
		}, code: 4490, reason: "too_large: ", ending: tenant.EndProtocol},
		{name: "binary", end: func(c *caller, _ *sfu.SFU, _ *house) {
			c.conn.Write(context.Background(), websocket.MessageBinary, []byte("{}"))
		}, code: 4490, reason: "bad_message: binary", ending: tenant.EndProtocol},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, plane := broadcast(t, signaling.Config{Limits: test.limits, Verifier: keys{test.claim}})
			c := h.call(t, join("recvonly", ""), false)
			id := c.id()
			h.books.await(t, "the connection", func(b *books) bool { return !b.connected[id].IsZero() })
			test.end(c, plane, h)
			if code, reason := c.ended(); test.code != gone && (code != test.code || !strings.HasPrefix(reason, test.reason)) {
				t.Errorf("closed with %d %q, want %d %q", code, reason, test.code, test.reason)
			}
			h.books.await(t, "the end", func(b *books) bool { return b.closed[id].Reason == test.ending && b.closed[id].Duration > 0 })
			if n := len(plane.Connections()); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// disconnectFor ends a connection from outside, as the cluster does.
func disconnectFor(reason string) func(*caller, *sfu.SFU, *house) {
	return func(c *caller, s *sfu.SFU, _ *house) {
		if !s.Disconnect("ten_A", c.id(), reason) {
			c.t.Error("there was no such connection")
		}
	}
}

// A client that lingers in one step of the setup is sent away with a hint.
func TestSetupTimeouts(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{Limits: signaling.Limits{Answer: 100 * time.Millisecond, Media: 200 * time.Millisecond}})

	silent := h.visit(t)
	silent.say(join("recvonly", ""))
	silent.hear()
	if code, reason := silent.farewell(); code != 4490 || reason != "setup_timeout: no answer within 100ms of the offer" {
		t.Errorf("without an answer: closed with %d %q", code, reason)
	}

	nowhere := h.visit(t)
	nowhere.say(join("recvonly", ""))
	_, offer := nowhere.hear()
	nowhere.say(idleAnswer(t, "answer", offer["sdp"].(string)))
	if code, reason := nowhere.farewell(); code != 4490 || !strings.HasPrefix(reason, "setup_timeout: media did not connect; check that UDP") {
		t.Errorf("without media: closed with %d %q", code, reason)
	}
	h.books.await(t, "two ends", func(b *books) bool { return len(b.closed) == 2 })
	h.books.read(func(b *books) {
		for id, e := range b.closed {
			if e.Reason != tenant.EndSetupTimeout || e.Duration != 0 || !b.connected[id].IsZero() {
				t.Errorf("ended as %+v", e)
			}
		}
	})
}

// idleAnswer is an answer of a client that never sends a packet.
func idleAnswer(t testing.TB, reply, offer string) string {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		t.Fatal(err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(map[string]string{"type": reply, "sdp": answer.SDP})
	return string(text)
}

func TestBadAnswers(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	for name, sdp := range map[string]string{
		"no SDP":     "hello",
		"half a SDP": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
		"huge":       "v=0\r\n" + strings.Repeat("a=x\r\n", 100_000),
	} {
		c := h.visit(t)
		c.say(join("sendrecv", ""))
		c.hear()
		text, _ := json.Marshal(map[string]string{"type": "answer", "sdp": sdp})
		c.say(string(text))
		if code, reason := c.farewell(); code != 4490 || !strings.HasPrefix(reason, "bad_message: ") || len(reason) > 123 {
			t.Errorf("%s: closed with %d %q", name, code, reason)
		}
	}
}

// A re-offer must be answered; an answer said twice does no harm.
func TestReofferWithoutAnswer(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{Limits: signaling.Limits{Answer: time.Second}})
	viewer := h.call(t, join("recvonly", ""), false)
	viewer.message(0, map[string]any{"event_type": "connection.created"})
	viewer.say(idleAnswer(t, "answer", viewer.message(0, map[string]any{"type": "offer"})["sdp"].(string)))
	viewer.note(func() { viewer.mute = true })
	h.call(t, join("sendonly", `,"video":false`), true)
	viewer.message(0, map[string]any{"type": "re-offer"})
	if code, reason := viewer.ended(); code != 4490 || reason != "bad_message: no re-answer within 1s of a re-offer" {
		t.Errorf("closed with %d %q", code, reason)
	}
}

// Today's clients are sent ping messages, which ask for statistics now and then.
// Who answered and connected in time stays, long after every limit has passed.
func TestPingsOfToday(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	h, _ := broadcast(t, signaling.Config{Limits: signaling.Limits{
		Ping: 10 * time.Millisecond, Stats: 50 * time.Millisecond, Pong: limit, Answer: limit, Media: limit,
	}})
	c := h.call(t, join("recvonly", ""), false)
	c.note(func() { c.pong = true })
	c.await("two pings for statistics among others", func() bool {
		plain, stats := 0, 0
		for i, m := range c.heard {
			switch c.raw[i] {
			case `{"type":"ping","stats":false}`:
				plain++
			case `{"type":"ping","stats":true}`:
				stats++
			default:
				if m["type"] == "ping" {
					t.Fatalf("heard %s", c.raw[i])
				}
			}
		}
		return stats > 60 && plain > stats // that is 3 s
	})
}

// Clients of 2015 know no ping message; the WebSocket's own keeps them alive,
// and finds out when they are not.
func TestPingsOf2015(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{Limits: signaling.Limits{Ping: 10 * time.Millisecond, Pong: 300 * time.Millisecond, Write: 50 * time.Millisecond, Answer: time.Hour}})
	var deaf atomic.Bool
	pings := make(chan struct{}, 1000)
	conn, _, err := websocket.Dial(context.Background(), h.url, &websocket.DialOptions{
		OnPingReceived: func(context.Context, []byte) bool {
			select {
			case pings <- struct{}{}:
			default:
			}
			return !deaf.Load()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(-1)
	c := &client{t, conn}
	c.say(`{"type":"connect","role":"downstream","channelId":"room","accessToken":"good"}`)
	if _, m := c.hear(); m["type"] != "offer" {
		t.Fatalf("heard %v", m)
	}
	over := make(chan websocket.CloseError, 1)
	go func() {
		var bye websocket.CloseError
		_, data, err := conn.Read(context.Background())
		if !errors.As(err, &bye) {
			bye.Reason = fmt.Sprintf("heard %s, %v", data, err)
		}
		over <- bye
	}()
	for range 60 { // twice Pong
		select {
		case <-pings:
		case <-time.After(patience):
			t.Fatal("no ping came")
		}
	}
	select {
	case bye := <-over:
		t.Fatalf("closed with %v", bye)
	default:
	}
	deaf.Store(true)
	select {
	case bye := <-over:
		if bye.Code != 4490 || !strings.HasPrefix(bye.Reason, "timeout: ") {
			t.Errorf("closed with %v", bye)
		}
	case <-time.After(patience):
		t.Error("a dead client stayed")
	}
}

// A client that stops reading is let go after Write, and nobody waits for it.
func TestStalledClient(t *testing.T) {
	listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} // without any buffer
	c := signaling.Config{Media: newPlane(t), Limits: signaling.Limits{Ping: 20 * time.Millisecond, Write: 300 * time.Millisecond}}
	h := openOn(t, c, listener, listener.dial)
	stalled := h.visit(t)
	stalled.say(join("recvonly", ""))
	_, offer := stalled.hear()
	id := offer["connection_id"].(string)
	before := time.Now()
	other := h.call(t, join("recvonly", ""), false)
	other.note(func() { other.pong = true })
	other.message(5, map[string]any{"type": "ping"})
	if waited := time.Since(before); waited > patience/4 {
		t.Errorf("another client waited %s", waited)
	}
	h.books.await(t, "the stalled client's end", func(b *books) bool { return b.closed[id].Reason == tenant.EndTimeout })
	other.message(20, map[string]any{"type": "ping"})
}

// Clients that come and go in every way at once leave nothing behind.
func TestStormOfConnections(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("storm", func(t *testing.T) {
		h, plane := broadcast(t, signaling.Config{})
		const clients = 100
		done := make(chan error, clients)
		for i := range clients {
			go func() { done <- storm(h, plane, i) }()
		}
		for range clients {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		h.books.await(t, "all closed", func(b *books) bool { return len(b.opened) == clients && len(b.closed) == clients })
		if n := len(plane.Connections()); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		h.door.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.door.Wait(ctx); err != nil {
			t.Error(err)
		}
		if s := h.door.Stats(); s.OpenSockets != 0 || s.Unsettled != 0 || len(s.Refused) != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before+2 {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

// storm is one client's visit: it connects and leaves in the i-th way.
func storm(h *house, plane *sfu.SFU, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, h.url, nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	connect := join([]string{"sendonly", "recvonly", "sendrecv"}[i%3], "")
	if err := conn.Write(ctx, websocket.MessageText, []byte(connect)); err != nil {
		return err
	}
	if i%5 == 0 {
		return nil // leaves before its offer
	}
	_, data, err := conn.Read(ctx)
	if err != nil {
		return err
	}
	var offer struct {
		ConnectionID string `json:"connection_id"`
	}
	if err := json.Unmarshal(data, &offer); err != nil {
		return err
	}
	switch i % 5 {
	case 1:
		return conn.Close(websocket.StatusNormalClosure, "")
	case 2:
		conn.Write(ctx, websocket.MessageText, []byte(`{"type":"disconnect"}`))
	case 3:
		plane.Disconnect("ten_A", offer.ConnectionID, tenant.EndAPI)
	case 4:
		conn.Write(ctx, websocket.MessageText, []byte(`{"type":"answer","sdp":"x"}`))
	}
	for err == nil {
		_, _, err = conn.Read(ctx)
	}
	if websocket.CloseStatus(err) == -1 {
		return err
	}
	return nil
}
