package signaling_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// expect notes what an offer says of DataChannels.
func (c *caller) expect(offer map[string]any) {
	list, _ := offer["data_channels"].([]any)
	c.note(func() {
		for _, item := range list {
			channel := item.(map[string]any)
			c.compress[channel["label"].(string)] = channel["compress"].(bool)
		}
	})
}

// opened takes a channel that the server opens.
func (c *caller) opened(channel *webrtc.DataChannel) {
	label := channel.Label()
	c.note(func() { c.channels[label] = channel })
	channel.OnMessage(func(m webrtc.DataChannelMessage) { c.overhear(label, m) })
	channel.OnClose(func() { c.note(func() { c.closed[label] = true }) })
}

// channel returns an open channel; nil if there is none of the label.
func (c *caller) channel(label string) *webrtc.DataChannel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channels[label]
}

// overhear takes a message from a channel, in the form that the offer promised.
func (c *caller) overhear(label string, message webrtc.DataChannelMessage) {
	c.mu.Lock()
	compressed := c.compress[label]
	c.mu.Unlock()
	data := message.Data
	if compressed == message.IsString {
		c.t.Errorf("a message on %s, compressed %t, came as string %t", label, compressed, message.IsString)
		return
	}
	if compressed {
		r, err := zlib.NewReader(bytes.NewReader(data))
		if err == nil {
			data, err = io.ReadAll(r)
		}
		if err != nil {
			c.t.Errorf("a message on %s: %v", label, err)
			return
		}
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		c.t.Errorf("heard %q on %s", data, label)
		return
	}
	kind, _ := m["type"].(string)
	if label == "rpc" {
		kind = label
	}
	conforms(c.t, kind, data)
	m["via"] = label
	c.mu.Lock()
	mute := c.mute
	c.mu.Unlock()
	switch kind {
	case "re-offer":
		if !mute {
			defer c.answer("re-answer", m["sdp"].(string))
		}
	case "close": // as SDKs do
		defer c.pc.Close()
		defer c.note(func() {
			c.bye = &websocket.CloseError{Code: websocket.StatusCode(m["code"].(float64)), Reason: m["reason"].(string)}
		})
	}
	c.note(func() { c.heard = append(c.heard, m); c.raw = append(c.raw, string(data)) })
}

// sayOver sends text on a channel, in the form that the offer asked for. The
// channel may be closed by now.
func (c *caller) sayOver(label, text string) {
	c.mu.Lock()
	channel, compressed := c.channels[label], c.compress[label]
	c.mu.Unlock()
	if compressed {
		channel.Send(deflated(text))
	} else {
		channel.SendText(text)
	}
}

// deflated is text as a zlib stream.
func deflated(text string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.Bytes()
}

// switched waits until the caller signals over DataChannels, and has closed its
// WebSocket if it is to.
func (c *caller) switched(leaves bool) {
	c.t.Helper()
	c.message(0, map[string]any{"type": "switched", "ignore_disconnect_websocket": leaves})
	c.await("its channels", func() bool { return len(c.channels) == len(c.compress) && c.left == leaves })
}

// loseChannels waits until n channels are closed, whatever else has ended.
func (c *caller) loseChannels(n int) {
	c.t.Helper()
	for deadline := time.After(patience); ; {
		c.mu.Lock()
		closed, changed := len(c.closed), c.changed
		c.mu.Unlock()
		if closed == n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("%d channels are closed, want %d", closed, n)
		}
	}
}

