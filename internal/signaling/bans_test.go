package signaling_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// barrier bars client ids of ten_A.
type barrier struct {
	mu     sync.Mutex
	barred map[string]bool // by client id; guarded by mu
}

func (b *barrier) bar(clientID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.barred == nil {
		b.barred = map[string]bool{}
	}
	b.barred[clientID] = true
}

func (b *barrier) Ousted(s tenant.Subject) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.Tenant == "ten_A" && s.Channel == "room" && b.barred[s.ClientID]
}

func (b *barrier) Barred(s tenant.Subject) *tenant.Refusal {
	if b.Ousted(s) {
		return tenant.Refuse(tenant.Banned, "barred")
	}
	return nil
}

// entrant is a client of any dialect, as far as it has come.
type entrant struct {
	in   bool   // it was let in
	code string // else what it was told: the code it begins with
	gone func() string
}

// doors are the ways in, for a client with a good token.
var doors = map[string]func(t *testing.T, h *house) entrant{
	"sora": func(t *testing.T, h *house) entrant { return h.socketEntrant(t, join("recvonly", "")) },
	"sora2015": func(t *testing.T, h *house) entrant {
		return h.socketEntrant(t, `{"type":"connect","role":"downstream","channelId":"room","accessToken":"good"}`)
	},
	"whip": func(t *testing.T, h *house) entrant { return h.httpEntrant(t, "/whip/room") },
	"whep": func(t *testing.T, h *house) entrant { return h.httpEntrant(t, "/whep/room") },
	"ayame": func(t *testing.T, h *house) entrant {
		c := h.ayame(t)
		c.say(registration("room", ""))
		text := c.next()
		if strings.Contains(text, `"accept"`) {
			return entrant{in: true, gone: func() string {
				for c.next() != "" {
				}
				return c.end.Reason
			}}
		}
		for c.next() != "" {
		}
		return entrant{code: c.end.Reason}
	},
}

// socketEntrant connects over the WebSocket and answers nothing.
func (h *house) socketEntrant(t *testing.T, connect string) entrant {
	c := h.visit(t)
	c.say(connect)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _, err := c.conn.Read(ctx)
	if err == nil { // an offer
		return entrant{in: true, gone: func() string { _, reason := c.farewell(); return reason }}
	}
	var bye websocket.CloseError
	if !errors.As(err, &bye) {
		t.Fatal(err)
	}
	return entrant{code: bye.Reason}
}

// httpEntrant comes by HTTP.
func (h *house) httpEntrant(t *testing.T, path string) entrant {
	offer := obs
	if strings.HasPrefix(path, "/whep") {
		offer = strings.ReplaceAll(obs, "a=sendonly", "a=recvonly")
	}
	r := h.ask(t, "POST", path, offer, good, isSDP)
	if r.StatusCode != http.StatusCreated {
		if r.StatusCode != http.StatusForbidden {
			t.Errorf("refused with status %d", r.StatusCode)
		}
		_, code, _ := strings.Cut(r.text, `"code":"`)
		return entrant{code: code}
	}
	location := r.Header.Get("Location")
	return entrant{in: true, gone: func() string {
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) {
			if h.ask(t, "GET", location, "").StatusCode == http.StatusNotFound {
				return ""
			}
		}
		return "still there"
	}}
}

// Whoever a ban names is refused at each door, whatever the client calls itself,
// and whoever is in is put out with a reason it can read.
func TestBansAtEveryDoor(t *testing.T) {
	for name, knock := range doors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bans := &barrier{}
			h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{ClientID: "mallory"}}}, Bans: bans})
			live := knock(t, h)
			if !live.in {
				t.Fatalf("refused before any ban: %s", live.code)
			}
			h.door.EndBanned() // nobody is barred
			bans.bar("alice")
			h.door.EndBanned()
			h.books.read(func(b *books) {
				if len(b.closed) != 0 {
					t.Error("another's ban ended the connection")
				}
			})
			bans.bar("mallory")
			h.door.EndBanned()
			if reason := live.gone(); reason != "" && reason != signaling.ReasonBanned {
				t.Errorf("the client was told %q", reason)
			}
			h.books.await(t, "the end", func(b *books) bool {
				for _, e := range b.closed {
					return e.Reason == tenant.EndBanned
				}
				return false
			})
			again := knock(t, h)
			if again.in || !strings.HasPrefix(again.code, string(tenant.Banned)) {
				t.Errorf("who is barred was let in or told %q", again.code)
			}
			h.books.read(func(b *books) {
				if len(b.opened) != 1 || len(b.rejected) != 1 || b.rejected[0].Code != tenant.Banned {
					t.Errorf("opened %d, rejected %v", len(b.opened), b.rejected)
				}
			})
		})
	}
}

