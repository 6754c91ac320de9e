package api_test

import (
	"net/url"
	"testing"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

func TestConnections(t *testing.T) {
	c := newService(t).caller(t, "lark")
	first, _ := c.open("hello", tenant.SendOnly)
	second, _ := c.open("hello", tenant.RecvOnly)
	third, _ := c.open("other", tenant.RecvOnly)

	channels := c.get("/v1/channels").want(200).items()
	if len(channels) != 2 || channels[0]["channel_id"] != "hello" || channels[0]["connections"] != 2.0 || channels[0]["sendonly"] != 1.0 || channels[1]["channel_id"] != "other" {
		t.Errorf("channels: %v", channels)
	}
	for query, want := range map[string][]string{
		"":                                {third, second, first},
		"?channel_id=hello":               {second, first},
		"?role=sendonly":                  {first},
		"?client_id=client-of-other":      {third},
		"?client_id=nobody":               {},
		"?channel_id=other&role=sendonly": {},
		"?channel_id=" + "hello@" + string(c.made.Tenant): {second, first},
	} {
		rows := c.get("/v1/connections" + query).want(200).items()
		var got []any
		for _, row := range rows {
			got = append(got, row["connection_id"])
		}
		if len(got) != len(want) {
			t.Errorf("connections%s: %v, want %v", query, got, want)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("connections%s: %v, want %v", query, got, want)
			}
		}
	}
	one := c.get("/v1/connections/" + first).want(200).object()
	if one["state"] != "connected" || one["role"] != "sendonly" || one["metadata"].(map[string]any)["seat"] != 7.0 || one["ended_at"] != nil || one["minutes"] != 1.0 {
		t.Errorf("connection: %v", one)
	}
	c.get("/v1/connections/"+tenant.NewID()).problem(404, api.CodeNotFound)
	c.get("/v1/connections?role=boss").problem(422, api.CodeInvalid)
	if p := c.get("/v1/connections?rolle=recvonly").problem(422, api.CodeInvalid); len(p.Errors) != 1 || p.Errors[0].Field != "rolle" || p.Errors[0].In != "query" {
		t.Errorf("an unknown parameter: %+v", p)
	}
	c.get("/v1/connections?channel_id=%00").problem(422, api.CodeInvalid)
	c.get("/v1/connections?client_id=%ff").problem(422, api.CodeInvalid)
}

func TestDisconnect(t *testing.T) {
	c := newService(t).caller(t, "lark")
	id, token := c.open("hello", tenant.RecvOnly)
	c.do("DELETE", "/v1/connections/"+id, nil).want(204)
	if c.endOf(id) != tenant.EndAPI {
		t.Errorf("ended for %q", c.endOf(id))
	}
	if one := c.get("/v1/connections/" + id).want(200).object(); one["state"] != "ended" || one["end_reason"] != tenant.EndAPI || one["ended_at"] == nil {
		t.Errorf("after its end: %v", one)
	}
	c.do("DELETE", "/v1/connections/"+id, nil).problem(404, api.CodeNotFound)
	wish := tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.RecvOnly}
	if _, _, err := c.tenants.Verify(t.Context(), wish); err != nil {
		t.Errorf("the token is barred, and nobody asked for it: %v", err)
	}

	id, token = c.open("hello", tenant.RecvOnly)
	c.do("DELETE", "/v1/connections/"+id+"?ban=client", nil).problem(422, api.CodeInvalid)
	c.do("DELETE", "/v1/connections/"+id+"?ban=token", nil).want(204)
	wish.Token = token
	if _, _, err := c.tenants.Verify(t.Context(), wish); err == nil {
		t.Error("the token is not barred")
	}
	if bans := c.get("/v1/bans").want(200).items(); len(bans) != 1 || bans[0]["kind"] != "token" {
		t.Errorf("bans: %v", bans)
	}
	actions := map[any]int{}
	for _, entry := range c.get("/v1/audit-log").want(200).items() {
		actions[entry["action"]]++
	}
	if actions["connection.disconnected"] != 2 {
		t.Errorf("audit log: %v", actions)
	}
}

// Any text without control characters is a channel's name, and must be one in a
// path, too.
func TestChannelNamesInPaths(t *testing.T) {
	c := newService(t).caller(t, "lark")
	other := c.service.caller(t, "finch")
	for _, name := range []string{
		"hello", "a/b", "a%2Fb", "100%", "雲雀", "a@b", "a b", "a+b", "a?b#c", "..", ".", "-", "*", "a;b=c", "é/ü//", "/", `"quoted"`, "{channel}", "connections",
	} {
		id, _ := c.open(name, tenant.RecvOnly)
		path := "/v1/channels/" + url.PathEscape(name) + "/connections"
		if name == "." || name == ".." {
			path = "/v1/channels/" + map[string]string{".": "%2E", "..": "%2E%2E"}[name] + "/connections"
		}
		other.do("DELETE", path, nil).problem(404, api.CodeNotFound)
		if got := c.do("DELETE", path, nil).want(200).object(); got["channel_id"] != name || got["connections"] != 1.0 {
			t.Errorf("%q: %v", name, got)
		}
		if c.endOf(id) != tenant.EndAPI {
			t.Errorf("%q was not ended", name)
		}
		c.do("DELETE", path, nil).problem(404, api.CodeNotFound)
	}
	// Its name with the tenant's id is the same channel.
	c.open("hello", tenant.RecvOnly)
	c.do("DELETE", "/v1/channels/hello@"+string(c.made.Tenant)+"/connections?ban=token", nil).want(200)
	for _, path := range []string{"/v1/channels/%00/connections", "/v1/channels/%ff/connections"} {
		c.do("DELETE", path, nil).problem(404, api.CodeNotFound)
	}
	c.do("DELETE", "/v1/channels//connections", nil).problem(404, api.CodeNotFound)
}
