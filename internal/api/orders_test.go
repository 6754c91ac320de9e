package api_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// Each operation becomes the order that it stands for.
func TestOrders(t *testing.T) {
	c := newService(t).caller(t, "lark")
	id, _ := c.open("hello", tenant.SendOnly)
	result := any(map[string]int{"connections": 3, "unreachable": 2, "dropped": 1})
	c.answer = func(cluster.Order) (any, error) { return result, nil }
	for _, test := range []struct {
		method, path string
		body         any
		want         cluster.Order
		answer       string
	}{
		{"POST", "/v1/channels/hello/push", map[string]any{"data": map[string]any{"a": 1}, "role": "recvonly", "client_id": "c"},
			cluster.Order{Action: cluster.ActionPush, Channel: "hello", Body: json.RawMessage(`{"data":{"a":1},"client_id":"c","role":"recvonly"}`)},
			`{"connections":3,"unreachable":2,"dropped":1,"confirmed":true}`},
		{"POST", "/v1/connections/" + id + "/push", `{"data": [ null ]}`,
			cluster.Order{Action: cluster.ActionPush, ConnectionID: id, Body: json.RawMessage(`{"data":[null]}`)}, `"confirmed":true`},
		{"POST", "/v1/connections/" + id + "/request-key-frame", nil, cluster.Order{Action: cluster.ActionKeyFrame, ConnectionID: id}, `{"confirmed":true}`},
		{"POST", "/v1/connections/" + id + "/request-simulcast-rid", map[string]any{"rid": "r1", "sender_connection_id": "x"},
			cluster.Order{Action: cluster.ActionSimulcastRID, ConnectionID: id, Body: json.RawMessage(`{"sender":"x","rid":"r1"}`)}, `{"confirmed":true}`},
		{"POST", "/v1/connections/" + id + "/request-spotlight-rid", map[string]any{"spotlight_focus_rid": "r1", "spotlight_unfocus_rid": "none"},
			cluster.Order{Action: cluster.ActionSpotlightRID, ConnectionID: id, Body: json.RawMessage(`{"focus":"r1","unfocus":"none"}`)}, `{"confirmed":true}`},
		{"POST", "/v1/connections/" + id + "/reset-spotlight-rid", map[string]any{},
			cluster.Order{Action: cluster.ActionSpotlightReset, ConnectionID: id, Body: json.RawMessage(`{}`)}, `{"confirmed":true}`},
		{"POST", "/v1/connections/" + id + "/focus", map[string]any{"fixed": true},
			cluster.Order{Action: cluster.ActionSpotlightFocus, ConnectionID: id, Body: json.RawMessage(`{"in":true,"fixed":true}`)}, `{"confirmed":true}`},
		{"POST", "/v1/connections/" + id + "/unfocus", nil,
			cluster.Order{Action: cluster.ActionSpotlightFocus, ConnectionID: id, Body: json.RawMessage(`{"in":false,"fixed":false}`)}, `{"confirmed":true}`},
		{"PATCH", "/v1/channels/hello/spotlight", map[string]any{"spotlight_number": 3},
			cluster.Order{Action: cluster.ActionSpotlightNumber, Channel: "hello", Body: json.RawMessage(`{"number":3}`)}, `{"confirmed":true}`},
		{"POST", "/v1/connections/" + id + "/notify-metadata", map[string]any{"metadata": nil, "push": true},
			cluster.Order{Action: cluster.ActionNotifyMetadata, ConnectionID: id, Body: json.RawMessage(`{"value":null,"push":true}`)}, `"confirmed":true`},
		{"POST", "/v1/connections/" + id + "/notify-metadata", map[string]any{"key": "k", "value": "v"},
			cluster.Order{Action: cluster.ActionNotifyMetaItem, ConnectionID: id, Body: json.RawMessage(`{"key":"k","value":"v","push":false}`)}, `"connections":3`},
	} {
		c.mu.Lock()
		c.orders = nil
		c.mu.Unlock()
		got := c.do(test.method, test.path, test.body).want(200)
		if !strings.Contains(string(got.body), test.answer) {
			t.Errorf("%s answers %s", test.path, got.body)
		}
		c.mu.Lock()
		if len(c.orders) != 1 || c.orders[0].Action != test.want.Action || c.orders[0].Channel != test.want.Channel ||
			c.orders[0].ConnectionID != test.want.ConnectionID || string(c.orders[0].Body) != string(test.want.Body) {
			t.Errorf("%s orders %+v %s", test.path, c.orders, c.orders[0].Body)
		}
		c.mu.Unlock()
	}
	c.do("POST", "/v1/channels/hello/push", map[string]any{}).problem(422, api.CodeInvalid)
	c.do("POST", "/v1/channels/hello/push", map[string]any{"data": strings.Repeat("x", api.MaxPushBytes)}).problem(413, tenant.TooLarge)
	c.do("POST", "/v1/connections/"+id+"/notify-metadata", map[string]any{}).problem(400, tenant.BadMessage)
	c.do("POST", "/v1/connections/"+id+"/request-simulcast-rid", map[string]any{"rid": "r9"}).problem(422, api.CodeInvalid)
	c.answer = func(cluster.Order) (any, error) { return nil, tenant.Refuse(tenant.RateLimited, "slow down") }
	c.do("POST", "/v1/connections/"+id+"/request-key-frame", nil).problem(429, tenant.RateLimited)
	c.as(tenant.Viewer).do("POST", "/v1/connections/"+id+"/request-key-frame", nil).problem(403, api.CodeForbidden)

	// With an idempotency key the order is a row of the request's transaction: it is not
	// done before that is committed, and not twice.
	c.mu.Lock()
	c.orders = nil
	c.mu.Unlock()
	for range 2 {
		got := c.do("POST", "/v1/channels/hello/push", map[string]any{"data": 7}, "Idempotency-Key", "once").want(200).object()
		if got["confirmed"] != false {
			t.Errorf("answered %v", got)
		}
	}
	var rows int
	if err := c.pool.QueryRow(t.Context(), `select count(*) from node_command where action = 'push'`).Scan(&rows); err != nil || rows != 1 || len(c.orders) != 0 {
		t.Errorf("%d rows, %d orders: %v", rows, len(c.orders), err)
	}
}

