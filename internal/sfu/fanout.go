package sfu

import (
	"math"
	"slices"
	"time"
)

// Fan-out: from the shared copies of a layer's packets to every viewer.
//
//	pending packets of a layer: a frame, or what a moment brought of audio
//	  └─ ship: a frame on its way, with the viewers of now
//	       └─ step, a stretch at a time: for each viewer, for each packet
//	            renumber → header → seal into the batch      (nothing is copied, nothing allocated)
//	          flush: a viewer's packets leave as one train
//
// Between two stretches the worker takes what has arrived meanwhile, audio
// first on its way out again, and lets other channels have the processor.

const (
	// stretchRoom is how many packets are sent between two looks at what else
	// there is to do: some 0.3 ms. It is also when the batch is flushed, small
	// enough for its memory to stay in the second-level cache.
	stretchRoom = 128
	// videoPadRoom is how many bytes of padding a packet may get to be as long
	// as the longest of its frame: a train's packets must be of equal size.
	videoPadRoom = 8
	// voicePadRoom is the same for audio, whose packets differ more. What it
	// adds is less than the headers that a packet of its own would cost.
	voicePadRoom = 48
)

// frame is what is on its way to viewers: the packets in going of its layers.
// Owned by the channel's worker, lent to helpers for a stretch.
type frame struct {
	since   time.Time    // when its first packet came
	layers  []*layer     // one, or several speakers
	viewers []*downTrack // who gets it, in this order
	sources []*layer     // of several: which one viewers[i] gets
	next    int          // viewers before this one have been served
}

// served reports whether everybody has got the frame.
func (f *frame) served() bool { return f.next >= len(f.viewers) }

// source is what viewer i gets.
func (f *frame) source(i int) *layer {
	if len(f.layers) == 1 {
		return f.layers[0]
	}
	return f.sources[i]
}

// sending reports whether anything is on its way.
func (w *worker) sending() bool { return len(w.frames) > 0 || len(w.voices.layers) > 0 }

// release ships what the layers need not hold any longer.
func (w *worker) release() {
	voices := false
	waiting := w.loaded[:0]
	for _, l := range w.loaded {
		switch {
		case len(l.pending) == 0: // its publisher has gone
		case len(l.going) > 0 || w.holding(l) > 0 || l.kind == audio && len(w.voices.layers) > 0:
			waiting = append(waiting, l)
		case l.kind == audio:
			voices = true
			waiting = append(waiting, l)
		default:
			w.ship(l)
		}
	}
	clear(w.loaded[len(waiting):])
	w.loaded = waiting
	if voices {
		w.shipVoices()
	}
}

// ship puts a video layer's packets on their way.
func (w *worker) ship(l *layer) {
	l.depart()
	evenOut(l.going, videoPadRoom)
	f := &l.frame
	f.since, f.layers, f.viewers, f.next = l.since, append(f.layers[:0], l), l.viewers, 0
	w.frames = append(w.frames, f)
}

// depart makes what was pending what is going. Its padding is decided before
// anything of it is sent.
func (l *layer) depart() {
	l.pending, l.going = l.going[:0], l.pending
	l.before = l.newest
	for i := range l.going {
		l.newest = max(l.newest, l.going[i].seq)
		l.going[i].Ready = l.going[i].Seq == l.going[i].seq
	}
}

// shipVoices puts all audio that is held on its way. That of several speakers
// goes viewer by viewer, so that a viewer's packets stand side by side.
func (w *worker) shipVoices() {
	f := &w.voices
	f.since = w.now
	waiting := w.loaded[:0]
	for _, l := range w.loaded {
		if l.kind != audio {
			waiting = append(waiting, l)
			continue
		}
		l.depart()
		f.layers = append(f.layers, l)
		if l.since.Before(f.since) {
			f.since = l.since
		}
	}
	clear(w.loaded[len(waiting):])
	w.loaded = waiting
	if len(f.layers) == 1 {
		f.viewers = f.layers[0].viewers
		return
	}
	evenVoices(f.layers)
	w.seat(f)
}

// seat lists who hears the voices, each listener's speakers side by side.
func (w *worker) seat(f *frame) {
	w.listeners = w.listeners[:0]
	for _, m := range w.members {
		for _, s := range m.sections {
			if d := s.down; d != nil && d.bound && slices.Contains(f.layers, d.layer) {
				w.listeners = append(w.listeners, d)
				f.sources = append(f.sources, d.layer)
			}
		}
	}
	f.viewers = w.listeners
}

// settle sends all that a layer holds or has on its way.
func (w *worker) settle(l *layer) {
	for len(l.going)+len(l.pending) > 0 {
		f := &l.frame
		switch {
		case l.kind == audio && len(w.voices.layers) == 0:
			w.shipVoices()
			continue
		case l.kind == audio:
			f = &w.voices
		case len(l.going) == 0:
			w.unload(l)
			w.ship(l)
		}
		for ; !f.served(); f.next++ {
			w.forward(f.viewers[f.next], f.source(f.next))
		}
		w.landed(f)
	}
	w.flush()
}

// unload takes a layer from those that hold something.
func (w *worker) unload(l *layer) {
	if i := slices.Index(w.loaded, l); i >= 0 {
		w.loaded = slices.Delete(w.loaded, i, i+1)
	}
}

// landed ends the way of a frame that everybody has got.
func (w *worker) landed(f *frame) {
	for _, l := range f.layers {
		clear(l.going)
		l.going = l.going[:0]
	}
	clear(f.layers)
	f.layers, f.sources, f.viewers, f.next = f.layers[:0], f.sources[:0], nil, 0
	if i := slices.Index(w.frames, f); i >= 0 {
		w.frames = slices.Delete(w.frames, i, i+1)
	}
}

// step sends one stretch: audio first, then the oldest video.
func (w *worker) step() {
	for w.spent = 0; w.spent < stretchRoom; {
		f := &w.voices
		if len(f.layers) == 0 {
			if len(w.frames) == 0 {
				break
			}
			f = w.frames[0]
		}
		w.advance(f)
		if f.served() {
			w.landed(f)
		}
	}
	w.flush()
}

// advance serves the next viewers of a frame, as many as the stretch has room
// for, or all that are left of a video that has waited too long.
func (w *worker) advance(f *frame) {
	if f != &w.voices && w.now.Sub(f.since) > w.sfu.cfg.Lateness {
		w.shed(f)
		return
	}
	if w.share(f) {
		return
	}
	for ; !f.served() && w.spent < stretchRoom; f.next++ {
		w.forward(f.viewers[f.next], f.source(f.next))
	}
}

// evenOut decides the padding: for all viewers and resends alike.
func evenOut(going []held, room int) {
	for i := 0; i < len(going); {
		longest, j := 0, i
		for j < len(going) && going[j].Timestamp == going[i].Timestamp {
			longest = max(longest, len(going[j].Payload))
			j++
		}
		for ; i < j; i++ {
			if short := longest - len(going[i].Payload); short <= room && len(going[i].Payload) > 0 {
				going[i].SetPad(short)
			}
		}
	}
}

// evenVoices does the same for what several speakers said at one moment, if that
// is of similar length.
func evenVoices(layers []*layer) {
	longest, shortest := 0, math.MaxInt
	for _, l := range layers {
		for _, p := range l.going {
			longest, shortest = max(longest, len(p.Payload)), min(shortest, len(p.Payload))
		}
	}
	if shortest == 0 || longest-shortest > voicePadRoom {
		return
	}
	for _, l := range layers {
		for _, p := range l.going {
			p.SetPad(longest - len(p.Payload))
		}
	}
}
