package signaling_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

const usualEncodings = `[
	{"rid":"r0","active":true,"scaleResolutionDownBy":4,"scalabilityMode":"L1T1"},
	{"rid":"r1","active":true,"scaleResolutionDownBy":2,"scalabilityMode":"L1T1"},
	{"rid":"r2","active":true,"scaleResolutionDownBy":1,"scalabilityMode":"L1T1"}]`

// The offer says what was decided about simulcast, and three encodings in the
// order of the SDP's rids.
func TestOfferOfSimulcast(t *testing.T) {
	for _, test := range []struct {
		name, role, more string
		grant            tenant.Grant
		simulcast        bool
		encodings        string // "": none
		sdp              string // "": no rids
	}{
		{name: "a sender asks for it", role: "sendonly", more: `,"simulcast":true`,
			simulcast: true, encodings: usualEncodings, sdp: "a=simulcast:recv r0;r1;r2\r\n"},
		{name: "both ways", role: "sendrecv", more: `,"simulcast":true,"simulcast_request_rid":"r1"`,
			simulcast: true, encodings: usualEncodings, sdp: "a=simulcast:recv r0;r1;r2\r\n"},
		{name: "a receiver knows it", role: "recvonly", more: `,"simulcast":true,"simulcast_rid":"r0"`, simulcast: true},
		{name: "nobody asks", role: "sendonly"},
		{name: "the tenant wants it", role: "sendonly", grant: tenant.Grant{Simulcast: new(true)},
			simulcast: true, encodings: usualEncodings, sdp: "a=simulcast:recv r0;r1;r2\r\n"},
		{name: "the tenant does not", role: "sendonly", more: `,"simulcast":true`, grant: tenant.Grant{Simulcast: new(false)}},
		{name: "the tenant chooses layers", role: "sendonly", more: `,"simulcast":true`,
			grant:     tenant.Grant{SimulcastEncodings: []tenant.Encoding{{RID: "r0", MaxBitrate: 90_000, ScaleResolutionDownBy: 8}, {RID: "r1"}}},
			simulcast: true, sdp: "a=simulcast:recv r0;r1;~r2\r\n", encodings: `[
				{"rid":"r0","active":true,"maxBitrate":90000,"scaleResolutionDownBy":8,"scalabilityMode":"L1T1"},
				{"rid":"r1","active":true,"scaleResolutionDownBy":2,"scalabilityMode":"L1T1"},
				{"rid":"r2","active":false,"scaleResolutionDownBy":1,"scalabilityMode":"L1T1"}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: test.grant}}})
			offer := h.call(t, join(test.role, test.more), false).message(0, map[string]any{"type": "offer"})
			if offer["simulcast"] != test.simulcast {
				t.Errorf("simulcast is %v", offer["simulcast"])
			}
			var want any
			if test.encodings != "" {
				if err := json.Unmarshal([]byte(test.encodings), &want); err != nil {
					t.Fatal(err)
				}
			}
			if !reflect.DeepEqual(offer["encodings"], want) {
				t.Errorf("encodings are\n%v, want\n%v", offer["encodings"], want)
			}
			sdp, _ := offer["sdp"].(string)
			for _, line := range []string{test.sdp, "a=rid:r0 recv\r\n", "a=rid:r2 recv\r\n", "sdes:rtp-stream-id\r\n", "sdes:repaired-rtp-stream-id\r\n"} {
				if got := line != "" && strings.Contains(sdp, line); got != (test.sdp != "" && line != "") {
					t.Errorf("%q in the SDP: %v", line, got)
				}
			}
		})
	}
}

// A viewer is told when what it gets has changed.
func TestSwitchedIsTold(t *testing.T) {
	h, plane := broadcast(t, signaling.Config{})
	id := tenant.NewID()
	conn, err := plane.Join(t.Context(), sfu.JoinRequest{
		Tenant: "ten_A", Channel: "room", SessionID: "S", ConnectionID: id, ClientID: id, BundleID: id, Role: tenant.SendOnly,
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
	viewer := h.call(t, join("recvonly", `,"simulcast":true,"simulcast_request_rid":"r1"`), false)
	viewer.await("video", func() bool { return viewer.streams[id] > 10 })
	publisher.PauseLayer(1, true)
	got := maps.Clone(viewer.message(0, map[string]any{"event_type": "simulcast.switched"}))
	delete(got, "timestamp")
	want := map[string]any{
		"type": "notify", "event_type": "simulcast.switched", "sender_connection_id": id, "priority": "lower", "trigger": "sender",
		"rpc_rids": []any{"none", "r0", "r1", "r2"}, "auto_rids": []any{"r0", "r2"},
		"request_rid": "r1", "current_rid": "r0", "previous_rid": "r1",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("told\n%v, want\n%v", got, want)
	}
}
