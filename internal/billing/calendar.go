package billing

import (
	"time"
	_ "time/tzdata" // a tenant's time zone must not depend on the machine's files
)

// period is the time from ≤ t < to.
type period struct{ from, to time.Time }

// days returns the days of loc that lie in from ≤ t < to, the first and last
// cut to it. Adjoining: each day ends where the next begins.
func days(from, to time.Time, loc *time.Location) []period {
	return periods(from.In(loc), to, nextDay)
}

// hours returns the hours of loc's clock that lie in from ≤ t < to, the first
// and last cut to it. Where the clock is set by part of an hour, an hour may
// be shorter or longer.
func hours(from, to time.Time, loc *time.Location) []period {
	return periods(from.In(loc), to, nextHour)
}

// months returns the calendar months of loc that lie in from ≤ t < to, the first and
// last cut to it.
func months(from, to time.Time, loc *time.Location) []period {
	return periods(from.In(loc), to, nextMonth)
}

// periods cuts from ≤ t < to wherever next says that the following one starts.
func periods(from, to time.Time, next func(time.Time) time.Time) []period {
	var all []period
	for from.Before(to) {
		end := next(from)
		if end.After(to) {
			end = to.In(from.Location())
		}
		all = append(all, period{from, end})
		from = end
	}
	return all
}

// nextDay returns the first moment after t with another date on t's clock. It
// walks from one setting of the clock to the next, because there are days
// whose midnight is skipped, comes twice, or that do not exist at all.
func nextDay(t time.Time) time.Time {
	day := t.YearDay()
	for {
		midnight := t.Add(24*time.Hour - sinceMidnight(t))
		_, set := t.ZoneBounds()
		if set.IsZero() || midnight.Before(set) {
			return midnight
		}
		if set.YearDay() != day {
			return set
		}
		t = set
	}
}

// nextMonth returns the first moment after t in another month on t's clock.
func nextMonth(t time.Time) time.Time {
	for month := t.Month(); t.Month() == month; {
		t = nextDay(t)
	}
	return t
}

// nextHour returns the next full hour after t on t's clock.
func nextHour(t time.Time) time.Time {
	return t.Add(time.Hour - sinceMidnight(t)%time.Hour)
}

// sinceMidnight returns the time that t's clock shows.
func sinceMidnight(t time.Time) time.Duration {
	hour, minute, second := t.Clock()
	return time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute +
		time.Duration(second)*time.Second + time.Duration(t.Nanosecond())
}
