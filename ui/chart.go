package ui

import (
	"strconv"
	"time"

	"github.com/hibari/hibari/internal/billing"
)

// bars returns the height of each row's minutes, the tallest being height.
func bars(rows []billing.UsageRow, height float64) []float64 {
	most := int64(1)
	for _, row := range rows {
		most = max(most, row.Minutes)
	}
	heights := make([]float64, len(rows))
	for i, row := range rows {
		heights[i] = height * float64(row.Minutes) / float64(most)
	}
	return heights
}

func pixels(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

// The usage chart's drawing, in its own units.
const (
	chartWidth  = 920.0
	chartHeight = 250.0
	chartLeft   = 52.0  // room for the scale
	chartRight  = 898.0 // room for half a label
	chartTop    = 10.0
	chartBottom = 220.0 // below it the times
)

// chart is minutes over time as a drawing: the scale on the left, a bar for each hour, day
// or month.
type chart struct {
	lines []chartLine
	bars  []chartBar
}

type chartLine struct {
	y    float64
	text string
}

type chartBar struct {
	slotX, slotWidth float64 // the row's share of the width
	x, y             float64
	width, height    float64
	label            string // under the bar; "": none, there is no room for all
	title            string
	today            bool // it is not over yet
}

// drawChart draws rows by hour, day or month.
func drawChart(rows []billing.UsageRow, by billing.GroupBy, now time.Time) chart {
	most := int64(0)
	for _, row := range rows {
		most = max(most, row.Minutes)
	}
	step := niceStep(most)
	top := step * max(1, (most+step-1)/step)
	var c chart
	for at := int64(0); at <= top; at += step {
		y := chartBottom - (chartBottom-chartTop)*float64(at)/float64(top)
		c.lines = append(c.lines, chartLine{y, whole(at)})
	}
	slot := (chartRight - chartLeft) / float64(len(rows))
	for i, row := range rows {
		b := chartBar{slotX: chartLeft + slot*float64(i), slotWidth: slot, today: !row.From.After(now) && row.To.After(now)}
		b.width = max(1, min(slot*0.72, 46))
		b.x = b.slotX + (slot-b.width)/2
		b.height = (chartBottom - chartTop) * float64(row.Minutes) / float64(top)
		b.y = chartBottom - b.height
		b.label = barLabel(rows, i, by)
		b.title = usageName(row, by) + ": " + plural(row.Minutes, "minute", "minutes") + ", " + plural(row.Seconds, "second", "seconds")
		c.bars = append(c.bars, b)
	}
	return c
}

// barLabel is what stands below a bar: there is no room for all.
func barLabel(rows []billing.UsageRow, i int, by billing.GroupBy) string {
	at := rows[i].From
	every := max(1, (len(rows)+9)/10) // at most ten labels
	switch {
	case by == billing.ByMonth && (len(rows)-1-i)%max(1, (len(rows)+12)/13) == 0:
		return at.Format("Jan 06")
	case by == billing.ByHour && len(rows) <= 26:
		if at.Hour()%3 == 0 && at.Minute() == 0 {
			return at.Format("15:04")
		}
	case by == billing.ByHour:
		if at.Hour() == 0 && (i/24)%max(1, (len(rows)/24+9)/10) == 0 {
			return at.Format("2 Jan")
		}
	case by == billing.ByDay && (len(rows)-1-i)%every == 0:
		return at.Format("2 Jan")
	}
	return ""
}

// niceStep returns 1, 2 or 5 times a power of ten, so that three to six steps
// reach most.
func niceStep(most int64) int64 {
	step := int64(1)
	for {
		for _, by := range []int64{1, 2, 5} {
			if step*by*5 >= most {
				return step * by
			}
		}
		step *= 10
	}
}

// dayName is a row's day for tables.
func dayName(t time.Time) string { return t.Format("Mon 2 Jan 2006") }
