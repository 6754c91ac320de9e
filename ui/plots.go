package ui

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
)

// plotsRange is a choice of how much of a connection's time is drawn.
type plotsRange struct {
	key, name string
	span      time.Duration
	step      time.Duration // of a point; 0: as sampled
}

var plotsRanges = []plotsRange{
	{"15m", "15 min", 15 * time.Minute, 0}, {"1h", "1 hour", time.Hour, time.Minute},
	{"6h", "6 hours", 6 * time.Hour, 5 * time.Minute}, {"24h", "24 hours", stats.Kept, 15 * time.Minute},
}

// summedUp is how much of the newest is told in words.
const summedUp = 2 * time.Minute

// plotsData is a connection's statistics as its page shows them.
type plotsData struct {
	connection string
	chosen     plotsRange
	rows       []plotRow // oldest first
	condition  condition // of the last minutes; of an ended one, before its end
	through    time.Time // zero: there is no sample yet
	plots      []plot
	from, to   time.Time
	media      bool // its media has connected, and passes the platform
	over       bool // it has ended
	forgotten  bool // so long ago that nothing is kept
}

// plotRow is one point of time, in words for the table.
type plotRow struct {
	at    time.Time
	x     float64  // in the drawings
	texts []string // one for each series
}

// plot is one small drawing.
type plot struct {
	title  string
	lines  []chartLine
	ticks  []chartTick
	series []plotSeries
	empty  bool // nothing of it is known in this time
}

// plotSeries is one line of a plot.
type plotSeries struct {
	name   string
	column int // of the table
	path   string
	dots   []plotDot // points without a neighbour
	newest string
}

type plotDot struct{ x, y float64 }

type chartTick struct {
	x    float64
	text string
}

// The drawing's own units.
const (
	plotWidth  = 460.0
	plotHeight = 158.0
	plotLeft   = 62.0
	plotRight  = 450.0
	plotTop    = 10.0
	plotBottom = 132.0
)

// measure is one figure over time.
type measure struct {
	name  string
	value func(stats.Interval) (float64, bool)
	text  func(float64) string
}

// plotKind is what one plot draws.
type plotKind struct {
	title    string
	measures []measure
	least    float64 // what the scale reaches at least
	scale    func(float64) string
}

func flowRate(of func(stats.Interval) sfu.Flows) func(stats.Interval) (float64, bool) {
	return func(i stats.Interval) (float64, bool) {
		f := of(i)
		return stats.Rate(f.Audio.Bytes+f.Video.Bytes, i.Span), true
	}
}

func flowLoss(of func(stats.Interval) sfu.Flows) func(stats.Interval) (float64, bool) {
	return func(i stats.Interval) (float64, bool) { return stats.Loss(of(i).Audio, of(i).Video) }
}

func flowJitter(of func(stats.Interval) sfu.Flows) func(stats.Interval) (float64, bool) {
	return func(i stats.Interval) (float64, bool) {
		j := max(of(i).Audio.Jitter, of(i).Video.Jitter)
		return float64(j), j > 0
	}
}

func frameRate(of func(stats.Interval) sfu.Flows) func(stats.Interval) (float64, bool) {
	return func(i stats.Interval) (float64, bool) {
		f := of(i).Video
		return float64(f.Frames) / i.Span.Seconds(), f.Packets > 0
	}
}

// meanLayer is which layer is shown, of several publishers in the mean; 0: none.
func meanLayer(of func(stats.Interval) stats.Layers) func(stats.Interval) (float64, bool) {
	return func(i stats.Interval) (float64, bool) {
		views, sum := 0, 0
		for layer, n := range of(i).Counts() {
			views, sum = views+n, sum+layer*n
		}
		return float64(sum) / float64(max(views, 1)), views > 0
	}
}

// layerWord names a layer, or what is between two.
func layerWord(v float64) string {
	if v == math.Trunc(v) && v >= 0 && v <= 3 {
		return []string{"none", "r0", "r1", "r2"}[int(v)]
	}
	return fmt.Sprintf("r%.1f in the mean", v-1)
}

func flowsIn(i stats.Interval) sfu.Flows  { return i.In }
func flowsOut(i stats.Interval) sfu.Flows { return i.Out }

