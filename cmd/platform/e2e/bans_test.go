package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

// another is a further process on a server's database: the test's own. It changes
// what the nodes have to learn of.
func another(t *testing.T, s *server) *tenant.Store {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), s.setting("HIBARI_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	key, err := base64.StdEncoding.DecodeString(masterKeyOf(t, s))
	if err != nil {
		t.Fatal(err)
	}
	store, err := tenant.NewStore(pool, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// guest is a client of any dialect that has knocked.
type guest struct {
	id      string        // of its connection; "": it was refused
	refusal string        // then why
	ended   chan struct{} // closed when it has been ended
	reason  string        // and why; valid after ended; "": its dialect does not say
}

// waysIn are the doors, each with a lean client: none of them needs media to be let
// in or ended.
var waysIn = map[string]func(t *testing.T, s *server, channel, token string) *guest{
	"sora": func(t *testing.T, s *server, channel, token string) *guest {
		return s.knock(t, "/signaling", map[string]any{"type": "connect", "role": "recvonly", "channel_id": channel,
			"data_channel_signaling": false, "metadata": map[string]any{"access_token": token}})
	},
	"sora2015": func(t *testing.T, s *server, channel, token string) *guest {
		return s.knock(t, "/signaling", map[string]any{"type": "connect", "role": "downstream", "channelId": channel, "accessToken": token})
	},
	"ayame": func(t *testing.T, s *server, channel, token string) *guest {
		return s.knock(t, "/ayame", map[string]any{"type": "register", "roomId": channel, "clientId": "its own", "signalingKey": token})
	},
	"whip": func(t *testing.T, s *server, channel, token string) *guest { return s.post(t, "whip", channel, token) },
	"whep": func(t *testing.T, s *server, channel, token string) *guest { return s.post(t, "whep", channel, token) },
}

// knock sends one message over a WebSocket and waits for what comes of it.
func (s *server) knock(t *testing.T, path string, first map[string]any) *guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { ws.CloseNow() })
	if err := wsjson.Write(ctx, ws, first); err != nil {
		t.Fatal(err)
	}
	g := &guest{ended: make(chan struct{})}
	var answer map[string]any
	if err := wsjson.Read(ctx, ws, &answer); err != nil {
		g.refusal = closeReason(err)
		return g
	}
	if answer["type"] == "reject" {
		_, _, err := ws.Read(ctx)
		g.refusal = closeReason(err)
		return g
	}
	for _, name := range []string{"connection_id", "clientId", "connectionId"} {
		if id, ok := answer[name].(string); ok {
			g.id = id
		}
	}
	go func() {
		defer close(g.ended)
		for {
			if _, _, err := ws.Read(ctx); err != nil {
				g.reason = closeReason(err)
				return
			}
		}
	}()
	return g
}

// closeReason is what a WebSocket was closed with.
func closeReason(err error) string {
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return closed.Reason
	}
	return fmt.Sprint(err)
}

