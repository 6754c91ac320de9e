package suite

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/hibari/hibari/cmd/platform/load"
)

// figure is one line of the table.
type figure struct {
	name   string
	format string
	of     func(load.Report) float64
	ratio  bool // a ratio to naive says something
	own    bool // the yardstick has none
}

var (
	cpuPerPacket = figure{name: "CPU µs per packet", format: "%.2f", of: func(r load.Report) float64 { return r.CPUPerPacket }, ratio: true}
	latencyP50   = figure{name: "latency p50 ms", format: "%.2f", of: func(r load.Report) float64 { return r.LatencyP50 }}
	latencyP99   = figure{name: "latency p99 ms", format: "%.2f", of: func(r load.Report) float64 { return r.LatencyP99 }}
	lost         = figure{name: "lost %", format: "%.3f", of: func(r load.Report) float64 { return 100 * r.LostRatio }}
	trains       = figure{name: "packets per train", format: "%.2f", of: func(r load.Report) float64 { return r.TrainLength }, own: true}

	memoryViewer = figure{name: "memory kB per viewer", format: "%.0f", of: func(r load.Report) float64 { return r.MemoryViewer }, ratio: true}
	joinCPU      = figure{name: "CPU ms per join", format: "%.2f", of: func(r load.Report) float64 { return r.JoinCPU }, ratio: true}
	idleCPU      = figure{name: "CPU µs per viewer and second", format: "%.0f", of: func(r load.Report) float64 { return r.IdleCPU }, ratio: true}
	joinP50      = figure{name: "join to first packet p50 ms", format: "%.0f", of: func(r load.Report) float64 { return r.JoinP50 }, ratio: true}
	joinP99      = figure{name: "join to first packet p99 ms", format: "%.0f", of: func(r load.Report) float64 { return r.JoinP99 }, ratio: true}

	forwarding = []figure{cpuPerPacket, trains, latencyP50, latencyP99, lost}
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

// series takes a figure out of the reports.
func (f figure) series(reports []load.Report) (s Series) {
	for _, r := range reports {
		s = append(s, f.of(r))
	}
	return s
}

// Print writes the table, in Markdown: it goes into the documents as it is.
func (r Result) Print(out io.Writer) error {
	fmt.Fprintf(out, "%s\n\n", r.Machine)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "| load\t| figure\t| Hibari\t| naive pion\t| ratio\t|\n|---\t|---\t|---\t|---\t|---\t|\n")
	for _, m := range r.Loads {
		name := m.Load.Name
		for _, f := range m.Load.figures {
			ours, naive := f.series(m.Hibari), f.series(m.Naive)
			ratio := Series(nil)
			if f.ratio {
				ratio = ours.Over(naive)
			}
			if f.own {
				naive = nil
			}
			fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", name, f.name, ours.text(f.format), naive.text(f.format), ratio.text("%.2f"))
			name = ""
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(out, "\nMedian [smallest–largest] of the rounds; ratios are taken round by round, less is better.\n")
	return r.warn(out)
}

// warn names the loads at which the load tool itself was the limit.
func (r Result) warn(out io.Writer) error {
	for _, m := range r.Loads {
		for _, report := range slices.Concat(m.Hibari, m.Naive) {
			if report.ToolCores > busyTool {
				_, err := fmt.Fprintf(out, "The load tool used %.2f cores at %q: latency and loss are its own there.\n", report.ToolCores, m.Load.Name)
				if err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// busyTool is how much of one core the load tool may use before its own waits
// show.
const busyTool = 0.7
