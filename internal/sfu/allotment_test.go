package sfu

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// way is a way to a viewer that carries so much, with a client at its end that
// estimates as browsers do: what came through times 0.85 when it is full, else it
// grows by 8 % a second up to half above what comes.
type way struct {
	capacity float64
	estimate float64
	a        allotment
	views    []portion
	now      time.Time
	reports  int
	loss     float64
	changes  int
	full     time.Duration // how long it has been
}

func newWay(capacity float64, views ...portion) *way {
	for i := range views {
		views[i].cap = len(rids) - 1
	}
	return &way{capacity: capacity, views: views, now: time.Unix(1_000_000, 0)}
}

func (w *way) total() (sum float64) {
	for i := range w.views {
		sum += w.views[i].rate()
	}
	return sum
}

// pass lets time pass, a report a second.
func (w *way) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		for range 5 {
			w.now = w.now.Add(allotPause)
			before := w.total()
			w.a.decide(outlook{now: w.now, estimate: w.estimate, loss: w.loss, reports: w.reports}, w.views)
			if w.total() != before {
				w.changes++
			}
		}
		total := w.total()
		through := min(total, w.capacity)
		w.reports++
		w.loss = 0
		if total > w.capacity {
			w.full += time.Second
			if w.full > time.Second { // what waits in the network is full, too
				w.loss = 1 - w.capacity/total
			}
			if e := 0.85 * through; w.estimate == 0 || e < w.estimate {
				w.estimate = e
			}
			continue
		}
		w.full = 0
		w.estimate = max(min(1.08*max(w.estimate, 10_000), 1.5*through+10_000), min(w.estimate, 1.5*through+10_000))
	}
}

var usual = [3]float64{150_000, 500_000, 1_800_000}

func TestAllotment(t *testing.T) {
	for _, test := range []struct {
		name     string
		capacity float64
		want     int
		place    int
	}{
		{"plenty", 20e6, 2, 2},
		{"a bound", 20e6, 1, 1},
		{"nothing is wanted", 20e6, -1, -1},
		{"enough for the middle", 800e3, 2, 1},
		{"enough for the lowest", 250e3, 2, 0},
		{"not even that", 50e3, 2, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWay(test.capacity, portion{want: test.want, rates: usual})
			found := false
			for range 9 {
				w.pass(time.Second)
				found = found || w.views[0].place() == test.place
			}
			if !found {
				t.Errorf("within 9 s the viewer never gets %d", test.place)
			}
			// Tries cost a few seconds each, and come ever less often.
			w.pass(10 * time.Minute)
			before, right := w.changes, 0
			for range 600 {
				w.pass(time.Second)
				if w.views[0].place() == test.place {
					right++
				}
			}
			if changes := w.changes - before; right < 550 || changes > 20 {
				t.Errorf("then it gets it for %d of 600 s, with %d changes", right, changes)
			}
		})
	}
}

// A way that becomes narrow is noticed within seconds, one that becomes wide again
// within minutes, and a wish at once.
func TestAllotmentFollows(t *testing.T) {
	w := newWay(20e6, portion{want: 2, rates: usual})
	w.pass(10 * time.Second)
	w.capacity = 300e3
	w.pass(6 * time.Second)
	if got := w.views[0].place(); got != 0 {
		t.Errorf("6 s after the way has become narrow the viewer gets %d", got)
	}
	w.pass(5 * time.Minute)
	w.capacity = 20e6
	w.pass(3 * time.Minute)
	if got := w.views[0].place(); got != 2 {
		t.Errorf("3 min after it has become wide it gets %d", got)
	}
	w.views[0].want = 0
	w.a.asked()
	w.pass(10 * time.Minute) // the estimate knows nothing better now
	w.views[0].want, w.views[0].cap = 2, 2
	w.a.asked()
	w.pass(time.Minute)
	if got := w.views[0].place(); got != 2 || w.changes > 20 {
		t.Errorf("after another wish it gets %d, %d changes", got, w.changes)
	}
}

// Whatever is sent, wanted and carried: nothing is given that is not sent or above
// what was asked for while something at or below is sent, what does not fit is
// gone within a few seconds, and what fits easily comes back.
func TestAllotmentOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "views")
		var views []portion
		least, most := 0.0, 0.0
		for range n {
			p := portion{want: rapid.IntRange(-1, 2).Draw(t, "want"), cap: 2}
			for i := range p.rates {
				if rapid.IntRange(0, 3).Draw(t, "sent") > 0 {
					p.rates[i] = usual[i] * rapid.Float64Range(0.5, 1.5).Draw(t, "rate")
				}
			}
			views = append(views, p)
			low := p
			for low.lower() {
			}
			least += low.rate()
			most += p.rate()
		}
		w := newWay(rapid.Float64Range(50e3, 20e6).Draw(t, "capacity"), views...)
		full := 0
		for second := range 300 {
			w.pass(time.Second)
			for i := range w.views {
				p := &w.views[i]
				place := p.place()
				if place >= 0 && p.rates[place] == 0 {
					t.Fatal("a layer is given that is not sent")
				}
				for below := 0; place > p.want && below <= p.want; below++ {
					if p.rates[below] > 0 {
						t.Fatalf("layer %d is given, %d asked for, %d sent", place, p.want, below)
					}
				}
				if p.want < 0 && place >= 0 {
					t.Fatal("something is given that was not wanted")
				}
			}
			if w.total() > w.capacity && w.capacity > 1.2*least {
				full++
			} else {
				full = 0
			}
			if full > 5*n+6 {
				t.Fatalf("%d s: the way has been full for %d s with %.0f of %.0f", second, full, w.total(), w.capacity)
			}
		}
		if w.capacity > 2*most && w.total() < most {
			t.Fatalf("%.0f is given of %.0f that %.0f would carry", w.total(), most, w.capacity)
		}
	})
}
