package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// A cap is set by who pays, is one of the settings, and shows beside what is spent;
// settings are changed as a whole or not at all.
func TestSpendingCap(t *testing.T) {
	c := newService(t).caller(t, "lark")
	if m := c.get("/v1/spend").want(200).object(); m["cap"] != nil || m["refused_until"] != nil || m["currency"] != "JPY" || m["cap_percent"] != 0.0 {
		t.Errorf("without a cap: %v", m)
	}
	if set := c.get("/v1/settings").want(200).object(); set["spend_cap"] != nil {
		t.Errorf("settings: %v", set)
	}
	set := c.do("PATCH", "/v1/settings", `{"spend_cap":{"amount":5000,"action":"refuse"},"duplicate_client_id":"replace"}`).want(200).object()
	want := map[string]any{"amount": 5000.0, "decimal": "5000", "currency": "JPY", "action": "refuse"}
	same := func(got any) bool {
		limit, ok := got.(map[string]any)
		for key, value := range want {
			ok = ok && limit[key] == value
		}
		return ok
	}
	if !same(set["spend_cap"]) || set["duplicate_client_id"] != "replace" {
		t.Errorf("changed: %v", set)
	}
	if set := c.do("PATCH", "/v1/settings", `{"duplicate_client_id":"allow"}`).want(200).object(); !same(set["spend_cap"]) {
		t.Errorf("a cap that is left out: %v", set)
	}
	for body, field := range map[string]string{
		`{"spend_cap":{"amount":7000,"action":"refuse","currency":"USD"},"duplicate_client_id":"replace"}`: "spend_cap.currency",
		`{"spend_cap":{"amount":0,"action":"refuse"},"duplicate_client_id":"replace"}`:                     "spend_cap.amount",
		`{"spend_cap":{"amount":7000,"action":"shout"},"duplicate_client_id":"replace"}`:                   "spend_cap.action",
		`{"spend_cap":{"amount":7000},"duplicate_client_id":"replace"}`:                                    "spend_cap",
	} {
		p := c.do("PATCH", "/v1/settings", body).problem(422, api.CodeInvalid)
		if len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Field, field) {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
	if set := c.get("/v1/settings").want(200).object(); !same(set["spend_cap"]) || set["duplicate_client_id"] != "allow" {
		t.Errorf("what was refused has changed something: %v", set)
	}

	developer, billing := c.as(tenant.Developer), c.as(tenant.Billing)
	developer.do("PATCH", "/v1/settings", `{"spend_cap":null}`).problem(403, api.CodeForbidden)
	developer.do("PATCH", "/v1/settings", `{"duplicate_client_id":"allow"}`).want(200)
	developer.do("DELETE", "/v1/spend/cap", nil).problem(403, api.CodeForbidden)
	billing.do("POST", "/v1/spend/cap", `{"amount":6000,"currency":"JPY","action":"end"}`).want(http.StatusOK)
	want["amount"], want["decimal"], want["action"] = 6000.0, "6000", "end"
	if m := billing.get("/v1/spend").want(200).object(); !same(m["cap"]) {
		t.Errorf("a cap by billing: %v", m)
	}
	billing.do("DELETE", "/v1/spend/cap", nil).want(http.StatusNoContent)
	c.do("PATCH", "/v1/settings", `{"spend_cap":{"amount":8000,"action":"alert"}}`).want(200)
	if set := c.do("PATCH", "/v1/settings", `{"spend_cap":null}`).want(200).object(); set["spend_cap"] != nil {
		t.Errorf("taken away: %v", set)
	}
}
