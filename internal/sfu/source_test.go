package sfu_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// What publishers do to their sources in mid-stream, and that viewers see one
// video all the same: continuous numbers, time that goes on, and a key frame
// whenever there is a new beginning.

// scene is a publisher whose packets the test makes, and a viewer that records
// what comes of them.
type scene struct {
	t                 *testing.T
	publisher, viewer *sfutest.Session
	script            sfutest.Script

	// Guarded by mu
	mu   sync.Mutex
	came []sfutest.Packet
}

// newScene sets up a scene and waits until the viewer sees the video.
func newScene(t *testing.T, s *sfu.SFU, script sfutest.Script) *scene {
	t.Helper()
	script.PacketsPerFrame, script.PayloadSize = 3, 200
	g := &scene{t: t, script: script}
	anyCodec := func(r *sfu.JoinRequest) { r.AnyCodec = true }
	name := inChannel(tenant.NewID())
	g.viewer = join(t, s, request(tenant.RecvOnly, name), sfutest.Options{OnPacket: g.record})
	g.publisher = join(t, s, request(tenant.SendOnly, name, anyCodec), publishing(sfutest.Media{Video: "VP8", Manual: true}))
	connected(t, g.viewer)
	connected(t, g.publisher)
	eventually(t, "the viewer sees the video", func() bool {
		g.send(true)
		return g.viewer.Stream(g.publisher.Connection.ID(), "video").Frames > 0
	})
	g.settle()
	return g
}

func (g *scene) record(p sfutest.Packet) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.came = append(g.came, p)
}

// send sends frames, each key or not.
func (g *scene) send(keys ...bool) {
	g.t.Helper()
	for _, key := range keys {
		for _, p := range g.script.Frame(key) {
			g.sendPacket(p)
		}
	}
}

func (g *scene) sendPacket(p *rtp.Packet) {
	g.t.Helper()
	if err := g.publisher.SendVideo(p); err != nil {
		g.t.Fatal(err)
	}
}

// settle waits until the viewer has the newest frame. It sends another one for
// it, so that waiting does not depend on how the ones before fared.
func (g *scene) settle() {
	g.t.Helper()
	g.send(false)
	last := int64(g.script.Frames()) - 1
	eventually(g.t, "the newest frame is there", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		n := len(g.came)
		return n > 0 && int64(g.came[n-1].Frame) == last && g.came[n-1].RTP.Marker
	})
}

// frames checks what the viewer got, and returns the numbers of the frames: in
// order, each whole. Those before the first settle are left out.
func (g *scene) frames() (numbers []uint32, keys []bool) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.came {
		p := &g.came[i]
		if !p.Intact {
			g.t.Fatalf("packet %d is not as it was published", p.RTP.SequenceNumber)
		}
		first := len(numbers) == 0 || numbers[len(numbers)-1] != p.Frame
		if first {
			numbers, keys = append(numbers, p.Frame), append(keys, p.Key)
		}
		if i == 0 {
			if !p.Key {
				g.t.Error("the video does not begin with a key frame")
			}
			continue
		}
		before := &g.came[i-1]
		if p.RTP.SequenceNumber != before.RTP.SequenceNumber+1 {
			g.t.Fatalf("frame %d: number %d after %d", p.Frame, p.RTP.SequenceNumber, before.RTP.SequenceNumber)
		}
		if d := int32(p.RTP.Timestamp - before.RTP.Timestamp); first && d <= 0 || !first && d != 0 || d > 30*90_000 {
			g.t.Fatalf("frame %d: timestamp %d after %d", p.Frame, p.RTP.Timestamp, before.RTP.Timestamp)
		}
		if p.RTP.SSRC != before.RTP.SSRC {
			g.t.Fatal("the viewer's SSRC changed")
		}
		if p.RTP.Marker != (p.Number%3 == 2) {
			g.t.Fatalf("frame %d: the marker is not at its end", p.Frame)
		}
	}
	return numbers, keys
}

// wants checks that of the frames from number on, the viewer got those and no
// others, and that the first of them is a key frame, if that is asked.
func (g *scene) wants(what string, from uint32, want ...uint32) {
	g.t.Helper()
	numbers, _ := g.frames()
	var got []uint32
	for _, n := range numbers {
		if n >= from {
			got = append(got, n-from)
		}
	}
	if len(got) != len(want) {
		g.t.Errorf("%s: got frames %v, want %v", what, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			g.t.Errorf("%s: got frames %v, want %v", what, got, want)
			return
		}
	}
}

const (
	delta = false
	key   = true
)

