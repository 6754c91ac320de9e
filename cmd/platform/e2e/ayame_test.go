package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// ayamePage serves the unmodified npm package and the page that drives it.
func ayamePage(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/ayame.mjs", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		http.ServeFile(w, r, "testdata/node_modules/@open-ayame/ayame-web-sdk/dist/ayame.mjs")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/ayame.html") })
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	return site.URL
}

// ayameTab is a page with one call.
type ayameTab struct {
	*tab
	server *server
}

// ayameSeen is what the page's look returns.
type ayameSeen struct {
	Heard []struct {
		Type, Reason string
		Metadata     json.RawMessage
	}
	Frames, Sound, Socket int
}

func (b *browser) ayame(s *server, site string) ayameTab {
	b.t.Helper()
	p := ayameTab{b.open(site), s}
	p.until("the SDK is loaded", "window.ready === true")
	return p
}

// call joins a room and returns the SDK's complaint.
func (p ayameTab) call(room, key string, standalone bool) string {
	p.t.Helper()
	return eval[string](p.tab, "join(%s)", map[string]any{
		"url": "ws" + strings.TrimPrefix(p.server.url, "http") + "/ayame", "room": room, "key": key, "standalone": standalone,
	})
}

func (p ayameTab) look() ayameSeen { return eval[ayameSeen](p.tab, "look()") }

// heard reports whether the SDK told of something, with a reason if not "".
func (p ayameTab) heard(kind, reason string) bool {
	for _, h := range p.look().Heard {
		if h.Type == kind && (reason == "" || h.Reason == reason) {
			return true
		}
	}
	return false
}

// calls has two tabs call each other and waits until each sees and hears the other.
func (b *browser) calls(s *server, site, room, key string, standalone bool) (first, second ayameTab) {
	b.t.Helper()
	first, second = b.ayame(s, site), b.ayame(s, site)
	for _, p := range []ayameTab{first, second} {
		if complaint := p.call(room, key, standalone); complaint != "" {
			b.t.Fatalf("the SDK said %q, and %+v", complaint, p.look().Heard)
		}
	}
	for _, p := range []ayameTab{first, second} {
		eventually(b.t, "video and sound flow", func() bool { seen := p.look(); return seen.Frames > 30 && seen.Sound > 30 })
	}
	return first, second
}

// TestAyame is two people who call each other, a third who may not, and every
// way for a call to end.
func TestAyame(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	b, site := newBrowser(t), ayamePage(t)
	key := s.token(a, "duet", "sendrecv")
	first, second := b.calls(s, site, "duet", key, false)

	third := b.ayame(s, site)
	if complaint := third.call("duet", key, false); complaint != "REJECTED" || !third.heard("disconnect", "full") {
		t.Errorf("a third was told %q and %+v", complaint, third.look().Heard)
	}
	for want, wrong := range map[string]string{"token_invalid": "nonsense", "channel_denied": s.token(a, "solo", "sendrecv"), "role_denied": s.token(a, "duet", "recvonly")} {
		if complaint := third.call("duet", wrong, false); complaint != "REJECTED" || !third.heard("disconnect", want) {
			t.Errorf("want %s, got %q and %+v", want, complaint, third.look().Heard)
		}
	}
	var live []struct {
		ConnectionID string `json:"connection_id"`
		Connected    bool
		Role         tenant.Role
	}
	eventually(t, "both are listed as connected", func() bool {
		_, body := s.action(a, "Sora_20151104.ListConnections", map[string]string{"channelId": "duet"})
		return json.Unmarshal([]byte(body), &live) == nil && len(live) == 2 && live[0].Connected && live[1].Connected
	})
	if live[0].Role != tenant.SendRecv {
		t.Errorf("listed as %+v", live)
	}

	// One leaves: the SDK waits for the close handshake, the other hears bye.
	began := time.Now()
	eval[any](second.tab, "leave()")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("leaving took %s", took)
	}
	eventually(t, "bye is heard", func() bool { return first.heard("bye", "") && first.heard("disconnect", "WS-CLOSED") })

	// The same two meet again, and the tenant's server ends it.
	if first.call("duet", key, false) != "" || second.call("duet", key, false) != "" {
		t.Fatal("they could not meet again")
	}
	eventually(t, "video flows again", func() bool { return first.look().Frames > 30 && second.look().Frames > 30 })
	before := len(second.look().Heard)
	id := s.connections(a)[0].ConnectionID
	if status, text := s.action(a, "Sora_20151104.Disconnect", map[string]string{"channelId": "duet", "clientId": id}); status != http.StatusOK {
		t.Fatalf("disconnect answered %d %s", status, text)
	}
	for _, p := range []ayameTab{first, second} {
		eventually(t, "the SDK ends the call", func() bool {
			seen := p.look()
			return len(seen.Heard) > before && seen.Heard[len(seen.Heard)-1].Reason == "WS-CLOSED" && seen.Socket == 3 && seen.Frames == 0
		})
	}
	checkAyameEvents(t, s, a)
}

// checkAyameEvents checks that each of the two calls began and ended once on each
// side, with its minutes.
func checkAyameEvents(t *testing.T, s *server, a account) {
	t.Helper()
	ends := 0
	created, reasons := map[string]bool{}, map[string]int{}
	for _, e := range s.events(a, "?after=0", func(e tenant.Event) bool {
		if e.Type == tenant.ConnectionDestroyed {
			ends++
		}
		return ends == 4
	}) {
		var data struct {
			Reason, Code string
			Minutes      int
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case tenant.ConnectionCreated:
			created[e.ConnectionID] = true
		case tenant.ConnectionDestroyed:
			if !created[e.ConnectionID] || data.Minutes != 1 {
				t.Errorf("%s was destroyed with %s", e.ConnectionID, e.Data)
			}
			delete(created, e.ConnectionID)
			reasons[data.Reason]++
		case tenant.ConnectionRejected:
			reasons[data.Code]++
		}
	}
	if len(created) != 0 {
		t.Errorf("without an end: %v", created)
	}
	for reason, n := range map[string]int{tenant.EndClient: 1, tenant.EndAPI: 1, tenant.EndPeerLeft: 2, "channel_full": 1, "role_denied": 1} {
		if reasons[reason] != n {
			t.Errorf("%d times %s, want %d: %v", reasons[reason], reason, n, reasons)
		}
	}
}

// TestAyameOnItsOwn has two meet with a token that has no kid, as a tenant of
// several signs it, and go on without the platform.
func TestAyameOnItsOwn(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	room := "duet@" + a.Tenant
	key, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"channel_id": room, "exp": time.Now().Add(time.Hour).Unix(), "metadata": map[string]string{"plan": "gold"},
	}).SignedString([]byte(a.SigningKey))
	if err != nil {
		t.Fatal(err)
	}
	first, second := newBrowser(t).calls(s, ayamePage(t), room, key, true)
	for _, p := range []ayameTab{first, second} {
		if seen := p.look(); string(seen.Heard[0].Metadata) != `{"plan":"gold"}` {
			t.Errorf("heard %s", seen.Heard[0].Metadata)
		}
	}
	eventually(t, "the platform is left", func() bool { return len(s.connections(a)) == 0 })
	frames := first.look().Frames
	eventually(t, "the call goes on", func() bool { return first.look().Frames > frames+30 })
	if first.heard("bye", "") || second.heard("disconnect", "") {
		t.Error("the call was ended")
	}
}
