package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/tenant"
)

// TestStreamOverARestart: a deploy tells streams to come back, then what it ended,
// and closes them with the place to go on from; nothing is missed or doubled there.
func TestStreamOverARestart(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	mustDial2015(t, s, "downstream", "hello", s.token(a, "hello", "recvonly"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+"/stream?after=0",
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + a.APIKey}}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	stopped := make(chan struct{})
	var seq int64
	var told bool
	var ended string
	for {
		_, text, err := ws.Read(ctx)
		var end websocket.CloseError
		if errors.As(err, &end) {
			if end.Code != websocket.StatusGoingAway || end.Reason != fmt.Sprintf("draining: reconnect with after=%d", seq) {
				t.Errorf("closed with %v after %d", end, seq)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var e struct {
			tenant.Event
			Data struct{ Reason string } `json:"data"`
		}
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case "hello", "heartbeat":
		case "reconnect":
			told = true
		default:
			if e.Seq != seq+1 {
				t.Errorf("event %d after %d", e.Seq, seq)
			}
			seq = e.Seq
			if e.Type == tenant.ConnectionDestroyed || e.Type == tenant.ConnectionRejected {
				ended = e.Data.Reason
			}
		}
		if e.Type == tenant.ConnectionConnecting {
			go func() {
				s.stop()
				close(stopped)
			}()
		}
	}
	<-stopped
	if !told || ended == "" {
		t.Errorf("told to come back: %v; told of the end: %q", told, ended)
	}
	s.start()
	all := s.events(a, "?after=0", func(e tenant.Event) bool { return e.Type == tenant.ChannelEnded })
	if last := all[len(all)-1].Seq; last < seq {
		t.Errorf("the ledger ends at %d, the stream told %d", last, seq)
	}
}