func TestViewersGoOnWhenASourceChanges(t *testing.T) {
	s := newSFU(t, patient)
	t.Run("new SSRC", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "VP8", SSRC: 1})
		from := g.script.Frames()
		g.send(delta)
		g.script.SSRC, g.script.Seq, g.script.Timestamp = 2, 40_000, 1<<31
		g.send(delta, delta, key, delta)
		g.script.SSRC, g.script.Seq, g.script.Timestamp = 3, 7, 5
		g.send(key, delta)
		g.settle()
		g.wants("two new SSRCs", from, 0, 3, 4, 5, 6, 7)
	})
	t.Run("new resolution", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "H264"})
		from := g.script.Frames()
		g.send(delta)
		g.script.PayloadSize = 900
		g.send(key, delta)
		g.script.PayloadSize = 60
		g.send(key, delta)
		g.settle()
		g.wants("larger, smaller", from, 0, 1, 2, 3, 4, 5)
	})
	t.Run("new codecs under one SSRC", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "VP8"})
		from := g.script.Frames()
		var want []uint32
		for i, codec := range []string{"VP9", "H264", "AV1", "VP8"} {
			g.script.Codec = codec
			g.send(delta, key, delta)
			want = append(want, uint32(3*i+1), uint32(3*i+2))
		}
		g.settle()
		g.wants("four codecs", from, append(want, 12)...)
		g.mu.Lock()
		defer g.mu.Unlock()
		seen := map[string]bool{}
		for _, p := range g.came {
			seen[p.Codec] = true
		}
		if len(seen) != 4 {
			t.Errorf("the viewer saw the codecs %v", seen)
		}
	})
	t.Run("counters that roll over", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "VP8", Seq: 65_400, Timestamp: math.MaxUint32 - 60*3000})
		from := g.script.Frames()
		var want []uint32
		for n := range uint32(100) {
			g.send(n == 50)
			want = append(want, n)
		}
		g.settle()
		g.wants("over the top", from, append(want, 100)...)
		if g.script.Seq > 65_400 || g.script.Timestamp > math.MaxUint32/2 {
			t.Error("the counters did not roll over")
		}
	})
	t.Run("new timestamps", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "VP8"})
		from := g.script.Frames()
		g.send(delta)
		g.script.Timestamp += 20 * 90_000 // muted for twenty seconds
		g.send(delta, delta)
		g.settle()
		g.wants("as after a pause", from, 0, 1, 2, 3)
	})
}

// A publisher that comes back under its old names is the same to those who watch
// through a slot: one video that goes on, with a key frame.
func TestViewersGoOnWhenAPublisherRestarts(t *testing.T) {
	s := newSFU(t, patient)
	var mu sync.Mutex
	var came []sfutest.Packet
	v := join(t, s, request(tenant.RecvOnly, withSlots), sfutest.Options{OnPacket: func(p sfutest.Packet) {
		mu.Lock()
		defer mu.Unlock()
		if p.Kind == "video" {
			came = append(came, p)
		}
	}})
	connected(t, v)
	r := request(tenant.SendOnly)
	for i := range 3 {
		p := join(t, s, r, publishing(av))
		connected(t, p)
		more(t, v, "default", "video")
		more(t, v, "default", "audio")
		if i == 1 { // it crashes: the server ends the connection
			if err := p.Silence(); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Leave(tenant.EndClient); err != nil && i != 1 {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	starts := 0
	for i, p := range came {
		if !p.Intact {
			t.Fatalf("packet %d is not as it was published", i)
		}
		if i > 0 && p.RTP.SequenceNumber != came[i-1].RTP.SequenceNumber+1 {
			t.Fatalf("number %d after %d", p.RTP.SequenceNumber, came[i-1].RTP.SequenceNumber)
		}
		if i > 0 && int32(p.RTP.Timestamp-came[i-1].RTP.Timestamp) < 0 {
			t.Fatalf("timestamp %d after %d", p.RTP.Timestamp, came[i-1].RTP.Timestamp)
		}
		if i == 0 || p.Number < came[i-1].Number {
			if starts++; !p.Key {
				t.Error("a publisher's video does not begin with a key frame")
			}
		}
	}
	if starts != 3 {
		t.Errorf("the slot showed %d publishers, want 3", starts)
	}
}

// A muted camera sends nothing at all. Time has to pass here, which the other
// parallel tests use.
func TestViewersGoOnAfterAPause(t *testing.T) {
	t.Parallel()
	s := newSFU(t, patient)
	g := newScene(t, s, sfutest.Script{Codec: "VP8"})
	from := g.script.Frames()
	g.send(delta)
	paused := time.Now()
	const pause = 10 * time.Second
	sfutest.Eventually(2*pause, func() bool { return time.Since(paused) >= pause })
	g.script.Timestamp += uint32(pause.Seconds() * 90_000)
	g.send(delta, delta)
	g.settle()
	g.wants("after ten seconds of silence", from, 0, 1, 2, 3)
	if n := len(g.publisher.Signals(sfu.SignalEnded)) + len(g.viewer.Signals(sfu.SignalEnded)); n != 0 {
		t.Errorf("%d connections ended", n)
	}
}
