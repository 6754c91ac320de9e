package tenant_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/tenant"
)

// connected writes a connection into the books, as the ledger does, and returns
// what bans may name it by.
func (h *house) connected(scope tenant.Scope, channel, clientID string, hash [32]byte) tenant.Subject {
	h.t.Helper()
	s := tenant.Subject{Tenant: scope.Tenant(), Channel: channel, ConnectionID: tenant.NewID(), ClientID: clientID, TokenHash: hash}
	if s.ClientID == "" {
		s.ClientID = s.ConnectionID
	}
	h.exec(`insert into node (node_id, name, instance, lease_until) values ('node', '', '', 'infinity') on conflict do nothing`)
	h.exec(`insert into channel_session (session_id, tenant_id, channel_id) values ($1, $2, $3)`, s.ConnectionID, s.Tenant, channel)
	h.exec(`insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol, token_hash)
		values ($1, $2, $3, $1, 'node', 'sendrecv', $4, 'sora', $5)`, s.ConnectionID, s.Tenant, channel, s.ClientID, hash[:])
	return s
}

// ban bars something for an hour.
func (h *house) ban(store *tenant.Store, scope tenant.Scope, b tenant.NewBan) tenant.Ban {
	h.t.Helper()
	if b.Until.IsZero() {
		b.Until = time.Now().Add(time.Hour)
	}
	made, err := store.Ban(context.Background(), scope, b)
	if err != nil {
		h.t.Fatalf("Ban(%+v) = %v", b, err)
	}
	return made
}

// Every kind of ban names whom it should and nobody else, in the process that
// made it at once and in another after it has looked.
func TestBanKinds(t *testing.T) {
	h := newHouse(t)
	other := tenant.OperatorScope(h.newTenant("Other", "other@example.com").Tenant)
	elsewhere := h.newStore(h.pool)
	hash := func(s string) [32]byte { return sha256.Sum256([]byte(s)) }
	hexOf := func(s string) string { sum := hash(s); return hex.EncodeToString(sum[:]) }
	who := func(scope tenant.Scope, channel, client, token string) tenant.Subject {
		return tenant.Subject{Tenant: scope.Tenant(), Channel: channel, ConnectionID: "C", ClientID: client, TokenHash: hash(token)}
	}
	// A connection that had a name of its own, and one that had none.
	named, nameless := h.connected(h.scope, "room", "mallory", hash("m")), h.connected(h.scope, "room", "", hash("n"))
	jwt := h.token(good())
	claim := h.accepts(h.store, jwt, "room", tenant.SendOnly)
	for name, test := range map[string]struct {
		ban    tenant.NewBan
		barred []tenant.Subject
		free   []tenant.Subject
	}{
		"token": {tenant.NewBan{Kind: tenant.TokenBan, Subject: hexOf("t")},
			[]tenant.Subject{who(h.scope, "room", "a", "t"), who(h.scope, "lobby", "b", "t")},
			[]tenant.Subject{who(h.scope, "room", "a", "u"), who(other, "room", "a", "t")}},
		"the token itself": {tenant.NewBan{Kind: tenant.TokenBan, Subject: jwt},
			[]tenant.Subject{{Tenant: h.scope.Tenant(), Channel: "room", TokenHash: claim.TokenHash}}, []tenant.Subject{who(h.scope, "room", "a", "u")}},
		"token in a channel": {tenant.NewBan{Kind: tenant.TokenBan, Subject: hexOf("t"), Channel: "room@" + string(h.scope.Tenant())},
			[]tenant.Subject{who(h.scope, "room", "a", "t")}, []tenant.Subject{who(h.scope, "lobby", "a", "t")}},
		"client": {tenant.NewBan{Kind: tenant.ClientBan, Subject: "mallory"},
			[]tenant.Subject{who(h.scope, "room", "mallory", "1"), who(h.scope, "lobby", "mallory", "2")},
			[]tenant.Subject{who(h.scope, "room", "alice", "1"), who(other, "room", "mallory", "1")}},
		"client in a channel": {tenant.NewBan{Kind: tenant.ClientBan, Subject: "mallory", Channel: "room"},
			[]tenant.Subject{who(h.scope, "room", "mallory", "1")}, []tenant.Subject{who(h.scope, "lobby", "mallory", "1")}},
		"channel": {tenant.NewBan{Kind: tenant.ChannelBan, Subject: "room"},
			[]tenant.Subject{who(h.scope, "room", "a", "1")}, []tenant.Subject{who(h.scope, "room2", "a", "1"), who(other, "room", "a", "1")}},
		"connection": {tenant.NewBan{Kind: tenant.ConnectionBan, Subject: named.ConnectionID},
			[]tenant.Subject{named, who(h.scope, "room", "mallory", "new"), who(h.scope, "room", "renamed", "m")},
			[]tenant.Subject{who(h.scope, "lobby", "mallory", "m"), who(h.scope, "room", "alice", "1"), nameless}},
		"nameless connection": {tenant.NewBan{Kind: tenant.ConnectionBan, Subject: nameless.ConnectionID},
			[]tenant.Subject{nameless, who(h.scope, "room", "any", "n")}, []tenant.Subject{named, who(h.scope, "lobby", "any", "n")}},
	} {
		t.Run(name, func(t *testing.T) {
			made := h.ban(h.store, h.scope, test.ban)
			if err := elsewhere.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			for place, store := range map[string]*tenant.Store{"here": h.store, "elsewhere": elsewhere} {
				for _, s := range test.barred {
					if r := store.Barred(s); r == nil || r.Code != tenant.Banned || len(r.Error()) > 123 || !store.Ousted(s) {
						t.Errorf("%s: %+v may come in, or stay: %v", place, s, r)
					}
				}
				for _, s := range test.free {
					if r := store.Barred(s); r != nil || store.Ousted(s) {
						t.Errorf("%s: %+v may not come in, or stay: %v", place, s, r)
					}
				}
			}
			if err := elsewhere.Unban(t.Context(), other, made.ID); !errors.Is(err, tenant.ErrNotFound) {
				t.Errorf("another tenant's Unban = %v", err)
			}
			if err := elsewhere.Unban(t.Context(), h.scope, made.ID); err != nil {
				t.Fatal(err)
			}
			if err := h.store.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			for place, store := range map[string]*tenant.Store{"here": h.store, "elsewhere": elsewhere} {
				for _, s := range test.barred {
					if r := store.Barred(s); r != nil || store.Ousted(s) {
						t.Errorf("%s: the ban was lifted and still bars %+v: %v", place, s, r)
					}
				}
			}
			if err := h.store.Unban(t.Context(), h.scope, made.ID); !errors.Is(err, tenant.ErrNotFound) {
				t.Errorf("Unban again = %v", err)
			}
		})
	}
}

