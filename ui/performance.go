package ui

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/webhooks"
)

// performanceData is how one endpoint does.
type performanceData struct {
	endpoint webhooks.Endpoint
	p        webhooks.Performance
}

// windowNames are webhooks.Windows in words.
var windowNames = map[string]string{"1h": "Hour", "24h": "Day", "30d": "30 days"}

// performance shows an endpoint's lag and failure rate over time.
func (c *Console) performance(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.readPerformance(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, performancePage(v, d))
}

func (c *Console) performanceFragment(r *http.Request, v *visit) (templ.Component, error) {
	d, err := c.readPerformance(r, v)
	return performanceBody(v, d), err
}

func (c *Console) readPerformance(r *http.Request, v *visit) (d performanceData, err error) {
	if d.endpoint, err = c.Hooks.Endpoint(r.Context(), v.login.Scope, param(r, "endpoint")); err != nil {
		return d, err
	}
	d.p, err = c.Hooks.Performance(r.Context(), v.login.Scope, d.endpoint.ID, webhooks.WindowNamed(r.URL.Query().Get("window")))
	return d, err
}

// performancesData is how all endpoints do.
type performancesData struct {
	window    webhooks.Window
	endpoints []performanceData
}

// performances shows all endpoints side by side.
func (c *Console) performances(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.readPerformances(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, performancesPage(v, d))
}

func (c *Console) performancesFragment(r *http.Request, v *visit) (templ.Component, error) {
	d, err := c.readPerformances(r, v)
	return performancesBody(v, d), err
}

func (c *Console) readPerformances(r *http.Request, v *visit) (d performancesData, err error) {
	d.window = webhooks.WindowNamed(r.URL.Query().Get("window"))
	endpoints, err := c.Hooks.Endpoints(r.Context(), v.login.Scope)
	if err != nil {
		return d, err
	}
	all, err := c.Hooks.Performances(r.Context(), v.login.Scope, d.window)
	for _, e := range endpoints {
		if p, ok := all[e.ID]; ok {
			d.endpoints = append(d.endpoints, performanceData{e, p})
		}
	}
	return d, err
}

// path is the endpoint's page of performance, of a window.
func (d performanceData) path(window string) string {
	return "/console/webhooks/" + d.endpoint.ID + "/health?window=" + window
}

// busy are the points with attempts, the newest first.
func (d performanceData) busy() []webhooks.Point {
	points := slices.DeleteFunc(slices.Clone(d.p.Points), func(p webhooks.Point) bool { return p.Attempts == 0 })
	slices.Reverse(points)
	return points
}

// name is when a point was.
func (d performanceData) name(v *visit, at time.Time) string {
	if d.p.Window.Step >= 24*time.Hour {
		return at.UTC().Format("Mon 2 Jan 2006")
	}
	return at.In(v.zone).Format("Mon 2 Jan 15:04")
}

// span writes a duration in the unit that suits it.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "< 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}

// delayOf is a delay of a point, which has none without deliveries.
func delayOf(p webhooks.Point, d time.Duration) string {
	if p.Delivered == 0 {
		return "–"
	}
	return span(d)
}

// failedShare writes how many attempts failed.
func failedShare(p webhooks.Point) string {
	switch rate := 100 * p.FailureRate(); {
	case p.Attempts == 0:
		return "–"
	case p.Failures > 0 && rate < 0.1:
		return "< 0.1 %"
	case rate < 10 && rate > 0:
		return fmt.Sprintf("%.1f %%", rate)
	default:
		return fmt.Sprintf("%.0f %%", rate)
	}
}

// performanceChart is a drawing of points over time, in the units of chart.
type performanceChart struct {
	lines  []chartLine
	series []delaySeries
	bars   []attemptBar
	labels []chartLine // y is an x here
	slots  []chartBar
}

// delaySeries is a line of one quantile; where nothing was delivered it has gaps.
type delaySeries struct{ name, class, path string }

// attemptBar is a point's attempts: those that failed below, the others on top.
type attemptBar struct {
	x, width                      float64
	goodY, goodHeight, badY, badH float64
}

// frame draws what all charts of a performance have: when, and what each slot says.
func (d performanceData) frame(v *visit, title func(webhooks.Point) string) (c performanceChart, slot float64) {
	points := d.p.Points
	slot = (chartRight - chartLeft) / float64(len(points))
	every := max(1, len(points)/6)
	layout := "15:04"
	if d.p.Window.Step >= 24*time.Hour {
		layout = "2 Jan"
	}
	for i, p := range points {
		x := chartLeft + slot*float64(i)
		c.slots = append(c.slots, chartBar{slotX: x, slotWidth: slot, title: d.name(v, p.At) + ": " + title(p)})
		if (len(points)-1-i)%every == 0 {
			at := p.At.In(v.zone)
			if layout == "2 Jan" {
				at = p.At.UTC()
			}
			c.labels = append(c.labels, chartLine{x + slot/2, at.Format(layout)})
		}
	}
	return c, slot
}

