package sfu_test

import (
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// A viewer that asks for everything again all the time gets some of it, within
// its budget, and costs the others nothing.
func TestNACKStormHurtsNobody(t *testing.T) {
	s := newSFU(t, patient)
	p := publish(t, s, sfutest.Media{Video: "VP8", PacketsPerFrame: 10, PayloadSize: 600})
	id := p.Connection.ID()
	fair := view(t, s)
	greedy := join(t, s, request(tenant.RecvOnly), sfutest.Options{})
	connected(t, greedy)
	eventually(t, "both see the video", func() bool {
		return fair.Stream(id, "video").Frames > 0 && greedy.Stream(id, "video").Frames > 0
	})
	before := s.Stats()
	from := fair.Stream(id, "video")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for fair.Stream(id, "video").Frames < from.Frames+60 {
			if err := greedy.AskAgain(id, 1000); err != nil {
				t.Error(err)
				return
			}
			<-ticker.C
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("not in time: 60 more frames for the fair viewer")
	}
	got, after := fair.Stream(id, "video"), s.Stats()
	t.Logf("%+v", got)
	t.Logf("%+v", after)
	resent := after.Resent - before.Resent
	fresh := after.Forwarded - before.Forwarded - resent
	if most := fresh/2/2 + 512; resent > most { // half of the packets are the greedy one's
		t.Errorf("%d packets were sent again for %d fresh ones, want at most %d", resent, fresh, most)
	}
	if resent == 0 {
		t.Error("nothing was sent again")
	}
	if got.Lost != 0 {
		t.Errorf("the fair viewer lost %d packets", got.Lost)
	}
}
