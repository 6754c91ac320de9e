package e2e

import "testing"

// TestSoraSimulcast lets the unmodified SDK publish in three layers, through
// re-offers, on which it applies its encodings again, and watch the layer that each
// viewer asks for.
func TestSoraSimulcast(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	p := newBrowser(t).sora(s, a, soraPage(t), "hello")
	video := map[string]any{"codec_type": "VP8"}
	first := p.mustJoin("first", "sendrecv", map[string]any{"simulcast": true, "video": video, "simulcastRequestRid": "r1"})
	shows := func(name, publisher string, width int) {
		t.Helper()
		var got seen
		defer func() {
			if t.Failed() {
				t.Logf("%+v", got)
			}
		}()
		eventually(t, name+" is shown its layer", func() bool {
			got = p.look(name)
			return got.Widths[publisher] == width && got.Shown[publisher] >= 30
		})
	}
	p.mustJoin("low", "recvonly", map[string]any{"simulcast": true, "simulcastRequestRid": "r0"})
	p.mustJoin("middle", "recvonly", map[string]any{"simulcast": true, "simulcastRid": "r1"})
	p.mustJoin("high", "recvonly", nil)
	shows("low", first, 320)
	shows("middle", first, 640)
	shows("high", first, 1280)

	second := p.mustJoin("second", "sendrecv", map[string]any{"simulcast": true, "video": video, "simulcastRequestRid": "r0"})
	shows("first", second, 640)
	shows("second", first, 320)
	shows("high", second, 1280)
	shows("low", second, 320)
	shows("low", first, 320)
}
