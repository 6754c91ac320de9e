package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/hibari/hibari/internal/tenant"
)

// events reads the tenant's stream from an event on until stop says so.
func (s *server) events(a account, after string, stop func(tenant.Event) bool) (all []tenant.Event) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+"/stream"+after,
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + a.APIKey}}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer ws.CloseNow()
	for {
		var e tenant.Event
		if err := wsjson.Read(ctx, ws, &e); err != nil {
			s.t.Fatalf("the stream ended after %d events: %v", len(all), err)
		}
		if e.ID == "" {
			continue // hello, heartbeat
		}
		if all = append(all, e); stop(e) {
			return all
		}
	}
}

// Test2015 is the story of 2015: viewers wait, a publisher comes, goes and
// comes back, and nobody renegotiates.
func Test2015(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	early := mustDial2015(t, s, "downstream", "hello", s.token(a, "hello", "recvonly"))
	up := mustDial2015(t, s, "upstream", "hello", s.token(a, "hello", "sendonly"))
	late := mustDial2015(t, s, "downstream", "hello", s.token(a, "hello", "recvonly"))
	for _, c := range []*client2015{early, late} {
		eventually(t, "media flows", func() bool { return c.video.Load() > 30 && c.audio.Load() > 30 })
	}
	up.close()
	eventually(t, "the publisher is gone", func() bool { return len(s.connections(a)) == 2 })
	before := early.video.Load()
	mustDial2015(t, s, "upstream", "hello", s.token(a, "hello", "sendonly"))
	eventually(t, "media flows again", func() bool { return early.video.Load() > before+30 })

	status, body := s.action(a, "Sora_20151104.DisconnectChannel", map[string]string{"channelId": "hello"})
	if status != http.StatusOK {
		t.Fatalf("DisconnectChannel answered %d %s", status, body)
	}
	for _, c := range []*client2015{early, late} {
		<-c.ended
		if c.endCode != 1000 || c.endText != "DISCONNECTED-API" {
			t.Errorf("the end was %d %s", c.endCode, c.endText)
		}
	}
	eventually(t, "no connection is left", func() bool { return len(s.connections(a)) == 0 })
}

// Test2015Refusals names every refusal, and each leaves the next client alone.
func Test2015Refusals(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark", "--licence", "1")
	for want, c := range map[string]struct{ role, channel, token string }{
		"token_invalid":  {"upstream", "hello", "nonsense"},
		"channel_denied": {"upstream", "other", s.token(a, "hello", "sendonly")},
		"role_denied":    {"downstream", "hello", s.token(a, "hello", "sendonly")},
		"bad_message":    {"king", "hello", s.token(a, "hello", "sendonly")},
	} {
		_, err := dial2015(t, s, c.role, c.channel, c.token)
		var refusal refusal2015
		if !errors.As(err, &refusal) || !strings.HasPrefix(refusal.reason, want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	mustDial2015(t, s, "upstream", "hello", s.token(a, "hello", "sendonly"))
	_, err := dial2015(t, s, "downstream", "hello", s.token(a, "hello", "recvonly"))
	if err == nil || !strings.HasPrefix(err.Error(), "tenant_full") {
		t.Errorf("want tenant_full, got %v", err)
	}
}

// TestKilled kills the platform under a live call: the restart leaves no
// ghost, ends what was open and tells of it exactly once.
func TestKilled(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	up := mustDial2015(t, s, "upstream", "hello", s.token(a, "hello", "sendonly"))
	eventually(t, "the connection is counted", func() bool { return len(s.connections(a)) == 1 })
	s.events(a, "?after=0", func(e tenant.Event) bool { return e.Type == tenant.ConnectionCreated })
	s.kill()
	s.start()
	if left := s.connections(a); len(left) != 0 {
		t.Errorf("ghosts after the restart: %v", left)
	}
	all := s.events(a, "?after=0", func(e tenant.Event) bool { return e.Type == tenant.ChannelEnded })
	count := map[tenant.EventType]int{}
	for i, e := range all {
		if e.Seq != int64(i+1) {
			t.Errorf("event %d has seq %d", i+1, e.Seq)
		}
		count[e.Type]++
		if e.Type == tenant.ConnectionDestroyed {
			var data struct {
				Reason  string
				Seconds int `json:"duration_seconds"`
			}
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			if e.ConnectionID != up.id || data.Reason != tenant.EndNodeLost || data.Seconds > 15 {
				t.Errorf("destroyed says %s", e.Data)
			}
		}
	}
	if count[tenant.ConnectionCreated] != 1 || count[tenant.ConnectionDestroyed] != 1 {
		t.Errorf("events: %v", count)
	}
	// The place is free again.
	mustDial2015(t, s, "upstream", "hello", s.token(a, "hello", "sendonly"))
}

// TestStopped stops the platform in order under a live call: the client is
// told, the ledger is closed.
func TestStopped(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	up := mustDial2015(t, s, "upstream", "hello", s.token(a, "hello", "sendonly"))
	eventually(t, "the connection is counted", func() bool { return len(s.connections(a)) == 1 })
	s.stop()
	<-up.ended
	if up.endCode != 1000 {
		t.Errorf("the end was %d %s", up.endCode, up.endText)
	}
	s.start()
	all := s.events(a, "?after=0", func(e tenant.Event) bool { return e.Type == tenant.ChannelEnded })
	for _, e := range all {
		if e.Type == tenant.ConnectionDestroyed && !strings.Contains(string(e.Data), tenant.EndShutdown) {
			t.Errorf("destroyed says %s", e.Data)
		}
	}
}