func nanoseconds(v float64) string { return millis(time.Duration(v)) }
func aSecond(v float64) string     { return fmt.Sprintf("%.1f", v) }

// plotKinds are the drawings of a connection, in the order of the page.
var plotKinds = []plotKind{
	{"Bit rate", []measure{{"from it", flowRate(flowsIn), bitRate}, {"to it", flowRate(flowsOut), bitRate}}, 1000, bitScale},
	{"Packets lost", []measure{{"from it", flowLoss(flowsIn), percent}, {"to it", flowLoss(flowsOut), percent}}, 0.01, func(v float64) string { return fmt.Sprintf("%g %%", math.Round(1000*v)/10) }},
	{"Round trip", []measure{
		{"by RTCP", func(i stats.Interval) (float64, bool) { return float64(i.RTT), i.RTT > 0 }, nanoseconds},
		{"told by it", func(i stats.Interval) (float64, bool) {
			if i.Client == nil {
				return 0, false
			}
			return float64(i.Client.RTT), i.Client.RTT > 0
		}, nanoseconds},
	}, float64(10 * time.Millisecond), milliScale},
	{"Jitter", []measure{{"from it", flowJitter(flowsIn), nanoseconds}, {"to it", flowJitter(flowsOut), nanoseconds}}, float64(10 * time.Millisecond), milliScale},
	{"Frames a second", []measure{{"from it", frameRate(flowsIn), aSecond}, {"to it", frameRate(flowsOut), aSecond}}, 30, func(v float64) string { return fmt.Sprintf("%g", v) }},
	{"Frames not shown", []measure{
		{"not sent", func(i stats.Interval) (float64, bool) {
			return float64(i.Out.Video.FramesDropped), i.Out.Video.Packets > 0
		}, aCount},
		{"freezes told", func(i stats.Interval) (float64, bool) {
			if i.Client == nil {
				return 0, false
			}
			return float64(i.Client.Freezes), i.Out.Video.Packets > 0
		}, aCount},
	}, 4, func(v float64) string { return fmt.Sprintf("%g", v) }},
	{"Layer shown", []measure{
		{"is shown", meanLayer(func(i stats.Interval) stats.Layers { return i.Shown }), layerWord},
		{"is to be shown", meanLayer(func(i stats.Interval) stats.Layers { return i.Aimed }), layerWord},
	}, 3, layerWord},
}

// bitScale and milliScale write round figures.
func bitScale(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%g Mbit/s", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%g kbit/s", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}

func milliScale(v float64) string { return fmt.Sprintf("%g ms", v/float64(time.Millisecond)) }

func aCount(v float64) string { return whole(int64(math.Round(v))) }

// readPlots reads a connection's statistics: those of ?range=, the last 15 minutes if
// that says nothing sensible. A stream keeps the answer for a while.
func (c *Console) readPlots(r *http.Request, v *visit, h billing.History) (d plotsData, err error) {
	d = plotsData{connection: h.ConnectionID, chosen: plotsRanges[0], over: !h.EndedAt.IsZero(), media: !h.ConnectedAt.IsZero() && h.Protocol != tenant.ProtocolAyame}
	for _, choice := range plotsRanges {
		if choice.key == r.URL.Query().Get("range") {
			d.chosen = choice
		}
	}
	if c.Stats == nil || !d.media {
		return d, nil
	}
	if v.live && v.plots != nil && v.plots.over == d.over && v.now.Sub(v.plotsAt) < qualitiesEvery {
		return *v.plots, nil
	}
	d.to = v.now.Add(time.Second)
	if d.over {
		d.to = h.EndedAt.Add(2 * time.Second) // its last sample may be that late
		d.forgotten = v.now.Sub(h.EndedAt) > stats.Kept
	}
	d.from = d.to.Add(-d.chosen.span)
	if begun := h.ConnectedAt.Add(-time.Second); begun.After(d.from) && d.chosen.span > d.to.Sub(begun)*4/3 {
		d.from = begun // it has not been there for so long
	}
	ctx, scope := r.Context(), v.login.Scope
	series, err := c.Stats.Series(ctx, scope, stats.SeriesQuery{ConnectionID: h.ConnectionID, From: d.from, To: d.to.Add(time.Minute), Step: d.chosen.step})
	if err != nil {
		return d, err
	}
	d.through = series.DataThrough
	newest := series
	if d.chosen.step > 0 {
		newest, err = c.Stats.Series(ctx, scope, stats.SeriesQuery{ConnectionID: h.ConnectionID, From: d.to.Add(-summedUp), To: d.to.Add(time.Minute)})
		if err != nil {
			return d, err
		}
	}
	var last []stats.Interval
	for _, i := range newest.Intervals {
		if d.to.Sub(i.At) < summedUp {
			last = append(last, i)
		}
	}
	d.condition = conditionOf(last)
	d.draw(v, series.Intervals)
	v.plots, v.plotsAt = &d, v.now
	return d, nil
}

