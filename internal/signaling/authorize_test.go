package signaling_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// server is a tenant's own server, asked by an Authorizer.
type server struct {
	answer func(ctx context.Context) (tenant.Grant, error)

	mu    sync.Mutex
	asked []tenant.Arrival // guarded by mu
}

func (s *server) Authorize(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) (tenant.Grant, error) {
	if hook.URL != "https://example.com/may" {
		return tenant.Grant{}, errors.New("another URL was asked")
	}
	s.mu.Lock()
	s.asked = append(s.asked, a)
	s.mu.Unlock()
	return s.answer(ctx)
}

func (s *server) arrivals() []tenant.Arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// hooked is a claim of a tenant with an auth webhook.
func hooked(g tenant.Grant) keys {
	return keys{tenant.Claim{Grant: g, Metadata: json.RawMessage(`{"of":"token"}`), AuthWebhook: &tenant.AuthWebhook{URL: "https://example.com/may"}}}
}

// The tenant's server is told who comes and what it asks for, and its answer
// wins over the token, which wins over the client.
func TestAuthorize(t *testing.T) {
	asked := &server{answer: func(context.Context) (tenant.Grant, error) {
		return tenant.Grant{ClientID: "server", AudioBitRate: 30, EventMetadata: json.RawMessage(`"events"`), Metadata: json.RawMessage(`"offer"`)}, nil
	}}
	h, _ := broadcast(t, signaling.Config{Verifier: hooked(tenant.Grant{ClientID: "token", BundleID: "b", AudioBitRate: 20, VideoBitRate: 200,
		VideoVP9Params: &tenant.VP9Params{ProfileID: new(2)}}), Authorizer: asked})
	first := h.call(t, `{"type":"connect","role":"recvonly","channel_id":"room","metadata":{"access_token":"good"}}`, false)
	first.message(0, map[string]any{"type": "offer"})
	c := h.call(t, `{"type":"connect","role":"sendonly","channel_id":"room@ten_A","client_id":"own","sora_client":"SDK\u0000 1","environment":7,"libwebrtc":"M140","simulcast_request_rid":"r1",
		"audio":{"bit_rate":10,"opus_params":{"ptime":40}},"video":{"bit_rate":100,"vp9_params":{"profile_id":1}},"metadata":{"access_token":"good","age":7},"signaling_notify_metadata":"me"}`, false)
	offer := c.message(0, map[string]any{"type": "offer"})
	for field, want := range map[string]any{
		"client_id": "server", "bundle_id": "b", "audio_bit_rate": 30.0, "video_bit_rate": 200.0, "metadata": "offer",
		"channel_id": "room@ten_A", // as the client named it
	} {
		if offer[field] != want {
			t.Errorf("the offer's %s is %v, want %v", field, offer[field], want)
		}
	}
	id := c.id()
	a := asked.arrivals()[1]
	if a.ConnectionID != id || a.Tenant != "ten_A" || a.Channel != "room" || a.Role != tenant.SendOnly || a.ClientID != "token" || a.Protocol != "sora" ||
		a.AccessToken != "good" || string(a.Said) != `{"access_token":"good","age":7}` || string(a.Metadata) != `{"of":"token"}` ||
		a.Client != "SDK 1" || a.Environment != "" || a.Libwebrtc != "M140" || a.Counts.Connections != 1 {
		t.Errorf("the server was told %+v", a)
	}
	if w := a.Wish; w.BundleID != "b" || !*w.Audio || w.AudioBitRate != 20 || w.VideoBitRate != 200 || w.VideoCodec != "VP9" || string(w.SignalingNotifyMetadata) != `"me"` ||
		w.AudioOpusParams == nil || *w.AudioOpusParams.PTime != 40 || w.VideoVP9Params == nil || *w.VideoVP9Params.ProfileID != 2 || w.VideoH264Params != nil ||
		w.SimulcastRequestRID != "r1" || w.SimulcastRID != "r1" {
		t.Errorf("the server was told of the wish %+v", w)
	}
	h.books.read(func(b *books) {
		if o := b.opened[id]; o.ClientID != "server" || string(o.Metadata) != `"events"` || o.Channel != "room" {
			t.Errorf("opened %+v", o)
		}
	})
}

