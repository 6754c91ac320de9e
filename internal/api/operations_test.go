package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// eventually calls f until it returns true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestWebhookEndpoints(t *testing.T) {
	c := newService(t).caller(t, "lark")
	other := c.service.caller(t, "finch")
	got := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- r.Header.Get("webhook-id") }))
	defer receiver.Close()

	made := c.do("POST", "/v1/webhook-endpoints", map[string]any{"url": receiver.URL, "types": []string{"connection.created"}}).want(201).object()
	id := made["id"].(string)
	if !strings.HasPrefix(made["secret"].(string), "whsec_") || made["status"] != "enabled" {
		t.Errorf("made: %v", made)
	}
	path := "/v1/webhook-endpoints/" + id
	if one := c.get(path).want(200).object(); one["secret"] != nil || one["url"] != receiver.URL {
		t.Errorf("read: %v", one)
	}
	if all := c.get("/v1/webhook-endpoints").want(200).items(); len(all) != 1 {
		t.Errorf("listed: %v", all)
	}
	rotated := c.do("POST", path+"/rotate-secret", nil).want(200).object()
	if rotated["secret"] == made["secret"] || rotated["id"] != id || rotated["previous_secret_until"] == nil {
		t.Errorf("rotated: %v", rotated)
	}
	c.do("DELETE", path+"/previous-secret", nil).want(204)
	if one := c.get(path).want(200).object(); one["previous_secret_until"] != nil {
		t.Errorf("the old secret is not forgotten: %v", one)
	}
	c.do("POST", path+"/rotate-secret", `{"overlap_seconds":86400}`).want(200)
	if leaked := c.do("POST", path+"/rotate-secret", `{"overlap_seconds":0}`).want(200).object(); leaked["previous_secret_until"] != nil {
		t.Errorf("a leaked secret goes on: %v", leaked)
	}
	c.do("POST", path+"/rotate-secret", `{"overlap_seconds":3600}`).problem(422, api.CodeInvalid)
	narrowed := c.do("PATCH", path, `{"channel_prefix":"lobby-"}`).want(200).object()
	if narrowed["channel_prefix"] != "lobby-" || len(narrowed["types"].([]any)) != 1 {
		t.Errorf("narrowed: %v", narrowed)
	}
	c.do("PATCH", path, `{"channel_prefix":""}`).want(200)
	changed := c.do("PATCH", path, map[string]any{"types": []string{}, "status": "disabled"}).want(200).object()
	if changed["url"] != receiver.URL || len(changed["types"].([]any)) != 0 || changed["status"] != "disabled" {
		t.Errorf("changed: %v", changed)
	}
	c.do("POST", path+"/test", nil).problem(409, api.CodeConflict)
	c.do("PATCH", path, map[string]any{"status": "enabled", "url": receiver.URL + "/2"}).want(200)

	sent := c.do("POST", path+"/test", nil).want(202).object()
	event := <-got
	delivery := "/v1/deliveries/" + sent["id"].(string)
	eventually(t, "the delivery is noted", func() bool { return c.get(delivery).want(200).object()["state"] == "delivered" })
	one := c.get(delivery).want(200).object()
	if one["event_id"] != event || one["event"].(map[string]any)["type"] != "ping" || len(one["log"].([]any)) != 1 || one["last_status"] != 200.0 {
		t.Errorf("delivery: %v", one)
	}
	first := one["log"].([]any)[0].(map[string]any)["exchange"].(map[string]any)
	if first["request_headers"].(map[string]any)["Webhook-Id"] != event || first["timing"].(map[string]any)["total_ms"].(float64) <= 0 || first["remote_address"] != strings.TrimPrefix(receiver.URL, "http://") {
		t.Errorf("exchange: %v", first)
	}
	health := c.get(path + "/health?window=24h").want(200).object()
	if total := health["total"].(map[string]any); total["attempts"] != 1.0 || total["failures"] != 0.0 || total["p95_ms"] == nil || len(health["points"].([]any)) != 96 || health["undelivered"] != 0.0 {
		t.Errorf("health: %v", health)
	}
	c.get(path+"/health?window=1y").problem(422, api.CodeInvalid)
	again := c.do("POST", delivery+"/replay", nil).want(202).object()
	if again["replay"] != 1.0 || again["id"] == sent["id"] || <-got != event {
		t.Errorf("replayed: %v", again)
	}
	if all := c.get(path + "/deliveries").want(200).items(); len(all) != 2 || all[0]["id"] != again["id"] {
		t.Errorf("deliveries: %v", all)
	}
	page := c.get(path + "/deliveries?limit=1").want(200)
	if rest := c.get(path + "/deliveries?limit=1&cursor=" + page.next()).want(200); rest.items()[0]["id"] != sent["id"] || rest.next() != "" {
		t.Errorf("second page: %s", rest.body)
	}
	if none := c.get(path + "/deliveries?state=dead").want(200).items(); len(none) != 0 {
		t.Errorf("dead: %v", none)
	}

	for query, n := range map[string]int{"type=ping": 2, "type=channel.ended": 0, "answer=2xx": 2, "answer=none": 0, "channel_id=hello": 0,
		"from=2020-01-01T00:00:00Z": 2, "until=2020-01-01T00:00:00Z": 0} {
		eventually(t, "both delivered", func() bool { return len(c.get(path+"/deliveries?state=delivered").want(200).items()) == 2 })
		if found := c.get(path + "/deliveries?" + query).want(200).items(); len(found) != n {
			t.Errorf("%s: %d deliveries, want %d", query, len(found), n)
		}
	}
	shown := c.do("POST", path+"/test", `{"type":"connection.destroyed"}`).want(202).object()
	if shown["event_type"] != "connection.destroyed" || shown["test"] != true {
		t.Errorf("example: %v", shown)
	}
	<-got
	c.do("POST", path+"/test", `{"type":"recording.ready"}`).problem(422, api.CodeInvalid)

	for _, ask := range [][2]string{{"GET", path}, {"PATCH", path}, {"DELETE", path}, {"POST", path + "/rotate-secret"}, {"DELETE", path + "/previous-secret"}, {"POST", path + "/test"},
		{"GET", path + "/health"}, {"GET", path + "/deliveries"}, {"GET", delivery}, {"POST", delivery + "/replay"}} {
		var body any
		if ask[0] == "PATCH" {
			body = map[string]any{"status": "disabled"}
		}
		other.do(ask[0], ask[1], body).problem(404, api.CodeNotFound)
	}
	c.do("DELETE", path, nil).want(204)
	c.get(path).problem(404, api.CodeNotFound)

	for body, field := range map[string]string{
		`{"url":"ftp://example.com"}`:                        "url",
		`{"url":"https://example.com","types":["nonsense"]}`: "types",
		`{"types":[]}`: "",
		`{"url":"https://example.com","URL":"https://a.b"}`: "URL",
		`{"url":7}`: "url",
		`{"url":"https://example.com","secret":"mine"}`:     "secret",
		`{"url":"https://example.com","types":["ping", 3]}`: "types[1]",
		`{"url":"https://example.com","types":{"a":"b"}}`:   "types",
	} {
		p := c.do("POST", "/v1/webhook-endpoints", body).problem(422, api.CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Field != field || p.Errors[0].In != "body" || p.Errors[0].Detail == "" {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
}

func TestBodies(t *testing.T) {
	c := newService(t).caller(t, "lark")
	const path = "/v1/signing-keys"
	for body, code := range map[string]tenant.Code{
		`{"name":`:                tenant.BadMessage,
		`{"name":"a"} {}`:         tenant.BadMessage,
		`{"name":"a","name":"b"}`: tenant.BadMessage,
		"{\"name\":\"\xff\"}":     tenant.BadMessage,
		strings.Repeat(`{"name":`, 40) + `1` + strings.Repeat("}", 40): tenant.BadMessage,
		``: tenant.BadMessage,
	} {
		c.do("POST", path, body).problem(400, code)
	}
	c.do("POST", path, `["name"]`).problem(422, api.CodeInvalid)
	c.do("POST", path, `{"name":"`+strings.Repeat("a", 70_000)+`"}`).problem(413, tenant.TooLarge)
	c.do("POST", path, `{"name":"a"}`, "Content-Type", "text/plain").problem(415, api.CodeUnsupportedMediaType)
	c.do("POST", path, `name=a`, "Content-Type", "application/x-www-form-urlencoded").problem(415, api.CodeUnsupportedMediaType)
	c.do("POST", path, `{"name":"a"}`, "Content-Type", "application/json; charset=utf-8").want(201)
	c.do("POST", path, `{"name":"a"}`, "Authorization", "Basic "+c.key).problem(401, api.CodeUnauthorized)
}

func TestEvents(t *testing.T) {
	c := newService(t).caller(t, "lark")
	if p := c.get("/v1/events").want(200); len(p.items()) != 0 || p.next() != "" {
		t.Errorf("events of nobody: %s", p.body)
	}
	c.open("hello", tenant.SendOnly)
	c.open("hello", tenant.RecvOnly)
	all := c.get("/v1/events?after=0").want(200).items()
	if len(all) < 4 || all[0]["seq"] != 1.0 || all[0]["type"] != "channel.started" {
		t.Fatalf("events: %v", all)
	}
	var paged []map[string]any
	for cursor, pages := "0", 0; cursor != ""; pages++ {
		p := c.get("/v1/events?limit=2&after=" + cursor).want(200)
		paged = append(paged, p.items()...)
		if cursor = p.next(); pages > 10 {
			t.Fatal("the pages do not end")
		}
	}
	if len(paged) != len(all) {
		t.Errorf("in pages %d, at once %d", len(paged), len(all))
	}
	for i, e := range paged {
		if e["seq"] != float64(i+1) {
			t.Errorf("seq %v in place %d", e["seq"], i)
		}
	}
	if p := c.get("/v1/events?after=5000").problem(422, api.CodeInvalid); p.Errors[0].Field != "after" {
		t.Errorf("ahead: %+v", p)
	}
	c.get("/v1/events?after=-1").problem(422, api.CodeInvalid)
	c.get("/v1/events?after=99999999999999999999").problem(422, api.CodeInvalid)
	if _, err := c.pool.Exec(t.Context(), `delete from event where tenant_id = $1 and seq <= 2`, c.made.Tenant); err != nil {
		t.Fatal(err)
	}
	if p := c.get("/v1/events?after=0").problem(410, api.CodeExpired); p.RetentionFrom != 3 || !strings.Contains(p.Detail, "go on with after=2") {
		t.Errorf("expired: %+v", p)
	}
	if rest := c.get("/v1/events").want(200).items(); len(rest) != len(all)-2 {
		t.Errorf("what is kept: %v", rest)
	}
}

// A filter leaves events out and not their place: whoever goes on from a page's
// position misses nothing.
func TestEventsWithAFilter(t *testing.T) {
	c := newService(t).caller(t, "lark")
	first, _ := c.open("hello", tenant.SendOnly)
	c.open("other", tenant.RecvOnly)
	all := c.get("/v1/events?after=0").want(200).items()
	find := func(query string, wanted func(e map[string]any) bool) {
		t.Helper()
		var want, got []any
		for _, e := range all {
			if wanted(e) {
				want = append(want, e["seq"])
			}
		}
		for cursor, pages := "0", 0; cursor != ""; pages++ {
			p := c.get("/v1/events?limit=1&" + query + "&after=" + cursor).want(200)
			for _, e := range p.items() {
				got = append(got, e["seq"])
			}
			var page struct{ Position int64 }
			if err := json.Unmarshal(p.body, &page); err != nil {
				t.Fatal(err)
			}
			if cursor = p.next(); cursor == "" && page.Position != int64(len(all)) || cursor != "" && cursor != fmt.Sprint(page.Position) || pages > 20 {
				t.Fatalf("%s: after page %d at %d, next %q", query, pages, page.Position, cursor)
			}
		}
		if !reflect.DeepEqual(got, want) || len(want) == 0 || len(want) == len(all) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	find("types=connection.connecting,ping", func(e map[string]any) bool { return e["type"] == "connection.connecting" })
	find("channel_id=other", func(e map[string]any) bool { return e["channel_id"] == "other" })
	find("connection_id="+first, func(e map[string]any) bool { return e["connection_id"] == first })
	find("types=connection.connecting&channel_id=other", func(e map[string]any) bool {
		return e["type"] == "connection.connecting" && e["channel_id"] == "other"
	})
	if p := c.get("/v1/events?types=ping").want(200); len(p.items()) != 0 || p.next() != "" {
		t.Errorf("none of a type: %s", p.body)
	}
	if p := c.get("/v1/events?types=ping,no.such").problem(422, api.CodeInvalid); p.Errors[0].Field != "types[1]" {
		t.Errorf("an unknown type: %+v", p)
	}
}

func TestSettings(t *testing.T) {
	c := newService(t).caller(t, "lark")
	if s := c.get("/v1/settings").want(200).object(); s["auth_url"] != "" || s["accept_signing_secret"] != false {
		t.Errorf("settings: %v", s)
	}
	s := c.do("PATCH", "/v1/settings", `{"auth_url":"http://127.0.0.1:9/auth","accept_signing_secret":true}`).want(200).object()
	if s["auth_secret"] == nil || s["accept_signing_secret"] != true {
		t.Errorf("changed: %v", s)
	}
	secret := s["auth_secret"]
	if s = c.do("PATCH", "/v1/settings", `{"accept_signing_secret":false}`).want(200).object(); s["auth_url"] != "http://127.0.0.1:9/auth" || s["auth_secret"] != nil {
		t.Errorf("changed again: %v", s)
	}
	if s = c.do("PATCH", "/v1/settings", `{"duplicate_client_id":"replace"}`).want(200).object(); s["duplicate_client_id"] != "replace" || s["auth_url"] == "" {
		t.Errorf("changed a third time: %v", s)
	}
	c.do("PATCH", "/v1/settings", `{"duplicate_client_id":"fight"}`).problem(422, api.CodeInvalid)
	if s = c.do("POST", "/v1/settings/rotate-auth-secret", nil).want(200).object(); s["auth_secret"] == nil || s["auth_secret"] == secret {
		t.Errorf("rotated: %v", s)
	}
	if p := c.do("PATCH", "/v1/settings", `{"auth_url":"nowhere","accept_signing_secret":true}`).problem(422, api.CodeInvalid); p.Errors[0].Field != "auth_url" {
		t.Errorf("a bad URL: %+v", p)
	}
	if s = c.get("/v1/settings").want(200).object(); s["accept_signing_secret"] != false {
		t.Errorf("half a change was made: %v", s)
	}
	c.do("PATCH", "/v1/settings", `{"auth_url":""}`).want(200)
	c.do("POST", "/v1/settings/rotate-auth-secret", nil).problem(404, api.CodeNotFound)
}

func TestUsageAndLicence(t *testing.T) {
	c := newService(t).caller(t, "lark")
	c.open("=cmd()", tenant.SendOnly)
	c.open("hello", tenant.RecvOnly)
	c.open("hello", tenant.RecvOnly)
	for group, want := range map[string]int{"hour": 1, "day": 1, "channel": 2, "role": 2} {
		p := c.get("/v1/usage?group_by=" + group).want(200)
		minutes := 0.0
		for _, row := range p.items() {
			minutes += row["minutes"].(float64)
		}
		if len(p.items()) != want || minutes != 3 || p.object()["time_zone"] == "" {
			t.Errorf("by %s: %s", group, p.body)
		}
	}
	first := c.get("/v1/usage?group_by=channel&limit=1").want(200)
	rest := c.get("/v1/usage?group_by=channel&limit=1&cursor=" + first.next()).want(200)
	if first.items()[0]["channel_id"] != "=cmd()" || rest.items()[0]["channel_id"] != "hello" || rest.next() != "" {
		t.Errorf("pages: %s %s", first.body, rest.body)
	}
	c.get("/v1/usage?group_by=role&cursor="+first.next()).problem(422, api.CodeInvalid)

	file := c.do("GET", "/v1/usage?group_by=channel", nil, "Accept", "text/csv").want(200)
	lines, err := csv.NewReader(strings.NewReader(string(file.body))).ReadAll()
	if err != nil || len(lines) != 3 || lines[0][3] != "channel_id" || lines[1][3] != "'=cmd()" || lines[2][6] != "2" {
		t.Errorf("CSV: %v %v", lines, err)
	}
	for _, query := range []string{"from=yesterday", "from=2026-11-02&to=2026-11-01", "from=2020-01-01&to=2026-01-01", "group_by=week", "from=2026-13-01", "limit=0", "limit=x"} {
		c.get("/v1/usage?"+query).problem(422, api.CodeInvalid)
	}
	c.get("/v1/usage?from=2026-01-01T00:00:00%2B09:00&to=2026-02-01").want(200)
	plan := c.get("/v1/plan").want(200).object()
	current := plan["current"].(map[string]any)
	components := current["components"].([]any)
	if minutes := components[0].(map[string]any); current["plan_id"] != "standard" || current["from"] != nil || current["licence"].(map[string]any)["base_decimal"] != "2400000" ||
		minutes["key"] != "connection_minutes" || minutes["text"] != "included" || minutes["unit_price"] != "0" || len(plan["scheduled"].([]any)) != 0 {
		t.Errorf("plan: %v", plan)
	}
	if l := c.get("/v1/licence").want(200).object(); l["connections"] != 3.0 || l["max_connections"] == 0.0 {
		t.Errorf("licence: %v", l)
	}
}

func TestAccessTokens(t *testing.T) {
	c := newService(t).caller(t, "lark")
	made := c.do("POST", "/v1/access-tokens", `{"channel_id":"hello","role":"recvonly","ttl":60,"client_id":"ann","max_duration":90,"metadata":{"n":12345678901234567890}}`).want(201).object()
	claim, _, err := c.tenants.Verify(t.Context(), tenant.TokenWish{Token: made["token"], Channel: "hello", Role: tenant.RecvOnly})
	if err != nil {
		t.Fatal(err)
	}
	until, err := time.Parse(time.RFC3339, made["expires_at"].(string))
	if err != nil || claim.ExpiresAt.Sub(until).Abs() > time.Second || claim.MaxDuration != 90*time.Second || string(claim.Metadata) != `{"n":12345678901234567890}` {
		t.Errorf("claim %+v, told %v", claim, made)
	}
	if _, _, err := c.tenants.Verify(t.Context(), tenant.TokenWish{Token: made["token"], Channel: "hello", Role: tenant.SendOnly}); err == nil {
		t.Error("it is good for another role")
	}
	c.do("POST", "/v1/access-tokens", `{"channel_id":"hello"}`).want(201)
	made = c.do("POST", "/v1/access-tokens", `{"channel_id":"hello","role":["sendonly","sendrecv"],"max_channel_connections":2,"duplicate_client_id":"replace"}`).want(201).object()
	for role, want := range map[tenant.Role]bool{tenant.SendOnly: true, tenant.SendRecv: true, tenant.RecvOnly: false} {
		claim, _, err := c.tenants.Verify(t.Context(), tenant.TokenWish{Token: made["token"], Channel: "hello", Role: role})
		if (err == nil) != want || claim.Grant.MaxChannelConnections != 2 || claim.Grant.Duplicates != tenant.DuplicatesReplace {
			t.Errorf("%s: %+v, %v", role, claim, err)
		}
	}
	for body, field := range map[string]string{
		`{"channel_id":"hello","ttl":90000}`:                                      "ttl",
		`{"channel_id":"hello","metadata":[1]}`:                                   "metadata",
		`{"channel_id":"hello","role":"boss"}`:                                    "role",
		`{"channel_id":"hello","role":["sendonly","boss"]}`:                       "role",
		`{"channel_id":"hello","role":[]}`:                                        "role",
		`{"channel_id":"hello","role":7}`:                                         "role",
		`{"channel_id":"hello","max_channel_connections":0}`:                      "max_channel_connections",
		`{"channel_id":"hello","max_channel_connections":100001}`:                 "max_channel_connections",
		`{"channel_id":"hello","duplicate_client_id":"fight"}`:                    "duplicate_client_id",
		`{"channel_id":""}`:                                                       "channel_id",
		`{"channel_id":"a\u0000b"}`:                                               "channel_id",
		`{"channel_id":"` + strings.Repeat("雲", 100) + `"}`:                       "channel_id",
		`{"channel_id":"a","metadata":{"a":"` + strings.Repeat("a", 5000) + `"}}`: "metadata",
	} {
		if p := c.do("POST", "/v1/access-tokens", body).problem(422, api.CodeInvalid); len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
}

func TestKeys(t *testing.T) {
	c := newService(t).caller(t, "lark")
	other := c.service.caller(t, "finch")
	made := c.do("POST", "/v1/signing-keys", `{"name":"web"}`).want(201).object()
	if made["algorithm"] != "HS256" || made["secret"] == "" || made["name"] != "web" {
		t.Errorf("made: %v", made)
	}
	if all := c.get("/v1/signing-keys").want(200).items(); len(all) != 2 || all[0]["id"] != made["id"] || all[0]["secret"] != nil {
		t.Errorf("signing keys: %v", all)
	}
	path := "/v1/signing-keys/" + made["id"].(string)
	public := map[string]any{"public_key": `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "replaces": made["id"], "retire_at": time.Now().Add(time.Hour)}
	taken := c.do("POST", "/v1/signing-keys", public).want(201).object()
	if taken["algorithm"] != "EdDSA" || taken["secret"] != nil || taken["name"] != "web" {
		t.Errorf("a public key: %v", taken)
	}
	if later := c.do("PATCH", path, `{"retire_at":null}`).want(200).object(); later["retires_at"] != nil {
		t.Errorf("it retires after all: %v", later)
	}
	other.do("PATCH", path, `{"retire_at":null}`).problem(404, api.CodeNotFound)
	other.do("POST", "/v1/signing-keys", map[string]any{"replaces": made["id"]}).problem(404, api.CodeNotFound)
	c.do("POST", "/v1/signing-keys", `{"public_key":"nonsense"}`).problem(422, api.CodeInvalid)
	c.do("DELETE", "/v1/signing-keys/"+taken["id"].(string), nil).want(204)
	other.do("DELETE", path, nil).problem(404, api.CodeNotFound)
	c.do("DELETE", path, nil).want(204)
	c.do("DELETE", path, nil).problem(404, api.CodeNotFound)
	c.do("DELETE", "/v1/signing-keys/"+c.made.SigningKeyID, nil).want(204)
	c.do("POST", "/v1/access-tokens", `{"channel_id":"hello"}`).problem(409, api.CodeConflict)

	key := c.do("POST", "/v1/api-keys", `{"name":"server","role":"viewer"}`).want(201).object()
	viewer := &caller{c.service, t, key["key"].(string), c.made, c.scope}
	if me := viewer.get("/v1/tenant").want(200).object(); me["role"] != "viewer" || me["id"] != string(c.made.Tenant) || me["actor"] != "api_key:"+key["id"].(string) {
		t.Errorf("who it is: %v", me)
	}
	if own := c.do("POST", "/v1/api-keys", `{}`).want(201).object(); own["role"] != "admin" {
		t.Errorf("a key of its own role: %v", own)
	}
	c.as(tenant.Developer).do("POST", "/v1/api-keys", `{"role":"admin"}`).problem(422, api.CodeInvalid)
	c.do("POST", "/v1/api-keys", `{"role":"owner"}`).problem(422, api.CodeInvalid)
	other.do("DELETE", "/v1/api-keys/"+key["id"].(string), nil).problem(404, api.CodeNotFound)
	c.do("DELETE", "/v1/api-keys/"+key["id"].(string), nil).want(204)
	viewer.get("/v1/tenant").problem(401, api.CodeUnauthorized)
	if all := c.get("/v1/api-keys?limit=1").want(200); len(all.items()) != 1 || all.next() == "" {
		t.Errorf("API keys: %s", all.body)
	}
	if all := c.get("/v1/members").want(200).items(); len(all) != 1 || all[0]["role"] != "owner" {
		t.Errorf("members: %v", all)
	}
}

func TestBans(t *testing.T) {
	c := newService(t).caller(t, "lark")
	other := c.service.caller(t, "finch")
	_, token := c.open("hello", tenant.RecvOnly)
	made := c.do("POST", "/v1/bans", map[string]any{"kind": "token", "subject": token, "ttl": 60, "reason": "rude"}).want(201).object()
	if made["subject"] == token || made["channel_id"] != nil || made["spares_live"] != false {
		t.Errorf("made: %v", made)
	}
	wish := tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.RecvOnly}
	if _, _, err := c.tenants.Verify(t.Context(), wish); err == nil {
		t.Error("the token is not barred")
	}
	c.do("POST", "/v1/bans", map[string]any{"kind": "client", "subject": "ann", "channel_id": "hello", "expires_at": time.Now().Add(time.Hour)}).want(201)
	if all := c.get("/v1/bans").want(200).items(); len(all) != 2 || all[0]["kind"] != "client" {
		t.Errorf("bans: %v", all)
	}
	if some := c.get("/v1/bans?kind=token&text=RUDE").want(200).items(); len(some) != 1 || some[0]["id"] != made["id"] {
		t.Errorf("some bans: %v", some)
	}
	first := c.get("/v1/bans?limit=1").want(200)
	if rest := c.get("/v1/bans?limit=1&cursor=" + first.next()).want(200); rest.items()[0]["id"] != made["id"] || rest.next() != "" {
		t.Errorf("second page: %s", rest.body)
	}
	path := "/v1/bans/" + made["id"].(string)
	other.do("DELETE", path, nil).problem(404, api.CodeNotFound)
	other.do("POST", "/v1/bans", map[string]any{"kind": "connection", "subject": tenant.NewID()}).problem(404, api.CodeNotFound)
	c.do("DELETE", path, nil).want(204)
	c.do("DELETE", path, nil).problem(404, api.CodeNotFound)
	if _, _, err := c.tenants.Verify(t.Context(), wish); err != nil {
		t.Errorf("the token is still barred: %v", err)
	}
	for body, field := range map[string]string{
		`{"kind":"token","subject":"nonsense"}`:                                         "subject",
		`{"kind":"person","subject":"ann"}`:                                             "kind",
		`{"kind":"client","subject":"ann","expires_at":"2001-01-01T00:00:00Z"}`:         "expires_at",
		`{"kind":"client","subject":"ann","expires_at":"tomorrow"}`:                     "expires_at",
		`{"kind":"client","subject":"ann","ttl":5,"expires_at":"2036-01-01T00:00:00Z"}`: "ttl",
		`{"kind":"channel","subject":"hello","channel_id":"hello"}`:                     "channel_id",
	} {
		if p := c.do("POST", "/v1/bans", body).problem(422, api.CodeInvalid); len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}
}

func TestLicence(t *testing.T) {
	c := newService(t).caller(t, "lark")
	before := c.get("/v1/licence").want(200).object()
	current := before["current"].(map[string]any)
	if current["id"] == "" || current["max_connections"] != before["max_connections"] {
		t.Errorf("licence: %v", before)
	}
	quoted := c.get("/v1/licence/quote?connections=500").want(200).object()
	charge := quoted["to"].(map[string]any)["price"].(map[string]any)["charge"].(map[string]any)
	if quoted["now"] != true || charge["currency"] != "JPY" || charge["total"] != 3960000.0 || charge["decimal"].(map[string]any)["total"] != "3960000" {
		t.Errorf("quote: %v", quoted)
	}
	if p := c.get("/v1/licence/quote?connections=100000").problem(422, api.CodeInvalid); p.Errors[0].In != "query" || p.Errors[0].Field != "connections" {
		t.Errorf("too many: %+v", p)
	}
	c.get("/v1/licence/quote").problem(422, api.CodeInvalid)
	c.do("POST", "/v1/licence/change", map[string]any{"connections": 500, "licence_id": "lic_of_yesterday"}).problem(409, api.CodeConflict)
	payer := c.as(tenant.Billing)
	payer.do("POST", "/v1/licence/change", map[string]any{"connections": 500, "licence_id": current["id"]}).want(200)
	if after := c.get("/v1/licence").want(200).object(); after["max_connections"] != 500.0 {
		t.Errorf("changed: %v", after)
	}
	payer.do("DELETE", "/v1/licence/change", nil).problem(404, api.CodeNotFound)
	payer.do("POST", "/v1/licence/change", `{"connections":300}`).want(200)
	if after := c.get("/v1/licence").want(200).object(); after["max_connections"] != 500.0 || after["scheduled"].(map[string]any)["max_connections"] != 300.0 {
		t.Errorf("scheduled: %v", after)
	}
	payer.do("DELETE", "/v1/licence/change", nil).want(204)
	first := c.get("/v1/licence/history?limit=1").want(200)
	rest := c.get("/v1/licence/history?limit=5&cursor=" + first.next()).want(200)
	if len(first.items()) != 1 || first.items()[0]["max_connections"] != 500.0 || len(rest.items()) != 1 || rest.items()[0]["id"] != current["id"] || rest.next() != "" {
		t.Errorf("history: %s %s", first.body, rest.body)
	}
	c.open("hello", tenant.RecvOnly)
	if peaks := c.get("/v1/licence/peaks").want(200).items(); len(peaks) != 1 || peaks[0]["connections"] != 1.0 || peaks[0]["max_connections"] != 500.0 {
		t.Errorf("peaks: %v", peaks)
	}
	c.get("/v1/licence/peaks?from=2020-01-01").problem(422, api.CodeInvalid)
}
