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
)

// shed drops a frame for all viewers that it has not reached. Next time these
// are the first.
func (w *worker) shed(f *frame) {
	l := f.layers[0]
	for _, d := range f.viewers[f.next:] {
		if d.bound && d.layer == l && !d.waiting {
			d.waiting = true
			w.round.drops[dropOverload] += int64(len(l.going))
		}
	}
	l.turnAt(f.next)
	f.next = len(f.viewers)
	w.sfu.counters.framesShed.Add(1)
	w.sfu.overloadedUntil.Store(int64(w.now.Add(overloadMemory).Sub(began)))
}

// turnAt makes the viewer at a place the first: those who have gone without come
// before those who have not.
func (l *layer) turnAt(place int) {
	if place > 0 && place < len(l.viewers) {
		l.viewers = slices.Concat(l.viewers[place:], l.viewers[:place])
	}
}

// Overloaded reports whether the media plane has dropped video within the last
// seconds because it had more to send than it could. Who admits clients should
// send new ones elsewhere.
func (s *SFU) Overloaded() bool { return s.overloaded(time.Now()) }

func (s *SFU) overloaded(now time.Time) bool {
	return now.Sub(began) < time.Duration(s.overloadedUntil.Load())
}
