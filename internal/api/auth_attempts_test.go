package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// A test question says what would come of its answer, and is in the log with what
// clients were asked about.
func TestAuthAttempts(t *testing.T) {
	c := newService(t).caller(t, "lark")
	answer := `{"allowed":true,"video_bit_rate":300,"metadata":"mine"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer)
	}))
	defer server.Close()
	const test = "/v1/settings/test-auth-webhook"
	c.do("POST", test, nil).problem(404, api.CodeNotFound)
	if all := c.get("/v1/auth-attempts").want(200).items(); len(all) != 0 {
		t.Errorf("nobody was asked, and yet: %v", all)
	}
	c.do("PATCH", "/v1/settings", map[string]any{"auth_url": server.URL}).want(200)

	said := c.do("POST", test, nil).want(200).object()
	grant, _ := said["grant"].(map[string]any)
	if said["decision"] != "allowed" || said["test"] != true || said["status"] != 200.0 || grant["video_bit_rate"] != 300.0 || said["refusal"] != nil ||
		said["answer_head"] != `{"allowed":true,"metadata":"[not kept]","video_bit_rate":300}` {
		t.Errorf("said %v", said)
	}
	answer = `{"allowed":false,"reason":"NO-SEAT"}`
	if said = c.do("POST", test, nil).want(200).object(); said["decision"] != "rejected" || said["refusal"] != "NO-SEAT" || said["grant"] != nil {
		t.Errorf("said %v", said)
	}
	answer = `{"video_bit_rate":"many"}`
	if said = c.do("POST", test, nil).want(200).object(); said["decision"] != "bad_response" || said["error_class"] != "bad_answer" || said["grant"] != nil {
		t.Errorf("said %v", said)
	}
	hook, err := c.tenants.AuthWebhook(t.Context(), c.scope)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	arrival := tenant.Arrival{Opening: tenant.Opening{ConnectionID: tenant.NewID(), Tenant: c.scope.Tenant(), Channel: "hello", Role: tenant.SendOnly, ClientID: "alice", Protocol: "whip"}}
	if _, err := c.hooks.Authorize(t.Context(), hook, arrival); err == nil {
		t.Fatal("a client came in")
	}
	eventually(t, "the log has them", func() bool { return len(c.get("/v1/auth-attempts").want(200).items()) == 4 })
	for query, want := range map[string]int{"": 4, "?decision=rejected": 1, "?channel_id=hello": 1, "?client_id=alice": 1, "?status=200": 3,
		"?connection_id=" + arrival.ConnectionID: 1, "?from=2026-01-01": 4, "?to=2026-01-01": 0, "?limit=2": 2} {
		if got := c.get("/v1/auth-attempts" + query).want(200).items(); len(got) != want {
			t.Errorf("%s finds %d, want %d", query, len(got), want)
		}
	}
	first := c.get("/v1/auth-attempts?limit=3").want(200)
	rest := c.get("/v1/auth-attempts?limit=3&cursor=" + first.next()).want(200)
	if newest := first.items()[0]; newest["connection_id"] != arrival.ConnectionID || newest["decision"] != "unavailable" || newest["status"] != nil || len(rest.items()) != 1 || rest.next() != "" {
		t.Errorf("the newest is %v, then %v", newest, rest.items())
	}
	one := c.get("/v1/auth-attempts/" + first.items()[0]["id"].(string)).want(200).object()
	if one["reason"] != "connection refused" || one["error_class"] != "connect" || one["protocol"] != "whip" {
		t.Errorf("one is %v", one)
	}
	c.get("/v1/auth-attempts/aut_none").problem(404, api.CodeNotFound)
	c.get("/v1/auth-attempts?decision=maybe").problem(422, api.CodeInvalid)
	c.get("/v1/auth-attempts?cursor=AAAA").problem(422, api.CodeInvalid)
}
