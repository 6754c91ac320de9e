package rating

import (
	"math"
	"math/bits"
	"time"
)

// Ahead returns the period as it will have been used if it goes on from now to its end
// as it did lately: recent is what was used in the last window. Each part gets what
// falls into its time, rounded down so that the shares of adjoining parts add up. The
// period itself stays as it was. Without a window it comes back unchanged.
//
// A forecast is Rate of it: tiers, packages, minimums and prices that change within the
// period count as they will on the bill.
func (p Period) Ahead(now time.Time, recent Usage, window time.Duration) Period {
	ahead := p
	ahead.Parts = append([]Part(nil), p.Parts...)
	if window <= 0 {
		return ahead
	}
	for i := range ahead.Parts {
		part := &ahead.Parts[i]
		from, to := part.From.Sub(now), part.To.Sub(now)
		if to <= 0 {
			continue // it is over
		}
		from = max(from, 0)
		part.Usage = part.Usage.Add(recent.each(recent, func(n, _ int64) int64 {
			return pace(n, to, window) - pace(n, from, window)
		}))
	}
	return ahead
}

// pace returns n × d ÷ window, rounded down, and at most the largest int64; 0 where n or
// d is below 0.
func pace(n int64, d, window time.Duration) int64 {
	if n <= 0 || d <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(n), uint64(d))
	if high >= uint64(window) {
		return math.MaxInt64
	}
	whole, _ := bits.Div64(high, low, uint64(window))
	return int64(min(whole, math.MaxInt64))
}

// Percent returns how many percent of whole an amount is, rounded down; 0 where either is
// not above 0, and at most the largest int64.
func Percent(amount, whole int64) int64 {
	if amount <= 0 || whole <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(amount), 100)
	if high >= uint64(whole) {
		return math.MaxInt64
	}
	percent, _ := bits.Div64(high, low, uint64(whole))
	return int64(min(percent, math.MaxInt64))
}
