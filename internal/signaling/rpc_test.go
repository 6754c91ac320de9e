package signaling_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// rpcMethods are all that there are.
var rpcMethods = []string{
	"2025.2.0/RequestSimulcastRid", "2025.2.0/RequestSpotlightRid", "2025.2.0/ResetSpotlightRid",
	"2025.2.0/PutSignalingNotifyMetadata", "2025.2.0/PutSignalingNotifyMetadataItem",
}

// ask calls a method over the channel rpc and waits for the answer with its id.
func (c *caller) ask(id int, method, params string) map[string]any {
	c.t.Helper()
	c.sayOver("rpc", fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"%s","params":%s}`, id, method, params))
	return c.message(0, map[string]any{"id": float64(id), "via": "rpc"})
}

// What is said on the channel rpc is answered as JSON-RPC 2.0 wants it, whatever
// it is.
func TestRPC(t *testing.T) {
	t.Parallel()
	h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{
		RPCMethods:       append([]string{"2099.1.0/Unknown", rpcMethods[0]}, rpcMethods[:4]...),
		SimulcastRPCRIDs: []string{"none", "r0"},
	}}}})
	c := h.call(t, unsaid("recvonly", `,"simulcast":true`), false)
	offer := c.message(0, map[string]any{"type": "offer"})
	if got := fmt.Sprint(offer["rpc_methods"]); got != fmt.Sprint(rpcMethods[:4]) {
		t.Errorf("offered %s", got)
	}
	c.switched(false)
	mine := c.id()
	for i, test := range []struct {
		request string // %d is its id
		want    string // what the answer has, as JSON
	}{
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":{"rid":"r0"}}`,
			`"result":{"channel_id":"room","receiver_connection_id":"` + mine + `","rid":"r0"}`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":{"receiver_connection_id":"` + mine + `","rid":"r0"}}`, `"rid":"r0"}`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":{"receiver_connection_id":"ANOTHER","rid":"r0"}}`, `"code":-32602,"message":"params.receiver_connection_id: `},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/ResetSpotlightRid","params":{"recv_connection_id":"ANOTHER"}}`, `"code":-32602,"message":"params.recv_connection_id: `},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":{"rid":"r1"}}`, `-32602`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":{"rid":"r9"}}`, `-32602`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid"}`, `-32602`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":["r0"]}`, `-32602`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":{"rid":7}}`, `-32602`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":{"rid":"r0","channel_id":"room"}}`, `"code":-32602,"message":"params.channel_id: is unknown"`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSimulcastRid","params":{"rid":"r0","sender_connection_id":"nobody"}}`, `-32602`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/RequestSpotlightRid","params":{"spotlight_focus_rid":"r0"}}`, `-32602`}, // there is no spotlight
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/PutSignalingNotifyMetadata","params":{"metadata":{"a":1},"push":true}}`, `"result":{"a":1}`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/PutSignalingNotifyMetadata","params":{"metadata":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}}`, `nested deeper than 64`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/PutSignalingNotifyMetadata","params":{"push":true}}`, `-32602`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/PutSignalingNotifyMetadata","params":{"metadata":"` + strings.Repeat("x", 9000) + `"}}`, `-32602`},
		{`{"jsonrpc":"2.0","id":%d,"method":"2025.2.0/PutSignalingNotifyMetadataItem","params":{"key":"k","value":1}}`, `-32601`}, // it is not granted
		{`{"jsonrpc":"2.0","id":%d,"method":"2099.1.0/Unknown"}`, `-32601`},
		{`{"jsonrpc":"2.0","id":%d,"method":""}`, `-32600`},
		{`{"jsonrpc":"1.0","id":%d,"method":"x"}`, `-32600`},
		{`{"id":%d,"method":"x"}`, `-32600`},
	} {
		c.sayOver("rpc", fmt.Sprintf(test.request, i))
		c.message(0, map[string]any{"id": float64(i), "via": "rpc", "jsonrpc": "2.0"})
		c.note(func() {
			answered := slices.IndexFunc(c.heard, func(m map[string]any) bool { return m["id"] == float64(i) && m["via"] == "rpc" })
			if last := c.raw[answered]; !strings.Contains(last, test.want) || strings.Contains(last, `"result"`) == strings.Contains(last, `"error"`) {
				t.Errorf("%.200s: heard %s, want %s", test.request, last, test.want)
			}
		})
	}
	for i, request := range []string{
		`{`, `[]`, `[{"jsonrpc":"2.0","id":1,"method":"x"}]`, `7`, `null`, `{"jsonrpc":"2.0","id":{},"method":"x"}`, `{"jsonrpc":"2.0","id":null,"method":"x"}`,
	} {
		c.sayOver("rpc", request)
		c.message(i, map[string]any{"id": nil, "via": "rpc", "jsonrpc": "2.0"})
	}
	// Notifications are obeyed and not answered.
	c.sayOver("rpc", `{"jsonrpc":"2.0","method":"x"}`)
	c.sayOver("rpc", `{"jsonrpc":"2.0","method":"2025.2.0/PutSignalingNotifyMetadata","params":{"metadata":{"a":2},"push":true}}`)
	c.message(1, map[string]any{"type": "push", "via": "push"})
	if got := c.ask(100, rpcMethods[3], `{"metadata":3}`); got["error"] != nil {
		t.Errorf("heard %v", got)
	}
	c.note(func() {
		if pushed := c.raw[slices.IndexFunc(c.heard, func(m map[string]any) bool { return strings.Contains(fmt.Sprint(m["data"]), "a:2") })]; pushed != `{"type":"push","data":{"type":"signaling_notify_metadata_ext","action":"PutMetadata","connection_id":"`+mine+`","metadata":{"a":2}}}` {
			t.Errorf("pushed %s", pushed)
		}
	})
	for i := range 30 {
		if last := c.ask(200+i, rpcMethods[3], `{"metadata":3}`); last["error"] != nil {
			if last["error"].(map[string]any)["code"] != -32000.0 {
				t.Errorf("heard %v", last)
			}
			return
		}
	}
	t.Error("its metadata may change as often as it likes")
}