// draw makes the drawings, and the table of the same.
func (d *plotsData) draw(v *visit, intervals []stats.Interval) {
	longest := 2*d.chosen.step + 25*time.Second // between two points with a line
	x := func(at time.Time) float64 {
		part := float64(at.Sub(d.from)) / float64(d.to.Sub(d.from))
		return plotLeft + (plotRight-plotLeft)*min(max(part, 0), 1)
	}
	for _, i := range intervals {
		d.rows = append(d.rows, plotRow{at: i.At.In(v.zone), x: x(i.At)})
	}
	var ticks []chartTick
	format := "15:04"
	if d.to.Sub(d.from) < 5*time.Minute {
		format = "15:04:05"
	}
	for part := 0; part <= 4; part++ {
		at := d.from.Add(d.to.Sub(d.from) * time.Duration(part) / 4)
		ticks = append(ticks, chartTick{x(at), at.In(v.zone).Format(format)})
	}
	for _, kind := range plotKinds {
		p := plot{title: kind.title, ticks: ticks, empty: true}
		most := kind.least
		for _, m := range kind.measures {
			for _, i := range intervals {
				if value, known := m.value(i); known {
					most = max(most, value)
					p.empty = false
				}
			}
		}
		top := niceTop(most)
		if kind.title == "Layer shown" {
			top = 3
		}
		y := func(value float64) float64 { return plotBottom - (plotBottom-plotTop)*min(value/top, 1) }
		for part := 0; part <= 3; part++ {
			at := top * float64(part) / 3
			if kind.title != "Layer shown" && part == 2 {
				continue
			}
			if kind.title != "Layer shown" && part == 1 {
				at = top / 2
			}
			p.lines = append(p.lines, chartLine{y(at), kind.scale(at)})
		}
		for _, m := range kind.measures {
			p.series = append(p.series, d.line(m, intervals, longest, y))
		}
		d.plots = append(d.plots, p)
	}
}

// line draws one measure, and writes its column of the table.
func (d *plotsData) line(m measure, intervals []stats.Interval, longest time.Duration, y func(float64) float64) plotSeries {
	s := plotSeries{name: m.name}
	var path strings.Builder
	var before time.Time // of the newest point of the path; zero: none
	var run []plotDot
	end := func() {
		if len(run) == 1 {
			s.dots = append(s.dots, run[0])
		} else {
			for i, p := range run {
				fmt.Fprintf(&path, "%c%s %s", "LM"[map[bool]int{true: 1, false: 0}[i == 0]], pixels(p.x), pixels(p.y))
			}
		}
		run = run[:0]
	}
	for n, i := range intervals {
		value, known := m.value(i)
		text := "–"
		if known {
			text = m.text(value)
			if !before.IsZero() && i.At.Sub(before) > longest {
				end()
			}
			before = i.At
			run = append(run, plotDot{d.rows[n].x, y(value)})
			s.newest = text
		}
		s.column = len(d.rows[n].texts) // the same for each row
		d.rows[n].texts = append(d.rows[n].texts, text)
	}
	end()
	s.path = path.String()
	return s
}

// niceTop is 1, 2 or 5 times a power of ten that is not less than most.
func niceTop(most float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, by := range []float64{1, 2, 5, 10} {
		if step*by >= most*0.999 {
			return step * by
		}
	}
	return most
}

// newestFirst is the rows as the table has them.
func (d *plotsData) newestFirst() []plotRow {
	rows := make([]plotRow, 0, len(d.rows))
	for i := len(d.rows) - 1; i >= 0; i-- {
		rows = append(rows, d.rows[i])
	}
	return rows
}
