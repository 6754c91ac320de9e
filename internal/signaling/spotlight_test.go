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

const twoEncodings = `[
	{"rid":"r0","active":true,"scaleResolutionDownBy":4,"scalabilityMode":"L1T1"},
	{"rid":"r1","active":true,"scaleResolutionDownBy":2,"scalabilityMode":"L1T1"},
	{"rid":"r2","active":false,"scaleResolutionDownBy":1,"scalabilityMode":"L1T1"}]`

// Who is in the spotlight sends its video in two layers, unless the tenant says
// otherwise, without asking for simulcast.
func TestOfferOfSpotlight(t *testing.T) {
	const usual = `,"spotlight":true`
	for _, test := range []struct {
		name, role, more     string
		grant                tenant.Grant
		spotlight, simulcast bool
		encodings, sdp       string // "": none
	}{
		{name: "a sender", role: "sendrecv", more: usual, spotlight: true, simulcast: true, encodings: twoEncodings, sdp: "r0;r1;~r2"},
		{name: "a receiver", role: "recvonly", more: usual + `,"spotlight_number":3,"spotlight_focus_rid":"r2","spotlight_unfocus_rid":"none"`, spotlight: true, simulcast: true},
		{name: "only a voice", role: "sendrecv", more: usual + `,"video":false`, spotlight: true},
		{name: "by the grant", role: "sendonly", grant: tenant.Grant{Spotlight: new(true)}, spotlight: true, simulcast: true, encodings: twoEncodings, sdp: "r0;r1;~r2"},
		{name: "not by the grant", role: "sendonly", more: usual, grant: tenant.Grant{Spotlight: new(false)}},
		{name: "other layers", role: "sendonly", more: usual, spotlight: true, simulcast: true, sdp: "r0;r1;r2", encodings: usualEncodings,
			grant: tenant.Grant{SpotlightEncodings: []tenant.Encoding{{RID: "r0"}, {RID: "r1"}, {RID: "r2"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: test.grant}}})
			offer := h.call(t, join(test.role, test.more), false).message(0, map[string]any{"type": "offer"})
			if offer["spotlight"] != test.spotlight || offer["simulcast"] != test.simulcast {
				t.Errorf("spotlight is %v, simulcast %v", offer["spotlight"], offer["simulcast"])
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
			if sdp := offer["sdp"].(string); strings.Contains(sdp, "a=simulcast:") != (test.sdp != "") ||
				test.sdp != "" && !strings.Contains(sdp, "a=simulcast:recv "+test.sdp+"\r\n") {
				t.Errorf("the SDP is %s", sdp)
			}
		})
	}
}

// Who speaks is heard by who asked for the spotlight, which is told of it.
func TestFocusIsTold(t *testing.T) {
	h, plane := broadcast(t, signaling.Config{})
	id := tenant.NewID()
	conn, err := plane.Join(t.Context(), sfu.JoinRequest{
		Tenant: "ten_A", Channel: "room", ConnectionID: id, ClientID: "singer", BundleID: "choir", SessionID: "S", Role: tenant.SendOnly,
		Audio: sfu.MediaWish{Enabled: true}, Spotlight: &sfu.Spotlight{Number: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := sfutest.NewClient(sfutest.Options{Publish: &sfutest.Media{Audio: true, Level: func() uint8 { return 20 }}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { publisher.Close() })
	if _, err := sfutest.Attach(conn, publisher); err != nil {
		t.Fatal(err)
	}
	viewer := h.call(t, join("recvonly", `,"spotlight":true`), false)
	viewer.await("the voice", func() bool { return viewer.streams[id] > 10 })
	got := maps.Clone(viewer.message(0, map[string]any{"event_type": "spotlight.focused"}))
	delete(got, "timestamp")
	want := map[string]any{
		"type": "notify", "event_type": "spotlight.focused", "client_id": "singer", "bundle_id": "choir", "connection_id": id,
		"audio": true, "video": false, "fixed": false, "spotlight_number": 2.0,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("told\n%v, want\n%v", got, want)
	}
}