// What the server refuses takes no place; the client is told in the server's own
// word, the tenant why.
func TestAuthorizeRefuses(t *testing.T) {
	for _, test := range []struct {
		name     string
		err      error
		code     tenant.Code
		reason   string // what the client is told
		internal string // what the tenant is told; "": nothing
	}{
		{"by a word", &tenant.Refusal{Code: tenant.AuthRejected, Detail: "INVALID-METADATA", Word: "INVALID-METADATA"}, tenant.AuthRejected, "INVALID-METADATA", "INVALID-METADATA"},
		{"in time", &tenant.Refusal{Code: tenant.AuthTimeout, Detail: "try again", Internal: "5 s"}, tenant.AuthTimeout, "auth_timeout: try again", "5 s"},
		{"out of reach", &tenant.Refusal{Code: tenant.AuthUnavailable, Detail: "try later", Internal: "refused"}, tenant.AuthUnavailable, "auth_unavailable: try later", "refused"},
		{"by a mistake", errors.New("secret"), tenant.Unavailable, "unavailable: the platform can't take connections right now; try again in a few seconds", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := open(t, signaling.Config{Verifier: hooked(tenant.Grant{}), Authorizer: &server{answer: func(context.Context) (tenant.Grant, error) { return tenant.Grant{}, test.err }}})
			c := h.visit(t)
			c.say(knock("good"))
			if code, reason := c.farewell(); code != 4490 || reason != test.reason {
				t.Errorf("closed with %d %q, want 4490 %q", code, reason, test.reason)
			}
			h.books.read(func(b *books) {
				if len(b.opened) != 0 {
					t.Error("a place was taken")
				}
				if told := len(b.rejected) == 1 && b.rejected[0].Detail == test.internal; told != (test.internal != "") {
					t.Errorf("the tenant was told %+v", b.rejected)
				}
			})
			if got := h.door.Stats().Refused; !reflect.DeepEqual(got, map[tenant.Code]int64{test.code: 1}) {
				t.Errorf("counted %v", got)
			}
		})
	}
}

// The server is asked last, and not at all about who may not come in anyway; a
// tenant that wants to be asked is never let in unasked.
func TestAuthorizeOnlyWhoMayComeIn(t *testing.T) {
	asked := &server{answer: func(context.Context) (tenant.Grant, error) { return tenant.Grant{}, nil }}
	h := open(t, signaling.Config{Verifier: hooked(tenant.Grant{}), Authorizer: asked})
	for _, token := range []string{"nonsense", "token_expired", "banned", "role_denied"} {
		c := h.visit(t)
		c.say(knock(token))
		c.farewell()
	}
	if n := len(asked.arrivals()); n != 0 {
		t.Errorf("asked %d times", n)
	}
	deaf := open(t, signaling.Config{Verifier: hooked(tenant.Grant{})})
	c := deaf.visit(t)
	c.say(knock("good"))
	if code, reason := c.farewell(); code != 4490 || !strings.HasPrefix(reason, "unavailable: ") {
		t.Errorf("closed with %d %q", code, reason)
	}
	deaf.books.read(func(b *books) {
		if len(b.opened) != 0 {
			t.Error("a place was taken")
		}
	})
}

// A client whose channel lives elsewhere is asked about there, once.
func TestAuthorizeOnTheChannelsNode(t *testing.T) {
	asked := &server{answer: func(context.Context) (tenant.Grant, error) { return tenant.Grant{}, nil }}
	h := open(t, signaling.Config{Verifier: hooked(tenant.Grant{}), Authorizer: asked})
	h.books.fail = func(entry string) error {
		if entry == "look" {
			return &tenant.Elsewhere{NodeID: "node_b", PublicURL: "https://b.example"}
		}
		return nil
	}
	c := h.visit(t)
	c.say(knock("good"))
	if text, _ := c.hear(); text != `{"type":"redirect","location":"wss://b.example/signaling"}` {
		t.Errorf("heard %s", text)
	}
	c.conn.CloseNow()
	if n := len(asked.arrivals()); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// A node that stops does not wait for a server that hangs.
func TestDrainWhileAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{Verifier: hooked(tenant.Grant{}), Authorizer: &server{answer: func(ctx context.Context) (tenant.Grant, error) {
			<-ctx.Done()
			return tenant.Grant{}, tenant.Refuse(tenant.AuthUnavailable, "cut short")
		}}})
		c := h.visit(t)
		began := time.Now()
		c.say(knock("good"))
		synctest.Wait()
		h.door.Drain()
		if code, reason := c.farewell(); code != 4490 || !strings.HasPrefix(reason, "draining: ") {
			t.Errorf("closed with %d %q", code, reason)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// A tenant that takes both kinds of media away leaves nothing to come in for.
func TestGrantOfNothing(t *testing.T) {
	h := open(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{Audio: new(false), Video: new(false)}}}})
	c := h.visit(t)
	c.say(knock("good"))
	if code, reason := c.farewell(); code != 4490 || !strings.HasPrefix(reason, "auth_rejected: ") {
		t.Errorf("closed with %d %q", code, reason)
	}
}

// A connection ends when the shorter of the token's and the grant's time is over.
func TestLifetimeOfGrant(t *testing.T) {
	for _, test := range []struct {
		name    string
		token   time.Duration
		granted int
	}{
		{"of the grant alone", 0, 1},
		{"shorter of the grant", time.Hour, 1},
		{"shorter of the token", time.Second, 3600},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{MaxDuration: test.token, Grant: tenant.Grant{ConnectionLifetime: test.granted}}}})
			c := h.call(t, join("recvonly", ""), false)
			c.await("the end of its time", func() bool { return c.bye != nil })
			if c.bye.Code != 1000 || c.bye.Reason != signaling.ReasonLifetimeExpired {
				t.Errorf("closed with %+v", c.bye)
			}
		})
	}
}

