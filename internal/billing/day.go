package billing

import (
	"fmt"
	"time"
)

// A Day is a date of a tenant's calendar, as in "2026-12-01". Days compare as text.
type Day string

// ParseDay reads a date that exists.
func ParseDay(text string) (Day, error) {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return "", fmt.Errorf("%q is no date such as 2026-12-01", text)
	}
	return Day(text), nil
}

// DayOf returns the date that t's clock shows.
func DayOf(t time.Time) Day { return Day(t.Format(time.DateOnly)) }

// Next returns the date after d, which must be one.
func (d Day) Next() Day { return DayOf(d.utc().AddDate(0, 0, 1)) }

// Start returns the first moment of the day in a time zone. A day that the zone's
// clocks skipped starts with the one after it.
func (d Day) Start(zone *time.Location) time.Time {
	// No clock is more than 14 hours ahead of UTC or 12 behind: this is a day before.
	t := d.utc().Add(-36 * time.Hour).In(zone)
	for DayOf(t) < d {
		t = nextDay(t)
	}
	return t
}

// Text is the day for people: "1 December 2026".
func (d Day) Text() string { return d.utc().Format("2 January 2006") }

func (d Day) utc() time.Time {
	t, _ := time.Parse(time.DateOnly, string(d)) // it was one when the Day was made
	return t
}
