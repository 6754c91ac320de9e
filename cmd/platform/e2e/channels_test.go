package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// sign signs an access token with claims of its own.
func (a account) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims))
	token.Header["kid"] = a.SigningKeyID
	signed, err := token.SignedString([]byte(a.SigningKey))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// ways are how a client of the SDK can signal.
var ways = map[string]map[string]any{
	"unsaid":        nil, // over DataChannels, and the WebSocket stays
	"websocket":     {"dataChannelSignaling": false},
	"hybrid":        {"dataChannelSignaling": true, "ignoreDisconnectWebSocket": false},
	"channels only": {"dataChannelSignaling": true, "ignoreDisconnectWebSocket": true},
}

// TestSoraEnds ends connections in every way that they signal, from every side:
// the SDK fires one normal event with the title, the code and the reason that
// tell which it was.
func TestSoraEnds(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	b, site := newBrowser(t), soraPage(t)
	tabs := map[string]soraTab{}
	for way, options := range ways {
		p := b.sora(s, a, site, "ends-"+strings.ReplaceAll(way, " ", "-"))
		tabs[way] = p
		leaver := p.mustJoin("leaver", "sendrecv", options)
		kicked := p.mustJoin("kicked", "sendonly", options)
		p.mustJoin("stayer", "recvonly", options)
		brief := a.sign(t, map[string]any{"aud": "hibari", "channel_id": p.channel, "exp": time.Now().Add(time.Minute).Unix(), "max_duration": 6})
		if j := p.joinWith("brief", "recvonly", brief, options); j.Error != "" {
			t.Fatalf("%s: brief couldn't join: %+v", way, j)
		}
		p.switches(way, "leaver", "kicked", "stayer", "brief")
		p.plays("stayer", 2)

		eval[any](p.tab, "leave(%s)", "leaver")
		p.ends(way, "leaver", "DISCONNECT", "TYPE-DISCONNECT")
		if status, text := s.action(a, "Sora_20151104.Disconnect", map[string]string{"channelId": p.channel, "clientId": kicked}); status != http.StatusOK {
			t.Errorf("%s: disconnect answered %d %s", way, status, text)
		}
		p.ends(way, "kicked", "SHUTDOWN", "DISCONNECTED-API")
		p.ends(way, "brief", "SHUTDOWN", "LIFETIME-EXPIRED")
		eventually(t, way+": the stayer is alone", func() bool {
			v := p.look("stayer")
			last := v.Notify[len(v.Notify)-1]
			return len(v.Remotes) == 0 && slices.Contains(v.Removed, leaver) && slices.Contains(v.Removed, kicked) &&
				last.EventType == "connection.destroyed" && last.Connections == 1
		})
		reOffers := 0
		for _, e := range p.look("stayer").Signaling {
			if strings.HasSuffix(e, "onmessage-re-offer") {
				reOffers++
				if over := strings.HasPrefix(e, "datachannel"); over != (way != "websocket") {
					t.Errorf("%s: a re-offer came as %q", way, e)
				}
			}
		}
		if reOffers == 0 {
			t.Errorf("%s: no re-offer came", way)
		}
	}
	s.stop()
	for way, p := range tabs {
		p.ends(way, "stayer", "SHUTDOWN", "SERVER-SHUTDOWN")
		for _, name := range []string{"leaver", "kicked", "brief", "stayer"} {
			if n := len(p.look(name).Disconnects); n != 1 {
				t.Errorf("%s: %s ended %d times: %+v", way, name, n, p.look(name).Disconnects)
			}
		}
	}
}

// switches waits until connections signal the way they are to.
func (p soraTab) switches(way string, names ...string) {
	p.t.Helper()
	for _, name := range names {
		if way == "websocket" {
			eventually(p.t, name+" is connected", func() bool { return p.look(name).Connected })
			if v := p.look(name); len(v.Switched) != 0 {
				p.t.Errorf("%s: %s switched: %v", way, name, v.Switched)
			}
			continue
		}
		eventually(p.t, fmt.Sprintf("%s: %s switches", way, name), func() bool {
			v := p.look(name)
			return v.Connected && slices.Equal(v.Switched, []bool{way == "channels only"})
		})
	}
}

