package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
)

// newServers returns a platform that serves what tenants' servers ask for, on a
// database of its own and without media, and its URL.
func newServers(t testing.TB) (*platform, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &platform{log: slog.New(slog.DiscardHandler), db: &database{Pool: dbtest.New(t)},
		exports:  tenant.NewSeats("exports", exportsAtOnce, 0, 0),
		requests: tenant.NewSeats("requests", requestsAtOnce, requestsWaiting, requestPatience),
		paces:    tenant.NewPaces(actionsPerSecond, actionBurst)}
	var err error
	if p.tenants, err = tenant.NewStore(p.db.Pool, []byte("0123456789abcdef0123456789abcdef"), p.log); err != nil {
		t.Fatal(err)
	}
	p.hooks = webhooks.New(p.db.Pool, p.tenants, webhooks.Config{EgressAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Log: p.log})
	p.ledger = billing.NewLedger(p.db.Pool, p.hooks.Queue, p.log)
	p.ledger.OnChange(p.hooks.Wake)
	if p.node, err = cluster.Start(ctx, p.db.Pool, cluster.Config{Name: "test", Instance: t.Name(), Reaper: p.ledger, Log: p.log}); err != nil {
		t.Fatal(err)
	}
	p.stats = stats.New(p.db.Pool, p.log)
	p.credit = invoice.NewCredit(p.db.Pool, p.log)
	p.plans = billing.NewPlans(p.db.Pool)
	p.invoices = invoice.New(invoice.Config{Pool: p.db.Pool, Ledger: p.ledger, Plans: p.plans, Credit: p.credit, Log: p.log})
	p.node.UseHands(untouched{t})
	p.api = api.New(api.Config{Tenants: p.tenants, Ledger: p.ledger, Plans: p.plans, Invoices: p.invoices, Credit: p.credit, Hooks: p.hooks, Node: p.node, Seats: p.requests, DB: p.db.Pool,
		PublicURL: "http://localhost", Version: "test", Log: p.log})
	mux := http.NewServeMux()
	mux.Handle("/v1/", p.api)
	mux.HandleFunc("POST /{$}", p.withAPIKey(p.inTurn(p.action)))
	mux.HandleFunc("GET /stream", p.withAPIKey(p.stream))
	server := httptest.NewServer(mux)
	var loops sync.WaitGroup
	loops.Go(func() { p.hooks.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		loops.Wait()
		server.Close()
	})
	return p, server.URL
}

// untouched fails the test for whatever is done with a connection.
type untouched struct{ t testing.TB }

func (u untouched) End(id tenant.ID, connection string, why tenant.Parting) bool {
	u.t.Errorf("connection %s of %s was told to end: %s", connection, id, why.Reason)
	return true
}

func (untouched) Here(tenant.ID, tenant.Choice) []string { return nil }

func (untouched) Do(context.Context, tenant.ID, cluster.Order) (any, bool, error) {
	return nil, false, nil
}

// made is a tenant with a live connection in a channel.
func (p *platform) made(t testing.TB, name, channel string) (tenant.Created, tenant.Opening) {
	t.Helper()
	made, err := p.tenants.CreateTenant(t.Context(), tenant.NewTenant{Name: name, Email: name + "@example.com", Password: "larks sing at dawn"})
	if err != nil {
		t.Fatal(err)
	}
	o := tenant.Opening{ConnectionID: tenant.NewID(), Tenant: made.Tenant, Channel: channel, Role: tenant.SendOnly, ClientID: "client-of-" + name, Protocol: "sora"}
	if _, err := p.ledger.Open(t.Context(), p.node.ID(), o); err != nil {
		t.Fatal(err)
	}
	return made, o
}

