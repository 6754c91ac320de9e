package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// obedient hands have every connection, and note what is done with it. Owned by the
// test: one request at a time.
type obedient struct {
	orders []cluster.Order
	ended  map[string]tenant.Parting
	here   []string
}

func (o *obedient) End(_ tenant.ID, id string, why tenant.Parting) bool {
	o.ended[id] = why
	return true
}

func (o *obedient) Here(tenant.ID, tenant.Choice) []string { return o.here }

func (o *obedient) Do(_ context.Context, _ tenant.ID, order cluster.Order) (any, bool, error) {
	o.orders = append(o.orders, order)
	return cluster.Pushed{Connections: 2, Unreachable: 1}, true, nil
}

// Each of Sora's actions becomes the order that it stands for, and is echoed.
func TestActionsInSorasWords(t *testing.T) {
	p, url := newServers(t)
	mine, o := p.made(t, "mine", "hello")
	hands := &obedient{ended: map[string]tenant.Parting{}}
	p.node.UseHands(hands)
	ask := func(target, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+mine.APIKey)
		r.Header.Set("x-sora-target", target)
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		text, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.StatusCode, strings.TrimSpace(string(text))
	}
	const c = `"channel_id":"hello"`
	for _, test := range []struct{ target, body, action, connection, order, answer string }{
		{"Sora_20160711.PushChannel", `{` + c + `,"data":{"a":1}}`, "push", "", `{"data":{"a":1}}`, `"connections":2`},
		{"Sora_20160711.PushClient", `{` + c + `,"client_id":"x","data":null}`, "push", "", `{"data":null,"client_id":"x"}`, `"client_id":"x"`},
		{"Sora_20160711.PushConnection", `{` + c + `,"connection_id":"C","data":"y"}`, "push", "C", `{"data":"y"}`, `"connection_id":"C"`},
		{"Sora_20201120.PushChannelByRole", `{` + c + `,"role":"downstream","data":[]}`, "push", "", `{"data":[],"role":"recvonly"}`, `"unreachable":1`},
		{"Sora_20241218.RequestKeyFrame", `{` + c + `,"connection_id":"C"}`, "key_frame", "C", ``, `"confirmed":true`},
		{"Sora_20251217.RequestSimulcastRid", `{` + c + `,"receiver_connection_id":"C","sender_connection_id":"S","rid":"r1"}`, "simulcast_rid", "C", `{"sender":"S","rid":"r1"}`, `"rid":"r1"`},
		{"Sora_20251210.RequestSimulcastRid", `{` + c + `,"receiver_connection_id":"C","rid":"auto"}`, "simulcast_rid", "C", `{"rid":"auto"}`, `"receiver_connection_id":"C"`},
		{"Sora_20200807.FocusSpotlightFixed", `{` + c + `,"connection_id":"C"}`, "spotlight_focus", "C", `{"in":true,"fixed":true}`, c},
		{"Sora_20200807.FocusSpotlight", `{` + c + `,"connection_id":"C"}`, "spotlight_focus", "C", `{"in":true,"fixed":false}`, c},
		{"Sora_20200807.UnfocusSpotlight", `{` + c + `,"connection_id":"C"}`, "spotlight_focus", "C", `{"in":false,"fixed":false}`, c},
		{"Sora_20200807.ChangeSpotlightNumber", `{` + c + `,"spotlight_number":3}`, "spotlight_number", "", `{"number":3}`, `"spotlight_number":3`},
		{"Sora_20211215.RequestSpotlightRid", `{` + c + `,"recv_connection_id":"C","send_connection_id":"S","spotlight_focus_rid":"r1","spotlight_unfocus_rid":"none"}`,
			"spotlight_rid", "C", `{"sender":"S","focus":"r1","unfocus":"none"}`, `"send_connection_id":"S"`},
		{"Sora_20211215.ResetSpotlightRid", `{` + c + `,"recv_connection_id":"C"}`, "spotlight_reset", "C", `{}`, `"recv_connection_id":"C"`},
		{"Sora_20201124.PutSignalingNotifyMetadata", `{` + c + `,"connection_id":"C","metadata":{"m":1},"push":true}`, "notify_metadata", "C", `{"value":{"m":1},"push":true}`, `"metadata":{"connections":2`},
		{"Sora_20201124.PutSignalingNotifyMetadataItem", `{` + c + `,"connection_id":"C","key":"k","value":1}`, "notify_metadata_kv", "C", `{"key":"k","value":1,"push":false}`, c},
	} {
		hands.orders = nil
		status, answer := ask(test.target, test.body)
		if status != http.StatusOK || !strings.Contains(answer, test.answer) || !strings.Contains(answer, `"confirmed":true`) {
			t.Errorf("%s answers %d %s", test.target, status, answer)
		}
		if len(hands.orders) != 1 || string(hands.orders[0].Action) != test.action || hands.orders[0].ConnectionID != test.connection ||
			hands.orders[0].Channel != "hello" || string(hands.orders[0].Body) != test.order {
			t.Errorf("%s orders %+v", test.target, hands.orders)
		}
	}
	for target, body := range map[string]string{
		"Sora_20160711.PushChannel":                    `{` + c + `}`,
		"Sora_20160711.PushConnection":                 `{` + c + `,"data":1}`,
		"Sora_20201120.PushChannelByRole":              `{` + c + `,"role":"boss","data":1}`,
		"Sora_20251217.RequestSimulcastRid":            `{` + c + `,"receiver_connection_id":"C","rid":"r3"}`,
		"Sora_20211215.RequestSpotlightRid":            `{` + c + `,"recv_connection_id":"C","spotlight_focus_rid":"auto"}`,
		"Sora_20200807.ChangeSpotlightNumber":          `{` + c + `,"spotlight_number":9}`,
		"Sora_20201124.PutSignalingNotifyMetadata":     `{` + c + `,"connection_id":"C"}`,
		"Sora_20201124.PutSignalingNotifyMetadataItem": `{` + c + `,"connection_id":"C","value":1}`,
		"Sora_20231220.GetSession":                     `{}`,
		"Sora_20151104.DisconnectConnection":           `{"connection_id":"C\u0000"}`,
		"Sora_20231220.StartRecording":                 `{}`,
		"Sora_20171218.UpdateLicense":                  `{}`,
	} {
		if status, answer := ask(target, body); status != http.StatusBadRequest || !strings.Contains(answer, `"code":"bad_message"`) {
			t.Errorf("%s %s answers %d %s", target, body, status, answer)
		}
	}

	if status, answer := ask("Sora_20171218.GetLicense", ``); status != http.StatusOK || !strings.Contains(answer, `"max_connections":300`) {
		t.Errorf("GetLicense answers %d %s", status, answer)
	}
	var session struct {
		SessionID   string `json:"session_id"`
		Channels    int    `json:"channel_connections"`
		Connections []struct {
			ConnectionID string `json:"connection_id"`
		}
	}
	status, answer := ask("Sora_20231220.GetSession", `{`+c+`}`)
	if err := json.Unmarshal([]byte(answer), &session); err != nil || status != http.StatusOK || session.Channels != 1 || len(session.Connections) != 1 || session.Connections[0].ConnectionID != o.ConnectionID {
		t.Errorf("GetSession answers %d %s", status, answer)
	}
	if status, answer := ask("Sora_20231220.ListSessions", ``); status != http.StatusOK || !strings.Contains(answer, session.SessionID) {
		t.Errorf("ListSessions answers %d %s", status, answer)
	}
	if status, answer := ask("Sora_20170529.GetStatsConnection", `{`+c+`,"connection_id":"`+o.ConnectionID+`"}`); status != http.StatusOK || !strings.Contains(answer, `"total_sent_packets":0`) {
		t.Errorf("GetStatsConnection answers %d %s", status, answer)
	}
	if status, answer := ask("Sora_20171101.GetStatsAllConnections", ``); status != http.StatusOK || !strings.Contains(answer, o.ConnectionID) {
		t.Errorf("GetStatsAllConnections answers %d %s", status, answer)
	}
	if status, _ := ask("Sora_20211215.GetRtcStats", `{`+c+`,"connection_id":"`+o.ConnectionID+`"}`); status != http.StatusNotFound {
		t.Errorf("GetRtcStats of one that has said nothing answers %d", status)
	}
	if status, _ := ask("Sora_20230628.TerminateSession", `{`+c+`,"session_id":"another"}`); status != http.StatusNotFound {
		t.Errorf("TerminateSession of another session answers %d", status)
	}
	if status, answer := ask("Sora_20230628.TerminateSession", `{`+c+`,"reason":{"n":1}}`); status != http.StatusOK || !strings.Contains(answer, session.SessionID) {
		t.Errorf("TerminateSession answers %d %s", status, answer)
	}
	if why := hands.ended[o.ConnectionID]; why.Reason != tenant.EndAPI || string(why.Said) != `{"n":1}` {
		t.Errorf("ended for %+v", why)
	}
}

