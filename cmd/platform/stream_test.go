package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/tenant"
)

// A request that gets no stream is refused as any other: by a problem document.
func TestStreamRefusals(t *testing.T) {
	p, url := newServers(t)
	made, _ := p.made(t, "lark", "room")
	biller, _, err := p.tenants.CreateAPIKey(t.Context(), tenant.OperatorScope(made.Tenant), "bills", tenant.Billing)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		query, key string
		status     int
		code       tenant.Code
	}{
		{"", "hib_live_nothing", http.StatusUnauthorized, "unauthorized"},
		{"", biller, http.StatusForbidden, "forbidden"},
		{"?after=-1", made.APIKey, http.StatusBadRequest, tenant.BadMessage},
		{"?after=99999999999999999999", made.APIKey, http.StatusBadRequest, tenant.BadMessage},
		{"?format=sora2014", made.APIKey, http.StatusBadRequest, tenant.BadMessage},
		{"?types=connection.create", made.APIKey, http.StatusBadRequest, tenant.BadMessage},
		{"?channel_id=" + strings.Repeat("x", 256), made.APIKey, http.StatusBadRequest, tenant.BadMessage},
	} {
		_, answer, err := websocket.Dial(t.Context(), url+"/stream"+c.query, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + c.key}}})
		if err == nil || answer == nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		var problem struct {
			Type, Title, Detail string
			Status              int
			Code                tenant.Code
		}
		if err := json.NewDecoder(answer.Body).Decode(&problem); err != nil || answer.StatusCode != c.status || problem.Status != c.status ||
			problem.Code != c.code || problem.Type != "about:blank" || problem.Detail == "" || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %+v, %v; want %d %s", c.query, answer.Status, problem, err, c.status, c.code)
		}
	}
}

// A stream ends when its API key is revoked, here within five seconds.
func TestStreamOfARevokedKey(t *testing.T) {
	t.Parallel()
	p, url := newServers(t)
	made, _ := p.made(t, "lark", "room")
	scope := tenant.OperatorScope(made.Tenant)
	key, k, err := p.tenants.CreateAPIKey(t.Context(), scope, "leaked", tenant.Developer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	open := func(key string) *websocket.Conn {
		conn, _, err := websocket.Dial(ctx, url+"/stream", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseNow() })
		if _, _, err := conn.Read(ctx); err != nil { // hello
			t.Fatal(err)
		}
		return conn
	}
	leaked, other := open(key), open(made.APIKey)
	if err := p.tenants.RevokeAPIKey(ctx, scope, k.ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = leaked.Read(ctx)
	var end websocket.CloseError
	if !errors.As(err, &end) || end.Code != websocket.StatusPolicyViolation || !strings.HasPrefix(end.Reason, "unauthorized: ") {
		t.Errorf("ended with %v", err)
	}
	o := tenant.Opening{ConnectionID: tenant.NewID(), Tenant: made.Tenant, Channel: "room", Role: tenant.RecvOnly, ClientID: "c", Protocol: "sora"}
	if _, err := p.ledger.Open(ctx, p.node.ID(), o); err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Read(ctx); err != nil {
		t.Errorf("the stream of another key: %v", err)
	}
}