// The story of sora-protocol §11.4, with the WebSocket kept and left, with
// messages compressed and as they are.
func TestDataChannelTranscript(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		for _, compress := range []bool{true, false} {
			t.Run(fmt.Sprintf("leaves %t, compress %t", leaves, compress), func(t *testing.T) {
				t.Parallel()
				said := &diary{}
				h, _ := broadcast(t, signaling.Config{Uncompressed: !compress, Statistics: said, Limits: signaling.Limits{Stats: 300 * time.Millisecond, Ping: 50 * time.Millisecond}})
				viewer := h.call(t, unsaid("recvonly", fmt.Sprintf(`,"data_channel_signaling":true,"ignore_disconnect_websocket":%t`, leaves)), false)
				viewer.note(func() { viewer.pong = true })
				offer := viewer.message(0, map[string]any{"type": "offer"})
				var channels []any
				for _, label := range []string{"signaling", "notify", "push", "stats"} {
					channels = append(channels, map[string]any{"label": label, "direction": "sendrecv", "compress": compress})
				}
				if offer["data_channel_signaling"] != true || offer["ignore_disconnect_websocket"] != leaves || !reflect.DeepEqual(offer["data_channels"], channels) {
					t.Errorf("offer says %v, %v and %v", offer["data_channel_signaling"], offer["ignore_disconnect_websocket"], offer["data_channels"])
				}
				if sdp := offer["sdp"].(string); !regexp.MustCompile(`m=application [0-9]+ UDP/DTLS/SCTP webrtc-datachannel\r\n(?s:.*)a=sctp-port:5000\r\n`).MatchString(sdp) {
					t.Errorf("offer's SDP is %s", sdp)
				}
				own := viewer.message(0, map[string]any{"event_type": "connection.created"})
				if own["via"] != nil {
					t.Errorf("its own coming was told on %v before the channels were in use", own["via"])
				}
				viewer.switched(leaves)

				publisher := h.call(t, unsaid("sendonly", `,"video":false`), true)
				id := publisher.id()
				publisher.switched(false)
				viewer.message(0, map[string]any{"type": "notify", "event_type": "connection.created", "connection_id": id, "via": "notify"})
				viewer.message(0, map[string]any{"type": "re-offer", "via": "signaling"})
				viewer.await("the publisher's voice", func() bool { return viewer.streams[id] > 10 })

				for n := range 2 {
					viewer.message(n, map[string]any{"type": "req-stats", "via": "stats"})
					viewer.sayOver("stats", `{"type":"stats","reports":[{"id":"T01"}]}`)
				}
				viewer.sayOver("signaling", `{"type":"candidate","candidate":"candidate:1 1 udp 2122194687 192.0.2.2 38007 typ host"}`)
				viewer.sayOver("signaling", `{"type":"from the future"}`)
				reporter := viewer.id()
				viewer.await("both of its reports", func() bool { return len(said.of(reporter)) >= 2 })
				publisher.sayOver("signaling", `{"type":"disconnect","reason":"NO-ERROR"}`)
				publisher.loseChannels(4)
				if code, reason := publisher.ended(); code != 1000 || reason != "TYPE-DISCONNECT" {
					t.Errorf("closed with %d %q", code, reason)
				}
				viewer.message(0, map[string]any{"event_type": "connection.destroyed", "connection_id": id, "via": "notify"})
				again := viewer.message(1, map[string]any{"type": "re-offer", "via": "signaling"})
				if strings.Contains(again["sdp"].(string), "msid:"+id) {
					t.Errorf("the last re-offer still shows the publisher: %v", again)
				}
				viewer.note(func() {
					for i, m := range viewer.heard {
						if m["via"] == nil && (m["type"] == "re-offer" || m["connection_id"] == id) {
							t.Errorf("heard over the WebSocket: %s", viewer.raw[i])
						}
					}
				})
			})
		}
	}
}

// A client may say that it does not want DataChannels, or refuse them in its
// answer: it goes on over the WebSocket.
func TestWithoutDataChannels(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config signaling.Config
		more   string
		edit   edits
		asked  bool
	}{
		"said so":         {more: `,"data_channel_signaling":false`},
		"server's choice": {config: signaling.Config{WebSocketOnly: true}},
		"refused":         {edit: hideData(false), asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.config.Limits = signaling.Limits{Media: 2 * time.Second}
			h, _ := broadcast(t, test.config)
			viewer := h.callWith(t, unsaid("sendrecv", `,"video":false`+test.more), true, test.edit)
			offer := viewer.message(0, map[string]any{"type": "offer"})
			_, listed := offer["data_channels"]
			if offer["data_channel_signaling"] != test.asked || listed != test.asked || strings.Contains(offer["sdp"].(string), "m=application") != test.asked {
				t.Errorf("offered %v", offer)
			}
			viewer.message(0, map[string]any{"event_type": "connection.created"})
			publisher := h.call(t, join("sendonly", `,"video":false`), true)
			id := publisher.id()
			viewer.message(0, map[string]any{"type": "re-offer"})
			viewer.await("the publisher's voice", func() bool { return viewer.streams[id] > 10 })
			viewer.note(func() {
				for _, m := range viewer.heard {
					if m["type"] == "switched" || m["via"] != nil {
						t.Errorf("heard %v", m)
					}
				}
			})
			viewer.say(`{"type":"disconnect"}`)
			if code, reason := viewer.ended(); code != 1000 || reason != "TYPE-DISCONNECT" {
				t.Errorf("closed with %d %q", code, reason)
			}
		})
	}
}