// What cannot be barred is named.
func TestBanMistakes(t *testing.T) {
	h := newHouse(t)
	ahead := time.Now().Add(time.Hour)
	for _, test := range []struct {
		ban   tenant.NewBan
		field string
	}{
		{tenant.NewBan{Kind: tenant.ClientBan, Subject: "a"}, "expires_at"},
		{tenant.NewBan{Kind: tenant.ClientBan, Subject: "a", Until: time.Now().Add(-time.Second)}, "expires_at"},
		{tenant.NewBan{Kind: tenant.ClientBan, Subject: "a", Until: time.Now().Add(tenant.MaxBanDuration + time.Minute)}, "expires_at"},
		{tenant.NewBan{Kind: "person", Subject: "a", Until: ahead}, "kind"},
		{tenant.NewBan{Kind: tenant.ClientBan, Until: ahead}, "subject"},
		{tenant.NewBan{Kind: tenant.ClientBan, Subject: strings.Repeat("x", 256), Until: ahead}, "subject"},
		{tenant.NewBan{Kind: tenant.ChannelBan, Subject: "a\x00", Until: ahead}, "subject"},
		{tenant.NewBan{Kind: tenant.ChannelBan, Subject: "a", Channel: "b", Until: ahead}, "channel_id"},
		{tenant.NewBan{Kind: tenant.ClientBan, Subject: "a", Channel: "\n", Until: ahead}, "channel_id"},
		{tenant.NewBan{Kind: tenant.TokenBan, Subject: "secret", Until: ahead}, "subject"},
		{tenant.NewBan{Kind: tenant.TokenBan, Subject: "a.b.c", Until: ahead}, "subject"},
		{tenant.NewBan{Kind: tenant.ConnectionBan, Subject: "1", Until: ahead}, "subject"},
	} {
		var field *tenant.FieldError
		if _, err := h.store.Ban(t.Context(), h.scope, test.ban); !errors.As(err, &field) || field.Field != test.field {
			t.Errorf("Ban(%+v) = %v, want a complaint about %s", test.ban, err, test.field)
		}
	}
	strangers := h.connected(tenant.OperatorScope(h.newTenant("Other", "other@example.com").Tenant), "room", "x", [32]byte{1})
	for _, id := range []string{tenant.NewID(), strangers.ConnectionID} {
		if _, err := h.store.Ban(t.Context(), h.scope, tenant.NewBan{Kind: tenant.ConnectionBan, Subject: id, Until: ahead}); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("the ban of a connection that the tenant never had = %v", err)
		}
	}
}

