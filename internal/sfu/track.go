package sfu

import "time"

// announcePatience is how long a publisher's first track waits for its second,
// so that viewers learn of both with one offer.
const announcePatience = 300 * time.Millisecond

// layersMost is how many layers a connection publishes at most: one of audio and
// three of video.
const layersMost = 1 + 3

// track is what a connection publishes of one kind: what is announced to the
// others, who are each shown it in a section. Its media comes in one layer, or
// in several of different quality (simulcast), of which a viewer gets one at a
// time. Owned by the channel's worker.
type track struct {
	// Static
	owner  *member
	kind   kind
	layers []*layer // at least one, the lowest quality first

	sending   bool  // the client's answer said that it sends
	announced bool  // viewers are being told
	levelExt  uint8 // id of the audio level extension; 0: not negotiated
}

func newTrack(m *member, k kind) *track {
	t := &track{owner: m, kind: k}
	t.layers = []*layer{newLayer(t)}
	return t
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

// best is the layer that a viewer is to get.
func (t *track) best() *layer { return t.layers[0] }