// What a tenant's server says reaches the clients of every dialect in their way.
func TestAuthorizeInEveryDialect(t *testing.T) {
	no := func(context.Context) (tenant.Grant, error) {
		return tenant.Grant{}, &tenant.Refusal{Code: tenant.AuthRejected, Detail: "NO-SEAT", Word: "NO-SEAT"}
	}
	h := open(t, signaling.Config{Verifier: hooked(tenant.Grant{}), Authorizer: &server{answer: no}})
	t.Run("2015", func(t *testing.T) {
		c := h.visit(t)
		c.say(`{"type":"connect","role":"upstream","channelId":"room","accessToken":"good"}`)
		if code, reason := c.farewell(); code != 4490 || reason != "NO-SEAT" {
			t.Errorf("closed with %d %q", code, reason)
		}
	})
	t.Run("WHIP", func(t *testing.T) {
		r := h.ask(t, "POST", "/whip/room", obs, good, isSDP)
		r.want(t, http.StatusForbidden, tenant.AuthRejected)
		if !strings.Contains(r.text, `"detail":"NO-SEAT"`) {
			t.Errorf("answered %s", r.text)
		}
	})
	t.Run("Ayame", func(t *testing.T) {
		c := h.ayame(t)
		c.say(registration("room", ""))
		if text := <-c.heard; text != `{"type":"reject","reason":"NO-SEAT"}` {
			t.Errorf("heard %s", text)
		}
	})
}

// Grants hold for clients that say little: the codec of a WHIP client and of one
// of 2015, and what an Ayame client is told.
func TestGrantInEveryDialect(t *testing.T) {
	grant := tenant.Grant{ClientID: "granted", VideoCodec: "H264", VideoBitRate: 444, Metadata: json.RawMessage(`{"for":"you"}`)}
	h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: grant}}})
	t.Run("2015", func(t *testing.T) {
		c := h.visit(t)
		c.say(`{"type":"connect","role":"upstream","channelId":"old","accessToken":"good"}`)
		_, offer := c.hear()
		sdp, _ := offer["sdp"].(string)
		if !strings.Contains(sdp, "H264/90000") || strings.Contains(sdp, "VP8/90000") || !strings.Contains(sdp, "b=TIAS:444000") {
			t.Errorf("offered %s", sdp)
		}
	})
	t.Run("WHIP", func(t *testing.T) {
		offer, err := os.ReadFile("../sfu/testdata/browser.sdp")
		if err != nil {
			t.Fatal(err)
		}
		r := h.ask(t, "POST", "/whip/http", string(offer), good, isSDP)
		r.want(t, http.StatusCreated, "")
		if !strings.Contains(r.text, "H264/90000") || strings.Contains(r.text, "VP8/90000") || !strings.Contains(r.text, "b=TIAS:444000") {
			t.Errorf("answered %s", r.text)
		}
		h.ask(t, "DELETE", r.Header.Get("Location"), "", good).want(t, http.StatusOK, "")
	})
	t.Run("Ayame", func(t *testing.T) {
		c := h.ayame(t)
		c.say(registration("peers", ""))
		if text := <-c.heard; !strings.Contains(text, `"authzMetadata":{"for":"you"}`) {
			t.Errorf("heard %s", text)
		}
	})
	h.books.read(func(b *books) {
		if len(b.opened) != 3 {
			t.Errorf("%d came in", len(b.opened))
		}
		for _, o := range b.opened {
			if o.ClientID != "granted" {
				t.Errorf("opened %+v", o)
			}
		}
	})
}

// A client is asked for statistics unless its tenant wants none. Then what it says
// unasked is dropped.
func TestRTCStatsOfGrant(t *testing.T) {
	for _, granted := range []*bool{nil, new(true), new(false)} {
		said := &diary{}
		h, _ := broadcast(t, signaling.Config{
			Verifier: keys{tenant.Claim{Grant: tenant.Grant{RTCStats: granted}}}, WebSocketOnly: true, Statistics: said,
			Limits: signaling.Limits{Ping: 20 * time.Millisecond, Stats: time.Millisecond},
		})
		c := h.call(t, join("recvonly", ""), false)
		c.note(func() { c.pong = true })
		pings, asked := 0, 0
		c.await("three pings", func() bool {
			pings, asked = 0, 0
			for _, m := range c.heard {
				if m["type"] == "ping" {
					pings++
				}
				if m["stats"] == true {
					asked++
				}
			}
			return pings >= 3
		})
		want, id := granted == nil || *granted, c.id()
		if (asked > 0) != want {
			t.Errorf("asked %d times in %d pings, want any: %v", asked, pings, want)
		}
		if want {
			c.await("its statistics", func() bool { return len(said.of(id)) > 0 })
		}
		for _, report := range said.of(id) {
			if !want || report != `[{"id":"T01"}]` {
				t.Errorf("wanted: %v, and it reported %s", want, report)
			}
		}
	}
}