// Every action, with all that another tenant has: not found, or an empty list,
// and nothing is changed.
func TestActionsOnAnotherTenant(t *testing.T) {
	p, url := newServers(t)
	theirs, o := p.made(t, "theirs", "secret-channel")
	mine, _ := p.made(t, "mine", "own-channel")
	before := dbtest.Digest(t, p.db.Pool, string(theirs.Tenant))
	for target := range actions {
		for _, channel := range []string{o.Channel, o.Channel + "@" + string(theirs.Tenant)} {
			body, err := json.Marshal(map[string]any{
				"receiver_connection_id": o.ConnectionID, "recv_connection_id": o.ConnectionID, "rid": "r0", "spotlight_number": 2, "metadata": 1, "key": "k", "value": 1,
				"channelId": channel, "channel_id": channel, "clientId": o.ConnectionID, "connection_id": o.ConnectionID, "client_id": o.ClientID,
				"role": string(o.Role), "data": "x"})
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+mine.APIKey)
			r.Header.Set("x-sora-target", target)
			w, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			var list []any
			isList := w.StatusCode == http.StatusOK && json.NewDecoder(w.Body).Decode(&list) == nil
			w.Body.Close()
			if text := fmt.Sprint(list); isList && (strings.Contains(text, o.Channel) || strings.Contains(text, o.ConnectionID) || strings.Contains(text, o.ClientID)) {
				t.Errorf("%s in %s shows what is another tenant's: %s", target, channel, text)
			}
			if target == "Sora_20171218.GetLicense" {
				continue // there is only one's own
			}
			if target == "Sora_20171101.GetStatsAllConnections" && isList {
				continue // of one's own
			}
			if strings.Contains(target, ".List") != isList || !isList && w.StatusCode != http.StatusNotFound {
				t.Errorf("%s in %s: status %d, list %v", target, channel, w.StatusCode, list)
			}
		}
	}
	for table, was := range before {
		if table == "webhook_cursor" {
			continue // moves by itself
		}
		if now := dbtest.Digest(t, p.db.Pool, string(theirs.Tenant))[table]; now != was {
			t.Errorf("another tenant changed %s: %s, it was %s", table, now, was)
		}
	}
}

// A stream has its own tenant's events, whatever position is asked for.
func TestStreamsHaveTheirOwnEvents(t *testing.T) {
	p, url := newServers(t)
	_, foreign := p.made(t, "theirs", "secret-channel")
	mine, own := p.made(t, "mine", "own-channel")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url+"/stream?after=0", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + mine.APIKey}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	ended := tenant.Ending{Reason: tenant.EndClient}
	if err := p.ledger.Close(ctx, foreign.ConnectionID, ended); err != nil {
		t.Fatal(err)
	}
	if err := p.ledger.Close(ctx, own.ConnectionID, ended); err != nil {
		t.Fatal(err)
	}
	for last := false; !last; {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var e tenant.Event
		if err := json.Unmarshal(frame, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != "hello" && (e.Tenant != mine.Tenant || strings.Contains(string(frame), "secret-channel")) {
			t.Fatalf("another tenant's event: %s", frame)
		}
		last = e.Type == tenant.ChannelEnded
	}
}

// A tenant whose servers ask too often is told to slow down, another is not.
func TestActionsComeAtAPace(t *testing.T) {
	p, url := newServers(t)
	p.paces = tenant.NewPaces(0.001, 2)
	busy, _ := p.made(t, "busy", "room")
	other, _ := p.made(t, "other", "room")
	ask := func(key string, want int) {
		t.Helper()
		if status, err := listConnectionsOf(t.Context(), url, key); err != nil || status != want {
			t.Errorf("status %d, want %d (%v)", status, want, err)
		}
	}
	ask(busy.APIKey, http.StatusOK)
	ask(busy.APIKey, http.StatusOK)
	ask(busy.APIKey, http.StatusTooManyRequests)
	ask(other.APIKey, http.StatusOK)
	if n := p.paces.Refused(); n != 1 {
		t.Errorf("counted %d", n)
	}
}

// The servers of a suspended tenant go on: they see what is live, and hear of it.
func TestServersOfASuspendedTenant(t *testing.T) {
	p, url := newServers(t)
	made, o := p.made(t, "lark", "room")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.tenants.Suspend(ctx, tenant.CommandLine(), made.Tenant, "the invoice of May is open"); err != nil {
		t.Fatal(err)
	}
	if status, err := listConnectionsOf(ctx, url, made.APIKey); err != nil || status != http.StatusOK {
		t.Errorf("an action: %d, %v", status, err)
	}
	conn, _, err := websocket.Dial(ctx, url+"/stream?after=0", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + made.APIKey}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := p.ledger.Close(ctx, o.ConnectionID, tenant.Ending{Reason: tenant.EndClient}); err != nil {
		t.Fatal(err)
	}
	for ended := false; !ended; {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		ended = strings.Contains(string(frame), `"`+string(tenant.ChannelEnded)+`"`)
	}
}