// delayMarks are where the scale of delays may have lines: it is logarithmic, since
// what matters lies between milliseconds and days.
var delayMarks = []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second,
	time.Minute, 10 * time.Minute, time.Hour, 10 * time.Hour, 100 * time.Hour}

// drawDelays draws how long deliveries took.
func (d performanceData) drawDelays(v *visit) performanceChart {
	c, slot := d.frame(v, func(p webhooks.Point) string {
		if p.Delivered == 0 {
			return "nothing delivered"
		}
		return fmt.Sprintf("p50 %s, p95 %s, p99 %s of %s", span(p.P50), span(p.P95), span(p.P99), plural(p.Delivered, "delivery", "deliveries"))
	})
	top := delayMarks[3]
	for _, mark := range delayMarks {
		top = mark
		if mark >= d.p.Total.P99 && mark >= time.Second && !slices.ContainsFunc(d.p.Points, func(p webhooks.Point) bool { return p.P99 > mark }) {
			break
		}
	}
	low, high := math.Log(float64(delayMarks[0])), math.Log(float64(top))
	y := func(delay time.Duration) float64 {
		share := (math.Log(float64(max(delay, delayMarks[0]))) - low) / (high - low)
		return chartBottom - (chartBottom-chartTop)*min(1, share)
	}
	for _, mark := range delayMarks {
		if mark <= top {
			c.lines = append(c.lines, chartLine{y(mark), strings.Replace(span(mark), "1.0 s", "1 s", 1)})
		}
	}
	for _, s := range []struct {
		name, class string
		of          func(webhooks.Point) time.Duration
	}{
		{"p99", "line-p99", func(p webhooks.Point) time.Duration { return p.P99 }},
		{"p95", "line-p95", func(p webhooks.Point) time.Duration { return p.P95 }},
		{"p50", "line-p50", func(p webhooks.Point) time.Duration { return p.P50 }},
	} {
		var path strings.Builder
		drawing := false
		for i, p := range d.p.Points {
			if p.Delivered == 0 {
				drawing = false
				continue
			}
			x, move := chartLeft+slot*(float64(i)+0.5), "L"
			if !drawing {
				move, drawing = "M", true
				if i == len(d.p.Points)-1 || d.p.Points[i+1].Delivered == 0 { // alone: a short stroke, else it is not seen
					fmt.Fprintf(&path, "M%s %sH%s", pixels(x-min(slot/2, 6)), pixels(y(s.of(p))), pixels(x+min(slot/2, 6)))
					continue
				}
			}
			fmt.Fprintf(&path, "%s%s %s", move, pixels(x), pixels(y(s.of(p))))
		}
		c.series = append(c.series, delaySeries{s.name, s.class, path.String()})
	}
	return c
}

// drawAttempts draws how many attempts there were, and how many failed.
func (d performanceData) drawAttempts(v *visit) performanceChart {
	c, slot := d.frame(v, func(p webhooks.Point) string {
		return plural(p.Attempts, "attempt", "attempts") + ", " + whole(p.Failures) + " failed (" + failedShare(p) + ")"
	})
	most := int64(0)
	for _, p := range d.p.Points {
		most = max(most, p.Attempts)
	}
	step := niceStep(most)
	top := step * max(1, (most+step-1)/step)
	for at := int64(0); at <= top; at += step {
		c.lines = append(c.lines, chartLine{chartBottom - (chartBottom-chartTop)*float64(at)/float64(top), whole(at)})
	}
	height := func(n int64) float64 { return (chartBottom - chartTop) * float64(n) / float64(top) }
	for i, p := range d.p.Points {
		if p.Attempts == 0 {
			continue
		}
		b := attemptBar{width: max(1, min(slot*0.76, 40))}
		b.x = chartLeft + slot*float64(i) + (slot-b.width)/2
		b.badH, b.goodHeight = height(p.Failures), height(p.Attempts-p.Failures)
		b.badY = chartBottom - b.badH
		b.goodY = b.badY - b.goodHeight
		c.bars = append(c.bars, b)
	}
	return c
}

// span0 is span of a time that may be none.
func span0(d time.Duration) string {
	if d <= 0 {
		return "0 s"
	}
	return span(d)
}

// backlog is how many events are not delivered.
func backlog(p webhooks.Performance) string {
	if p.Backlog >= 10_000 {
		return "10,000 or more"
	}
	return whole(p.Backlog)
}

// backlogNote says what is behind a lag.
func backlogNote(v *visit, p webhooks.Performance) string {
	if p.Oldest == nil {
		return "everything is delivered"
	}
	return backlog(p) + " undelivered, the oldest from " + ago(*p.Oldest, v.now)
}

// delayNote are the other quantiles.
func delayNote(p webhooks.Point) string {
	if p.Delivered == 0 {
		return "nothing was delivered in this time"
	}
	return "p50 " + span(p.P50) + ", p99 " + span(p.P99) + ", slowest " + span(p.Slowest)
}
