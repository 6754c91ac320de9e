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
	kind  kind   // the track's
	rid   string // its name, for viewers; "": the only one
	wire  string // its name in the publisher's SDP and packets
	place int    // among the track's layers
	off   bool   // the publisher was not to send it

	// The source: an SSRC and what has come of it
	ssrc    uint32
	rtxSSRC uint32 // simulcast: of its retransmissions; 0: none came
	ended   bool   // the client said goodbye to the source
	beganAt time.Time
	first   uint64 // number of the packet that came first; 0: nothing yet
	retired uint32 // SSRC of the source before, of which late packets may come
	live    bool   // RTP has come
	liveAt  time.Time
	cameAt  time.Time // the newest packet
	idle    bool      // simulcast: nobody gets it, and nothing is kept
	rate    rate
	clock   mediaClock
	format  formatID
	unwrap  packet.Unwrap
	history *packet.History
	gaps    packet.Gaps
	receipt receipt
	past    receipts  // those of the sources before
	frames  uint32    // video: that ended, since they were last read
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

func newLayer(t *track, rid string, place int) *layer {
	size := videoHistory
	if t.kind == audio {
		size = audioHistory
	}
	return &layer{track: t, kind: t.kind, rid: rid, wire: rid, place: place, history: packet.NewHistory(size)}
}

// owner is the publisher.
func (l *layer) owner() *member { return l.track.owner }

// begin starts a source: the layer's first, or another one, because the client
// changed its SSRC. Viewers go on with continuous numbers.
func (l *layer) begin(ssrc uint32, now time.Time) {
	if ssrc != l.ssrc {
		l.retired = l.ssrc
	}
	l.ssrc, l.ended, l.beganAt = ssrc, false, now
	l.unwrap = packet.Unwrap{}
	l.past.add(&l.receipt)
	l.receipt = receipt{}
	l.clock = mediaClock{source: l.clock.source + 1}
	l.forget()
	l.wait()
}

// sawEnd counts a frame that has ended if a packet has the marker.
func (l *layer) sawEnd(marker bool) {
	if marker && l.kind == video {
		l.frames++
	}
}

// forget drops what is kept of the source.
func (l *layer) forget() {
	l.first, l.before, l.newest = 0, 0, 0
	l.history.Clear()
	l.gaps.Reset()
	l.pending = l.pending[:0]
	l.keyAt, l.hasKey = 0, false
}

// wait makes every viewer start anew, with a key frame if it is video.
func (l *layer) wait() {
	for _, d := range l.viewers {
		if d.layer == l {
			d.waiting = true
		}
	}
}

// unwatched reports whether nobody is to get a layer of several: then nothing is
// kept of it, and nothing asked for. Whoever comes begins with a key frame of its
// own.
func (l *layer) unwatched() bool {
	idle := len(l.viewers) == 0
	if idle != l.idle {
		l.idle = idle
		l.forget()
	}
	return idle
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
		d.bound, d.layer, d.next, d.left = false, nil, nil, nil
	}
	l.viewers = nil
}
