package billing

// The thresholds of a licence that a tenant is told of, in percent, from low to high.
var thresholds = [...]int{80, 100}

const (
	// How far below a threshold the count has to go before it is told again, in
	// percent of the licence and at least: a tenant that hovers around one is told
	// once.
	rearmPercent = 5
	rearmLeast   = 2
)

// Thresholds returns the percentages of a licence at which the tenant is told
// (licence.threshold), from low to high.
func Thresholds() []int { return thresholds[:] }

// ThresholdConnections is how many connections reach a threshold of a licence.
func ThresholdConnections(threshold, licence int) int { return needed(threshold, licence) }

// warned is what a tenant has been told of its thresholds.
type warned struct {
	threshold int // the highest that was told and still holds; 0: none
	low       int // the least connections since the last count
}

// count returns the thresholds that connections of a licence have just reached, from
// low to high, and remembers them as told. A licence of none has no thresholds.
func (w *warned) count(connections, licence int) (reached []int) {
	low := min(w.low, connections)
	w.low = connections
	held := 0 // the highest that was told before and that the count has not left since
	for _, t := range thresholds {
		if t <= w.threshold && low > rearmAt(t, licence) {
			held = t
		}
	}
	w.threshold = held
	if licence <= 0 {
		return nil
	}
	for _, t := range thresholds {
		if t > w.threshold && connections >= needed(t, licence) {
			w.threshold = t
			reached = append(reached, t)
		}
	}
	return reached
}

// needed is how many connections reach a threshold.
func needed(threshold, licence int) int { return percent(licence, threshold) }

// rearmAt is how few connections leave a threshold.
func rearmAt(threshold, licence int) int {
	return max(0, needed(threshold, licence)-max(rearmLeast, percent(licence, rearmPercent)))
}

// percent is p percent of n, rounded up.
func percent(n, p int) int { return (n*p + 99) / 100 }
