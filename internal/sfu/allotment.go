package sfu

import "time"

// Which layers the way to a viewer carries. A viewer's own estimate (REMB) follows
// what it is sent: it is hardly ever more than half above that, so that it cannot
// say whether a better layer would be carried, and it grows for half a minute after
// one has come. So a better layer is tried, now and then; it stays unless the
// estimate falls or stands still below what is sent, or packets are lost. A try that
// fails puts the next one off, each time for twice as long.

const (
	// scarce is the part of what is sent that an estimate must reach: browsers
	// estimate 0.85 of what comes through when the way is full.
	scarce = 0.85
	// fallen is the part of its height since the last change that tells of a full
	// way.
	fallen = 0.9
	// rising is how much an estimate must grow within risingTime to count as
	// growing.
	rising     = 1.02
	risingTime = 3 * time.Second
	// lossy is the loss that two reports in a row must tell of, lossless what one
	// may have while a better layer is tried.
	lossy, lossless = 0.15, 0.05
	// settling is how long after a change reports are still of the time before.
	settling = 2 * time.Second
	// proving is how long a layer must have been carried to count as carried.
	proving = 15 * time.Second
	// tryFirst and tryLast are how long the next try of a better layer waits after
	// the first one that failed, and at most.
	tryFirst, tryLast = 5 * time.Second, 2 * time.Minute
)

// allotment limits the layers that a viewer gets. It knows no clock and no member:
// whoever owns it tells it what there is. The zero value is ready.
type allotment struct {
	changedAt time.Time // limits or wishes
	triedAt   time.Time // a better layer was tried; zero: none is on trial
	nextTry   time.Time
	pause     time.Duration // between the next two tries

	height  float64   // of the estimate since the last change
	floor   float64   // of the estimate, when it was last seen to grow
	floorAt time.Time // zero: it is enough
	reports int       // of loss that were looked at
	losses  int       // how many of these in a row were too bad
}

// portion is one view of an allotment.
type portion struct {
	want  int        // at most this place; negative: nothing
	cap   int        // at most this place, as far as the way carries it; decided here
	rates [3]float64 // of the layers, in bit/s; 0: not sent
}

// outlook is what is known of the way to a viewer.
type outlook struct {
	now      time.Time
	estimate float64 // in bit/s; 0: it makes none
	other    float64 // what it is sent besides, in bit/s
	loss     float64 // in the newest report, 0 to 1
	reports  int     // that have come
}

// place is what a portion comes to; negative: nothing.
func (p *portion) place() int {
	limit := min(p.want, p.cap)
	if p.want < 0 {
		return -1
	}
	for i := limit; i >= 0; i-- {
		if p.rates[i] > 0 {
			return i
		}
	}
	for i := limit + 1; i < len(p.rates); i++ {
		if p.rates[i] > 0 {
			return i
		}
	}
	return -1
}

// rate is what a portion costs, in bit/s.
func (p *portion) rate() float64 {
	if i := p.place(); i >= 0 {
		return p.rates[i]
	}
	return 0
}

// lower takes the next worse layer, if one is sent.
func (p *portion) lower() bool {
	for i := p.place() - 1; i >= 0; i-- {
		if p.rates[i] > 0 {
			p.cap = i
			return true
		}
	}
	return false
}

// better is the place of the next better layer that is wanted; negative: none.
func (p *portion) better() int {
	for i := p.place() + 1; i <= p.want && i < len(p.rates); i++ {
		if i > p.cap && p.rates[i] > 0 {
			return i
		}
	}
	return -1
}

// asked notes that the viewer has asked for something: it gets that, on trial.
func (a *allotment) asked() { *a = allotment{reports: a.reports, changedAt: a.changedAt} }

// decide brings the caps of all views of a viewer up to date.
func (a *allotment) decide(o outlook, views []portion) {
	total := o.other
	for i := range views {
		total += views[i].rate()
	}
	full, estimated := a.full(o, total)
	switch {
	case o.now.Sub(a.changedAt) < settling:
	case full:
		a.reduce(o, views, total, estimated)
	default:
		a.improve(o, views, total)
	}
}

// full reports whether the way does not carry what is sent, and whether the
// estimate says so.
func (a *allotment) full(o outlook, total float64) (full, estimated bool) {
	if o.reports != a.reports {
		a.reports = o.reports
		if a.losses++; o.loss < lossy {
			a.losses = 0
		}
	}
	if o.estimate == 0 || o.estimate >= scarce*total {
		a.floorAt, a.height = time.Time{}, o.estimate
		return a.losses >= 2, false
	}
	a.height = max(a.height, o.estimate)
	if a.floorAt.IsZero() || o.estimate >= rising*a.floor {
		a.floor, a.floorAt = o.estimate, o.now
	}
	estimated = o.estimate < fallen*a.height || o.now.Sub(a.floorAt) >= risingTime
	return estimated || a.losses >= 2, estimated
}

// reduce goes down, as far as the estimate says or one step.
func (a *allotment) reduce(o outlook, views []portion, total float64, estimated bool) {
	lowered := false
	for !lowered || estimated && total > o.estimate {
		i := dearest(views)
		if i < 0 {
			break
		}
		total -= views[i].rate()
		views[i].lower()
		total += views[i].rate()
		lowered = true
	}
	if !lowered {
		return
	}
	if !a.triedAt.IsZero() && a.pause > 0 {
		a.pause = min(2*a.pause, tryLast)
	} else {
		a.pause = tryFirst
	}
	a.nextTry = o.now.Add(a.pause)
	a.triedAt = time.Time{}
	a.change(o)
}

// dearest is the view whose next step down frees most; negative: none can.
func dearest(views []portion) int {
	found, most := -1, 0.0
	for i := range views {
		p := views[i]
		if before := p.rate(); p.lower() && before-p.rate() > most || found < 0 && p.cap != views[i].cap {
			found, most = i, before-p.rate()
		}
	}
	return found
}

// improve goes up one step, if there is room for it or it is time for a try.
func (a *allotment) improve(o outlook, views []portion, total float64) {
	if !a.triedAt.IsZero() && o.now.Sub(a.triedAt) >= proving {
		a.triedAt, a.pause = time.Time{}, 0
	}
	if o.loss >= lossless || !a.triedAt.IsZero() && o.now.Sub(a.triedAt) < settling {
		return
	}
	found, least := -1, 0.0
	for i := range views {
		if to := views[i].better(); to >= 0 {
			if more := views[i].rates[to] - views[i].rate(); found < 0 || more < least {
				found, least = i, more
			}
		}
	}
	if found < 0 {
		return
	}
	if room := o.estimate > 0 && total+least <= o.estimate; !room && o.now.Before(a.nextTry) {
		return
	}
	views[found].cap = views[found].better()
	a.triedAt = o.now
	a.change(o)
}

// change begins to look at the estimate anew.
func (a *allotment) change(o outlook) {
	a.changedAt = o.now
	a.height, a.floorAt, a.losses = o.estimate, time.Time{}, 0
}
