package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/sfu/codec"
	"github.com/hibari/hibari/internal/sfu/packet"
)

// How many packets a track keeps for resends: some 1.5 s of a 5 Mbit/s video,
// 2.5 s of audio.
const (
	videoHistory = 1024
	audioHistory = 128
)

// announcePatience is how long a publisher's first track waits for its second,
// so that viewers learn of both with one offer.
const announcePatience = 300 * time.Millisecond

// upTrack is what a connection publishes of one kind: at most one source at a
// time. Owned by the channel's worker.
type upTrack struct {
	owner *member
	kind  kind

	sending   bool  // the client's answer said that it sends
	announced bool  // viewers are being told
	levelExt  uint8 // id of the audio level extension; 0: not negotiated

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

func newUpTrack(m *member, k kind) *upTrack {
	size := videoHistory
	if k == audio {
		size = audioHistory
	}
	return &upTrack{owner: m, kind: k, history: packet.NewHistory(size)}
}

// begin starts a source: the track's first, or another one, because the client
// changed its SSRC. Viewers go on with continuous numbers.
func (t *upTrack) begin(ssrc uint32, now time.Time) {
	if ssrc != t.ssrc {
		t.retired = t.ssrc
	}
	t.ssrc, t.beganAt, t.first = ssrc, now, 0
	t.before, t.newest = 0, 0
	t.unwrap = packet.Unwrap{}
	t.history.Clear()
	t.gaps.Reset()
	t.receipt = receipt{}
	t.pending = t.pending[:0]
	t.keyAt, t.hasKey = 0, false
	t.wait()
}

// wait makes every viewer start anew, with a key frame if it is video.
func (t *upTrack) wait() {
	for _, d := range t.viewers {
		d.waiting = true
	}
}

// arrived takes one datagram of the inbox.
func (w *worker) arrived(a *arrival) {
	m, d := a.from, &a.datagram
	defer d.Free()
	data, rtcp, err := m.peer().Unprotect(d)
	switch {
	case err != nil:
		w.round.drops[dropUnprotect]++
	case rtcp:
		w.feedbackArrived(m, data, d.At)
	default:
		w.mediaArrived(m, data, d.At)
	}
}

// mediaArrived takes one RTP packet of a publisher. Budget: 0.6 µs, with what it
// calls, half of it for the history's copy.
func (w *worker) mediaArrived(m *member, data []byte, at time.Time) {
	var h packet.Header
	if err := h.Parse(data); err != nil {
		w.round.drops[dropMalformed]++
		return
	}
	m.bytesIn += int64(len(data))
	m.packetsIn++
	w.round.packetsIn++
	m.arrived(h.SSRC, h.Extension(m.transportExt), at)
	meaning := payloadTypes[h.PayloadType]
	if !meaning.known {
		w.round.drops[dropNotAnswered]++
		return
	}
	t := m.ups[formats[meaning.format].kind]
	switch {
	case t == nil || !t.sending:
		w.round.drops[dropNotAnswered]++
		return
	case meaning.rtx:
		if len(h.Payload) < 2 || !t.live {
			w.round.drops[dropPadding]++
			return
		}
		h.Seq = uint16(h.Payload[0])<<8 | uint16(h.Payload[1])
		h.Payload = h.Payload[2:]
		if !t.canRepair(h.Seq) { // of the source before
			w.round.drops[dropDuplicate]++
			return
		}
	case t.isRetired(h.SSRC, w.now):
		w.round.drops[dropDuplicate]++
		return
	case !t.live || h.SSRC != t.ssrc || t.leaps(h.Seq):
		w.settle(t) // what is held belongs to the source before
		t.begin(h.SSRC, w.now)
	}
	w.packetArrived(t, meaning.format, &h, meaning.rtx, at)
}

// packetArrived takes one media packet into its track.
func (w *worker) packetArrived(t *upTrack, id formatID, h *packet.Header, resent bool, at time.Time) {
	if !t.live {
		t.live, t.liveAt = true, w.now
	}
	if id != t.format {
		if !t.isNewer(h.Seq) { // of the codec before: it was overtaken by the change
			w.round.drops[dropDuplicate]++
			return
		}
		w.settle(t) // what is held is of the codec before
		t.format, t.keyAt, t.hasKey = id, 0, false
		t.wait()
		if t.kind == video {
			t.owner.conn.videoCodec.Store(&formats[id].codec)
		}
	}
	p := packet.Packet{
		Seq:       t.unwrap.Next(h.Seq),
		Timestamp: h.Timestamp,
		Marker:    h.Marker,
		Payload:   h.Payload,
	}
	if level := h.Extension(t.levelExt); len(level) == 1 {
		p.Level, p.HasLevel = level[0], true
	}
	if t.first == 0 {
		t.first = p.Seq
	}
	kept := t.history.Add(&p)
	if kept == nil {
		w.round.drops[dropDuplicate]++
		return
	}
	t.gaps.Saw(p.Seq, w.now)
	if !resent {
		t.receipt.saw(p.Seq, p.Timestamp, at, t.kind.clock())
	}
	key := t.kind == audio || codec.KeyFrame(formats[id].codec, p.Payload)
	if key && t.kind == video {
		t.keys.came()
		t.keyAt, t.hasKey = max(t.keyAt, p.Seq), true
	}
	w.hold(t, held{kept, kept.Seq, key})
}

const (
	// frameHold is how long a frame waits for its last packet at most. Browsers
	// send a frame's packets within half a millisecond, and no decoder begins
	// before the last one.
	frameHold = 2 * time.Millisecond
	// voiceHold is how long the packets of several speakers wait for each other,
	// so that a listener gets them as one train: a quarter of the time between two
	// packets of one speaker.
	voiceHold = 5 * time.Millisecond
	// voiceCrowd is how many listeners there must be for that. For fewer it would
	// save little, and a conversation has better use for the time.
	voiceCrowd = 32
	// holdRoom is how many packets a track holds at most: the rest of a frame
	// that large goes separately.
	holdRoom = 128
)

// hold keeps a packet until its frame is whole, or for a moment if it is audio,
// so that every viewer gets them as one train.
func (w *worker) hold(t *upTrack, p held) {
	if len(t.pending) == 0 {
		w.loaded = append(w.loaded, t)
		t.since = w.now
	}
	t.pending = append(t.pending, p)
}

// holding is how much longer the track's packets may wait: not at all, if they
// end a frame.
func (w *worker) holding(t *upTrack) time.Duration {
	switch {
	case len(t.pending) == 0 || len(t.pending) >= holdRoom:
		return 0
	case t.kind == video && !t.pending[len(t.pending)-1].Marker:
		return max(0, frameHold-w.now.Sub(t.since))
	case t.kind == audio && len(t.viewers) >= voiceCrowd && w.speakers() > 1:
		return max(0, voiceHold-w.now.Sub(t.since))
	}
	return 0
}

// speakers is how many audio sources there are.
func (w *worker) speakers() int {
	n := 0
	for _, m := range w.publishers {
		if t := m.ups[audio]; t != nil && t.live {
			n++
		}
	}
	return n
}

// unbindAll ends the flow to every viewer.
func (t *upTrack) unbindAll() {
	for _, d := range t.viewers {
		d.bound = false
	}
	t.viewers = nil
}