// A tenant has so many bans and no more; what is over does not count.
func TestBansAreBounded(t *testing.T) {
	h := newHouse(t)
	h.exec(`insert into ban (ban_id, tenant_id, kind, subject, created_by, expires_at)
		select 'ban_' || n, $1, 'client', 'c' || n, 'test', clock_timestamp() + interval '1 hour' from generate_series(1, $2) n`,
		h.made.Tenant, tenant.MaxBans)
	ban := tenant.NewBan{Kind: tenant.ClientBan, Subject: "one more", Until: time.Now().Add(time.Hour)}
	if _, err := h.store.Ban(t.Context(), h.scope, ban); !errors.Is(err, tenant.ErrTooManyBans) {
		t.Fatalf("one more = %v", err)
	}
	h.exec(`update ban set expires_at = clock_timestamp() - interval '1 second' where ban_id = 'ban_1'`)
	if _, err := h.store.Ban(t.Context(), h.scope, ban); err != nil {
		t.Error(err)
	}
}

// The list goes on where a page ended, whatever comes and goes meanwhile.
func TestBansByPage(t *testing.T) {
	h := newHouse(t)
	other := tenant.OperatorScope(h.newTenant("Other", "other@example.com").Tenant)
	h.ban(h.store, other, tenant.NewBan{Kind: tenant.ClientBan, Subject: "another's"})
	var made []string
	for i := range 7 {
		made = append(made, h.ban(h.store, h.scope, tenant.NewBan{Kind: tenant.ClientBan, Subject: fmt.Sprint("client", i), Reason: "Spam!"}).ID)
	}
	slices.Reverse(made)
	var listed []string
	for after := ""; ; {
		bans, next, err := h.store.Bans(t.Context(), h.scope, tenant.BanQuery{After: after, Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bans {
			listed = append(listed, b.ID)
		}
		if after == "" { // the one that the page ended with goes, and one comes
			if err := h.store.Unban(t.Context(), h.scope, listed[2]); err != nil {
				t.Fatal(err)
			}
			h.ban(h.store, h.scope, tenant.NewBan{Kind: tenant.ChannelBan, Subject: "later"})
		}
		if after = next; next == "" {
			break
		}
	}
	if !slices.Equal(listed, made) {
		t.Errorf("listed %v, want %v", listed, made)
	}
	for q, want := range map[tenant.BanQuery]int{{Find: "CLIENT5"}: 1, {Find: "spam"}: 6, {Kind: tenant.ChannelBan}: 1, {Kind: tenant.ChannelBan, Find: "client"}: 0, {Find: "%"}: 0} {
		if bans, _, err := h.store.Bans(t.Context(), h.scope, q); err != nil || len(bans) != want {
			t.Errorf("%+v finds %d bans, %v; want %d", q, len(bans), err, want)
		}
	}
	var field *tenant.FieldError
	if _, _, err := h.store.Bans(t.Context(), h.scope, tenant.BanQuery{After: "x"}); !errors.As(err, &field) {
		t.Errorf("a made-up cursor = %v", err)
	}
}

// Another process knows a ban, and its lifting, within a second of the commit,
// and is told of what ends connections.
func TestBanReachesOtherProcess(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.secondPool())
	var told atomic.Int32
	node.OnBan(func() { told.Add(1) })
	run(t, node)
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	subject := tenant.Subject{Tenant: h.made.Tenant, Channel: "room", ClientID: "mallory"}
	for round := range 4 {
		before := told.Load()
		made := h.ban(h.store, h.scope, tenant.NewBan{Kind: tenant.ClientBan, Subject: "mallory", SparesLive: round%2 == 1})
		committed := time.Now()
		until(t, "the ban", func() bool { return node.Barred(subject) != nil })
		if round%2 == 0 {
			until(t, "the news", func() bool { return told.Load() > before })
		} else if told.Load() != before || node.Ousted(subject) {
			t.Error("a ban that spares who is in was told of")
		}
		if took := time.Since(committed); took > time.Second {
			t.Errorf("the ban took %s", took)
		}
		if err := h.store.Unban(t.Context(), h.scope, made.ID); err != nil {
			t.Fatal(err)
		}
		committed = time.Now()
		until(t, "its end", func() bool { return node.Barred(subject) == nil })
		if took := time.Since(committed); took > time.Second {
			t.Errorf("its lifting took %s", took)
		}
	}
}

// A transaction that began before others and commits after them is not
// overlooked.
func TestLateCommitOfABan(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.pool)
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	late, err := h.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Rollback(context.Background())
	if _, err := late.Exec(t.Context(), `insert into ban (ban_id, tenant_id, kind, subject, created_by, expires_at)
		values ('ban_late', $1, 'client', 'late', 'test', clock_timestamp() + interval '1 hour')`, h.made.Tenant); err != nil {
		t.Fatal(err)
	}
	barred := func(client string) bool {
		if err := node.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		return node.Barred(tenant.Subject{Tenant: h.made.Tenant, Channel: "room", ClientID: client}) != nil
	}
	for i := range 3 {
		name := fmt.Sprint("early", i)
		h.ban(h.store, h.scope, tenant.NewBan{Kind: tenant.ClientBan, Subject: name})
		if !barred(name) || barred("late") {
			t.Fatalf("barred: %s %v, late %v", name, barred(name), barred("late"))
		}
	}
	if err := late.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !barred("late") {
		t.Error("the late ban was overlooked")
	}
}

