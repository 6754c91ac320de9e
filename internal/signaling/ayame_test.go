package signaling_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// ayamer is an Ayame client that answers pings, as the SDK does, and keeps
// everything else that it hears.
type ayamer struct {
	client
	heard chan string // closed with the socket
	end   websocket.CloseError
	id    string // its connection, once it is in
}

// ayame opens a WebSocket for an Ayame client.
func (h *house) ayame(t testing.TB) *ayamer {
	t.Helper()
	conn, _, err := websocket.Dial(context.Background(), strings.TrimSuffix(h.url, "signaling")+"ayame", &websocket.DialOptions{HTTPClient: h.http})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	c := &ayamer{client: client{t, conn}, heard: make(chan string, 1000)}
	go func() {
		defer close(c.heard)
		for {
			_, data, err := conn.Read(context.Background())
			switch {
			case err != nil:
				errors.As(err, &c.end)
				return
			case string(data) == `{"type":"ping"}`:
				conn.Write(context.Background(), websocket.MessageText, []byte(`{"type":"pong"}`)) // a failure shows when reading
			default:
				c.heard <- string(data)
			}
		}
	}()
	t.Cleanup(func() { conn.CloseNow() })
	return c
}

// registration is a register message for a room, with a good token and further fields.
func registration(room, more string) string {
	return `{"type":"register","roomId":"` + room + `","key":"good"` + more + `}`
}

// enters registers and is let in.
func (h *house) enters(t testing.TB, room, more string) *ayamer {
	t.Helper()
	c := h.ayame(t)
	c.say(registration(room, more))
	var welcome struct{ Type, ConnectionID string }
	if text := c.next(); json.Unmarshal([]byte(text), &welcome) != nil || welcome.Type != "accept" {
		t.Fatalf("heard %s instead of accept", text)
	}
	c.id = welcome.ConnectionID
	return c
}

// next returns what is heard next; "" is the end.
func (c *ayamer) next() string {
	c.t.Helper()
	select {
	case text := <-c.heard:
		return text
	case <-time.After(patience):
		c.t.Fatal("heard nothing")
		return ""
	}
}

// hears checks what is heard next.
func (c *ayamer) hears(want string) {
	c.t.Helper()
	if got := c.next(); got != want {
		c.t.Fatalf("heard %q, want %q", got, want)
	}
}

// closes checks that nothing more is heard, and how the socket was closed.
func (c *ayamer) closes(reason string) {
	c.t.Helper()
	c.hears("")
	if c.end.Code != 1000 || !strings.HasPrefix(c.end.Reason, reason) || reason == "" && c.end.Reason != "" {
		c.t.Errorf("closed with %d %q, want 1000 %q", c.end.Code, c.end.Reason, reason)
	}
}

const (
	anOffer  = `{"type":"offer","sdp":"v=0\r\n…", "more" : [1.0, {"雲雀":null}]}`
	anAnswer = `{ "sdp":"v=0\r\n","type":"answer"}`
)

// meet has two clients enter a room and exchange offer and answer.
func (h *house) meet(t testing.TB, room, more string) (first, second *ayamer) {
	t.Helper()
	first, second = h.enters(t, room, more), h.enters(t, room, more)
	second.say(anOffer)
	first.hears(anOffer)
	first.say(anAnswer)
	second.hears(anAnswer)
	h.books.await(t, "both connected", func(b *books) bool { return !b.connected[first.id].IsZero() && !b.connected[second.id].IsZero() })
	return first, second
}

// ended waits until the ledger has the end of a connection, for this reason.
func (c *ayamer) ended(h *house, reason string) tenant.Ending {
	c.t.Helper()
	var ending tenant.Ending
	h.books.await(c.t, "the end of "+c.id, func(b *books) bool { ending = b.closed[c.id]; return ending.Reason != "" })
	if ending.Reason != reason {
		c.t.Errorf("%s ended as %+v, want %s", c.id, ending, reason)
	}
	return ending
}