// A client that accepts the channels and never opens them is sent away.
func TestDataChannelsThatDoNotOpen(t *testing.T) {
	t.Parallel()
	h, _ := broadcast(t, signaling.Config{Limits: signaling.Limits{Media: 500 * time.Millisecond}})
	c := h.callWith(t, unsaid("sendonly", `,"video":false`), true, hideData(true))
	id := c.id()
	if code, reason := c.ended(); code != 4490 || reason != "setup_timeout: the DataChannels did not open within 500ms" {
		t.Errorf("closed with %d %q", code, reason)
	}
	h.books.await(t, "the end", func(b *books) bool { return b.closed[id].Reason == tenant.EndSetupTimeout && !b.connected[id].IsZero() })
}

// How a connection that signals over DataChannels ends, from all sides, with its
// WebSocket kept and left: the client is told once, and knows who did it.
func TestEndsOverDataChannels(t *testing.T) {
	for _, test := range []struct {
		name   string
		claim  tenant.Claim
		end    func(*caller, *sfu.SFU, *house)
		code   int
		reason string // what it begins with
		ending string
	}{
		{name: "client says goodbye", end: func(c *caller, _ *sfu.SFU, _ *house) {
			c.sayOver("signaling", `{"type":"disconnect","reason":"NO-ERROR"}`)
		}, code: 1000, reason: "TYPE-DISCONNECT", ending: tenant.EndClient},
		{name: "client says why", end: func(c *caller, _ *sfu.SFU, _ *house) {
			c.sayOver("signaling", `{"type":"disconnect","reason":"DATA-CHANNEL-ONERROR"}`)
		}, code: 1000, reason: "TYPE-DISCONNECT", ending: "DATA-CHANNEL-ONERROR"},
		{name: "client is gone", end: func(c *caller, _ *sfu.SFU, _ *house) { c.conn.CloseNow(); c.pc.Close() },
			code: gone, ending: tenant.EndClient},
		{name: "API", end: disconnectFor(tenant.EndAPI), code: 1000, reason: "DISCONNECTED-API", ending: tenant.EndAPI},
		{name: "console", end: disconnectFor(tenant.EndConsole), code: 1000, reason: "DISCONNECTED-API", ending: tenant.EndConsole},
		{name: "shutdown", end: func(_ *caller, s *sfu.SFU, h *house) { h.door.Drain(); s.Close(tenant.EndShutdown) },
			code: 1000, reason: "SERVER-SHUTDOWN", ending: tenant.EndShutdown},
		{name: "lifetime", claim: tenant.Claim{MaxDuration: 700 * time.Millisecond}, end: func(*caller, *sfu.SFU, *house) {},
			code: 1000, reason: "LIFETIME-EXPIRED", ending: tenant.EndLifetime},
		{name: "worker fails", end: disconnectFor(tenant.EndFailed), code: 1011, reason: "failed: ", ending: tenant.EndFailed},
		{name: "bad JSON", end: func(c *caller, _ *sfu.SFU, _ *house) { c.sayOver("signaling", `{`) },
			code: 4490, reason: "bad_message: ", ending: tenant.EndProtocol},
		{name: "connect on a channel", end: func(c *caller, _ *sfu.SFU, _ *house) { c.sayOver("signaling", knock("good")) },
			code: 4490, reason: "bad_message: connect came twice", ending: tenant.EndProtocol},
		{name: "closes a channel", end: func(c *caller, _ *sfu.SFU, _ *house) { c.channel("stats").Close() },
			code: gone, ending: tenant.EndClient},
	} {
		for _, leaves := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, leaves %t", test.name, leaves), func(t *testing.T) {
				t.Parallel()
				h, plane := broadcast(t, signaling.Config{Verifier: keys{test.claim}})
				c := h.call(t, unsaid("recvonly", fmt.Sprintf(`,"ignore_disconnect_websocket":%t`, leaves)), false)
				id := c.id()
				c.switched(leaves)
				h.books.await(t, "the connection", func(b *books) bool { return !b.connected[id].IsZero() })
				test.end(c, plane, h)
				switch {
				case test.code == gone:
				case leaves && test.reason == "TYPE-DISCONNECT": // told by the closing of its channels
					c.loseChannels(4)
				default:
					if code, reason := c.ended(); code != test.code || !strings.HasPrefix(reason, test.reason) {
						t.Errorf("ended with %d %q, want %d %q", code, reason, test.code, test.reason)
					}
				}
				h.books.await(t, "the end", func(b *books) bool { return b.closed[id].Reason == test.ending && b.closed[id].Duration > 0 })
				if n := len(plane.Connections()); n != 0 {
					t.Errorf("%d connections are left", n)
				}
				h.door.Drain()
				c.note(func() {
					for _, m := range c.heard {
						if told := m["type"] == "close"; told != (leaves && test.reason != "TYPE-DISCONNECT") && told {
							t.Errorf("was told %v as well", m)
						}
					}
				})
			})
		}
	}
}