// ends waits for the end of a connection and checks what the application is told.
func (p soraTab) ends(way, name, title, reason string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s: %s ends", way, name), func() bool { return len(p.look(name).Disconnects) > 0 })
	end := p.look(name).Disconnects[0]
	if end.Type != "normal" || end.Title != title || end.Code != 1000 || end.Reason != reason {
		p.t.Errorf("%s: %s ended with %+v, want %s and %s", way, name, end, title, reason)
	}
}

// TestSoraMeeting has four meet who signal over DataChannels because they did not
// say otherwise: many re-offers, one at a time.
func TestSoraMeeting(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	p := newBrowser(t).sora(s, a, soraPage(t), "meeting")
	ids := map[string]string{}
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		ids[name] = p.mustJoin(name, "sendrecv", map[string]any{"videoCodecType": "VP8"})
	}
	p.switches("unsaid", names...)
	for _, name := range names {
		p.plays(name, 3)
		for _, other := range names {
			if other != name && !slices.Contains(p.look(name).Remotes, ids[other]) {
				t.Errorf("%s lacks %s", name, other)
			}
		}
	}
	eval[any](p.tab, "leave(%s)", "b")
	eventually(t, "nobody sees b", func() bool {
		for _, name := range []string{"a", "c", "d"} {
			if v := p.look(name); slices.Contains(v.Remotes, ids["b"]) || !slices.Contains(v.Removed, ids["b"]) {
				return false
			}
		}
		return true
	})
	for _, name := range []string{"a", "c", "d"} {
		v := p.look(name)
		open := false
		for _, e := range v.Signaling {
			switch {
			case strings.HasSuffix(e, "onmessage-re-offer"):
				if open {
					t.Errorf("%s had two re-offers at once: %v", name, v.Signaling)
				}
				open = true
			case strings.HasSuffix(e, "send-re-answer"):
				open = false
			}
		}
		last := v.Notify[len(v.Notify)-1]
		if way := v.Ways[len(v.Ways)-1]; last.EventType != "connection.destroyed" || last.Connections != 3 || way != "datachannel" {
			t.Errorf("%s was last told %+v by %s", name, last, way)
		}
	}
}

// TestSoraRPC has a viewer of the unmodified SDK ask for another layer over its
// DataChannel, whose WebSocket is closed.
func TestSoraRPC(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	p := newBrowser(t).sora(s, a, soraPage(t), "hello")
	publisher := p.mustJoin("publisher", "sendonly", map[string]any{"simulcast": true, "video": map[string]any{"codec_type": "VP8"}})
	const method = "2025.2.0/RequestSimulcastRid"
	token := a.sign(t, map[string]any{
		"aud": "hibari", "channel_id": p.channel, "exp": time.Now().Add(time.Minute).Unix(),
		"rpc_methods": []string{method}, "simulcast_rpc_rids": []string{"r0", "r1"},
	})
	options := map[string]any{"simulcast": true, "simulcastRequestRid": "r2", "dataChannelSignaling": true, "ignoreDisconnectWebSocket": true}
	viewer := p.joinWith("viewer", "recvonly", token, options)
	if viewer.Error != "" {
		t.Fatalf("the viewer couldn't join: %+v", viewer)
	}
	p.switches("channels only", "viewer")
	eventually(t, "the best layer is shown", func() bool { return p.look("viewer").Widths[publisher] == 1280 })
	type answer struct {
		Channel  string `json:"channel_id"`
		Receiver string `json:"receiver_connection_id"`
		RID      string `json:"rid"`
		Failed   string
	}
	if got := eval[answer](p.tab, "rpc(%s, %s, %s)", "viewer", method, map[string]any{"rid": "r0"}); got.RID != "r0" || got.Receiver != viewer.ID || got.Channel != p.channel {
		t.Errorf("answered %+v", got)
	}
	eventually(t, "the lowest layer is shown", func() bool { return p.look("viewer").Widths[publisher] == 320 })
	for _, refused := range []map[string]any{{"rid": "r2"}, {"rid": "r0", "colour": "blue"}} {
		if got := eval[answer](p.tab, "rpc(%s, %s, %s)", "viewer", method, refused); got.Failed == "" || strings.Contains(got.Failed, "timeout") {
			t.Errorf("%v: answered %+v", refused, got)
		}
	}
	told := false
	for _, n := range p.look("viewer").Notify {
		told = told || n.EventType == "simulcast.switched"
	}
	if !told {
		t.Error("the viewer was not told that its layer has changed")
	}
}
