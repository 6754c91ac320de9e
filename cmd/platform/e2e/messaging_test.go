package e2e

import (
	"slices"
	"strings"
	"testing"
)

// told is what a connection of the SDK has got on messaging channels, and what it was
// pushed.
type told struct {
	Messages []struct{ Label, Text string }
	Channels []string
	Pushes   []struct {
		Data map[string]any
		Way  string
	}
}

func (p soraTab) told(name string) told { return eval[told](p.tab, "told(%s)", name) }

// hears waits until a connection has got that text on a label.
func (p soraTab) hears(name, label, text string) {
	p.t.Helper()
	eventually(p.t, name+" hears "+text[:min(20, len(text))], func() bool {
		return slices.Contains(p.told(name).Messages, struct{ Label, Text string }{label, text})
	})
}

// TestSoraMessaging has clients of the unmodified SDK exchange messages: beside
// media and without, compressed, with the sender's id, and one of them only hears.
func TestSoraMessaging(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	p := newBrowser(t).sora(s, a, soraPage(t), "messages")
	chat := func(more map[string]any) map[string]any {
		channel := map[string]any{"label": "#chat", "direction": "sendrecv"}
		for name, value := range more {
			channel[name] = value
		}
		return map[string]any{"dataChannelSignaling": true, "dataChannels": []any{channel}}
	}
	talker := chat(map[string]any{"compress": true})
	talker["audio"], talker["video"], talker["ignoreDisconnectWebSocket"] = false, false, true
	id := p.mustJoin("talker", "sendonly", talker)
	p.mustJoin("publisher", "sendrecv", chat(map[string]any{"compress": true, "header": []any{map[string]any{"type": "sender_connection_id"}}}))
	p.mustJoin("listener", "recvonly", chat(map[string]any{"direction": "recvonly", "ordered": false, "maxRetransmits": 3}))
	for _, name := range []string{"talker", "publisher", "listener"} {
		eventually(t, name+"'s channel is announced", func() bool { return slices.Equal(p.told(name).Channels, []string{"#chat"}) })
	}
	long := strings.Repeat("雲雀", 10_000) // 60 kB
	for _, text := range []string{"hello", long} {
		eval[bool](p.tab, "tell(%s, %s, %s)", "talker", "#chat", text)
		p.hears("publisher", "#chat", id+text)
		p.hears("listener", "#chat", text)
	}
	eval[bool](p.tab, "tell(%s, %s, %s)", "publisher", "#chat", "welcome")
	p.hears("talker", "#chat", "welcome")
	p.plays("listener", 1)
	if got := p.told("talker").Messages; len(got) != 1 {
		t.Errorf("the talker heard %d messages", len(got))
	}
	eval[any](p.tab, "leave(%s)", "talker")
	p.ends("messaging", "talker", "DISCONNECT", "TYPE-DISCONNECT")
}