// The transcript of ayame-spec: two meet, a third is refused, one leaves.
func TestAyameTranscript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{Verifier: keys{tenant.Claim{Metadata: json.RawMessage(`{"plan":"gold"}`)}}})
		a := h.ayame(t)
		a.say(`{"type":"register","roomId":"r1@ten_A","clientId":"","key":"nonsense","signalingKey":"good","authnMetadata":{"x":1},"environment":"momo"}`)
		var welcome map[string]any
		if err := json.Unmarshal([]byte(a.next()), &welcome); err != nil {
			t.Fatal(err)
		}
		a.id, _ = welcome["connectionId"].(string)
		if want := (map[string]any{
			"type": "accept", "connectionId": a.id, "isExistClient": false, "isExistUser": false, "authzMetadata": map[string]any{"plan": "gold"},
		}); len(a.id) != 26 || !reflect.DeepEqual(welcome, want) {
			t.Errorf("the first was told %v, want %v", welcome, want)
		}
		a.say(`{"type":"offer","sdp":"nobody hears this"}`)
		a.say(`{"type":"candidate","ice":null}`)
		synctest.Wait() // so that it has been dropped before the other comes
		if peers := h.door.Peers(); len(peers) != 1 || peers[0].Connected != 0 || peers[0].ConnectionID != a.id {
			t.Errorf("the door has %+v", peers)
		}

		b := h.ayame(t)
		b.say(registration("r1", `,"clientId":"bob"`))
		if text := b.next(); !strings.Contains(text, `"isExistClient":true,"isExistUser":true`) {
			t.Errorf("the second was told %s", text)
		}
		third := h.ayame(t)
		third.say(registration("r1", ""))
		third.hears(`{"type":"reject","reason":"full"}`)
		third.closes("channel_full: ")

		b.say(anOffer)
		b.say(`{"type":"candidate","ice":{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0"}}`)
		a.hears(anOffer)
		a.hears(`{"type":"candidate","ice":{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0"}}`)
		h.books.read(func(b *books) {
			if len(b.connected) != 0 {
				t.Error("connected before the answer")
			}
		})
		a.say(anAnswer)
		b.hears(anAnswer)
		time.Sleep(time.Hour) // with a ping every five seconds
		if peers := h.door.Peers(); len(peers) != 2 || peers[0].Connected != time.Hour || peers[0].BytesIn != 0 || peers[0].Role != tenant.SendRecv {
			t.Errorf("the door has %+v", peers)
		}
		a.say(`{"type":"connected"}`) // means something to those on their own only
		a.say(anOffer)                // either may renegotiate
		b.hears(anOffer)

		b.conn.Close(websocket.StatusNormalClosure, "")
		a.hears(`{"type":"bye"}`)
		a.closes("")
		b.hears("")
		if e := b.end; e.Code != 1000 {
			t.Errorf("b's own close was answered with %d", e.Code)
		}
		h.books.await(t, "both closed", func(b *books) bool { return len(b.closed) == 2 })
		h.books.read(func(b *books) {
			for id, o := range b.opened {
				reason := tenant.EndClient
				if id == a.id {
					reason = tenant.EndPeerLeft
				}
				if e := b.closed[id]; e.Reason != reason || e.Duration != time.Hour || o.Protocol != "ayame" || o.Channel != "r1" || o.Role != tenant.SendRecv {
					t.Errorf("%+v ended as %+v, want %s after an hour", o, e, reason)
				}
			}
			if b.opened[a.id].ClientID != a.id || len(b.connected) != 2 || len(b.rejected) != 1 || b.rejected[0].Code != tenant.ChannelFull || b.rejected[0].Max != 2 {
				t.Errorf("the books are %+v", b)
			}
		})
		if s := h.door.Stats(); s.Peers != 0 || s.Rooms != 0 {
			t.Errorf("the door still has %+v", s)
		}
	})
}

func TestAyameRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		for token, code := range map[string]tenant.Code{
			"nonsense": tenant.TokenInvalid, "token_expired": tenant.TokenExpired, "channel_denied": tenant.ChannelDenied,
			"banned": tenant.Banned, "broken": tenant.Unavailable, "full": tenant.TenantFull,
		} {
			h.books.fail = nil
			if token == "full" {
				token = "good"
				h.books.fail = func(entry string) error {
					if entry == "open" {
						return tenant.Refuse(code, "none left")
					}
					return nil
				}
			}
			c := h.ayame(t)
			c.say(`{"type":"register","roomId":"room","key":"` + token + `"}`)
			c.hears(`{"type":"reject","reason":"` + string(code) + `"}`)
			c.closes(string(code) + ": ")
		}
		if s := h.door.Stats(); s.Rooms != 0 || s.Refused[tenant.Banned] != 1 {
			t.Errorf("the door has %+v", s)
		}
	})
}

// While the ledger thinks about one client, another may come and even go.
func TestAyameWhileTheLedgerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := slowBooks{newBooks(), make(chan struct{})}
		h := openInMemory(t, signaling.Config{Ledger: slow})
		a, b, third := h.ayame(t), h.ayame(t), h.ayame(t)
		a.say(registration("room", ""))
		b.say(registration("room", ""))
		synctest.Wait()
		third.say(registration("room", ""))
		third.hears(`{"type":"reject","reason":"full"}`)
		if h.door.Disconnect("ten_A", "", tenant.EndAPI) || len(h.door.Peers()) != 0 {
			t.Error("somebody is in before the ledger said so")
		}
		slow.proceed <- struct{}{} // one of them is let in, as the first
		synctest.Wait()
		first, other := a, b
		if len(b.heard) == 1 {
			first, other = b, a
		}
		if text := first.next(); !strings.Contains(text, `"isExistUser":false`) {
			t.Errorf("the first was told %s", text)
		}
		first.conn.CloseNow()
		synctest.Wait()
		slow.proceed <- struct{}{}
		if text := other.next(); !strings.Contains(text, `"isExistUser":false`) {
			t.Errorf("the other was told %s of a room that the first has left", text)
		}
	})
}

