package sfu_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// threeLayers is what simulcast publishers publish.
var threeLayers = sfutest.Media{Audio: true, Video: "VP8", Layers: 3, PayloadSize: 400}

func withSimulcast(s sfu.Simulcast) func(*sfu.JoinRequest) {
	return func(r *sfu.JoinRequest) { r.Simulcast = &s }
}

// watcher is a viewer that knows which layer it gets.
type watcher struct {
	*sfutest.Session
	layer atomic.Int64 // of the newest packet
}

// watch joins as a viewer of publishers that publish m.
func watch(t *testing.T, s *sfu.SFU, m sfutest.Media, o sfutest.Options, tune ...func(*sfu.JoinRequest)) *watcher {
	t.Helper()
	w := &watcher{}
	w.layer.Store(-1)
	o.Decode = true
	o.OnPacket = func(p sfutest.Packet) {
		if p.Kind == "video" {
			w.layer.Store(int64(sfutest.LayerOf(p, m.Layers, m.PayloadSize)))
		}
	}
	w.Session = join(t, s, request(tenant.RecvOnly, tune...), o)
	connected(t, w.Session)
	return w
}

// gets waits until the viewer gets a layer, and then for some more of it.
func (w *watcher) gets(t *testing.T, publisher *sfutest.Session, layer int) {
	t.Helper()
	id := publisher.Connection.ID()
	eventually(t, "layer "+string(rune('0'+layer)), func() bool { return w.layer.Load() == int64(layer) })
	frames := w.Stream(id, "video").Decoded.Frames
	eventually(t, "pictures of it", func() bool { return w.Stream(id, "video").Decoded.Frames >= frames+15 })
	if got := w.layer.Load(); got != int64(layer) {
		t.Errorf("the viewer went on to layer %d by itself", got)
	}
}

// whole fails if a decoder would have stalled.
func whole(t *testing.T, v sfutest.Stream) {
	t.Helper()
	d := v.Decoded
	if d.Skipped != 0 || d.TimeFaults != 0 || d.PictureFaults != 0 || d.KeysAsked != 0 || v.Backwards != 0 || v.Lost > 1 || v.Corrupt != 0 {
		t.Errorf("%d frames skipped, %d out of time, %d out of count, %d key frames asked for, %d packets lost, %d corrupt: %+v",
			d.Skipped, d.TimeFaults, d.PictureFaults, d.KeysAsked, v.Lost, v.Corrupt, v)
	}
}

// switches are the simulcast.switched that a client was told.
func switches(s *sfutest.Session) (list []sfu.SimulcastSwitched) {
	for _, signal := range s.Signals(sfu.SignalNotify) {
		if d, ok := signal.Notify.Details.(*sfu.SimulcastSwitched); ok {
			list = append(list, *d)
		}
	}
	return list
}

func TestViewersGetTheLayerTheyAskFor(t *testing.T) {
	for _, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		t.Run(codec, func(t *testing.T) {
			s := newSFU(t)
			m := threeLayers
			m.Video = codec
			p := publish(t, s, m, withSimulcast(sfu.Simulcast{}))
			best := watch(t, s, m, sfutest.Options{})
			lowest := watch(t, s, m, sfutest.Options{}, withSimulcast(sfu.Simulcast{RequestRID: "r0"}))
			best.gets(t, p, 2)
			lowest.gets(t, p, 0)
			for _, next := range []struct {
				rid   string
				layer int
			}{{"r2", 2}, {"r1", 1}, {"r0", 0}, {"r1", 1}} {
				if err := lowest.Connection.RequestRID(p.Connection.ID(), next.rid); err != nil {
					t.Fatal(err)
				}
				lowest.gets(t, p, next.layer)
			}
			whole(t, lowest.Stream(p.Connection.ID(), "video"))
			whole(t, best.Stream(p.Connection.ID(), "video"))
			got := switches(lowest.Session)
			var path []string
			for _, c := range got {
				path = append(path, c.Previous+">"+c.Current)
				if c.Sender != p.Connection.ID() || c.Request != c.Current || c.Trigger != "receiver" ||
					c.Higher != (c.Current > c.Previous) || !slices.Equal(c.AutoRIDs, []string{"r0", "r1", "r2"}) {
					t.Errorf("told %+v", c)
				}
			}
			if text := strings.Join(path, " "); text != "r0>r2 r2>r1 r1>r0 r0>r1" {
				t.Errorf("the viewer was told of %s", text)
			}
			if n := len(switches(best.Session)); n != 0 {
				t.Errorf("the other viewer was told of %d changes", n)
			}
		})
	}
}