func TestEndWithAReason(t *testing.T) {
	c := newService(t).caller(t, "lark")
	first, _ := c.open("hello", tenant.SendOnly)
	second, _ := c.open("hello", tenant.RecvOnly)
	third, _ := c.open("hall", tenant.RecvOnly)
	path := "/v1/channels/hello/connections"
	for _, bad := range []any{map[string]any{"reason": 7}, map[string]any{"reason": []int{}}, map[string]any{"reason": "a\x00b"}} {
		c.do("DELETE", path, bad).problem(400, tenant.BadMessage)
	}
	c.do("DELETE", path, map[string]any{"reason": strings.Repeat("x", tenant.MaxReasonBytes)}).problem(413, tenant.TooLarge)
	c.do("DELETE", path+"?client_id=nobody", nil).problem(404, api.CodeNotFound)
	if got := c.do("DELETE", path+"?role=recvonly", map[string]any{"reason": map[string]any{"rule": 7}}).want(200).object(); got["connections"] != 1.0 || got["confirmed"] != true {
		t.Errorf("answered %v", got)
	}
	if c.endOf(first) != "" || c.endOf(second) != tenant.EndAPI {
		t.Errorf("ended %q, %q", c.endOf(first), c.endOf(second))
	}
	c.do("DELETE", "/v1/connections/"+third, map[string]any{"reason": "rude"}).want(204)
	reasons := map[any]any{}
	for _, e := range c.get("/v1/events").want(200).items() {
		if e["type"] == "connection.destroyed" {
			reasons[e["connection_id"]] = e["data"].(map[string]any)["disconnect_api_reason"]
		}
	}
	if reasons[third] != "rude" || reasons[second].(map[string]any)["rule"] != 7.0 {
		t.Errorf("the events tell %v", reasons)
	}
}

func TestSessions(t *testing.T) {
	c := newService(t).caller(t, "lark")
	id, _ := c.open("hello", tenant.SendOnly)
	c.do("DELETE", "/v1/connections/"+id, nil).want(204) // a first session has ended
	c.open("hello", tenant.RecvOnly)
	c.open("hello", tenant.RecvOnly)
	c.open("hall", tenant.SendRecv)
	live := c.get("/v1/sessions").want(200).items()
	if len(live) != 2 || live[0]["channel_id"] != "hall" || live[1]["connections"] != 2.0 || live[1]["state"] != "live" {
		t.Fatalf("live: %v", live)
	}
	page := c.get("/v1/sessions?limit=1").want(200)
	if rest := c.get("/v1/sessions?limit=1&cursor=" + url.QueryEscape(page.next())).want(200).items(); len(rest) != 1 || rest[0]["session_id"] != live[1]["session_id"] {
		t.Errorf("second page: %v", rest)
	}
	all := c.get("/v1/sessions?channel_id=hello").want(200).items()
	if len(all) != 2 || all[0]["session_id"] != live[1]["session_id"] || all[1]["state"] != "ended" || all[1]["ended_at"] == nil {
		t.Errorf("of a channel: %v", all)
	}
	ended := "/v1/sessions/" + all[1]["session_id"].(string)
	if one := c.get(ended).want(200).object(); one["state"] != "ended" {
		t.Errorf("one: %v", one)
	}
	c.do("DELETE", ended, nil).problem(404, api.CodeNotFound)
	now := "/v1/sessions/" + live[1]["session_id"].(string)
	if got := c.do("DELETE", now, map[string]any{"reason": "over"}).want(200).object(); got["connections"] != 2.0 || got["channel_id"] != "hello" {
		t.Errorf("terminated: %v", got)
	}
	if one := c.get(now).want(200).object(); one["state"] != "ended" || one["connections"] != 0.0 {
		t.Errorf("after its end: %v", one)
	}
	c.get("/v1/sessions/"+tenant.NewID()).problem(404, api.CodeNotFound)
}
