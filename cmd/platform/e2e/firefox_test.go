package e2e

import (
	"slices"
	"testing"

	"github.com/hibari/hibari/internal/browsertest"
)

// TestSoraFirefox has Chromium and Firefox publish to and watch each other and
// themselves through the SDK, signalling over DataChannels.
func TestSoraFirefox(t *testing.T) {
	// All of the host's addresses: Firefox leaves the loopback interface alone.
	s := newServer(t, "HIBARI_MEDIA_IPS=")
	a, site := s.tenant("Lark"), soraPage(t)
	chromium, firefox := newBrowser(t), &browser{t, browsertest.FirefoxWithH264(t)}
	for _, codec := range []string{"VP8", "H264"} {
		t.Run(codec, func(t *testing.T) {
			var tabs []soraTab
			for _, b := range []*browser{chromium, firefox} {
				p := b.sora(s, a, site, "two-"+codec)
				p.tab = &tab{t, b, p.For(t)}
				p.mustJoin("viewer", "recvonly", nil)
				p.mustJoin("publisher", "sendonly", map[string]any{"videoCodecType": codec})
				tabs = append(tabs, p)
			}
			for _, p := range tabs {
				p.switches("unsaid", "viewer", "publisher")
				p.plays("viewer", len(tabs))
				if got := p.look("viewer").Codec; got != "video/"+codec {
					t.Errorf("%s decodes %s", p.browser.Name, got)
				}
				p.Close()
			}
		})
	}
	t.Run("without H264", func(t *testing.T) { testFirefoxWithoutH264(t, s, a, site, chromium) })
}

// testFirefoxWithoutH264 has a Firefox that has not downloaded its plug-in for
// H.264: what it can't decode or encode is left out, and the rest goes on.
func testFirefoxWithoutH264(t *testing.T, s *server, a account, site string, b *browser) {
	chromium := b.sora(s, a, site, "without")
	chromium.tab = &tab{t, b, chromium.For(t)}
	firefox := (&browser{t, browsertest.Firefox(t, nil)}).sora(s, a, site, "without")
	h264, vp8 := map[string]any{"videoCodecType": "H264"}, map[string]any{"videoCodecType": "VP8"}

	chromium.mustJoin("viewer", "recvonly", nil)
	firefox.mustJoin("viewer", "recvonly", nil)
	first := chromium.mustJoin("first", "sendonly", h264)
	chromium.plays("viewer", 1)
	eventually(t, "Firefox hears the publisher", func() bool { return firefox.look("viewer").Audio > 30 })
	if got := firefox.look("viewer"); !slices.Equal(got.Kinds[first], []string{"audio"}) || got.Codec != "" {
		t.Errorf("Firefox was sent H.264: %+v", got)
	}

	second := firefox.mustJoin("second", "sendonly", h264)
	eventually(t, "Chromium hears Firefox", func() bool { return len(chromium.look("viewer").Kinds[second]) > 0 })
	if got := chromium.look("viewer"); !slices.Equal(got.Kinds[second], []string{"audio"}) {
		t.Errorf("Firefox published %v", got.Kinds[second])
	}

	third := chromium.mustJoin("third", "sendonly", vp8)
	eventually(t, "Firefox plays the third", func() bool { return firefox.look("viewer").Shown[third] >= 30 })
}
