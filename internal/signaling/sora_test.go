package signaling_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// join is a connect of today's dialect with a good token and further fields, of a
// client that signals over its WebSocket alone unless these say otherwise.
func join(role, more string) string {
	if !strings.Contains(more, "data_channel_signaling") {
		more += `,"data_channel_signaling":false`
	}
	return unsaid(role, more)
}

// unsaid is a connect of a client that says no more than that.
func unsaid(role, more string) string {
	return `{"type":"connect","role":"` + role + `","channel_id":"room","metadata":{"access_token":"good"}` + more + `}`
}

// The story of sora-protocol §11.1: a viewer in an empty channel, a publisher
// who comes and goes.
func TestTodayTranscript(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{Version: "hibari test", Verifier: keys{tenant.Claim{Metadata: json.RawMessage(`{"plan":"gold"}`)}}})
	viewer := h.call(t, join("recvonly", `,"signaling_notify_metadata":{"name":"V"}`), false)
	id := viewer.id()
	checkOffer(t, viewer.message(0, map[string]any{"type": "offer"}), map[string]any{
		"type": "offer", "version": "hibari test", "channel_id": "room", "session_id": "SESSION-room",
		"connection_id": id, "client_id": id, "bundle_id": id,
		"simulcast": false, "simulcast_multicodec": false, "spotlight": false,
		"audio": true, "audio_codec_type": "OPUS", "video": true, "video_codec_type": "VP9",
		"data_channel_signaling": false, "ignore_disconnect_websocket": false,
		"config":   map[string]any{"iceServers": []any{}, "iceTransportPolicy": "all"},
		"mid":      map[string]any{},
		"metadata": map[string]any{"plan": "gold"},
	})
	own := viewer.message(0, map[string]any{"event_type": "connection.created"})
	checkNotify(t, own, map[string]any{
		"role": "recvonly", "session_id": "SESSION-room", "client_id": id, "bundle_id": id, "connection_id": id,
		"audio": true, "video": true, "minutes": 0.0, "turn_transport_type": "udp",
		"authn_metadata": map[string]any{"name": "V"}, "metadata": map[string]any{"name": "V"},
		"channel_connections": 1.0, "channel_sendrecv_connections": 0.0, "channel_sendonly_connections": 0.0, "channel_recvonly_connections": 1.0,
		"data": []any{},
	})

	publisher := h.call(t, join("sendonly", `,"video":false,"audio":{"bit_rate":64},"client_id":"singer","bundle_id":"choir"`), true)
	pid := publisher.id()
	offer := publisher.message(0, map[string]any{"type": "offer"})
	mid := offer["mid"].(map[string]any)["audio"]
	if mid == "" || !strings.Contains(offer["sdp"].(string), "a=mid:"+mid.(string)+"\r\n") {
		t.Errorf("mid %v isn't in the SDP", offer["mid"])
	}
	checkOffer(t, offer, map[string]any{
		"type": "offer", "version": "hibari test", "channel_id": "room", "session_id": "SESSION-room",
		"connection_id": pid, "client_id": "singer", "bundle_id": "choir",
		"simulcast": false, "simulcast_multicodec": false, "spotlight": false,
		"audio": true, "audio_codec_type": "OPUS", "audio_bit_rate": 64.0, "video": false,
		"data_channel_signaling": false, "ignore_disconnect_websocket": false,
		"config":   map[string]any{"iceServers": []any{}, "iceTransportPolicy": "all"},
		"mid":      map[string]any{"audio": mid},
		"metadata": map[string]any{"plan": "gold"},
	})
	came := viewer.message(0, map[string]any{"event_type": "connection.created", "connection_id": pid})
	if _, ok := came["data"]; ok || came["channel_connections"] != 2.0 || came["client_id"] != "singer" || came["bundle_id"] != "choir" {
		t.Errorf("the viewer heard %v", came)
	}
	own = publisher.message(0, map[string]any{"event_type": "connection.created"})
	others := []any{map[string]any{
		"client_id": id, "bundle_id": id, "connection_id": id,
		"authn_metadata": map[string]any{"name": "V"}, "metadata": map[string]any{"name": "V"},
	}}
	if !reflect.DeepEqual(own["data"], others) || own["connection_id"] != pid {
		t.Errorf("the publisher heard %v", own)
	}

	viewer.await("the publisher's voice", func() bool { return viewer.streams[pid] > 10 })
	publisher.say(`{"type":"disconnect","reason":"NO-ERROR"}`)
	if code, reason := publisher.ended(); code != 1000 || reason != "TYPE-DISCONNECT" {
		t.Errorf("closed with %d %q", code, reason)
	}
	gone := viewer.message(0, map[string]any{"event_type": "connection.destroyed"})
	if gone["connection_id"] != pid || gone["channel_connections"] != 1.0 || gone["channel_sendonly_connections"] != 0.0 {
		t.Errorf("the viewer heard %v", gone)
	}
	again := viewer.message(1, map[string]any{"type": "re-offer"})
	if strings.Contains(again["sdp"].(string), "msid:"+pid) || len(again) != 2 {
		t.Errorf("the last re-offer still shows the publisher: %v", again)
	}

	viewer.conn.CloseNow()
	h.books.await(t, "both closed", func(b *books) bool { return len(b.closed) == 2 && len(b.connected) == 2 })
	h.books.read(func(b *books) {
		for id, e := range b.closed {
			if e.Reason != tenant.EndClient || e.Duration <= 0 || b.opened[id].Protocol != "sora" {
				t.Errorf("%s ended as %+v", id, e)
			}
		}
		if b.closed[pid].BytesIn == 0 || b.closed[id].BytesOut == 0 {
			t.Errorf("no media was counted: %+v", b.closed)
		}
	})
}

