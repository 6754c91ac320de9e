package sfu

import (
	"slices"
	"time"
)

// Overload: what happens when a worker gets less of the processor than its
// channel needs. Audio goes first and is never dropped for being late. Video is
// dropped by whole frames, for those viewers that a frame has not reached in
// time, who then wait for a key frame: the picture of some stands still for a
// moment, nobody's falls apart, and the time saved is everybody's.

const (
	// lateness is how long after its first packet a video frame may still be
	// sent. A browser's jitter buffer would wait for it some five times as long.
	// This is what Config.Lateness is by default.
	lateness = 100 * time.Millisecond
	// overloadMemory is how long the media plane counts as overloaded after it
	// last dropped a frame.
	overloadMemory = 5 * time.Second
	// overloadProof is how long it must go on dropping frames to count as that. One
	// late moment of a machine is no reason to turn clients away.
	overloadProof = time.Second
)

// shed drops a frame for all viewers that it has not reached. Next time these
// are the first.
func (w *worker) shed(f *frame) {
	l := f.layers[0]
	for _, d := range f.viewers[f.next:] {
		if d.bound && d.layer == l && !d.waiting {
			d.waiting = true
			w.round.drops[dropOverload] += int64(len(l.going))
			d.viewer.out[video].FramesDropped++
		}
	}
	l.turnAt(f.next)
	f.next = len(f.viewers)
	w.sfu.counters.framesShed.Add(1)
	w.sfu.shed(w.now)
}

// shed notes that a frame was dropped. Workers may call it at once; it need not be
// exact.
func (s *SFU) shed(now time.Time) {
	at := int64(now.Sub(began))
	if last := s.shedAt.Swap(at); at-last > int64(overloadMemory) {
		s.shedSince.Store(at)
	}
}

// turnAt makes the viewer at a place the first: those who have gone without come
// before those who have not.
func (l *layer) turnAt(place int) {
	if place > 0 && place < len(l.viewers) {
		l.viewers = slices.Concat(l.viewers[place:], l.viewers[:place])
	}
}

// Overloaded reports whether the media plane keeps dropping video because it has
// more to send than it can: the last seconds had such frames, over a second or
// more. Who admits clients should send new ones elsewhere.
func (s *SFU) Overloaded() bool { return s.overloaded(time.Now()) }

func (s *SFU) overloaded(now time.Time) bool {
	return s.strained(now) && s.shedAt.Load()-s.shedSince.Load() >= int64(overloadProof)
}

// strained reports whether the last seconds had a frame that was dropped.
func (s *SFU) strained(now time.Time) bool {
	return now.Sub(began)-time.Duration(s.shedAt.Load()) < overloadMemory
}