// The name that counts is the one that the tenant's server gives.
func TestBanOfAnAssignedClientID(t *testing.T) {
	bans := &barrier{}
	bans.bar("own")
	name := "assigned"
	asked := &server{answer: func(context.Context) (tenant.Grant, error) { return tenant.Grant{ClientID: name}, nil }}
	h, _ := broadcast(t, signaling.Config{Verifier: hooked(tenant.Grant{}), Authorizer: asked, Bans: bans})
	if g := h.socketEntrant(t, join("recvonly", `,"client_id":"own"`)); !g.in {
		t.Errorf("a client that the server renames was refused: %s", g.code)
	}
	bans.bar("assigned")
	if g := h.socketEntrant(t, join("recvonly", `,"client_id":"innocent"`)); g.in || !strings.HasPrefix(g.code, "banned: ") {
		t.Errorf("the barred name came in: %q", g.code)
	}
}

// A ban that becomes known between the look at the bans and the joining ends the
// connection, wherever in between.
func TestBanRacesWithJoin(t *testing.T) {
	for name, knock := range doors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bans, ledger := &barrier{}, newBooks()
			h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{ClientID: "mallory"}}}, Bans: bans, Ledger: ledger})
			ledger.fail = func(entry string) error {
				if entry == "open" {
					bans.bar("mallory")
					h.door.EndBanned()
				}
				return nil
			}
			if g := knock(t, h); g.in {
				g.gone()
			}
			h.books.await(t, "the end", func(b *books) bool { return len(b.opened) == 1 && len(b.closed) == 1 })
		})
	}
}

// replacing is a ledger that gives a newcomer the places of its namesakes.
type replacing struct{ *books }

func (r replacing) Open(ctx context.Context, o tenant.Opening) (tenant.Opened, error) {
	var replaced []string
	r.read(func(b *books) {
		for id, before := range b.opened {
			if _, ended := b.closed[id]; !ended && o.Duplicates == tenant.DuplicatesReplace && before.ClientID == o.ClientID {
				replaced = append(replaced, id)
			}
		}
	})
	opened, err := r.books.Open(ctx, o)
	opened.Replaced = replaced
	return opened, err
}

// Who comes with another's client_id takes its place, if the tenant or the token
// says so: what the token says wins.
func TestReplacedAtEveryDoor(t *testing.T) {
	for name, knock := range doors {
		for policy, claim := range map[string]tenant.Claim{
			"setting": {Duplicates: tenant.DuplicatesReplace},
			"token":   {Duplicates: tenant.DuplicatesRefuse, Grant: tenant.Grant{Duplicates: tenant.DuplicatesReplace}},
		} {
			t.Run(name+" by "+policy, func(t *testing.T) {
				t.Parallel()
				claim.Grant.ClientID = "alice"
				ledger := newBooks()
				h, plane := broadcast(t, signaling.Config{Verifier: keys{claim}, Ledger: replacing{ledger}})
				h.books = ledger
				first := knock(t, h)
				second := knock(t, h)
				if !first.in || !second.in {
					t.Fatalf("refused: %q %q", first.code, second.code)
				}
				if reason := first.gone(); reason != "" && reason != signaling.ReasonReplaced {
					t.Errorf("the first was told %q", reason)
				}
				h.books.await(t, "the first's end", func(b *books) bool {
					return len(b.opened) == 2 && len(b.closed) == 1 && b.closed[onlyClosed(b)].Reason == tenant.EndReplaced
				})
				plane.Close(tenant.EndShutdown) // nobody need wait for the second
			})
		}
	}
}

// onlyClosed is the one connection that has been closed.
func onlyClosed(b *books) string {
	for id := range b.closed {
		return id
	}
	return ""
}