// Whatever several processes bar and lift, and whenever they look: what one has
// changed itself holds there at once, and who has looked knows what is true.
func TestBansAgree(t *testing.T) {
	h := newHouse(t)
	var stores []*tenant.Store
	for range 3 {
		stores = append(stores, h.newStore(h.pool))
	}
	// Each step asks Postgres some times: a quarter of the usual checks, unless told.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		flag.Set("rapid.checks", "25")
		defer flag.Set("rapid.checks", checks.DefValue)
	}
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		left, _, err := h.store.Bans(ctx, h.scope, tenant.BanQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range left {
			if err := h.store.Unban(ctx, h.scope, b.ID); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range stores {
			if err := s.Refresh(ctx); err != nil {
				t.Fatal(err)
			}
		}
		bans := map[string]string{}                            // the ban of each barred client
		known := make([]map[string]map[bool]bool, len(stores)) // what a store may answer: what it was last sure of, or true since
		clients := []string{"a", "b", "c"}
		for i := range known {
			known[i] = map[string]map[bool]bool{}
			for _, c := range clients {
				known[i][c] = map[bool]bool{false: true}
			}
		}
		changes := func(by int, client string, barred bool) {
			for i := range known {
				if i == by {
					known[i][client] = map[bool]bool{barred: true}
				} else {
					known[i][client][barred] = true
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"ban": func(t *rapid.T) {
				i, c := rapid.IntRange(0, len(stores)-1).Draw(t, "store"), rapid.SampledFrom(clients).Draw(t, "client")
				made, err := stores[i].Ban(ctx, h.scope, tenant.NewBan{Kind: tenant.ClientBan, Subject: c, Until: time.Now().Add(time.Hour)})
				if err != nil {
					t.Fatal(err)
				}
				if id, again := bans[c]; again && id != made.ID {
					t.Fatalf("barred twice as %s and %s", id, made.ID)
				}
				bans[c] = made.ID
				changes(i, c, true)
			},
			"unban": func(t *rapid.T) {
				i, c := rapid.IntRange(0, len(stores)-1).Draw(t, "store"), rapid.SampledFrom(clients).Draw(t, "client")
				id, there := bans[c]
				if err := stores[i].Unban(ctx, h.scope, id); (err == nil) != there {
					t.Fatalf("Unban = %v, there: %v", err, there)
				}
				if there {
					delete(bans, c)
					changes(i, c, false)
				}
			},
			"look": func(t *rapid.T) {
				i := rapid.IntRange(0, len(stores)-1).Draw(t, "store")
				if err := stores[i].Refresh(ctx); err != nil {
					t.Fatal(err)
				}
				for _, c := range clients {
					known[i][c] = map[bool]bool{bans[c] != "": true}
				}
			},
			"": func(t *rapid.T) {
				for i, s := range stores {
					for _, c := range clients {
						barred := s.Barred(tenant.Subject{Tenant: h.made.Tenant, Channel: "room", ClientID: c}) != nil
						if !known[i][c][barred] {
							t.Fatalf("store %d says of %s: barred %v; it may say %v", i, c, barred, known[i][c])
						}
					}
				}
			},
		})
	})
}