// checkOffer checks every field of an offer, and that there are no others.
func checkOffer(t *testing.T, offer map[string]any, want map[string]any) {
	t.Helper()
	got := maps.Clone(offer)
	if sdp, _ := got["sdp"].(string); !strings.Contains(sdp, "a=setup:actpass") || !strings.Contains(sdp, "a=candidate:") {
		t.Errorf("offer's SDP is %q", sdp)
	}
	delete(got, "sdp")
	if !regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}$`).MatchString(got["connection_id"].(string)) {
		t.Errorf("connection id %q", got["connection_id"])
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("offer has\n%v, want\n%v", got, want)
	}
}

// checkNotify checks every field of a notification.
func checkNotify(t *testing.T, message map[string]any, want map[string]any) {
	t.Helper()
	got := maps.Clone(message)
	stamp, _ := got["timestamp"].(string)
	at, err := time.Parse("2006-01-02T15:04:05.000000Z", stamp)
	if age := time.Since(at); err != nil || age < 0 || age > time.Minute {
		t.Errorf("timestamp %q: %v", stamp, err)
	}
	delete(got, "timestamp")
	want["type"], want["event_type"] = "notify", "connection.created"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("notify has\n%v, want\n%v", got, want)
	}
}

func TestThreeParticipants(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	var all []*caller
	for range 3 {
		c := h.call(t, join("sendrecv", `,"video":false`), true)
		c.message(0, map[string]any{"event_type": "connection.created", "connection_id": c.id()})
		all = append(all, c)
	}
	for _, c := range all {
		for _, other := range all {
			if other != c {
				id := other.id()
				c.await("the voice of "+id, func() bool { return c.streams[id] > 5 })
			}
		}
		own := c.id()
		c.mu.Lock()
		if c.streams[own] != 0 {
			t.Error("somebody heard himself")
		}
		c.mu.Unlock()
	}
	first, last := all[0], all[2]
	first.conn.CloseNow() // without a word
	last.message(0, map[string]any{"event_type": "connection.destroyed", "connection_id": first.id()})
}

// The dialect of 2015, byte for byte.
func Test2015Transcript(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	downstream := h.call(t, `{"type":"connect","role":"downstream","channelId":"room","accessToken":"good"}`, false)
	upstream := h.call(t, `{"type":"connect","role":"upstream","channelId":"room","accessToken":"good"}`, true)
	upstream.say(`{"type":"candidate","candidate":"candidate:1 1 udp 2122194687 192.0.2.2 38007 typ host"}`)
	downstream.await("a voice", func() bool {
		for _, n := range downstream.streams {
			if n > 10 {
				return true
			}
		}
		return false
	})
	for name, c := range map[string]*caller{"upstream": upstream, "downstream": downstream} {
		c.mu.Lock()
		if len(c.raw) != 1 || !regexp.MustCompile(`^\{"type":"offer","sdp":"[^"]+","clientId":"[0-9A-Z]{26}"\}$`).MatchString(c.raw[0]) {
			t.Errorf("%s heard %q", name, c.raw)
		}
		c.mu.Unlock()
	}
	h.books.read(func(b *books) {
		for _, o := range b.opened {
			if o.Protocol != "sora2015" || o.Channel != "room" {
				t.Errorf("opened %+v", o)
			}
		}
		if b.opened[upstream.id()].Role != tenant.SendOnly || b.opened[downstream.id()].Role != tenant.RecvOnly {
			t.Errorf("opened %+v", b.opened)
		}
	})
	upstream.say(`{"type":"disconnect"}`)
	if code, reason := upstream.ended(); code != 1000 || reason != "TYPE-DISCONNECT" {
		t.Errorf("closed with %d %q", code, reason)
	}
}

