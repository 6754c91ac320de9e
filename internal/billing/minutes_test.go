package billing_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
)

var epoch = time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC)

// slowMinutes lays a connection's minutes out one by one.
func slowMinutes(connectedAt, end, from, to time.Time) int64 {
	var n int64
	for start := connectedAt; start.Equal(connectedAt) || start.Before(end); start = start.Add(time.Minute) {
		if !start.Before(from) && start.Before(to) {
			n++
		}
	}
	return n
}

// slowSeconds lays a connection's full seconds out one by one.
func slowSeconds(connectedAt, end, from, to time.Time) int64 {
	var n int64
	for full := connectedAt.Add(time.Second); !full.After(end); full = full.Add(time.Second) {
		if full.After(from) && !full.After(to) {
			n++
		}
	}
	return n
}

// near draws a duration that is often on or beside a full minute or second.
func near(low, high time.Duration) *rapid.Generator[time.Duration] {
	unit := rapid.SampledFrom([]time.Duration{time.Microsecond, time.Second, time.Minute})
	return rapid.Custom(func(t *rapid.T) time.Duration {
		u := unit.Draw(t, "unit")
		d := time.Duration(rapid.Int64Range(int64(low/u), int64(high/u)).Draw(t, "n")) * u
		d += time.Duration(rapid.Int64Range(-1, 1).Draw(t, "beside")) * time.Microsecond
		return min(max(d, low), high)
	})
}

func TestMinutesAreThoseLaidOutOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		connectedAt := epoch.Add(near(0, time.Hour).Draw(t, "connected"))
		end := connectedAt.Add(near(0, 2*time.Hour).Draw(t, "length"))
		from := epoch.Add(near(-time.Hour, 4*time.Hour).Draw(t, "from"))
		to := from.Add(near(0, 4*time.Hour).Draw(t, "period"))
		if got, want := billing.Minutes(connectedAt, end, from, to), slowMinutes(connectedAt, end, from, to); got != want {
			t.Fatalf("%d minutes, one by one %d", got, want)
		}
		if got, want := billing.Seconds(connectedAt, end, from, to), slowSeconds(connectedAt, end, from, to); got != want {
			t.Fatalf("%d seconds, one by one %d", got, want)
		}
	})
}

// However time is cut, the parts add up to the whole, and a connection that
// goes on never loses a minute it had.
func TestMinutesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		connectedAt := epoch.Add(near(0, 48*time.Hour).Draw(t, "connected"))
		length := near(0, 48*time.Hour).Draw(t, "length")
		end := connectedAt.Add(length)
		cuts := rapid.SliceOfN(near(0, 30*time.Hour), 1, 12).Draw(t, "cuts")
		at := epoch.Add(-time.Hour)
		var minutes, seconds int64
		for _, cut := range append(cuts, 500*time.Hour) {
			next := at.Add(cut)
			m := billing.Minutes(connectedAt, end, at, next)
			if later := billing.Minutes(connectedAt, end.Add(time.Hour), at, next); later < m {
				t.Fatalf("going on turned %d minutes into %d", m, later)
			}
			minutes += m
			seconds += billing.Seconds(connectedAt, end, at, next)
			at = next
		}
		want := int64((length + time.Minute - 1) / time.Minute)
		if want = max(1, want); minutes != want || seconds != int64(length/time.Second) {
			t.Fatalf("%d minutes and %d seconds, want %d and %d", minutes, seconds, want, int64(length/time.Second))
		}
	})
}

func TestMinutesByHand(t *testing.T) {
	c := time.Date(2026, 1, 31, 23, 58, 30, 0, time.UTC)
	midnight := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	longAgo, never := midnight.AddDate(-300, 0, 0), midnight.AddDate(290, 0, 0)
	for _, test := range []struct {
		length                  time.Duration
		all, january, february  int64
		seconds, januarySeconds int64
	}{
		{0, 1, 1, 0, 0, 0},
		{time.Microsecond, 1, 1, 0, 0, 0},
		{time.Minute, 1, 1, 0, 60, 60},
		{time.Minute + time.Microsecond, 2, 2, 0, 60, 60},
		{90 * time.Second, 2, 2, 0, 90, 90},
		{120 * time.Second, 2, 2, 0, 120, 90}, // the second minute began in January
		{121 * time.Second, 3, 2, 1, 121, 90},
		{24 * time.Hour, 1440, 2, 1438, 86400, 90},
	} {
		end := c.Add(test.length)
		got := []int64{billing.Minutes(c, end, longAgo, never), billing.Minutes(c, end, longAgo, midnight), billing.Minutes(c, end, midnight, never),
			billing.Seconds(c, end, longAgo, never), billing.Seconds(c, end, longAgo, midnight)}
		for i, want := range []int64{test.all, test.january, test.february, test.seconds, test.januarySeconds} {
			if got[i] != want {
				t.Errorf("%v: got %v, want %+v", test.length, got, test)
				break
			}
		}
	}
}