func TestLayersThatStop(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, threeLayers, withSimulcast(sfu.Simulcast{}))
	v := watch(t, s, threeLayers, sfutest.Options{})
	v.gets(t, p, 2)
	p.PauseLayer(2, true)
	v.gets(t, p, 1)
	p.PauseLayer(2, false)
	v.gets(t, p, 2)
	p.PauseLayer(0, true)
	if err := v.Connection.RequestRID("", "r0"); err != nil { // the next higher, then
		t.Fatal(err)
	}
	v.gets(t, p, 1)
	p.PauseLayer(0, false)
	v.gets(t, p, 0)
	got := v.Stream(p.Connection.ID(), "video").Decoded
	if got.TimeFaults+got.PictureFaults != 0 {
		t.Errorf("%+v", got)
	}
	for _, c := range switches(v.Session)[:2] {
		if c.Trigger != "sender" {
			t.Errorf("told %+v", c)
		}
	}
}

func TestNothingUntilAsked(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, threeLayers, withSimulcast(sfu.Simulcast{}))
	v := watch(t, s, threeLayers, sfutest.Options{}, withSimulcast(sfu.Simulcast{RequestRID: "none"}))
	eventually(t, "sound", func() bool { return v.Stream(p.Connection.ID(), "audio").Packets > 20 })
	if n := v.Stream(p.Connection.ID(), "video").Packets; n != 0 {
		t.Errorf("%d packets of video came unasked", n)
	}
	if err := v.Connection.RequestRID(p.Connection.ID(), "r1"); err != nil {
		t.Fatal(err)
	}
	v.gets(t, p, 1)
	if err := v.Connection.RequestRID(p.Connection.ID(), "none"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the viewer hears of it", func() bool { return len(switches(v.Session)) == 2 })
	if got := switches(v.Session); got[0].Previous != "none" || got[0].Current != "r1" || got[1].Current != "none" || got[1].Higher {
		t.Errorf("told %+v", got)
	}
	for _, c := range []struct {
		sender, rid string
		want        error
	}{{"", "r3", sfu.ErrBadRID}, {"nobody", "r0", sfu.ErrNotShown}} {
		if err := v.Connection.RequestRID(c.sender, c.rid); err != c.want {
			t.Errorf("asking %q for %q: got %v, want %v", c.sender, c.rid, err, c.want)
		}
	}
}

// By sender reports, the layers of one picture have one time, and a viewer that is
// sent one after the other is shown that time.
func TestLayersKeepTheirTime(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, threeLayers, withSimulcast(sfu.Simulcast{}))
	v := watch(t, s, threeLayers, sfutest.Options{})
	v.gets(t, p, 2)
	for i := range 3 { // pion reports once a second
		if v.SenderReport(p.Connection.ID(), "video") == nil {
			t.Fatal("no sender report")
		}
		_ = i
	}
	for _, rid := range []string{"r0", "r2", "r1", "r0", "r2"} {
		if err := v.Connection.RequestRID("", rid); err != nil {
			t.Fatal(err)
		}
		v.gets(t, p, int(rid[1]-'0'))
	}
	got := v.Stream(p.Connection.ID(), "video").Decoded
	if most := 40 * time.Millisecond; got.DriftAhead > most || got.DriftBehind > most {
		t.Errorf("time was up to %v ahead and %v behind", got.DriftAhead, got.DriftBehind)
	}
	t.Logf("time was up to %v ahead and %v behind", got.DriftAhead, got.DriftBehind)
}

