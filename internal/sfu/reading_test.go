package sfu_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// TestReadingsAreTrue: on a network that loses, delays and varies as it was told to,
// the figures of both connections say so.
func TestReadingsAreTrue(t *testing.T) {
	const lossOf = 10 // every tenth packet of video, either way
	var ended sync.Map
	s := newSFU(t, func(c *sfu.Config) { c.Ended = func(r sfu.Reading) { ended.Store(r.ConnectionID, r) } })
	delayed := func(d, jitter time.Duration) *sfutest.Path {
		return &sfutest.Path{Media: sfutest.Impairment{Delay: d, Jitter: jitter}}
	}
	var toRepair atomic.Int64
	p := join(t, s, request(tenant.SendOnly), sfutest.Options{
		Publish: &sfutest.Media{Audio: true, Video: "VP8", PayloadSize: 300}, DropSent: everyNth(lossOf, 96), Out: delayed(time.Millisecond, 0)})
	v := join(t, s, request(tenant.RecvOnly), sfutest.Options{
		Drop: everyNth(lossOf, 96), In: delayed(30*time.Millisecond, 0), Out: delayed(20*time.Millisecond, 0)})
	connected(t, v)
	flows(t, v, p.Connection.ID())
	if v.SenderReport(p.Connection.ID(), "video") == nil { // pion sees none unless asked
		t.Fatal("no sender report")
	}
	read := func(c *sfutest.Session) sfu.Reading {
		r, _ := c.Connection.Reading()
		return r
	}
	eventually(t, "a thousand packets of video are reported, and a round trip", func() bool {
		r := read(v)
		toRepair.Store(r.Out.Video.NACKs)
		return r.Out.Video.Expected > 1000 && r.RTT > 0 && read(p).In.Video.Expected > 1000
	})
	way, in := read(v), read(p)
	near := func(what string, lost, expected int64) {
		t.Helper()
		if share := float64(lost) / float64(expected); share < 0.085 || share > 0.115 {
			t.Errorf("%s: %d of %d were lost, want a tenth", what, lost, expected)
		}
	}
	near("to the viewer", way.Out.Video.Lost, way.Out.Video.Expected)
	near("from the publisher", in.In.Video.Lost, in.In.Video.Expected)
	if way.RTT < 49*time.Millisecond || way.RTT > 120*time.Millisecond {
		t.Errorf("the round trip is %s, want 50 ms and what the machine adds", way.RTT)
	}
	if way.Out.Audio.Lost != 0 || in.In.Audio.Lost != 0 {
		t.Errorf("audio lost %d and %d, want none", way.Out.Audio.Lost, in.In.Audio.Lost)
	}
	if way.Out.Video.NACKs == 0 || way.Out.Video.Resent == 0 || in.In.Video.NACKs == 0 || in.In.Video.Resent == 0 {
		t.Errorf("nobody asked for what was lost: %+v, %+v", way.Out.Video, in.In.Video)
	}
	if way.In != (sfu.Flows{}) || in.Out.Video.Packets != 0 || in.Out.Audio.Packets != 0 {
		t.Errorf("the viewer sent %+v, the publisher got %+v", way.In, in.Out)
	}
	// What the client counted itself, but for what is on its way.
	got := v.Stream(p.Connection.ID(), "video")
	if sent := way.Out.Video.Packets - way.Out.Video.Resent; sent > got.Packets+got.Lost+200 {
		t.Errorf("%d packets were sent, and the viewer knows of %d", sent, got.Packets+got.Lost)
	}
	if info := v.Connection.Info(); info.PacketsOut < way.Out.Video.Packets+way.Out.Audio.Packets || info.BytesOut < way.Out.Video.Bytes+way.Out.Audio.Bytes {
		t.Errorf("the kinds add up to more than all: %+v, %+v", info, way)
	}
	frames, audio := way.Out.Video.Frames, way.Out.Audio.Packets
	if seconds := way.Connected.Seconds(); frames == 0 || float64(frames) > 31*(seconds+1) || float64(audio) > 51*(seconds+1) {
		t.Errorf("in %s there were %d frames and %d packets of audio", way.Connected, frames, audio)
	}
	// The last reading is told, with all that there was.
	v.Connection.Disconnect(tenant.EndAPI)
	<-v.Connection.Done()
	last, ok := ended.Load(v.Connection.ID())
	if !ok || last.(sfu.Reading).Out.Video.Packets < way.Out.Video.Packets || last.(sfu.Reading).Tenant != v.Connection.Info().Tenant {
		t.Errorf("its last reading is %+v", last)
	}
}

