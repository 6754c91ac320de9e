package sfu_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// What a bad network does to media in the tests: a tenth is lost, and of the
// rest some come late or twice.
var badNetwork = sfutest.Impairment{Loss: 0.10, Reorder: 0.05, Duplicate: 0.02}

// keyInterval is how many frames lie between two key frames of lossyMedia that
// nobody asked for, and so how long a picture may stand still at most.
const keyInterval = 60

// mostAudioMissing is how many audio packets in a row a network may lose, in
// bursts at worst: a second of them. Else the sound has stopped.
const mostAudioMissing = 50

// lossyMedia is what publishers on bad networks send.
func lossyMedia(codec string) sfutest.Media {
	return sfutest.Media{Audio: true, Video: codec, PayloadSize: 300, KeyInterval: keyInterval}
}

// lossyCall is a publisher and a viewer with a network before each.
type lossyCall struct {
	publisher, viewer *sfutest.Session
}

// paths are the directions of a call; nil: perfect.
type paths struct{ fromPublisher, toPublisher, toViewer, fromViewer *sfutest.Path }

// newLossyCall makes a call in a channel of its own; tune is for both clients.
func newLossyCall(t *testing.T, s *sfu.SFU, channel, codec string, p paths, tune ...func(*sfutest.Options)) lossyCall {
	t.Helper()
	name := inChannel(channel)
	r := request(tenant.SendOnly, name, withVideo(codec))
	media := lossyMedia(codec)
	var viewer atomic.Pointer[sfutest.Session]
	media.Pace = unhurried(&viewer, r.ConnectionID)
	o := publishing(media)
	o.Out, o.In = p.fromPublisher, p.toPublisher
	for _, f := range tune {
		f(&o)
	}
	c := lossyCall{publisher: join(t, s, r, o)}
	o = sfutest.Options{Decode: true, In: p.toViewer, Out: p.fromViewer}
	for _, f := range tune {
		f(&o)
	}
	c.viewer = join(t, s, request(tenant.RecvOnly, name), o)
	viewer.Store(c.viewer)
	connected(t, c.publisher)
	connected(t, c.viewer)
	return c
}

// unhurried has a publisher wait for a viewer that hangs back, because the
// machine is busy: for a second at most, should the network let nothing pass.
func unhurried(viewer *atomic.Pointer[sfutest.Session], id string) func(frame uint32) bool {
	const ahead = 6
	var since time.Time
	return func(frame uint32) bool {
		v := viewer.Load()
		if v == nil {
			return true
		}
		newest := v.Stream(id, "video").NewestFrame
		if newest >= 0 && newest+ahead < int64(frame) && (since.IsZero() || time.Since(since) < time.Second) {
			if since.IsZero() {
				since = time.Now()
			}
			return false
		}
		since = time.Time{}
		return true
	}
}

// after waits until the viewer has got something of that many frames since its
// first.
func (c lossyCall) after(t *testing.T, frames int64) (audio, video sfutest.Stream) {
	t.Helper()
	id := c.publisher.Connection.ID()
	ok := sfutest.Eventually(3*time.Minute, func() bool {
		video := c.viewer.Stream(id, "video")
		return video.Packets+video.Lost > frames*4
	})
	audio, video = c.viewer.Stream(id, "audio"), c.viewer.Stream(id, "video")
	in, out := c.publisher.Passed()
	viewerIn, viewerOut := c.viewer.Passed()
	t.Logf("publisher in %+v, out %+v; viewer in %+v, out %+v; sent %+v", in, out, viewerIn, viewerOut, c.publisher.Sent())
	t.Logf("audio: %+v", audio)
	t.Logf("video: %+v", video)
	if !ok {
		t.Fatal("not in time: enough frames")
	}
	return audio, video
}

// neverFreezes checks what every viewer may expect, on a network that loses a
// tenth of the media and more.
func (c lossyCall) neverFreezes(t *testing.T, audio, video sfutest.Stream) {
	t.Helper()
	if freeze := video.Decoded.LongestFreeze; freeze > keyInterval {
		t.Errorf("the picture stood still for %d frames, more than a key frame interval", freeze)
	}
	if video.Decoded.Repeated != 0 {
		t.Errorf("%d frames were decoded twice or too late", video.Decoded.Repeated)
	}
	for _, s := range []sfutest.Stream{audio, video} {
		if s.Shifts != 0 {
			t.Errorf("%s: numbers were not continuous %d times", s.Kind, s.Shifts)
		}
		if s.Corrupt != 0 {
			t.Errorf("%s: %d packets are not as they were published", s.Kind, s.Corrupt)
		}
		if s.Backwards != 0 {
			t.Errorf("%s: time went backwards %d times", s.Kind, s.Backwards)
		}
	}
	// Nobody asks for lost audio again.
	gap := c.viewer.LongestGap(audio.ID, "audio")
	if audio.Packets == 0 || gap > mostAudioMissing {
		t.Errorf("audio: %d packets, up to %d missing in a row", audio.Packets, gap)
	}
}