// A multistream client of 2015 is updated, and answers in any of three words.
func Test2015Multistream(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	viewer := h.call(t, `{"type":"connect","role":"downstream","channelId":"room","accessToken":"good","multistream":true}`, false)
	viewer.connected()
	one := h.call(t, `{"type":"connect","role":"upstream","channelId":"room","accessToken":"good"}`, true)
	two := h.call(t, join("sendonly", `,"video":false`), true)
	for _, c := range []*caller{one, two} {
		id := c.id()
		viewer.await("the voice of "+id, func() bool { return viewer.streams[id] > 5 })
	}
	viewer.mu.Lock()
	defer viewer.mu.Unlock()
	for i, m := range viewer.heard {
		if i == 0 {
			continue
		}
		if names := slices.Sorted(maps.Keys(m)); m["type"] != "update" || !slices.Equal(names, []string{"sdp", "type"}) {
			t.Errorf("heard %.200s", viewer.raw[i])
		}
	}
}

func TestClientAndBundleIDs(t *testing.T) {
	for _, test := range []struct {
		token  string // the token's client_id
		more   string
		client string // "": the connection id
		bundle string
	}{
		{"", ``, "", ""},
		{"", `,"client_id":"ken","bundle_id":"b"`, "ken", "b"},
		{"boss", `,"client_id":"ken"`, "boss", ""},
		{"boss", ``, "boss", ""},
	} {
		h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{ClientID: test.token}, KeyID: "key", Metadata: json.RawMessage(`{"a":1}`)}}})
		c := h.call(t, join("recvonly", test.more), false)
		id := c.id()
		offer := c.message(0, map[string]any{"type": "offer"})
		client, bundle := test.client, test.bundle
		if client == "" {
			client = id
		}
		if bundle == "" {
			bundle = id
		}
		if offer["client_id"] != client || offer["bundle_id"] != bundle {
			t.Errorf("%+v: offer says %v and %v", test, offer["client_id"], offer["bundle_id"])
		}
		h.books.read(func(b *books) {
			o := b.opened[id]
			if o.ClientID != client || o.Tenant != "ten_A" || o.KeyID != "key" || string(o.Metadata) != `{"a":1}` || o.RemoteAddress != "127.0.0.1" || !strings.HasPrefix(o.UserAgent, "Go-http-client") {
				t.Errorf("%+v: opened %+v", test, o)
			}
		})
	}
}
