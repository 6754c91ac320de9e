package sfu

import "time"

// allotPause is how often a viewer's layers are looked after.
const allotPause = 200 * time.Millisecond

// checkLayers looks after the layers that a viewer gets, now and then.
func (w *worker) checkLayers(m *member) {
	if w.now.Sub(m.allotted) >= allotPause {
		w.allot(m)
	}
}

// allot decides which layer a viewer gets of each publisher that has several.
func (w *worker) allot(m *member) {
	m.allotted = w.now
	w.views, w.portions = w.views[:0], w.portions[:0]
	o := outlook{now: w.now, estimate: float64(m.quality.bandwidth), reports: m.quality.reports}
	for _, s := range m.sections {
		d := s.down
		switch {
		case d == nil || !d.bound:
		case !d.source.simulcast():
			d.source.layers[0].rate.measure(w.now)
			o.other += d.source.layers[0].rate.bits
		default:
			w.views = append(w.views, d)
			w.portions = append(w.portions, w.portion(d))
		}
	}
	if len(w.views) == 0 {
		return
	}
	o.loss, _ = m.loss()
	m.allotment.decide(o, w.portions)
	for i, d := range w.views {
		p := &w.portions[i]
		d.cap = p.cap
		limit, because := min(p.want, p.cap), bySender
		if limit != d.limit {
			d.limit, because = limit, byReceiver
		}
		w.turn(d, d.source.pick(limit, w.now), because)
	}
}

// portion is what the allotment is told of a view.
func (w *worker) portion(d *downTrack) portion {
	p := portion{want: d.viewer.wishFor(d.source.owner).place(), cap: d.cap}
	for i, l := range d.source.layers {
		if l.sent(w.now) {
			p.rates[i] = max(l.rate.bits, 1)
		}
	}
	return p
}
