package e2e

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// soraPage serves the unmodified npm package and the page that drives it,
// from another origin than the platform, as a customer's site does.
func soraPage(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/sora.js", func(w http.ResponseWriter, r *http.Request) {
		release := "testdata/node_modules/sora-js-sdk/dist/sora.js"
		if r.URL.RawQuery != "" {
			release = "testdata/node_modules/sora-js-sdk-" + r.URL.RawQuery + "/dist/sora.mjs"
			w.Header().Set("Content-Type", "text/javascript")
		}
		http.ServeFile(w, r, release)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/sora.html") })
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	return site.URL
}

// joined is what the page's join returns.
type joined struct {
	ID, Error, Reason string
	Code              int
}

// seen is what the page's look returns.
type seen struct {
	ID, ClientID string
	Metadata     any    // of the offer
	Offered      string // the last offer's SDP
	Connected    bool
	Remotes      []string
	Notify       []struct {
		EventType   string `json:"event_type"`
		Connection  string `json:"connection_id"`
		Connections int    `json:"channel_connections"`
		Data        []struct {
			Connection string `json:"connection_id"`
		}
	}
	Disconnects []struct {
		Type, Title, Reason string
		Code                int
	}
	Removed   []string
	Switched  []bool   // what each "switched" said of leaving the WebSocket
	Signaling []string // "websocket onmessage-offer", …
	Ways      []string // of each notification: "websocket", "datachannel"
	Frames    []int
	Shown     map[string]int
	Widths    map[string]int      // of what is shown, in pixels
	Kinds     map[string][]string // of tracks that have come
	Audio     int
	Heard     map[string]int // packets of audio, by publisher
	Codec     string
}

// soraTab is a page with the SDK, for one tenant and channel.
type soraTab struct {
	*tab
	server  *server
	account account
	channel string
}

func (b *browser) sora(s *server, a account, site, channel string) soraTab {
	b.t.Helper()
	p := soraTab{b.open(site), s, a, channel}
	p.until("the SDK is loaded", "window.ready === true")
	return p
}

// join connects with a token for the role.
func (p soraTab) join(name, role string, options map[string]any) joined {
	p.t.Helper()
	return p.joinWith(name, role, p.server.token(p.account, p.channel, role), options)
}

func (p soraTab) joinWith(name, role string, token any, options map[string]any) joined {
	p.t.Helper()
	var j joined
	eventually(p.t, name+" meets a media plane that is not at its limit", func() bool {
		j = eval[joined](p.tab, "join(%s, %s)", name, map[string]any{
			"url": "ws" + strings.TrimPrefix(p.server.url, "http") + "/signaling", "channel": p.channel,
			"token": token, "role": role, "options": options,
		})
		return !atLimit(j.Reason)
	})
	return j
}

func (p soraTab) look(name string) seen { return eval[seen](p.tab, "look(%s)", name) }

// atLimit reports whether the node refused somebody because it has more to send
// than it can, which happens on a small machine with several browsers, and wants
// the client to come again.
func atLimit(reason string) bool { return strings.Contains(reason, "media plane is at its limit") }

// mustJoin fails the test when the server refuses.
func (p soraTab) mustJoin(name, role string, options map[string]any) string {
	p.t.Helper()
	j := p.join(name, role, options)
	if j.Error != "" || j.ID == "" {
		p.t.Fatalf("%s couldn't join as %s: %+v", name, role, j)
	}
	return j.ID
}

// plays waits until n remote videos of a connection have each shown some
// frames and sound has come.
func (p soraTab) plays(name string, n int) {
	p.t.Helper()
	var s seen
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s in %s: %+v", name, p.browser.Name, s)
		}
	}()
	eventually(p.t, name+" plays", func() bool {
		s = p.look(name)
		playing := 0
		for _, frames := range s.Shown {
			if frames >= 30 {
				playing++
			}
		}
		return playing >= n && s.Audio > 30
	})
}

// TestSoraPublishAndWatch is the shortest story: one sends, one watches, both
// are told of each other, and saying goodbye is a normal end.
func TestSoraPublishAndWatch(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	p := newBrowser(t).sora(s, a, soraPage(t), "hello")

	viewer := p.mustJoin("viewer", "recvonly", nil) // before any publisher
	eventually(t, "the viewer is told of itself", func() bool { return p.look("viewer").Connected })
	publisher := p.mustJoin("publisher", "sendonly", nil)
	p.plays("viewer", 1)

	v, w := p.look("viewer"), p.look("publisher")
	if !slices.Equal(v.Remotes, []string{publisher}) || v.Shown[publisher] == 0 {
		t.Errorf("the viewer's streams are %v, %v; want the publisher %s", v.Remotes, v.Shown, publisher)
	}
	if v.Codec != "video/VP9" {
		t.Errorf("the default codec is %s, want video/VP9", v.Codec)
	}
	last := v.Notify[len(v.Notify)-1]
	if last.EventType != "connection.created" || last.Connection != publisher || last.Connections != 2 {
		t.Errorf("the viewer was last told %+v", last)
	}
	own := w.Notify[0]
	if own.Connection != publisher || len(own.Data) != 1 || own.Data[0].Connection != viewer {
		t.Errorf("the publisher was first told %+v; want itself, with the viewer in data", own)
	}

	eval[any](p.tab, "leave(%s)", "publisher")
	eventually(t, "the viewer loses the publisher", func() bool { return len(p.look("viewer").Remotes) == 0 })
	v, w = p.look("viewer"), p.look("publisher")
	if !slices.Contains(v.Removed, publisher) {
		t.Errorf("no removetrack for %s: %v", publisher, v.Removed)
	}
	if len(w.Disconnects) != 1 || w.Disconnects[0].Type != "normal" || w.Disconnects[0].Reason != "TYPE-DISCONNECT" || w.Disconnects[0].Code != 1000 {
		t.Errorf("the publisher's end was %+v", w.Disconnects)
	}

	// It comes back, and the viewer sees it without doing anything.
	again := p.mustJoin("publisher", "sendonly", nil)
	eventually(t, "the viewer plays the publisher that came back", func() bool { return p.look("viewer").Shown[again] >= 30 })
}