// TestReadingsSeeJitter: the variation of the network is seen on both sides of it.
func TestReadingsSeeJitter(t *testing.T) {
	s := newSFU(t)
	varies := func() *sfutest.Path {
		return &sfutest.Path{Media: sfutest.Impairment{Delay: 5 * time.Millisecond, Jitter: 30 * time.Millisecond}}
	}
	p := join(t, s, request(tenant.SendOnly), sfutest.Options{Publish: &sfutest.Media{Audio: true}, Out: varies()})
	v := join(t, s, request(tenant.RecvOnly), sfutest.Options{In: varies()})
	connected(t, v)
	eventually(t, "two hundred packets of audio are reported", func() bool {
		r, _ := v.Connection.Reading()
		return r.Out.Audio.Expected > 200
	})
	in, _ := p.Connection.Reading()
	out, _ := v.Connection.Reading()
	// Of two delays that are evenly spread over 30 ms the difference is 10 ms in the mean.
	for what, jitter := range map[string]time.Duration{"from the publisher": in.In.Audio.Jitter, "to the viewer": out.Out.Audio.Jitter} {
		if jitter < 4*time.Millisecond || jitter > 40*time.Millisecond {
			t.Errorf("%s the jitter is %s, want 10 ms and more", what, jitter)
		}
	}
}

// TestReadingsCountOn: where the counters of RTP and RTCP begin anew, ours do not.
func TestReadingsCountOn(t *testing.T) {
	f := fed(t, newSFU(t), 1, 1)
	video := &media{t: t, seq: 65_000}
	begun(f, video, &media{t: t})
	for range 300 { // across the end of 16 bits of numbers, twice over
		for range 500 {
			f.RTP(video.video(false, true, 100))
		}
		video.seq += 5 // are lost
	}
	in := f.Read(0).In.Video
	if in.Packets != 3+300*500 || in.Expected < in.Packets+299*5 || in.Lost != 299*5 && in.Lost != 300*5 || in.Frames != in.Packets {
		t.Errorf("of %d packets and 299 times five lost the reading says %+v", 3+300*500, in)
	}
	ssrc := f.SSRC(1, "video")
	report := func(highest, lost uint32) {
		b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: ssrc, LastSequenceNumber: highest, TotalLost: lost, Jitter: 900}}}})
		if err != nil {
			t.Fatal(err)
		}
		f.Feedback(1, b)
	}
	report(65_500, 0xfffffe) // two came twice
	before := f.Read(1).Out.Video
	report(1<<16+464, 0x000003)
	after := f.Read(1).Out.Video
	if after.Lost-before.Lost != 5 || after.Expected-before.Expected != 500 || after.Jitter != 10*time.Millisecond {
		t.Errorf("from %+v to %+v: want 5 of 500 lost and 10 ms of jitter", before, after)
	}
	report(2<<16+464, 0x800000) // less than what was lost before: nobody has so many twice
	report(3<<16, 0x7fffff)
	if r := f.Read(1).Out.Video; r.Expected < after.Expected {
		t.Errorf("a client that makes things up makes %+v", r)
	}
}

// TestReadingsShowTheLayer: which layer a viewer gets, and which it is to get.
func TestReadingsShowTheLayer(t *testing.T) {
	f, e, _ := fedLayers(t, "VP8", sfutest.Options{})
	if sent := f.Read(0).Sent; sent != (sfu.LayerCounts{0, 1, 1, 1}) {
		t.Errorf("the publisher sends %v", sent)
	}
	for i, rid := range []string{"r0", "r2", "none", "r1"} {
		if err := f.Want(1, rid); err != nil {
			t.Fatal(err)
		}
		if r := f.Read(1); rid == "r2" && (r.Shown != sfu.LayerCounts{0, 1} || r.Target != sfu.LayerCounts{0, 0, 0, 1}) {
			t.Errorf("between two key frames it gets %v and is to get %v", r.Shown, r.Target)
		}
		e.frame(t, true)
		f.Round()
		want := sfu.LayerCounts{}
		want[map[string]int{"none": 0, "r0": 1, "r1": 2, "r2": 3}[rid]] = 1
		if r := f.Read(1); r.Shown != want || r.Target != want {
			t.Errorf("%d: of %s it gets %v and is to get %v", i, rid, r.Shown, r.Target)
		}
	}
}