// A client without methods has no channel for them.
func TestNothingToCall(t *testing.T) {
	t.Parallel()
	h, _ := broadcast(t, signaling.Config{})
	c := h.call(t, unsaid("recvonly", ""), false)
	c.switched(false)
	if _, ok := c.message(0, map[string]any{"type": "offer"})["rpc_methods"]; ok || c.channel("rpc") != nil {
		t.Error("there is something to call")
	}
}

// A viewer asks for another layer, of one sender or of all, gets it, and is told.
func TestRequestSimulcastRid(t *testing.T) {
	t.Parallel()
	h, plane := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{RPCMethods: rpcMethods}}}})
	id := tenant.NewID()
	conn, err := plane.Join(t.Context(), sfu.JoinRequest{
		Tenant: "ten_A", Channel: "room", SessionID: "SESSION-room", ConnectionID: id, ClientID: id, Role: tenant.SendOnly,
		Video: sfu.MediaWish{Enabled: true, Codec: "VP8"}, Simulcast: &sfu.Simulcast{},
	})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := sfutest.NewClient(sfutest.Options{Publish: &sfutest.Media{Video: "VP8", Layers: 3}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { publisher.Close() })
	if _, err := sfutest.Attach(conn, publisher); err != nil {
		t.Fatal(err)
	}
	viewer := h.call(t, unsaid("recvonly", `,"simulcast":true,"simulcast_request_rid":"r2"`), false)
	viewer.switched(false)
	viewer.await("video", func() bool { return viewer.streams[id] > 10 })
	for i, rid := range []string{"r0", "r1"} {
		params := fmt.Sprintf(`{"rid":"%s","sender_connection_id":"%s"}`, rid, id)
		if got := viewer.ask(i, rpcMethods[0], params); got["error"] != nil {
			t.Errorf("heard %v", got)
		}
		viewer.message(0, map[string]any{"event_type": "simulcast.switched", "current_rid": rid, "sender_connection_id": id, "via": "notify"})
	}
	if got := viewer.ask(9, rpcMethods[0], `{"rid":"none"}`); got["error"] != nil {
		t.Errorf("heard %v", got)
	}
	viewer.message(0, map[string]any{"event_type": "simulcast.switched", "request_rid": "none", "via": "notify"})
}

