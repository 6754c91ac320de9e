package sfu_test

import (
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
)

// counted is what a browser has sent or got of one kind.
type counted struct{ bytes, packets, frames int64 }

// sums adds up what a page has sent and got of a kind, and says how long its round
// trip takes.
func (p tab) sums(kind string) (sent, got counted, trip time.Duration) {
	for _, r := range p.stats() {
		switch {
		case r.Type == "outbound-rtp" && r.Kind == kind:
			sent.bytes += r.BytesSent + r.HeaderBytesSent
			sent.packets += r.PacketsSent
			sent.frames += int64(r.FramesSent)
		case r.Type == "inbound-rtp" && r.Kind == kind:
			got.bytes += r.BytesReceived + r.HeaderBytesReceived
			got.packets += int64(r.PacketsReceived)
			got.frames += int64(r.FramesReceived)
		case r.Type == "candidate-pair" && r.CurrentRoundTripTime > 0:
			trip = milliseconds(1000 * r.CurrentRoundTripTime)
		}
	}
	return sent, got, trip
}

// agreeOn holds our readings of a publisher and its only viewer against what their
// browser says. A reading is up to a second old and the browser goes on, so ours must
// lie between two of its own, but for a few percent that count differently: what is
// under way, and packets of padding.
func agreeOn(t *testing.T, publisher, viewer tab) {
	t.Helper()
	for _, kind := range []string{"audio", "video"} {
		sent, _, _ := publisher.sums(kind)
		_, got, _ := viewer.sums(kind)
		asked := time.Now()
		newer := func(p tab) (r sfu.Reading) {
			p.eventually("a newer reading", func() bool {
				r, _ = p.conn.Reading()
				return r.At.After(asked)
			})
			return r
		}
		in, out := newer(publisher), newer(viewer)
		sentThen, _, _ := publisher.sums(kind)
		_, gotThen, trip := viewer.sums(kind)
		flowIn, flowOut := in.In.Audio, out.Out.Audio
		if kind == "video" {
			flowIn, flowOut = in.In.Video, out.Out.Video
		}
		within := func(what string, ours, before, after int64) {
			t.Helper()
			slack := after/33 + 3
			if ours < before-slack || ours > after+slack {
				t.Errorf("%s of %s: we count %d, the browser %d before and %d after", what, kind, ours, before, after)
			}
		}
		within("bytes from the publisher", flowIn.Bytes, sent.bytes, sentThen.bytes)
		within("packets from the publisher", flowIn.Packets, sent.packets, sentThen.packets)
		within("bytes to the viewer", flowOut.Bytes, got.bytes, gotThen.bytes)
		within("packets to the viewer", flowOut.Packets, got.packets, gotThen.packets)
		if kind == "video" {
			within("frames from the publisher", flowIn.Frames, sent.frames, sentThen.frames)
			within("frames to the viewer", flowOut.Frames, got.frames, gotThen.frames)
		}
		if flowIn.Lost != 0 || flowOut.Lost != 0 {
			t.Errorf("on loopback %d and %d packets of %s were lost", flowIn.Lost, flowOut.Lost, kind)
		}
		if d := (out.RTT - trip).Abs(); out.RTT == 0 || trip == 0 || d > 100*time.Millisecond {
			t.Errorf("the round trip is %s to us and %s to the browser", out.RTT, trip)
		}
		t.Logf("%s: in %+v, out %+v; round trip %s, by the browser %s", kind, flowIn, flowOut, out.RTT, trip)
	}
}
