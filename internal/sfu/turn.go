package sfu

import (
	"slices"
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// Turning a view to another layer:
//
//	turn    the new layer's packets go to the viewer, too; a key frame is asked for
//	forward the old layer flows until the new one begins a key frame: start
//	turned  the worker takes the viewer from the old layer, and tells it
//
// A view gets one layer at any time, under one SSRC and one numbering.

// turn points a view at another layer of its source; nil: at none. because is what
// SimulcastSwitched will say.
func (w *worker) turn(d *downTrack, to *layer, because trigger) {
	d.leave()
	switch {
	case to == d.layer:
		d.abandonNext()
		if to == nil && d.shown == "" {
			d.shown = string(wishNone)
		}
		return
	case to != nil && to == d.next:
		return
	case to == nil:
		d.abandonNext()
		d.layer.dismiss(d)
		d.layer, d.waiting = nil, true
	case d.layer == nil || d.waiting: // nothing flows that should go on meanwhile
		d.abandonNext()
		if d.layer != nil {
			d.layer.dismiss(d)
		}
		d.layer, d.waiting, d.joining = to, true, d.packets == 0
		to.admit(d)
	default:
		d.abandonNext()
		d.next = to
		to.admit(d)
	}
	d.because = because
	if !slices.Contains(w.turning, d) {
		w.turning = append(w.turning, d)
	}
	if to != nil {
		w.askKeyFrame(to)
	}
}

// leave takes the view from the layer that it had before.
func (d *downTrack) leave() {
	if d.left != nil {
		d.left.dismiss(d)
		d.left = nil
	}
}

// abandonNext gives up a layer that has not begun.
func (d *downTrack) abandonNext() {
	if d.next != nil {
		d.next.dismiss(d)
		d.next = nil
	}
}

// checkTurning ends what has been turned, and asks again for what it takes.
func (w *worker) checkTurning() {
	waiting := w.turning[:0]
	for _, d := range w.turning {
		if d.bound && !w.turned(d) {
			waiting = append(waiting, d)
			if d.next != nil {
				w.askKeyFrame(d.next)
			}
		}
	}
	clear(w.turning[len(waiting):])
	w.turning = waiting
}

// turned finishes a turn that has happened, and reports whether none is left to
// happen.
func (w *worker) turned(d *downTrack) bool {
	d.leave()
	if d.next != nil || d.layer != nil && d.waiting {
		return false
	}
	rid := string(wishNone)
	if d.layer != nil {
		rid = d.layer.rid
	}
	if d.shown != "" && d.shown != rid {
		d.viewer.nextReport = w.now // its clocks are the new layer's
		w.notifySwitched(d, rid)
	}
	d.shown = rid
	return true
}

// start makes a packet of a layer the next one of the view, from now on of that
// layer. It is true to the publisher's clock where that is known: the layers of
// one picture have one time.
func (d *downTrack) start(l *layer, p *packet.Packet, now time.Time) {
	elapsed := uint32(0)
	if !d.sentAt.IsZero() {
		elapsed = ticks(now.Sub(d.sentAt), d.kind.clock())
	}
	elapsed, d.ahead = d.elapsed(l, p, elapsed)
	d.numbers.Switch(p.Seq, p.Timestamp, elapsed)
	d.started, d.startedSource = l, l.clock.source
	if l != d.layer {
		d.left, d.layer, d.next = d.layer, l, nil
	}
	if l.track.simulcast() {
		d.pictures.Switch(formats[l.format].codec, p.Payload)
	}
	d.waiting, d.joining = false, false
}

// truthLimit is how far the publisher's clock and ours may differ on how long ago
// the newest packet was: more, and the clock is not to be believed.
const truthLimit = time.Second

// elapsed is how many ticks after the newest packet a layer's first one is, and
// how much of that is too much, because time must not stand still: that is made up
// for at the next turn.
func (d *downTrack) elapsed(l *layer, p *packet.Packet, ours uint32) (elapsed, ahead uint32) {
	from := d.started
	if from == nil || from.track != l.track || !from.clock.known || !l.clock.known || from.clock.source != d.startedSource ||
		from == l {
		return ours, 0
	}
	theirs := d.numbers.Ahead(p.Timestamp, l.clock.offset-from.clock.offset-d.ahead)
	limit := int32(ticks(truthLimit, d.kind.clock()))
	if off := theirs - int32(ours); off > limit || off < -limit {
		return ours, 0
	}
	if theirs < 1 {
		return 1, uint32(1 - theirs)
	}
	return uint32(theirs), 0
}