// post comes by HTTP.
func (s *server) post(t *testing.T, protocol, channel, token string) *guest {
	t.Helper()
	offer, err := os.ReadFile("../../../internal/sfu/testdata/obs.sdp")
	if err != nil {
		t.Fatal(err)
	}
	text := string(offer)
	if protocol == "whep" {
		text = strings.ReplaceAll(text, "a=sendonly", "a=recvonly")
	}
	ask := func(method, target, body string) (*http.Response, string) {
		r, err := http.NewRequest(method, target, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return nil, ""
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/sdp")
		response, err := http.DefaultTransport.RoundTrip(r) // a redirect is an answer
		if err != nil {
			return nil, err.Error()
		}
		defer response.Body.Close()
		answer, _ := io.ReadAll(response.Body)
		return response, string(answer)
	}
	g := &guest{ended: make(chan struct{})}
	response, answer := ask("POST", s.url+"/"+protocol+"/"+url.PathEscape(channel), text)
	if response == nil || response.StatusCode != http.StatusCreated {
		_, g.refusal, _ = strings.Cut(answer, `"code":"`)
		return g
	}
	location, err := response.Location()
	if err != nil {
		t.Fatal(err)
	}
	g.id, _, _ = strings.Cut(path.Base(location.Path), ".")
	go func() {
		defer close(g.ended)
		look := time.NewTicker(10 * time.Millisecond)
		defer look.Stop()
		for t.Context().Err() == nil {
			if response, _ := ask("GET", location.String(), ""); response == nil || response.StatusCode == http.StatusNotFound {
				return
			}
			<-look.C
		}
	}()
	return g
}

// gone waits for a guest's end.
func (g *guest) gone(t *testing.T) {
	t.Helper()
	select {
	case <-g.ended:
	case <-time.After(patience):
		t.Fatal("it was not ended")
	}
}

// TestBansOnEveryDoor bars clients of every dialect by every kind of ban, from
// another process than the one they are on: they are put out within a second, and
// both nodes refuse them.
func TestBansOnEveryDoor(t *testing.T) {
	first, second := twoNodes(t)
	a := first.tenant("Lark")
	scope, store := tenant.OperatorScope(tenant.ID(a.Tenant)), another(t, first)
	var took []time.Duration
	for door, come := range waysIn {
		for _, kind := range []tenant.BanKind{tenant.ConnectionBan, tenant.TokenBan, tenant.ClientBan, tenant.ChannelBan} {
			t.Run(door+" by "+string(kind), func(t *testing.T) {
				channel := door + "-" + string(kind)
				sign := func(client string) string {
					token, err := store.SignToken(t.Context(), scope, tenant.TokenRequest{Channel: channel, ClientID: client})
					if err != nil {
						t.Fatal(err)
					}
					return token
				}
				token := sign("client-" + channel)
				live := come(t, second, channel, token)
				if live.id == "" {
					t.Fatalf("refused: %s", live.refusal)
				}
				subject := map[tenant.BanKind]string{tenant.ConnectionBan: live.id, tenant.TokenBan: token,
					tenant.ClientBan: "client-" + channel, tenant.ChannelBan: channel}[kind]
				ban, err := store.Ban(t.Context(), scope, tenant.NewBan{Kind: kind, Subject: subject, Until: time.Now().Add(time.Hour), Reason: "test"})
				if err != nil {
					t.Fatal(err)
				}
				committed := time.Now()
				live.gone(t)
				took = append(took, time.Since(committed))
				if live.reason != "" && live.reason != "BANNED" {
					t.Errorf("the client was told %q", live.reason)
				}
				// Who of the two has not learned of it yet may still send the client on.
				for _, s := range []*server{first, second} {
					eventually(t, "the refusal", func() bool {
						return strings.HasPrefix(come(t, s, channel, token).refusal, "banned")
					})
				}
				if kind == tenant.ClientBan {
					if other := come(t, second, channel, sign("innocent")); other.id == "" {
						t.Errorf("another client was refused: %s", other.refusal)
					}
				}
				if err := store.Unban(t.Context(), scope, ban.ID); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	slices.Sort(took)
	if len(took) > 0 {
		t.Logf("from the commit to the end: median %s, slowest %s", took[len(took)/2], took[len(took)-1])
		if took[len(took)/2] > time.Second {
			t.Errorf("half of the bans took longer than %s", took[len(took)/2])
		}
	}
}

// TestDuplicateClients has clients of every dialect come twice under one name, as
// the tenant's setting and the token's word have it.
func TestDuplicateClients(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	scope, store := tenant.OperatorScope(tenant.ID(a.Tenant)), another(t, s)
	for _, policy := range []tenant.Duplicates{tenant.DuplicatesAllow, tenant.DuplicatesRefuse, tenant.DuplicatesReplace} {
		if err := store.SetDuplicates(t.Context(), scope, policy); err != nil {
			t.Fatal(err)
		}
		var learned *guest
		eventually(t, "the node knows the policy", func() bool {
			// What a second of that name is told, or the first, shows what the node knows.
			token, err := store.SignToken(t.Context(), scope, tenant.TokenRequest{Channel: "probe-" + tenant.NewID(), ClientID: "probe"})
			if err != nil {
				t.Fatal(err)
			}
			channel := claimedChannel(t, token)
			learned = waysIn["sora"](t, s, channel, token)
			second := waysIn["sora"](t, s, channel, token)
			switch policy {
			case tenant.DuplicatesRefuse:
				return strings.HasPrefix(second.refusal, "channel_denied")
			case tenant.DuplicatesReplace:
				if second.id == "" {
					return false
				}
				select {
				case <-learned.ended:
					return learned.reason == "REPLACED"
				case <-time.After(time.Second):
					return false
				}
			}
			return second.id != ""
		})
		for door, come := range waysIn {
			t.Run(door+" "+string(policy), func(t *testing.T) {
				channel := door + "-" + string(policy)
				token, err := store.SignToken(t.Context(), scope, tenant.TokenRequest{Channel: channel, ClientID: "alice"})
				if err != nil {
					t.Fatal(err)
				}
				first, second := come(t, s, channel, token), (*guest)(nil)
				if first.id == "" {
					t.Fatalf("refused: %s", first.refusal)
				}
				second = come(t, s, channel, token)
				switch policy {
				case tenant.DuplicatesRefuse:
					if !strings.HasPrefix(second.refusal, "channel_denied") {
						t.Errorf("the second was told %q, is in: %v", second.refusal, second.id != "")
					}
				case tenant.DuplicatesReplace:
					first.gone(t)
					if second.id == "" || first.reason != "" && first.reason != "REPLACED" {
						t.Errorf("the first was told %q, the second %q", first.reason, second.refusal)
					}
				default:
					if second.id == "" {
						t.Errorf("the second was told %q", second.refusal)
					}
				}
			})
		}
	}
}

// claimedChannel is the channel that a token is for.
func claimedChannel(t *testing.T, token string) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	_, channel, _ := strings.Cut(string(payload), `"channel_id":"`)
	channel, _, _ = strings.Cut(channel, `"`)
	return channel
}
