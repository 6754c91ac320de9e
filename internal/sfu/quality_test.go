package sfu_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// TestViewersReportTheirWay: what a client's own reports say is known of it.
func TestViewersReportTheirWay(t *testing.T) {
	s := newSFU(t, func(c *sfu.Config) { c.ViewerFeedback = true })
	p := publish(t, s, av)
	v := join(t, s, request(tenant.RecvOnly), sfutest.Options{Drop: everyNth(10, 96)})
	connected(t, v)
	flows(t, v, p.Connection.ID())
	if v.SenderReport(p.Connection.ID(), "video") == nil { // pion sees none unless asked
		t.Fatal("no sender report")
	}
	eventually(t, "loss, jitter and round trip are known", func() bool {
		i := v.Connection.Info()
		return i.Loss > 0 && i.RTT > 0 && i.Jitter > 0
	})
	i := v.Connection.Info()
	if i.Loss > 0.5 || i.RTT > time.Second || i.Jitter > time.Second {
		t.Errorf("a tenth is lost on loopback, reported are %+v", i)
	}
	eventually(t, "its transport-wide feedback is counted", func() bool {
		i := v.Connection.Info()
		return i.Acknowledged > 100 && i.Missing > 0
	})
	if own := p.Connection.Info(); own.Loss != 0 || own.RTT != 0 || own.Acknowledged != 0 {
		t.Errorf("the publisher gets nothing, but reports %+v", own)
	}
}

// TestTransportFeedbackIsOfferedOnRequest: by default viewers send none, but see
// when packets were sent.
func TestTransportFeedbackIsOfferedOnRequest(t *testing.T) {
	for name, wanted := range map[string]bool{"by default": false, "on request": true} {
		t.Run(name, func(t *testing.T) {
			s := newSFU(t, func(c *sfu.Config) { c.ViewerFeedback = wanted })
			p := publish(t, s, av)
			var numbered, timed atomic.Int64
			v := join(t, s, request(tenant.RecvOnly), sfutest.Options{OnPacket: func(p sfutest.Packet) {
				if p.RTP.GetExtension(idTransport) != nil {
					numbered.Add(1)
				}
				if p.RTP.GetExtension(idTime) != nil {
					timed.Add(1)
				}
			}})
			connected(t, v)
			flows(t, v, p.Connection.ID())
			if got := numbered.Load() > 0; got != wanted {
				t.Errorf("packets are numbered: %v", got)
			}
			if timed.Load() == 0 {
				t.Error("no packet says when it was sent")
			}
		})
	}
}

// TestReportsThatLieAreHarmless: times that cannot be, sources that do not exist.
func TestReportsThatLieAreHarmless(t *testing.T) {
	f := fed(t, newSFU(t), 1, 1)
	video := &media{t: t}
	begun(f, video, &media{t: t})
	ssrc := f.SSRC(1, "video")
	for _, r := range []rtcp.ReceptionReport{
		{SSRC: ssrc, LastSenderReport: 1, Delay: 1},
		{SSRC: ssrc, LastSenderReport: 0xffffffff, Delay: 0xffffffff, Jitter: 0xffffffff, FractionLost: 255, LastSequenceNumber: 0xffffffff},
		{SSRC: ssrc, LastSequenceNumber: 5, FractionLost: 128},
		{SSRC: 12345, LastSenderReport: 7, FractionLost: 255},
	} {
		b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{r}},
			&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 3_000_000}})
		if err != nil {
			t.Fatal(err)
		}
		f.Feedback(1, b)
	}
	f.Wait(2 * time.Second)
	i := f.Viewer().Info()
	if i.Loss < 0 || i.Loss > 1 || i.RTT < 0 || i.RTT > time.Minute || i.Jitter < 0 {
		t.Errorf("reported are %+v", i)
	}
	if i.Bandwidth < 2_900_000 || i.Bandwidth > 3_000_000 {
		t.Errorf("estimated are %d bit/s", i.Bandwidth)
	}
}