// Who keeps the WebSocket is lost with it; who may leave is not.
func TestWebSocketBreaksBesideDataChannels(t *testing.T) {
	t.Parallel()
	h, _ := broadcast(t, signaling.Config{})
	stays := h.call(t, unsaid("recvonly", ""), false)
	leaves := h.call(t, unsaid("recvonly", `,"ignore_disconnect_websocket":true`), false)
	stays.switched(false)
	leaves.switched(true)
	id := stays.id()
	stays.conn.CloseNow()
	h.books.await(t, "the end", func(b *books) bool { return b.closed[id].Reason == tenant.EndClient })
	leaves.message(0, map[string]any{"event_type": "connection.destroyed", "connection_id": id, "via": "notify"})
	if s := h.door.Stats(); s.OpenSockets != 0 || s.Unsettled != 1 {
		t.Errorf("stats %+v", s)
	}
}

// Clients that signal over DataChannels and end in every way at once leave nothing
// behind.
func TestStormOverDataChannels(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("storm", func(t *testing.T) {
		h, plane := broadcast(t, signaling.Config{})
		const clients = 12
		var callers []*caller
		for i := range clients {
			c := h.call(t, unsaid("recvonly", fmt.Sprintf(`,"ignore_disconnect_websocket":%t`, i%2 == 1)), false)
			if i%3 > 0 { // the others may be anywhere on their way
				c.switched(i%2 == 1)
			}
			callers = append(callers, c)
		}
		for i, c := range callers {
			switch i % 6 {
			case 0:
				c.conn.CloseNow()
			case 1, 2:
				c.sayOver("signaling", `{"type":"disconnect"}`)
			case 3:
				plane.Disconnect("ten_A", c.id(), tenant.EndAPI)
			case 4:
				c.sayOver("signaling", `{`)
			case 5:
				c.pc.Close()
			}
		}
		h.books.await(t, "all closed", func(b *books) bool { return len(b.closed) == clients })
		if n := len(plane.Connections()); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		h.door.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.door.Wait(ctx); err != nil {
			t.Error(err)
		}
		if s := h.door.Stats(); s.OpenSockets != 0 || s.Unsettled != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	settled(t, "as many goroutines as before", func(n int) bool { return n <= before+2 })
}

// hideData keeps the data section of offers from a client without SCTP, and accepts
// or refuses it all the same.
func hideData(accept bool) edits {
	var mid string
	var at int // the section's place
	const section = "\r\nm="
	return edits{
		offer: func(offer string) string {
			parts := strings.Split(offer, section)
			at = slices.IndexFunc(parts, func(part string) bool { return strings.HasPrefix(part, "application") })
			mid = regexp.MustCompile(`a=mid:(\S+)`).FindStringSubmatch(parts[at])[1]
			parts = slices.Delete(parts, at, at+1)
			parts[0] = regexp.MustCompile(`(a=group:BUNDLE.*) `+mid+`\b`).ReplaceAllString(parts[0], "$1")
			return strings.TrimSuffix(strings.Join(parts, section), "\r\n") + "\r\n"
		},
		answer: func(answer string) string {
			parts := strings.Split(strings.TrimSuffix(answer, "\r\n"), section)
			port := "0"
			if accept {
				port = "9"
				parts[0] = regexp.MustCompile(`a=group:BUNDLE[ 0-9]*`).ReplaceAllString(parts[0], "$0 "+mid)
			}
			parts = slices.Insert(parts, at, "application "+port+" UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=setup:active\r\na=mid:"+mid+"\r\na=sctp-port:5000")
			return strings.Join(parts, section) + "\r\n"
		},
	}
}
