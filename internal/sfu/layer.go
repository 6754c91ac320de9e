package sfu

import (
	"slices"
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// How many packets a layer keeps for resends: some 1.5 s of a 5 Mbit/s video,
// 2.5 s of audio.
const (
	videoHistory = 1024
	audioHistory = 128
)

// layer is a track's media in one quality: at most one source at a time, and the
// viewers that it goes to. Owned by the channel's worker.
type layer struct {
	// Static
	track *track
	kind  kind // the track's

	// The source: an SSRC and what has come of it
	ssrc    uint32
	beganAt time.Time
	first   uint64 // number of the packet that came first; 0: nothing yet
	retired uint32 // SSRC of the source before, of which late packets may come
	live    bool   // RTP has come
	liveAt  time.Time
	format  formatID
	unwrap  packet.Unwrap
	history *packet.History
	gaps    packet.Gaps
	receipt receipt
	pending []held    // came, not yet on its way: a frame in the making
	since   time.Time // when the first of them came
	before  uint64    // newest number of all that went before what is going
	newest  uint64    // that of what is going, too
	going   []held    // on its way to the viewers: what frame carries
	frame   frame     // video: the way of it; audio goes by the worker's voices

	viewers []*downTrack // those that packets go to; never changed, only replaced
	keys    keyRequests
	keyAt   uint64 // number of the newest key frame's first packet
	hasKey  bool   // there was one since the source began
}

// held is a packet between its arrival and its fan-out.
type held struct {
	*packet.Packet        // in the history
	seq            uint64 // its number then: the history may have moved on
	key            bool   // a viewer may start with it
}

func newLayer(t *track) *layer {
	size := videoHistory
	if t.kind == audio {
		size = audioHistory
	}
	return &layer{track: t, kind: t.kind, history: packet.NewHistory(size)}
}

// owner is the publisher.
func (l *layer) owner() *member { return l.track.owner }

// begin starts a source: the layer's first, or another one, because the client
// changed its SSRC. Viewers go on with continuous numbers.
func (l *layer) begin(ssrc uint32, now time.Time) {
	if ssrc != l.ssrc {
		l.retired = l.ssrc
	}
	l.ssrc, l.beganAt, l.first = ssrc, now, 0
	l.before, l.newest = 0, 0
	l.unwrap = packet.Unwrap{}
	l.history.Clear()
	l.gaps.Reset()
	l.receipt = receipt{}
	l.pending = l.pending[:0]
	l.keyAt, l.hasKey = 0, false
	l.wait()
}

// wait makes every viewer start anew, with a key frame if it is video.
func (l *layer) wait() {
	for _, d := range l.viewers {
		d.waiting = true
	}
}

// admit has packets go to a viewer.
func (l *layer) admit(d *downTrack) { l.viewers = append(slices.Clip(l.viewers), d) }

// dismiss ends that.
func (l *layer) dismiss(d *downTrack) {
	if i := slices.Index(l.viewers, d); i >= 0 {
		l.viewers = slices.Concat(l.viewers[:i], l.viewers[i+1:])
	}
}

// unbindAll ends the flow to every viewer.
func (l *layer) unbindAll() {
	for _, d := range l.viewers {
		d.bound, d.layer = false, nil
	}
	l.viewers = nil
}
