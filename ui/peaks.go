package ui

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/billing"
)

// peaksRange is a choice of the drawing of peaks.
type peaksRange struct {
	key, name string
	hours     int
	byDay     bool
}

var peaksRanges = []peaksRange{{"24h", "24 hours", 24, false}, {"7d", "7 days", 7 * 24, false}, {"30d", "30 days", 30 * 24, true}, {"12m", "12 months", 365 * 24, true}}

// peaksData is the most connections at one time, by hour or by day.
type peaksData struct {
	chosen peaksRange
	rows   []billing.Peak // oldest first; of a day the hour with the most, as of the day's start
	most   billing.Peak
}

// readPeaks reads those that ?peaks= asks for; of 7 days if it says nothing
// sensible. Hours are those of the clock in UTC; a day has those that begin in it.
func (c *Console) readPeaks(r *http.Request, v *visit) (peaksData, error) {
	d := peaksData{chosen: peaksRanges[1]}
	for _, choice := range peaksRanges {
		if choice.key == r.URL.Query().Get("peaks") {
			d.chosen = choice
		}
	}
	from := v.now.UTC().Truncate(time.Hour).Add(-time.Duration(d.chosen.hours-1) * time.Hour)
	if d.chosen.byDay {
		from = midnight(v.now.In(v.zone)).AddDate(0, 0, 1-d.chosen.hours/24)
	}
	return d, c.fillPeaks(r, v, &d, from, v.now.Add(time.Hour))
}

// fillPeaks reads those of the hours that begin in from ≤ t < to.
func (c *Console) fillPeaks(r *http.Request, v *visit, d *peaksData, from, to time.Time) error {
	hours, err := c.Ledger.Peaks(r.Context(), v.login.Scope, from, to)
	if err != nil {
		return err
	}
	for _, peak := range hours {
		peak.Hour = peak.Hour.In(v.zone)
		last := len(d.rows) - 1
		if day := midnight(peak.Hour); d.chosen.byDay {
			if last >= 0 && d.rows[last].Hour.Equal(day) {
				if peak.Connections <= d.rows[last].Connections {
					continue
				}
				d.rows = d.rows[:last]
			}
			peak.Hour = day
		}
		d.rows = append(d.rows, peak)
	}
	for _, peak := range d.rows {
		if peak.Connections >= d.most.Connections {
			d.most = peak
		}
	}
	return nil
}

// name is a row's hour or day.
func (d peaksData) name(p billing.Peak) string {
	if d.chosen.byDay {
		return dayName(p.Hour)
	}
	return p.Hour.Format("Mon 2 Jan 15:04")
}

// newestFirst is the rows as the table has them.
func (d peaksData) newestFirst() []billing.Peak {
	rows := make([]billing.Peak, 0, len(d.rows))
	for i := len(d.rows) - 1; i >= 0; i-- {
		rows = append(rows, d.rows[i])
	}
	return rows
}

// label is what stands below a bar: there is no room for all.
func (d peaksData) label(i int) string {
	at := d.rows[i].Hour
	every := max(1, (len(d.rows)+9)/10)
	days := max(1, (len(d.rows)/24+9)/10) // between two labels of hours
	switch {
	case d.chosen.byDay && (len(d.rows)-1-i)%every == 0, !d.chosen.byDay && d.chosen.hours > 24 && at.Hour() == 0 && at.YearDay()%days == 0:
		return at.Format("2 Jan")
	case !d.chosen.byDay && d.chosen.hours <= 24 && at.Hour()%3 == 0:
		return at.Format("15:04")
	}
	return ""
}

// peaksChart is peaks as bars below the line of the licence.
type peaksChart struct {
	chart
	licence string // points of the line
}

func drawPeaks(d peaksData) peaksChart {
	most := 0
	for _, p := range d.rows {
		most = max(most, p.Connections, p.MaxConnections)
	}
	step := niceStep(int64(most))
	top := step * max(1, (int64(most)+step-1)/step)
	height := func(n int) float64 { return (chartBottom - chartTop) * float64(n) / float64(top) }
	var c peaksChart
	for at := int64(0); at <= top; at += step {
		c.lines = append(c.lines, chartLine{chartBottom - height(int(at)), whole(at)})
	}
	slot := (chartRight - chartLeft) / float64(len(d.rows))
	var line []string
	for i, p := range d.rows {
		b := chartBar{slotX: chartLeft + slot*float64(i), slotWidth: slot, today: i == len(d.rows)-1}
		b.width = max(1, min(slot*0.72, 46))
		b.x = b.slotX + (slot-b.width)/2
		b.height = height(p.Connections)
		b.y = chartBottom - b.height
		b.label = d.label(i)
		b.title = d.name(p) + ": " + strconv.Itoa(p.Connections) + " of " + plural(p.MaxConnections, "connection", "connections")
		c.bars = append(c.bars, b)
		y := pixels(chartBottom - height(p.MaxConnections))
		line = append(line, pixels(b.slotX)+","+y, pixels(b.slotX+slot)+","+y)
	}
	c.licence = strings.Join(line, " ")
	return c
}
