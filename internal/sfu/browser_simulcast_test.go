package sfu_test

import (
	"testing"
	"time"

	"github.com/hibari/hibari/internal/browsertest"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// TestChromiumSimulcast lets a tab publish three layers, in every codec, and
// another ask for one after the other.
func TestChromiumSimulcast(t *testing.T) {
	s := newStage(t)
	b := browsertest.Chromium(t, nil)
	for _, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		publisher := s.enter(t, b, request(tenant.SendOnly, withVideo(codec), withSimulcast(sfu.Simulcast{})),
			&camera{Width: 960, Height: 540, Layers: true})
		viewer := s.enter(t, b, request(tenant.RecvOnly, withSimulcast(sfu.Simulcast{RequestRID: "r0"})), nil)
		viewer.plays(publisher, 20)
		for _, next := range []struct {
			rid   string
			width int
		}{{"r0", 240}, {"r2", 960}, {"r1", 480}, {"r2", 960}, {"r0", 240}} {
			if err := viewer.conn.RequestRID("", next.rid); err != nil {
				t.Fatal(err)
			}
			asked := time.Now()
			before := viewer.inbound(publisher, "video")
			viewer.eventually(codec+" "+next.rid, func() bool { return viewer.inbound(publisher, "video").FrameWidth == next.width })
			took := time.Since(asked)
			decoded := viewer.inbound(publisher, "video").FramesDecoded
			viewer.plays(publisher, decoded+30)
			after := viewer.inbound(publisher, "video")
			t.Logf("%s: %s after %v, frozen %d times, %d key frames asked for, %d lost, %d dropped", codec, next.rid, took,
				after.FreezeCount-before.FreezeCount, after.PLICount-before.PLICount, after.PacketsLost, after.FramesDropped-before.FramesDropped)
			// A freeze may be the camera's on a slow machine; what a turn may cost is
			// no request for a key frame.
			if after.FrameWidth != next.width || after.PLICount != before.PLICount || after.PacketsLost != 0 {
				t.Errorf("%s: %s: %+v", codec, next.rid, after)
			}
		}
		for _, r := range publisher.stats() {
			if r.Type == "outbound-rtp" && r.Kind == "video" {
				t.Logf("%s %s: %d wide, %d frames sent, %d bytes, active %v, %s", codec, r.RID, r.FrameWidth, r.FramesSent, r.BytesSent, r.Active, r.QualityLimitationReason)
			}
		}
		viewer.leave()
		publisher.leave()
	}
}
