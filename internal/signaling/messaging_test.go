package signaling_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/signaling"
)

// Clients without media come in for messages: their offer lists the channels that
// they asked for behind those for signalling, and what one says the other hears.
func TestMessagingOnly(t *testing.T) {
	t.Parallel()
	h, _ := broadcast(t, signaling.Config{})
	connect := unsaid("sendonly", `,"audio":false,"video":false,"data_channels":[{"label":"#chat","compress":true},
		{"label":"#quiet","direction":"recvonly","ordered":false,"header":[{"type":"sender_connection_id"}]}]`)
	a, b := h.call(t, connect, false), h.call(t, connect, false)
	offer := a.message(0, map[string]any{"type": "offer"})
	if sdp := offer["sdp"].(string); strings.Count(sdp, "\r\nm=") != 1 || !strings.Contains(sdp, "\r\nm=application ") {
		t.Errorf("offer's SDP is %s", sdp)
	}
	list := offer["data_channels"].([]any)
	want := []any{
		map[string]any{"label": "#chat", "direction": "sendrecv", "compress": true},
		map[string]any{"label": "#quiet", "direction": "recvonly", "compress": false,
			"header": []any{map[string]any{"type": "sender_connection_id", "length": 26.0}}},
	}
	if got := list[max(0, len(list)-2):]; !reflect.DeepEqual(got, want) {
		t.Errorf("offer lists %v", list)
	}
	a.switched(false)
	b.switched(false)
	// In the words of signalling, which is what the callers listen for.
	a.sayOver("#chat", `{"type":"push","data":"hello"}`)
	b.message(0, map[string]any{"data": "hello", "via": "#chat"})
	b.sayOver("#chat", `{"type":"push","data":"hello yourself"}`)
	a.message(0, map[string]any{"data": "hello yourself", "via": "#chat"})
	a.note(func() {
		for _, m := range a.heard {
			if m["data"] == "hello" {
				t.Error("it heard itself")
			}
		}
	})
}
