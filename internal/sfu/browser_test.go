package sfu_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// page is a client in a browser: enough to answer offers, publish a fake camera
// and count what is decoded.
const page = `<!doctype html><script>
let pc
async function accept(sdp, publish) {
  const first = !pc
  if (first) {
    pc = new RTCPeerConnection()
    pc.ontrack = e => {
      const v = document.createElement('video')
      v.autoplay = v.muted = true; v.srcObject = e.streams[0]
      document.documentElement.append(v)
    }
  }
  await pc.setRemoteDescription({type: 'offer', sdp})
  if (first && publish) {
    const media = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 640, height: 360}})
    for (const t of media.getTracks()) pc.addTrack(t, media)
  }
  await pc.setLocalDescription(await pc.createAnswer())
  return pc.localDescription.sdp
}
async function seen() { // by codec
  const seen = {audio: 0, frames: {}}, all = await pc.getStats()
  all.forEach(s => {
    if (s.type !== 'inbound-rtp') return
    if (s.kind === 'audio') seen.audio = s.packetsReceived
    if (s.kind === 'video' && s.codecId) seen.frames[all.get(s.codecId).mimeType] = s.framesDecoded
  })
  return JSON.stringify(seen)
}
</script>`

type tab struct {
	context.Context
	conn *sfu.Connection
}

// openTab joins a channel with a client in Chromium.
func openTab(t *testing.T, browser context.Context, url string, s *sfu.SFU, r sfu.JoinRequest) tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	c, err := s.Join(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	accept := func(offer string) error {
		quoted, err := json.Marshal(offer)
		if err != nil {
			return err
		}
		call := fmt.Sprintf("accept(%s, %v)", quoted, r.Role.Sends())
		answer, err := chromedp.Run(ctx, chromedp.Evaluate[string](call, chromedp.EvalAwaitPromise))
		if err != nil {
			return fmt.Errorf("Chromium refuses %s: %w", offer, err)
		}
		return c.Answer(answer)
	}
	offer, _, _ := c.Offer()
	if err := accept(offer); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for signal := range c.Signals() {
			if signal.Kind == sfu.SignalReoffer {
				if err := accept(signal.SDP); err != nil && !errors.Is(err, sfu.ErrEnded) {
					t.Error(err)
				}
			}
		}
	}()
	t.Cleanup(func() {
		c.Disconnect(tenant.EndClient)
		<-read
	})
	return tab{ctx, c}
}

// TestChromiumDecodesEveryCodec publishes from one tab after the other, so that
// the watching one also sees its sections emptied and reused.
func TestChromiumDecodesEveryCodec(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) }))
	t.Cleanup(web.Close)
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.Flag("use-fake-ui-for-media-stream", true), chromedp.Flag("use-fake-device-for-media-stream", true))
	if os.Getuid() == 0 {
		flags = append(flags, chromedp.NoSandbox)
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(stop)
	browser, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(browser, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	s := newSFU(t)
	viewer := openTab(t, browser, web.URL, s, request(tenant.RecvOnly))
	for _, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		publisher := openTab(t, browser, web.URL, s, request(tenant.SendOnly, withVideo(codec)))
		var seen struct {
			Audio  int
			Frames map[string]int
		}
		eventually(t, codec+" decoded", func() bool {
			text, err := chromedp.Run(viewer.Context, chromedp.Evaluate[string]("seen()", chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatal(err)
			}
			seen.Frames = nil
			if err := json.Unmarshal([]byte(text), &seen); err != nil {
				t.Fatal(err)
			}
			return seen.Frames["video/"+codec] >= 30 && seen.Audio > 0
		})
		if err := chromedp.Do(publisher.Context, chromedp.Navigate("about:blank")); err != nil {
			t.Fatal(err)
		}
		publisher.conn.Disconnect(tenant.EndClient)
		<-publisher.conn.Done()
	}
}