// Whoever does not know simulcast publishes one layer.
func TestPublisherWithoutSimulcast(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, av, withSimulcast(sfu.Simulcast{}))
	flows(t, view(t, s), p.Connection.ID())
}

// A viewer whose way is narrow, as it says itself, is sent what that carries, and
// more when there is room.
func TestLayersFollowTheEstimate(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, threeLayers, withSimulcast(sfu.Simulcast{}))
	v := watch(t, s, threeLayers, sfutest.Options{})
	v.gets(t, p, 2)
	estimate := func(bits float32) {
		if err := v.Peer().WriteRTCP([]rtcp.Packet{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: bits}}); err != nil {
			t.Fatal(err)
		}
	}
	estimate(150e3) // the layers have some 150, 180 and 300 kbit/s
	v.gets(t, p, 0)
	estimate(5e6)
	v.gets(t, p, 2)
	whole(t, v.Stream(p.Connection.ID(), "video"))
	eventually(t, "others can see it", func() bool {
		sent, shown := p.Connection.Info().SentLayers, v.Connection.Info().ShownLayers
		return len(sent) == 3 && sent[2].Viewers == 1 && sent[0].BitRate > 50_000 && sent[1].Sent &&
			len(shown) == 1 && shown[0] == sfu.ShownLayer{Sender: p.Connection.ID(), RID: "r2"}
	})
	for _, c := range switches(v.Session) {
		if c.Trigger != "receiver" || c.Request != "auto" {
			t.Errorf("told %+v", c)
		}
	}
}

// On a network that loses, doubles and reorders both ways, a viewer that turns from
// layer to layer all the time never waits long for a picture, and none comes twice.
func TestTurningOnABadNetwork(t *testing.T) {
	s := newSFU(t, patient)
	path := func(seed uint64) *sfutest.Path {
		return &sfutest.Path{Seed: seed, Media: sfutest.Impairment{Loss: 0.05, Reorder: 0.03, Duplicate: 0.03}}
	}
	var all []*sfutest.Session
	var publishers []*sfutest.Session
	for i, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		m := threeLayers
		m.Video = codec
		o := publishing(m)
		o.Out, o.In = path(uint64(10*i)), path(uint64(10*i+1))
		name := inChannel(codec)
		p := join(t, s, request(tenant.SendOnly, withVideo(codec), withSimulcast(sfu.Simulcast{}), name), o)
		v := join(t, s, request(tenant.RecvOnly, name), sfutest.Options{Decode: true, In: path(uint64(10*i + 2)), Out: path(uint64(10*i + 3))})
		publishers, all = append(publishers, p), append(all, v)
	}
	turns := 0
	ticker := time.NewTicker(400 * time.Millisecond)
	defer ticker.Stop()
	for began := time.Now(); time.Since(began) < 6*time.Second; turns++ {
		<-ticker.C
		for _, v := range all {
			if err := v.Connection.RequestRID("", []string{"r0", "r2", "r1"}[turns%3]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, v := range all {
		got := v.Stream(publishers[i].Connection.ID(), "video")
		d := got.Decoded
		t.Logf("%s: told of %d of %d turns, %+v", got.Codec, len(switches(v)), turns, d)
		if d.TimeFaults != 0 || d.PictureFaults != 0 || got.Backwards != 0 || got.Corrupt != 0 {
			t.Errorf("%s: %+v", got.Codec, got)
		}
		if d.Frames < 60 || d.LongestFreeze > 45 || len(switches(v)) < turns/3 {
			t.Errorf("%s: %d turns, of which the viewer was told %d times: %+v", got.Codec, turns, len(switches(v)), got)
		}
	}
}
