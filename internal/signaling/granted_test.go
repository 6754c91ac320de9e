package signaling_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// What a tenant decided of a connection is told to the others in its own kinds
// of metadata, to the client in its offer, and to events.
func TestGrantedMetadata(t *testing.T) {
	claim := tenant.Claim{Metadata: json.RawMessage(`{"of":"token"}`), Grant: tenant.Grant{
		BundleID: "b", SignalingNotifyMetadata: json.RawMessage(`"granted"`), SignalingNotifyMetadataExt: json.RawMessage(`{"hand":"up"}`),
		Metadata: json.RawMessage(`"for the client"`), EventMetadata: json.RawMessage(`"for events"`),
	}}
	h, _ := broadcast(t, signaling.Config{Verifier: keys{claim}})
	c := h.call(t, join("recvonly", `,"bundle_id":"own","signaling_notify_metadata":[1]`), false)
	offer := c.message(0, map[string]any{"type": "offer"})
	if offer["metadata"] != "for the client" || offer["bundle_id"] != "b" {
		t.Errorf("offered %v", offer)
	}
	created := c.message(0, map[string]any{"event_type": "connection.created"})
	for field, want := range map[string]any{
		"authn_metadata": []any{1.0}, "authz_metadata": "granted", "metadata": map[string]any{"hand": "up"}, "bundle_id": "b",
	} {
		if !reflect.DeepEqual(created[field], want) {
			t.Errorf("%s is %v, want %v", field, created[field], want)
		}
	}
	h.books.read(func(b *books) {
		if got := string(b.opened[c.id()].Metadata); got != `"for events"` {
			t.Errorf("events get %s", got)
		}
	})
}

// A client that is to be told of nobody is told that it is there, and no more.
func TestSignalingNotifyOff(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{SignalingNotify: new(false)}}}})
	first := h.call(t, join("recvonly", ""), false)
	first.message(0, map[string]any{"event_type": "connection.created"})
	second := h.call(t, join("recvonly", ""), false)
	own := second.message(0, map[string]any{"event_type": "connection.created"})
	if own["connection_id"] != second.id() || !reflect.DeepEqual(own["data"], []any{}) {
		t.Errorf("told %v", own)
	}
	third := h.call(t, join("sendonly", `,"video":false`), true)
	first.await("the publisher's voice", func() bool { return first.streams[third.id()] > 10 })
	id := first.id()
	first.note(func() {
		for _, m := range first.heard {
			if m["type"] == "notify" && m["connection_id"] != id {
				t.Errorf("told of another: %v", m)
			}
		}
	})
}

// Filters of the grant win over the client's own; what they block, the client is
// told.
func TestForwardingFilterOfConnectAndGrant(t *testing.T) {
	const own = `,"forwarding_filter":{"rules":[[{"field":"kind","operator":"is_in","values":["audio"]}]]}`
	for _, test := range []struct {
		name    string
		granted []tenant.ForwardingFilter
		blocked bool
	}{
		{"the client's own", nil, true},
		{"the grant's", []tenant.ForwardingFilter{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{Grant: tenant.Grant{ForwardingFilters: test.granted}}}})
			viewer := h.call(t, join("recvonly", own), false)
			publisher := h.call(t, join("sendonly", `,"video":false`), true)
			if !test.blocked {
				viewer.await("the publisher's voice", func() bool { return viewer.streams[publisher.id()] > 10 })
				return
			}
			told := maps.Clone(viewer.message(0, map[string]any{"event_type": "forwarding.blocked"}))
			delete(told, "timestamp")
			if want := map[string]any{
				"type": "notify", "event_type": "forwarding.blocked", "kind": "audio",
				"source_connection_id": publisher.id(), "destination_connection_id": viewer.id(),
			}; !reflect.DeepEqual(told, want) {
				t.Errorf("told %v, want %v", told, want)
			}
			id := publisher.id()
			viewer.note(func() {
				if n := viewer.streams[id]; n != 0 {
					t.Errorf("%d packets came all the same", n)
				}
			})
		})
	}
}
