package api_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/api"
)

// A range that an endpoint would not have, or missed, is counted, sent again and
// watched over /v1.
func TestReplayOfARange(t *testing.T) {
	c := newService(t).caller(t, "lark")
	other := c.service.caller(t, "finch")
	var replays atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("webhook-replay") == "true" {
			replays.Add(1)
		}
	}))
	defer receiver.Close()
	early := c.do("POST", "/v1/webhook-endpoints", map[string]any{"url": receiver.URL}).want(201).object()["id"].(string)
	for range 3 {
		c.do("POST", "/v1/webhook-endpoints/"+early+"/test", nil).want(202)
	}
	c.open("lobby", "sendonly") // an event that the endpoint below missed
	path := "/v1/webhook-endpoints/" + c.do("POST", "/v1/webhook-endpoints", map[string]any{"url": receiver.URL}).want(201).object()["id"].(string)

	preview := c.do("POST", path+"/replay/preview", `{"states":["missed"],"types":["connection.connecting"]}`).want(200).object()
	if preview["total"] != 1.0 || preview["counts"].(map[string]any)["missed"] != 1.0 || preview["partial"] != false {
		t.Errorf("preview: %v", preview)
	}
	c.do("POST", path+"/replay/preview", `{"states":["waiting"]}`).problem(422, api.CodeInvalid)
	c.do("POST", path+"/replay", `{"from":"yesterday"}`).problem(422, api.CodeInvalid)
	c.do("POST", path+"/replay", `{"from_seq":5,"to_seq":4}`).problem(422, api.CodeInvalid)
	replay := c.do("POST", path+"/replay", `{"types":["connection.connecting"]}`).want(202).object()
	one := "/v1/replays/" + replay["id"].(string)
	pace, deadline := time.Tick(100*time.Millisecond), time.After(20*time.Second)
	for ; replay["state"] == "running"; replay = c.get(one).want(200).object() {
		select {
		case <-pace: // a tenant may not ask without end
		case <-deadline:
			t.Fatalf("the replay does not end: %v", replay)
		}
	}
	if replay["state"] != "done" || replay["queued"] != 1.0 || replay["delivered"] != 1.0 || replay["finished_at"] == nil || replays.Load() != 1 {
		t.Errorf("done: %v; %d requests", replay, replays.Load())
	}
	if all := c.get(path + "/replays").want(200).items(); len(all) != 1 || all[0]["id"] != replay["id"] {
		t.Errorf("listed: %v", all)
	}
	if again := c.do("POST", one+"/cancel", nil).want(200).object(); again["state"] != "done" {
		t.Errorf("cancelled after its end: %v", again)
	}
	for _, ask := range [][2]string{{"POST", path + "/replay"}, {"POST", path + "/replay/preview"}, {"GET", path + "/replays"}, {"GET", one}, {"POST", one + "/cancel"}} {
		var body any
		if ask[0] == "POST" && ask[1] != one+"/cancel" {
			body = map[string]any{}
		}
		other.do(ask[0], ask[1], body).problem(404, api.CodeNotFound)
	}
	c.do("PATCH", path, `{"status":"disabled"}`).want(200)
	c.do("POST", path+"/replay", `{}`).problem(409, api.CodeConflict)
}
