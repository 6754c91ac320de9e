package signaling_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// said is what clients of today's dialect have heard in these tests, by type,
// event and label.
var said sync.Map

// mustBeSaid is every shape of message that there is. What isn't said to a client
// of these tests isn't held against the families.
var mustBeSaid = []string{
	"offer", "re-offer", "ping", "notify", "push", "redirect", "switched", "req-stats", "close", "rpc",
	"connection.created", "connection.destroyed", "simulcast.switched",
	"spotlight.focused", "forwarding.blocked",
}

// TestMain checks, when all tests have run, that all was said.
func TestMain(m *testing.M) {
	code := m.Run()
	if all := flag.Lookup("test.run").Value.String() + flag.Lookup("test.skip").Value.String() + flag.Lookup("test.list").Value.String(); all == "" && code == 0 {
		for _, kind := range mustBeSaid {
			if _, ok := said.Load(kind); !ok {
				fmt.Println("FAIL: no client of today's dialect was ever sent", kind)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// conforms fails the test when a message, as it was received, is not for every
// family. Kind is its type, or "rpc".
func conforms(t testing.TB, kind string, data []byte) {
	said.Store(kind, true)
	for _, wrong := range nonconforming(kind, data) {
		t.Errorf("%s: %s: %.300s", kind, wrong, data)
	}
}

// TestConformance has clients come with every option.
func TestConformance(t *testing.T) {
	h, plane := broadcast(t, signaling.Config{
		Verifier: keys{tenant.Claim{Metadata: json.RawMessage(`{"plan":"gold"}`)}}, Version: "hibari test",
		Limits: signaling.Limits{Ping: 50 * time.Millisecond, Stats: 100 * time.Millisecond},
	})
	var clients []*caller
	enter := func(role, more string) *caller {
		c := h.call(t, join(role, more), role != "recvonly")
		c.id()
		clients = append(clients, c)
		return c
	}
	viewer := enter("recvonly", `,"forwarding_filters":[{"rules":[[{"field":"kind","operator":"is_in","values":["audio"]},{"field":"client_id","operator":"is_in","values":["blocked"]}]]}]`)
	enter("recvonly", `,"audio":false,"simulcast":true,"simulcast_request_rid":"r0"`)
	enter("recvonly", `,"spotlight":true,"signaling_notify_metadata":{"name":"V"}`)
	publisher := enter("sendonly", `,"video":{"codec_type":"H264","bit_rate":500},"audio":{"bit_rate":64},"client_id":"c","bundle_id":"b"`)
	enter("sendonly", `,"video":false,"client_id":"blocked"`)
	enter("sendonly", `,"audio":false,"video":{"codec_type":"VP8"},"simulcast":true`)
	enter("sendrecv", `,"video":{"codec_type":"AV1"},"simulcast":true,"spotlight":true`)
	enter("sendrecv", `,"data_channel_signaling":true,"data_channels":[{"label":"#chat","direction":"sendrecv"}]`)
	for _, c := range clients {
		c.connected()
	}
	viewer.await("the publisher's voice", func() bool { return viewer.streams[publisher.id()] > 10 })

	another, err := plane.Join(t.Context(), sfu.JoinRequest{Tenant: "ten_A", Channel: "room", SessionID: "S", ConnectionID: tenant.NewID(), ClientID: "d", BundleID: "d", Role: tenant.RecvOnly, Audio: sfu.MediaWish{Enabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := another.PutMetadata(json.RawMessage(`{"hand":"up"}`), []byte(`{"hand":"up"}`)); err != nil {
		t.Error(err)
	}
	viewer.message(0, map[string]any{"type": "push"})
	publisher.say(`{"type":"disconnect","reason":"NO-ERROR"}`)
	publisher.ended()
	viewer.message(0, map[string]any{"event_type": "connection.destroyed"})
	for _, stats := range []bool{true, false} {
		viewer.message(0, map[string]any{"type": "ping", "stats": stats})
	}
}

// kinds are the values that a line may ask for.
var kinds = map[string]func(any) bool{
	"any":       func(any) bool { return true },
	"text":      is[string],
	"id":        func(v any) bool { s, ok := v.(string); return ok && s != "" },
	"flag":      is[bool],
	"number":    is[float64],
	"list":      is[[]any],
	"object":    is[map[string]any],
	"whole":     func(v any) bool { n, ok := v.(float64); return ok && n == math.Trunc(n) && math.Abs(n) < 1<<31 },
	"texts":     func(v any) bool { l, ok := v.([]any); return ok && !slices.ContainsFunc(l, not(is[string])) },
	"role":      oneOf("sendonly", "recvonly", "sendrecv"),
	"policy":    oneOf("all", "relay"),
	"transport": oneOf("udp", "tcp"),
}

func is[T any](v any) bool { _, ok := v.(T); return ok }

func not(f func(any) bool) func(any) bool { return func(v any) bool { return !f(v) } }

func oneOf(words ...string) func(any) bool {
	return func(v any) bool { s, ok := v.(string); return ok && slices.Contains(words, s) }
}

// nonconforming returns what a family would stumble over in a message, as it was
// received; kind is its type, or "rpc".
func nonconforming(kind string, data []byte) []string {
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return []string{fmt.Sprintf("it is no JSON object: %v", err)}
	}
	var wrong []string
	for family, messages := range families {
		lines, known := messages[kind]
		if family == "Rust" && !known {
			wrong = append(wrong, "Rust refuses the type "+kind)
		}
		if event, ok := m["event_type"].(string); ok {
			said.Store(event, true)
			lines += "\n" + messages[event]
		}
		for line := range strings.Lines(lines) {
			if fields := strings.Fields(line); len(fields) == 2 {
				need := fields[1]
				for _, complaint := range look(m, fields[0], need[:len(need)-1], need[len(need)-1]) {
					wrong = append(wrong, family+": "+complaint)
				}
			}
		}
	}
	return append(wrong, together(kind, m)...)
}

// look checks one line.
func look(m map[string]any, path, kind string, need byte) []string {
	name, rest, below := strings.Cut(path, ".")
	name, each := strings.CutSuffix(name, "[]")
	v, there := m[name]
	switch {
	case !below && v == nil && (need == '!' || need == '~' && there):
		return []string{name + " is missing or null"}
	case v == nil:
		return nil
	case !below:
		if !kinds[kind](v) {
			return []string{fmt.Sprintf("%s is %v, want %s", name, v, kind)}
		}
		return nil
	}
	elements, ok := v.([]any)
	if !each {
		elements, ok = []any{v}, true
	}
	if !ok {
		return []string{name + " is no array"}
	}
	var wrong []string
	for _, e := range elements {
		object, ok := e.(map[string]any)
		if !ok {
			return []string{name + " holds no objects"}
		}
		for _, complaint := range look(object, rest, kind, need) {
			wrong = append(wrong, name+"."+complaint)
		}
	}
	return wrong
}

// together checks what is asked of several fields at once.
func together(kind string, m map[string]any) []string {
	switch kind {
	case "offer":
		return offerTogether(m)
	case "rpc":
		_, result := m["result"]
		_, failure := m["error"]
		if result == failure || m["jsonrpc"] != "2.0" {
			return []string{"it is no answer of JSON-RPC 2.0"}
		}
	}
	return nil
}

// offerTogether: a sender of simulcast needs encodings, and its layers in the
// SDP in their order; messages on a data channel that isn't listed are dropped.
func offerTogether(m map[string]any) (wrong []string) {
	sdp, _ := m["sdp"].(string)
	mid, _ := m["mid"].(map[string]any)
	for kind, name := range mid {
		if !strings.Contains(sdp, fmt.Sprintf("a=mid:%v\r\n", name)) {
			wrong = append(wrong, fmt.Sprintf("no section %v for %s", name, kind))
		}
	}
	encodings, _ := m["encodings"].([]any)
	if m["simulcast"] == true && mid["video"] != nil || len(encodings) > 0 {
		var rids []string
		for _, e := range encodings {
			encoding, _ := e.(map[string]any)
			rid, _ := encoding["rid"].(string)
			if encoding["active"] == false {
				rid = "~" + rid
			}
			rids = append(rids, rid)
		}
		if line := "a=simulcast:recv " + strings.Join(rids, ";") + "\r\n"; len(rids) == 0 || !strings.Contains(sdp, line) {
			wrong = append(wrong, "the SDP doesn't have "+line)
		}
	}
	channels, _ := m["data_channels"].([]any)
	if association := strings.Contains(sdp, "\nm=application "); association != (len(channels) > 0) {
		wrong = append(wrong, fmt.Sprintf("%d data channels, m=application %v", len(channels), association))
	}
	return wrong
}