// lossIsRepaired checks that hardly anything is missing after repair.
func lossIsRepaired(t *testing.T, video sfutest.Stream) {
	t.Helper()
	if all := video.Packets + video.Lost; video.Lost*50 > all {
		t.Errorf("%d of %d video packets are missing after repair", video.Lost, all)
	}
}

// A network's seeds are fixed, so that what it loses is the same in every run.
func TestBadNetworksDoNotFreezeTheViewer(t *testing.T) {
	s := newSFU(t, patient)
	path := func(seed uint64, media sfutest.Impairment, kinds map[sfutest.DatagramKind]sfutest.Impairment) *sfutest.Path {
		return &sfutest.Path{Seed: seed, Media: media, Kinds: kinds}
	}
	half := sfutest.Impairment{Loss: 0.5}
	type network struct {
		name, codec string
		paths       paths
		unrepaired  bool // repair itself suffers, so that more may be missing
	}
	networks := []network{
		{name: "repairs are lost", codec: "VP8", unrepaired: true, paths: paths{
			fromPublisher: path(1, badNetwork, map[sfutest.DatagramKind]sfutest.Impairment{sfutest.RepairRTP: half}),
			toViewer:      path(2, badNetwork, map[sfutest.DatagramKind]sfutest.Impairment{sfutest.RepairRTP: half}),
		}},
		{name: "requests for repairs are lost", codec: "H264", unrepaired: true, paths: paths{
			fromPublisher: path(3, badNetwork, nil),
			toPublisher:   path(4, badNetwork, map[sfutest.DatagramKind]sfutest.Impairment{sfutest.NACK: half}),
			toViewer:      path(5, badNetwork, nil),
			fromViewer:    path(6, badNetwork, map[sfutest.DatagramKind]sfutest.Impairment{sfutest.NACK: half}),
		}},
		{name: "losses come in bursts", codec: "VP9", unrepaired: true, paths: paths{
			fromPublisher: path(7, sfutest.Impairment{Loss: 0.1, Burst: 6}, nil),
			toViewer:      path(8, sfutest.Impairment{Loss: 0.1, Burst: 6}, nil),
		}},
		{name: "slow and uneven both ways, from the first check on", codec: "AV1", unrepaired: true, paths: paths{
			fromPublisher: path(9, uneven, fromTheStart),
			toPublisher:   path(10, uneven, fromTheStart),
			toViewer:      path(11, uneven, fromTheStart),
			fromViewer:    path(12, uneven, fromTheStart),
		}},
	}
	for i, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		seed := uint64(100 * (i + 1))
		networks = append(networks,
			network{name: codec + " to the platform", codec: codec, paths: paths{
				fromPublisher: path(seed, badNetwork, nil), toPublisher: path(seed+1, badNetwork, nil),
			}},
			network{name: codec + " to the viewer", codec: codec, paths: paths{
				toViewer: path(seed+2, badNetwork, nil), fromViewer: path(seed+3, badNetwork, nil),
			}})
	}
	// All at once, for they take their time.
	calls := make([]lossyCall, len(networks))
	for i, n := range networks {
		calls[i] = newLossyCall(t, s, n.name, n.codec, n.paths)
	}
	for i, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			audio, video := calls[i].after(t, 2*keyInterval)
			calls[i].neverFreezes(t, audio, video)
			if !n.unrepaired {
				lossIsRepaired(t, video)
			}
		})
	}
	t.Logf("%+v", s.Stats())
}

// uneven is a far and crowded network.
var uneven = sfutest.Impairment{
	Loss: 0.05, Reorder: 0.02, Duplicate: 0.02, Delay: 20 * time.Millisecond, Jitter: 15 * time.Millisecond,
}

// fromTheStart treats connectivity checks and handshakes like media.
var fromTheStart = map[sfutest.DatagramKind]sfutest.Impairment{sfutest.STUN: uneven, sfutest.DTLS: uneven}
