package e2e

import (
	"slices"
	"testing"
)

// TestSoraSpotlight has three connections of the unmodified SDK in the spotlight:
// who speaks is told to all, heard, and shown larger; who does not is shown small and
// not heard.
func TestSoraSpotlight(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	p := newBrowser(t).sora(s, a, soraPage(t), "hello")
	options := map[string]any{"spotlight": true, "video": map[string]any{"codec_type": "VP8"}}
	names := []string{"ann", "bob", "cid"}
	ids := map[string]string{}
	for _, name := range names {
		ids[name] = p.mustJoin(name, "sendrecv", options)
	}
	var got seen
	defer func() {
		if t.Failed() {
			t.Logf("%+v", got)
		}
	}()
	eventually(t, "everybody is connected and sees the others small", func() bool {
		return !slices.ContainsFunc(names, func(name string) bool {
			got = p.look(name)
			small := 0
			for _, width := range got.Widths {
				if width == 160 {
					small++
				}
			}
			return !got.Connected || small != 2 || len(got.Frames) == 0
		})
	})
	// shows waits until cid is told that one is in focus, sees that one large and the
	// other small, and hears it.
	shows := func(speaker, other string) {
		t.Helper()
		before := p.look("cid").Heard[ids[speaker]]
		eventually(t, "cid sees and hears "+speaker, func() bool {
			got = p.look("cid")
			focused := ""
			for _, n := range got.Notify {
				if n.EventType == "spotlight.focused" {
					focused = n.Connection
				}
			}
			return focused == ids[speaker] && got.Widths[ids[speaker]] == 320 && got.Widths[ids[other]] == 160 && got.Heard[ids[speaker]] > before+20
		})
	}
	eval[any](p.tab, "speak(%s, true)", "ann")
	shows("ann", "bob")
	if n := got.Heard[ids["bob"]]; n != 0 {
		t.Errorf("cid got %d packets of bob's silence", n)
	}
	eval[any](p.tab, "speak(%s, false)", "ann")
	eval[any](p.tab, "speak(%s, true)", "bob")
	shows("bob", "ann")
}
