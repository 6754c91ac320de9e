package suite

import (
	"fmt"
	"slices"

	"github.com/hibari/hibari/cmd/platform/load"
)

// figure is one line of the table.
type figure struct {
	name   string
	format string
	of     func(load.Report) float64
	ratio  bool // a ratio to naive says something
	own    bool // the yardstick has none
	target target
}

var (
	cpuPerPacket = figure{name: "CPU µs per packet", format: "%.2f", of: func(r load.Report) float64 { return r.CPUPerPacket }, ratio: true}
	latencyP50   = figure{name: "latency p50 ms", format: "%.2f", of: func(r load.Report) float64 { return r.LatencyP50 }}
	latencyP99   = figure{name: "latency p99 ms", format: "%.2f", of: func(r load.Report) float64 { return r.LatencyP99 }}
	lost         = figure{name: "lost %", format: "%.3f", of: func(r load.Report) float64 { return 100 * r.LostRatio }}
	trains       = figure{name: "packets per train", format: "%.2f", of: func(r load.Report) float64 { return r.TrainLength }, own: true}
	calls        = figure{name: "system calls per packet", format: "%.3f", of: func(r load.Report) float64 { return r.Calls }, own: true}
	serverCores  = figure{name: "server, cores", format: "%.2f", of: func(r load.Report) float64 { return r.ServerCPU / max(r.Seconds, 1e-3) }}
	toolCores    = figure{name: "load tool, cores", format: "%.2f", of: func(r load.Report) float64 { return r.ToolCores }}

	memoryViewer = figure{name: "memory kB per viewer", format: "%.0f", of: func(r load.Report) float64 { return r.MemoryViewer }, ratio: true}
	joinCPU      = figure{name: "CPU ms per join", format: "%.2f", of: func(r load.Report) float64 { return r.JoinCPU }, ratio: true}
	idleCPU      = figure{name: "CPU µs per viewer and second", format: "%.0f", of: func(r load.Report) float64 { return r.IdleCPU }, ratio: true}
	joinP50      = figure{name: "join to first packet p50 ms", format: "%.0f", of: func(r load.Report) float64 { return r.JoinP50 }, ratio: true}
	joinP99      = figure{name: "join to first packet p99 ms", format: "%.0f", of: func(r load.Report) float64 { return r.JoinP99 }, ratio: true}
)

// forwarding is what matters while packets are forwarded, their cost first.
func forwarding(cost figure) []figure {
	return []figure{cost, trains, calls, latencyP50, latencyP99, lost, serverCores, toolCores}
}

// series takes a figure out of the reports.
func (f figure) series(reports []load.Report) (s Series) {
	for _, r := range reports {
		s = append(s, f.of(r))
	}
	return s
}

// target is what a figure should be; the zero target is none.
type target struct {
	sign  string // "≤" or "≥"; "": there is no target
	bound float64
	ratio bool // of the figure's ratio to the yardstick, not of itself
}

func atMost(bound float64) target  { return target{sign: "≤", bound: bound} }
func atLeast(bound float64) target { return target{sign: "≥", bound: bound} }

func (t target) asRatio() target {
	t.ratio = true
	return t
}

// met reports whether the median of what was measured reaches the target.
func (t target) met(s Series) bool {
	if t.sign == "≤" {
		return s.Median() <= t.bound
	}
	return s.Median() >= t.bound
}

// text is the target and whether it was met; "" without a target or a figure.
func (t target) text(value, ratio Series) string {
	what := ""
	if t.ratio {
		value, what = ratio, "ratio "
	}
	if t.sign == "" || len(value) == 0 {
		return ""
	}
	verdict := "✗"
	if t.met(value) {
		verdict = "✓"
	}
	return fmt.Sprintf("%s%s %v %s", what, t.sign, t.bound, verdict)
}

// comparison is a figure of several loads together.
type comparison struct {
	name, figure string
	format       string
	loads        []Load
	of           func(round []load.Report) float64 // a report of each load
	target       target
}

// comparisons are those of the whole benchmark.
var comparisons = []comparison{
	{
		name: "the same packets/s at 1:10, 1:100, 1:1000", figure: "dearest ÷ cheapest packet", format: "%.2f",
		loads: []Load{flat10, flat100, flat1000}, target: atMost(1.25),
		of: func(round []load.Report) float64 {
			var costs []float64
			for _, r := range round {
				costs = append(costs, r.CPUPerPacket)
			}
			return slices.Max(costs) / max(slices.Min(costs), 1e-9)
		},
	},
	{
		name: "video 1:4 beside 1:1000", figure: "latency p99 ms added", format: "%.2f",
		loads: []Load{small, thousand}, target: atMost(5),
		of: func(round []load.Report) float64 { return round[1].LatencyP99 - round[0].LatencyP99 },
	},
}

// series takes a comparison out of what was measured; nil if a load is missing.
func (c comparison) series(all []Measured) (s Series) {
	var rounds [][]load.Report
	for _, l := range c.loads {
		i := slices.IndexFunc(all, func(m Measured) bool { return m.Load.Name == l.Name })
		if i < 0 {
			return nil
		}
		for round, r := range all[i].Hibari {
			if round == len(rounds) {
				rounds = append(rounds, nil)
			}
			rounds[round] = append(rounds[round], r)
		}
	}
	for _, round := range rounds {
		if len(round) == len(c.loads) {
			s = append(s, c.of(round))
		}
	}
	return s
}
