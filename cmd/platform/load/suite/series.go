package suite

import (
	"cmp"
	"fmt"
	"slices"
)

// Series is one figure over the rounds.
type Series []float64

// Median is the middle one, or the mean of the two in the middle; 0 of none.
func (s Series) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Spread is the smallest and the largest; zeros of none.
func (s Series) Spread() (low, high float64) {
	if len(s) == 0 {
		return 0, 0
	}
	return slices.Min(s), slices.Max(s)
}

// Over divides round by round: a round's two measurements stood under the same
// noise. Rounds in which the divisor is 0 are left out.
func (s Series) Over(divisor Series) (ratios Series) {
	for i := range min(len(s), len(divisor)) {
		if divisor[i] != 0 {
			ratios = append(ratios, s[i]/divisor[i])
		}
	}
	return ratios
}

// text is the median and, of several, the spread.
func (s Series) text(format string) string {
	if len(s) == 0 {
		return "–"
	}
	low, high := s.Spread()
	if cmp.Compare(low, high) == 0 {
		return fmt.Sprintf(format, s.Median())
	}
	return fmt.Sprintf(format+" ["+format+"–"+format+"]", s.Median(), low, high)
}
