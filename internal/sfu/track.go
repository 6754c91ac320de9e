package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// announcePatience is how long a publisher's first track waits for its second,
// so that viewers learn of both with one offer.
const announcePatience = 300 * time.Millisecond

// rids name a track's layers, the lowest quality first. Their number bounds how
// many sources a publisher can have: a layer has one, one for its repairs, and
// remembers one that is over.
var rids = [...]string{"r0", "r1", "r2"}

// layersMost is how many layers a connection publishes at most: one of audio and
// three of video.
const layersMost = 1 + len(rids)

// track is what a connection publishes of one kind: what is announced to the
// others, who are each shown it in a section. Its media comes in one layer, or
// in several of different quality (simulcast), of which a viewer gets one at a
// time. Owned by the channel's worker.
type track struct {
	// Static
	owner *member
	kind  kind

	layers []*layer // at least one, the lowest quality first; fixed once media comes

	sending     bool  // the client's answer said that it sends
	announced   bool  // viewers are being told
	levelExt    uint8 // id of the audio level extension; 0: not negotiated
	ridExt      uint8 // likewise of a layer's name
	repairedExt uint8 // and of it in retransmissions
}

func newTrack(m *member, k kind) *track {
	t := &track{owner: m, kind: k}
	t.layers = []*layer{newLayer(t, "", 0)}
	return t
}

// newSimulcast makes a track of several layers.
func newSimulcast(m *member, s *Simulcast) *track {
	t := &track{owner: m, kind: video}
	for i, rid := range rids {
		l := newLayer(t, rid, i)
		l.off = i < len(s.Off) && s.Off[i]
		t.layers = append(t.layers, l)
	}
	return t
}

// simulcast reports whether there are several layers.
func (t *track) simulcast() bool { return len(t.layers) > 1 }

// agreed notes the client's answer. One that does not know simulcast sends one
// layer only.
func (t *track) agreed(a answerSection) {
	t.sending = a.sends
	t.levelExt = a.extensions[uriLevel]
	t.ridExt, t.repairedExt = a.extensions[uriRID], a.extensions[uriRepaired]
	if t.simulcast() && len(a.layers) == 0 && a.sends && !t.live() {
		t.layers = t.layers[len(t.layers)-1:]
		t.layers[0].rid, t.layers[0].place = "", 0
	}
}

// layerOf is the layer that a packet of the publisher is of; nil: none that was
// agreed on. Once a source has been named, its SSRC is enough.
func (t *track) layerOf(h *packet.Header, repair bool) *layer {
	if !t.simulcast() {
		return t.layers[0]
	}
	for _, l := range t.layers {
		if repair && h.SSRC == l.rtxSSRC || !repair && l.live && (h.SSRC == l.ssrc || h.SSRC == l.retired) {
			return l
		}
	}
	rid := h.Extension(t.ridExt)
	if of := h.Extension(t.repairedExt); repair && of != nil {
		rid = of // who leaves that out repeats the packet's own name
	}
	for _, l := range t.layers {
		if string(rid) == l.wire {
			if repair {
				l.rtxSSRC = h.SSRC
			}
			return l
		}
	}
	return nil
}

// live reports whether RTP has come.
func (t *track) live() bool {
	for _, l := range t.layers {
		if l.live {
			return true
		}
	}
	return false
}

// liveAt is when the first RTP came.
func (t *track) liveAt() (at time.Time) {
	for _, l := range t.layers {
		if l.live && (at.IsZero() || l.liveAt.Before(at)) {
			at = l.liveAt
		}
	}
	return at
}

const (
	// layerPause is after what silence a layer is not being sent any more, if
	// others of the track are: browsers stop sending the highest when the
	// network does not carry it.
	layerPause = 700 * time.Millisecond
	// layerFlow is how lately those others must have been sent.
	layerFlow = 300 * time.Millisecond
)

// sent reports whether a layer is being sent.
func (l *layer) sent(now time.Time) bool {
	if !l.live || l.ended {
		return false
	}
	if now.Sub(l.cameAt) < layerPause {
		return true
	}
	for _, o := range l.track.layers {
		if o != l && o.live && now.Sub(o.cameAt) < layerFlow {
			return false
		}
	}
	return true // nothing is sent at all: it may be the network
}

// pick is the layer for a viewer that is to get at most the layer of a place: the
// best of those that are being sent, else the lowest above; nil for a negative
// place.
func (t *track) pick(place int, now time.Time) *layer {
	if place < 0 {
		return nil
	}
	place = min(place, len(t.layers)-1)
	for i := place; i >= 0; i-- {
		if t.layers[i].sent(now) {
			return t.layers[i]
		}
	}
	for _, l := range t.layers[place:] {
		if l.sent(now) {
			return l
		}
	}
	return t.layers[place]
}