// A change of metadata is pushed to all but those of the same bundle, and shown to
// who comes later.
func TestPutSignalingNotifyMetadata(t *testing.T) {
	t.Parallel()
	h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{RPCMethods: rpcMethods}}}})
	c := h.call(t, unsaid("recvonly", `,"bundle_id":"b","signaling_notify_metadata":"own"`), false)
	mate := h.call(t, unsaid("recvonly", `,"bundle_id":"b"`), false)
	other := h.call(t, join("recvonly", ""), false) // over its WebSocket
	for _, each := range []*caller{c, mate} {
		each.switched(false)
	}
	mine := c.id()
	other.message(0, map[string]any{"event_type": "connection.created", "connection_id": other.id()})
	for i, test := range []struct{ method, params, result, push string }{
		{rpcMethods[4], `{"key":"hand","value":"up","push":true}`, `{"hand":"up"}`, `"action":"PutMetadataItem","connection_id":"` + mine + `","key":"hand","value":"up"`},
		{rpcMethods[4], `{"key":"mood","value":null,"push":true}`, `{"hand":"up","mood":null}`, `"action":"PutMetadataItem","connection_id":"` + mine + `","key":"mood","value":null`},
		{rpcMethods[3], `{"metadata":{"n":[1]},"push":true}`, `{"n":[1]}`, `"action":"PutMetadata","connection_id":"` + mine + `","metadata":{"n":[1]}`},
		{rpcMethods[4], `{"key":"m","value":2}`, `{"m":2,"n":[1]}`, ``},
	} {
		got := c.ask(i, test.method, test.params)
		if result, _ := json.Marshal(got["result"]); string(result) != test.result {
			t.Errorf("%s %s: %v, want %s", test.method, test.params, got, test.result)
		}
		if test.push == "" {
			continue
		}
		var want map[string]any
		if err := json.Unmarshal([]byte(`{"type":"signaling_notify_metadata_ext",`+test.push+`}`), &want); err != nil {
			t.Fatal(err)
		}
		for _, each := range []*caller{c, other} {
			if pushed := each.message(i, map[string]any{"type": "push"}); !reflect.DeepEqual(pushed["data"], want) {
				t.Errorf("pushed %v, want %v", pushed["data"], want)
			}
		}
	}
	late := h.call(t, join("recvonly", ""), false)
	shown := late.message(0, map[string]any{"event_type": "connection.created", "connection_id": late.id()})["data"].([]any)[0].(map[string]any)
	if shown["connection_id"] != mine || shown["authn_metadata"] != "own" || !reflect.DeepEqual(shown["metadata"], map[string]any{"m": 2.0, "n": []any{1.0}}) {
		t.Errorf("a newcomer is shown %v", shown)
	}
	mate.message(0, map[string]any{"event_type": "connection.created", "connection_id": late.id()}) // it came after the pushes
	mate.note(func() {
		for i, m := range mate.heard {
			if m["type"] == "push" || m["connection_id"] == mine {
				t.Errorf("one of the same bundle was told %s", mate.raw[i])
			}
		}
	})
}

// A receiver in the spotlight asks for other layers, and takes that back.
func TestRequestSpotlightRid(t *testing.T) {
	t.Parallel()
	h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{RPCMethods: rpcMethods}}}})
	c := h.call(t, unsaid("recvonly", `,"spotlight":true`), false)
	c.switched(false)
	for i, test := range []struct{ method, params, want string }{
		{rpcMethods[1], `{"spotlight_focus_rid":"r2","spotlight_unfocus_rid":"none"}`,
			`{"channel_id":"room","recv_connection_id":"` + c.id() + `","spotlight_focus_rid":"r2","spotlight_unfocus_rid":"none"}`},
		{rpcMethods[2], `{}`, `{"channel_id":"room","recv_connection_id":"` + c.id() + `"}`},
	} {
		got := c.ask(i, test.method, test.params)
		if result, _ := json.Marshal(got["result"]); string(result) != test.want {
			t.Errorf("%s: %v, want %s", test.method, got, test.want)
		}
	}
	for i, params := range []string{
		`{"spotlight_focus_rid":"r3","spotlight_unfocus_rid":"r0"}`, `{"spotlight_focus_rid":"r1","spotlight_unfocus_rid":"r0","send_connection_id":"nobody"}`,
	} {
		if got := c.ask(10+i, rpcMethods[1], params); got["error"] == nil {
			t.Errorf("%s: heard %v", params, got)
		}
	}
}

// Whatever comes on the channel rpc is answered with JSON or not at all.
func FuzzRPC(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"2025.2.0/RequestSimulcastRid","params":{"rid":"r0"}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":"a","method":"2025.2.0/PutSignalingNotifyMetadataItem","params":{"key":"k"}}`))
	f.Add([]byte(`[{}]`))
	f.Add([]byte(`{"id":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		answer := signaling.Invoke(data)
		if answer == nil {
			return
		}
		var m struct {
			JSONRPC string
			ID      any
			Error   *struct{ Message string }
		}
		if err := json.Unmarshal(answer, &m); err != nil || m.JSONRPC != "2.0" || m.Error == nil || m.Error.Message == "" {
			t.Fatalf("%q is answered with %s: %v", data, answer, err)
		}
	})
}
