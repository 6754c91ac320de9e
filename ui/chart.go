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

func sumMinutes(rows []billing.UsageRow) (sum int64) {
	for _, row := range rows {
		sum += row.Minutes
	}
	return sum
}

func sumSeconds(rows []billing.UsageRow) (sum int64) {
	for _, row := range rows {
		sum += row.Seconds
	}
	return sum
}

func sumConnections(rows []billing.UsageRow) (sum int64) {
	for _, row := range rows {
		sum += row.Connections
	}
	return sum
}

// sumBytes is what was received and sent.
func sumBytes(rows []billing.UsageRow) (sum int64) {
	for _, row := range rows {
		sum += row.BytesIn + row.BytesOut
	}
	return sum
}

// The usage chart's drawing, in its own units.
const (
	chartWidth  = 920.0
	chartHeight = 250.0
	chartLeft   = 52.0  // room for the scale
	chartRight  = 898.0 // room for half a label
	chartTop    = 10.0
	chartBottom = 220.0 // below it the days
)

// chart is minutes by day as a drawing: the scale on the left, a bar a day.
type chart struct {
	lines []chartLine
	bars  []chartBar
}

type chartLine struct {
	y    float64
	text string
}

type chartBar struct {
	slotX, slotWidth float64 // the day's share of the width
	x, y             float64
	width, height    float64
	label            string // under the bar; "": none, there is no room for all
	title            string
	today            bool
}

// drawChart draws days, the last being today.
func drawChart(days []billing.UsageRow) chart {
	most := int64(0)
	for _, day := range days {
		most = max(most, day.Minutes)
	}
	step := niceStep(most)
	top := step * max(1, (most+step-1)/step)
	var c chart
	for at := int64(0); at <= top; at += step {
		y := chartBottom - (chartBottom-chartTop)*float64(at)/float64(top)
		c.lines = append(c.lines, chartLine{y, whole(at)})
	}
	slot := (chartRight - chartLeft) / float64(len(days))
	every := max(1, (len(days)+9)/10) // at most ten labels
	for i, day := range days {
		b := chartBar{slotX: chartLeft + slot*float64(i), slotWidth: slot, today: i == len(days)-1}
		b.width = max(1, min(slot*0.72, 46))
		b.x = b.slotX + (slot-b.width)/2
		b.height = (chartBottom - chartTop) * float64(day.Minutes) / float64(top)
		b.y = chartBottom - b.height
		if (len(days)-1-i)%every == 0 {
			b.label = day.From.Format("2 Jan")
		}
		b.title = day.From.Format("Mon 2 January 2006") + ": " + plural(day.Minutes, "minute", "minutes") + ", " + hours(day.Seconds)
		c.bars = append(c.bars, b)
	}
	return c
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
