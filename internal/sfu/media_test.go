package sfu_test

import (
	"testing"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

func TestEveryCodecReachesTheViewer(t *testing.T) {
	for _, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			s := newSFU(t)
			m := av
			m.Video = codec
			p := publish(t, s, m)
			v := view(t, s)
			flows(t, v, p.Connection.ID())
			got := v.Stream(p.Connection.ID(), "video")
			if got.Codec != codec || !got.FirstIsKey {
				t.Errorf("got %+v, want %s beginning with a key frame", got, codec)
			}
			if got.Lost != 0 {
				t.Errorf("%d packets lost on loopback", got.Lost)
			}
			if info := p.Connection.Info(); info.VideoCodec != codec || info.Connected == 0 {
				t.Errorf("publisher's info is %+v", info)
			}
		})
	}
}

func TestViewerBeforePublisher(t *testing.T) {
	s := newSFU(t)
	v := view(t, s)
	p := publish(t, s, av)
	flows(t, v, p.Connection.ID())
	if n := len(v.Signals(sfu.SignalReoffer)); n != 1 {
		t.Errorf("%d re-offers, want one for audio and video together", n)
	}
	if !v.Stream(p.Connection.ID(), "video").FirstIsKey {
		t.Error("video does not begin with a key frame")
	}
	for key := range v.Streams() {
		if key == "default/audio" || key == "default/video" {
			t.Errorf("the dummy section %s carries media", key)
		}
	}
	eventually(t, "bytes counted", func() bool {
		return p.Connection.Info().BytesIn > 0 && v.Connection.Info().BytesOut > 0
	})
}

func TestPublisherLeavesAndComesBack(t *testing.T) {
	s := newSFU(t)
	v := view(t, s)
	for range 3 {
		p := publish(t, s, av)
		flows(t, v, p.Connection.ID())
		if err := p.Leave(tenant.EndClient); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the viewer agrees that it is gone", func() bool {
			return v.Stream(p.Connection.ID(), "video").Ended && v.Stream(p.Connection.ID(), "audio").Ended
		})
	}
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	// Two dummies, and two sections that the three publishers used in turn.
	if n := len(v.Peer().GetTransceivers()); n != 4 {
		t.Errorf("%d sections, want 4", n)
	}
}

func TestThreeSendAndReceive(t *testing.T) {
	s := newSFU(t)
	var all []*sfutest.Session
	for range 3 {
		all = append(all, join(t, s, request(tenant.SendRecv), publishing(av)))
	}
	for _, from := range all {
		for _, to := range all {
			if from != to {
				flows(t, to, from.Connection.ID())
			}
		}
	}
	for _, one := range all {
		if own := one.Stream(one.Connection.ID(), "video"); own.Packets > 0 {
			t.Error("a client is shown itself")
		}
		if err := one.Err(); err != nil {
			t.Error(err)
		}
	}
}