// TestSoraSendRecv is a meeting of two, then three.
func TestSoraSendRecv(t *testing.T) {
	s := newServer(t)
	p := newBrowser(t).sora(s, s.tenant("Lark"), soraPage(t), "meeting")
	vp8 := map[string]any{"videoCodecType": "VP8"}
	p.mustJoin("a", "sendrecv", vp8)
	p.mustJoin("b", "sendrecv", vp8)
	p.plays("a", 1)
	p.plays("b", 1)
	third := p.mustJoin("c", "sendrecv", vp8)
	for _, name := range []string{"a", "b", "c"} {
		p.plays(name, 2)
	}
	eval[any](p.tab, "leave(%s)", "c")
	eventually(t, "a loses c", func() bool { return !slices.Contains(p.look("a").Remotes, third) })
	if remotes := p.look("a").Remotes; len(remotes) != 1 {
		t.Errorf("a has %v left, want b alone", remotes)
	}
}

// TestSoraCodecs sends with every codec a publisher may choose.
func TestSoraCodecs(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	b, site := newBrowser(t), soraPage(t)
	for _, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		t.Run(codec, func(t *testing.T) {
			p := b.sora(s, a, site, "codec-"+codec)
			p.tab = &tab{t, p.browser, p.For(t)}
			p.mustJoin("publisher", "sendonly", map[string]any{"videoCodecType": codec})
			p.mustJoin("viewer", "recvonly", nil)
			p.plays("viewer", 1)
			if got := p.look("viewer").Codec; got != "video/"+codec {
				t.Errorf("the viewer decodes %s", got)
			}
		})
	}
}

// TestSoraReleases has older releases of the SDK publish and watch.
func TestSoraReleases(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	b, site := newBrowser(t), soraPage(t)
	for _, year := range []string{"2023", "2024", "2025"} {
		t.Run(year, func(t *testing.T) {
			p := b.sora(s, a, site+"?"+year, "release-"+year)
			p.tab = &tab{t, p.browser, p.For(t)}
			options := map[string]any{"multistream": true} // what pages of their time say
			p.mustJoin("viewer", "recvonly", options)
			publisher := p.mustJoin("publisher", "sendonly", options)
			p.plays("viewer", 1)
			p.mustJoin("third", "sendrecv", options)
			p.plays("viewer", 2)
			p.plays("third", 1)
			if remotes := p.look("third").Remotes; !slices.Equal(remotes, []string{publisher}) {
				t.Errorf("who sends and watches has %v, want the publisher alone, %s", remotes, publisher)
			}
			for _, name := range []string{"third", "publisher", "viewer"} {
				eval[any](p.tab, "leave(%s)", name)
			}
			eventually(t, "all have left", func() bool { return len(s.connections(a)) == 0 })
		})
	}
}

// TestSoraEndedByAPI ends a connection from the tenant's server.
func TestSoraEndedByAPI(t *testing.T) {
	s := newServer(t)
	a, other := s.tenant("Lark"), s.tenant("Crow")
	p := newBrowser(t).sora(s, a, soraPage(t), "hello")
	token := s.token(a, "hello", "sendonly")
	id := p.joinWith("publisher", "sendonly", token, nil).ID
	body := map[string]string{"channelId": "hello", "clientId": id}
	if status, text := s.action(other, "Sora_20151104.Disconnect", body); status != http.StatusNotFound {
		t.Errorf("another tenant's disconnect answered %d %s", status, text)
	}
	if len(s.connections(other)) != 0 {
		t.Error("another tenant sees the connection")
	}
	body["channelId"] += "@" + a.Tenant // as clients without a kid know it
	if status, text := s.action(a, "Sora_20151104.Disconnect", body); status != http.StatusOK {
		t.Errorf("disconnect answered %d %s", status, text)
	}
	eventually(t, "the SDK is told", func() bool { return len(p.look("publisher").Disconnects) > 0 })
	end := p.look("publisher").Disconnects[0]
	if end.Type != "normal" || end.Code != 1000 || end.Reason != "DISCONNECTED-API" {
		t.Errorf("the end was %+v", end)
	}
	eventually(t, "the ledger has no connection left", func() bool { return len(s.connections(a)) == 0 })
	// As in Sora, the token stays good.
	if j := p.joinWith("publisher", "sendonly", token, nil); j.ID == "" {
		t.Errorf("the token was barred: %+v", j)
	}
}

// TestSoraRefusals shows that the reason reaches the application.
func TestSoraRefusals(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark", "--licence", "1")
	p := newBrowser(t).sora(s, a, soraPage(t), "hello")
	for want, token := range map[string]any{
		"token_invalid":  "nonsense",
		"channel_denied": s.token(a, "other", "sendonly"),
		"role_denied":    s.token(a, "hello", "recvonly"),
	} {
		j := p.joinWith("refused", "sendonly", token, nil)
		if j.ID != "" || !strings.HasPrefix(j.Reason, want) || j.Code != 4490 {
			t.Errorf("want %s, got %+v", want, j)
		}
	}
	p.mustJoin("first", "sendonly", nil)
	if j := p.join("second", "recvonly", nil); !strings.HasPrefix(j.Reason, "tenant_full") {
		t.Errorf("want tenant_full, got %+v", j)
	}
}