// slowBooks opens one connection at a time, when it is told to.
type slowBooks struct {
	*books
	proceed chan struct{}
}

func (s slowBooks) Open(ctx context.Context, o tenant.Opening) (tenant.Opened, error) {
	<-s.proceed
	return s.books.Open(ctx, o)
}

func TestAyameTellsICEServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{ICEServers: func(id string) []signaling.ICEServer {
			return []signaling.ICEServer{{URL: "stun:stun.example.net"}, {URL: "turn:turn.example.net", Username: id, Credential: "p"}}
		}})
		c := h.ayame(t)
		c.say(registration("room", ""))
		text := c.next()
		for id := range h.books.opened {
			if want := `"iceServers":[{"urls":["stun:stun.example.net"]},{"urls":["turn:turn.example.net"],"username":"` + id + `","credential":"p"}]`; !strings.Contains(text, want) {
				t.Errorf("told %s, want %s", text, want)
			}
		}
	})
}

// The tenant's server is asked about an Ayame client, too, and its reason reaches
// the client as it stands.
func TestAyameAuthorize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var no error
		asked := &server{answer: func(context.Context) (tenant.Grant, error) {
			return tenant.Grant{ClientID: "server", Metadata: json.RawMessage(`[1]`)}, no
		}}
		h := openInMemory(t, signaling.Config{Verifier: hooked(tenant.Grant{}), Authorizer: asked})
		c := h.enters(t, "room", `,"authnMetadata":["me"],"ayameClient":"momo 1","environment":"Linux"`)
		a := asked.arrivals()[0]
		if a.ConnectionID != c.id || a.Protocol != "ayame" || !a.PeerToPeer() || a.AccessToken != "good" || string(a.Said) != `["me"]` || a.Client != "momo 1" || a.Environment != "Linux" {
			t.Errorf("the server was told %+v", a)
		}
		if o := h.books.opened[c.id]; o.ClientID != "server" {
			t.Errorf("opened %+v", o)
		}
		no = &tenant.Refusal{Code: tenant.AuthRejected, Detail: "NOT-A-FRIEND", Word: "NOT-A-FRIEND"}
		stranger := h.ayame(t)
		stranger.say(registration("room", ""))
		stranger.hears(`{"type":"reject","reason":"NOT-A-FRIEND"}`)
		stranger.closes("NOT-A-FRIEND")
	})
}

func TestAyameWhenDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		waiting := h.ayame(t)
		a, b := h.meet(t, "room", "")
		h.door.Drain()
		waiting.hears(`{"type":"reject","reason":"draining"}`)
		waiting.closes("draining: ")
		response, err := h.http.Get(strings.TrimSuffix(h.url, "signaling") + "ayame")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 503 || !strings.Contains(string(body), `"draining"`) {
			t.Errorf("answered %d %s", response.StatusCode, body)
		}
		b.say(anOffer) // calls go on
		a.hears(anOffer)
	})
}

// FuzzParseAyame: whatever comes, it is refused with a hint or may be passed on.
func FuzzParseAyame(f *testing.F) {
	for _, seed := range []string{
		anOffer, anAnswer, registration("room", `,"clientId":"a","authnMetadata":{"a":[1]},"standalone":true`), registration("room@ten_A", ""),
		`{"type":"register","roomId":"r","signalingKey":7}`, `{"type":"candidate","ice":{"candidate":""}}`, `{"type":"pong"}`, `{"type":"connected"}`, `{`, "{\"type\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := signaling.ParseAyame(data, signaling.Limits{})
		if err != nil {
			var refusal *tenant.Refusal
			if !errors.As(err, &refusal) || refusal.Detail == "" || (refusal.Code != tenant.BadMessage && refusal.Code != tenant.TooLarge) {
				t.Fatalf("%q: error %v is no refusal with a hint", data, err)
			}
			return
		}
		if !utf8.Valid(data) || !json.Valid(data) {
			t.Fatalf("%q would be passed on", data)
		}
		if (m.Type == "register") != (m.Register != nil) {
			t.Fatalf("%q: understood as %+v", data, m)
		}
		if c := m.Register; c != nil && (c.Channel == "" || len(c.Channel) > 255+256 || len(c.ClientID) > 255 || c.Role != tenant.SendRecv) {
			t.Fatalf("%q: %s", data, fmt.Sprintf("%+v", c))
		}
	})
}