// An unknown name is answered with those that look like it.
func TestNearActions(t *testing.T) {
	for asked, want := range map[string]string{
		"Sora_20151104.ListConection":   "ListConnections",
		"Sora_20200101.PushChanel":      "PushChannel",
		"disconnectchannel":             "DisconnectChannel",
		"Sora_20211215.RequestKeyframe": "RequestKeyFrame",
	} {
		if list := near(asked); !strings.HasSuffix(list[0], "."+want) {
			t.Errorf("%s: proposed %v", asked, list)
		}
	}
	if list := near(strings.Repeat("\xff", 1<<16)); len(list) != nearMost {
		t.Error(list)
	}
}

// Whatever stands in a body is read or refused, and never more.
func FuzzActionBody(f *testing.F) {
	f.Add([]byte(`{"channelId":"a","clientId":"b","reason":{"x":1e400},"data":[[[]]],"spotlight_number":1}`))
	f.Add([]byte(`{"channel_id":"a@ten_X","connection_id":"\u0000"}`))
	f.Add([]byte("{\"role\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := readAction(body, tenant.OperatorScope("ten_X"))
		if err != nil {
			if tenant.AsRefusal(err) == nil {
				t.Fatal(err)
			}
			return
		}
		if said, err := tenant.NewAPIReason(request.Reason); err == nil && said != nil && (!json.Valid(said) || len(said) > tenant.MaxReasonBytes) {
			t.Fatalf("the reason %q became %q", request.Reason, said)
		}
	})
}
