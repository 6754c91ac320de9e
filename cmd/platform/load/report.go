package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what one load measured. Durations are in milliseconds, since
// people and programs both read it.
type Report struct {
	Viewers          int     `json:"viewers"`
	Seconds          float64 `json:"seconds"`
	PacketsPublished uint64  `json:"packets_published"` // in the measured time
	PacketsExpected  uint64  `json:"packets_expected"`  // published × those who watch it
	PacketsDelivered uint64  `json:"packets_delivered"`
	PacketsLost      uint64  `json:"packets_lost"`
	PacketsTwice     int     `json:"packets_duplicated"`
	DeliveredRatio   float64 `json:"delivered_ratio"`
	LostRatio        float64 `json:"lost_ratio"`
	DeliveredRate    float64 `json:"packets_per_second"`
	JoinP50          float64 `json:"join_ms_p50"` // from the WebSocket to the first packet
	JoinP99          float64 `json:"join_ms_p99"`
	JoinRetries      int64   `json:"join_retries"`   // joins that the server put off, by clients that then got in
	LatencyP50       float64 `json:"latency_ms_p50"` // publisher's write to the arrival at a viewer's socket
	LatencyP99       float64 `json:"latency_ms_p99"`
	LatencyMax       float64 `json:"latency_ms_max"`
	ToolCores        float64 `json:"tool_cores"` // CPU of the load tool itself, in cores

	// Of the channel beside the others, if there is one. The packets above are
	// those of all channels, the latency is not this one's.
	Beside *Beside `json:"beside,omitempty"`

	// Of the server, if its process is known.
	ServerCPU    float64 `json:"server_cpu_seconds,omitempty"`
	CPUPerPacket float64 `json:"server_cpu_us_per_packet,omitempty"` // per packet delivered
	MemoryViewer float64 `json:"server_kb_per_viewer,omitempty"`     // resident, beyond that before the first viewer

	// Of the server, if its process is known and nobody publishes.
	JoinCPU float64 `json:"server_cpu_ms_per_join,omitempty"`
	IdleCPU float64 `json:"server_cpu_us_per_idle_viewer_second,omitempty"`

	// Of the server, if it has metrics of ours.
	TrainLength float64            `json:"packets_per_train,omitempty"`
	Calls       float64            `json:"system_calls_per_packet,omitempty"` // that send
	Dropped     map[string]float64 `json:"server_dropped,omitempty"`          // packets in the measured time, by reason
}

// Beside is what was measured of the channel beside the others.
type Beside struct {
	Viewers    int     `json:"viewers"`
	LostRatio  float64 `json:"lost_ratio"`
	LatencyP50 float64 `json:"latency_ms_p50"`
	LatencyP99 float64 `json:"latency_ms_p99"`
	LatencyMax float64 `json:"latency_ms_max"`

	expected, delivered uint64
	delays              []time.Duration
}

// window is what was counted while measuring.
type window struct {
	from, to []uint64 // packets sent, by publisher
	elapsed  time.Duration
	tool     time.Duration // CPU of this process
	server   usage         // what it used while measuring, but all its memory at the end
	alone    usage         // the server before the first viewer came
	joined   usage         // and after the last
	sent     serverSent
}

// report evaluates a window.
func (r *run) report(w window) Report {
	out := Report{Viewers: len(r.viewers), JoinRetries: r.retries.Load(), Seconds: w.elapsed.Seconds(), ToolCores: w.tool.Seconds() / w.elapsed.Seconds()}
	for i := range w.from {
		out.PacketsPublished += w.to[i] - w.from[i]
	}
	var joins, delays []time.Duration
	var beside Beside
	for _, v := range r.viewers {
		c := v.count()
		c.mu.Lock()
		for publisher, t := range c.tallies {
			expected, delivered := w.to[publisher]-t.from, t.upTo(w.to[publisher])
			out.PacketsExpected += expected
			out.PacketsDelivered += delivered
			out.PacketsTwice += t.twice
			if v.stage.beside {
				beside.expected += expected
				beside.delivered += delivered
			}
		}
		if v.stage.beside {
			beside.Viewers++
			beside.delays = append(beside.delays, c.delays...)
		} else {
			delays = append(delays, c.delays...)
		}
		joins = append(joins, c.joined)
		c.mu.Unlock()
	}
	out.PacketsLost = out.PacketsExpected - out.PacketsDelivered
	if out.PacketsExpected > 0 {
		out.DeliveredRatio = float64(out.PacketsDelivered) / float64(out.PacketsExpected)
		out.LostRatio = float64(out.PacketsLost) / float64(out.PacketsExpected)
		out.DeliveredRate = float64(out.PacketsDelivered) / out.Seconds
	}
	out.JoinP50, out.JoinP99 = percentile(joins, 50), percentile(joins, 99)
	out.LatencyP50, out.LatencyP99, out.LatencyMax = percentile(delays, 50), percentile(delays, 99), percentile(delays, 100)
	if beside.Viewers > 0 {
		beside.evaluate()
		out.Beside = &beside
	}
	if w.sent.trains > 0 {
		out.TrainLength = w.sent.packets / w.sent.trains
	}
	if w.sent.packets > 0 {
		out.Calls = w.sent.calls / w.sent.packets
	}
	out.Dropped = w.sent.drops
	if r.PID != 0 {
		r.reportServer(&out, w)
	}
	return out
}

// evaluate turns what was counted into ratios and percentiles.
func (b *Beside) evaluate() {
	if b.expected > 0 {
		b.LostRatio = float64(b.expected-b.delivered) / float64(b.expected)
	}
	b.LatencyP50, b.LatencyP99, b.LatencyMax = percentile(b.delays, 50), percentile(b.delays, 99), percentile(b.delays, 100)
}

// reportServer adds what the server used for packets, viewers and joins.
func (r *run) reportServer(out *Report, w window) {
	n := float64(out.Viewers)
	out.ServerCPU = w.server.cpu.Seconds()
	out.MemoryViewer = float64(w.server.memory-w.alone.memory) / 1e3 / n
	if out.PacketsDelivered > 0 {
		out.CPUPerPacket = out.ServerCPU * 1e6 / float64(out.PacketsDelivered)
	}
	if len(r.publishers) == 0 {
		out.JoinCPU = (w.joined.cpu - w.alone.cpu).Seconds() * 1e3 / n
		out.IdleCPU = max(0, out.ServerCPU/out.Seconds-r.idle.Seconds()) * 1e6 / n
	}
}

// percentile returns the p-th percentile in milliseconds; 0 of nothing.
func percentile(all []time.Duration, p int) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[(len(all)-1)*p/100]) / float64(time.Millisecond)
}

// Print writes the report as a table.
func (r Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "viewers\t%d\n", r.Viewers)
	fmt.Fprintf(w, "measured\t%.1f s, %d packets published\n", r.Seconds, r.PacketsPublished)
	fmt.Fprintf(w, "delivered\t%d of %d (%.4f %%), %.0f a second\n", r.PacketsDelivered, r.PacketsExpected, 100*r.DeliveredRatio, r.DeliveredRate)
	fmt.Fprintf(w, "lost\t%d (%.4f %%), %d twice\n", r.PacketsLost, 100*r.LostRatio, r.PacketsTwice)
	fmt.Fprintf(w, "join to first packet\tp50 %.0f ms, p99 %.0f ms, %d put off\n", r.JoinP50, r.JoinP99, r.JoinRetries)
	if r.LatencyMax > 0 {
		fmt.Fprintf(w, "latency\tp50 %.2f ms, p99 %.2f ms, max %.2f ms\n", r.LatencyP50, r.LatencyP99, r.LatencyMax)
	}
	if b := r.Beside; b != nil {
		fmt.Fprintf(w, "the channel beside\t%d viewers, lost %.4f %%, latency p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
			b.Viewers, 100*b.LostRatio, b.LatencyP50, b.LatencyP99, b.LatencyMax)
	}
	if r.CPUPerPacket > 0 {
		fmt.Fprintf(w, "server CPU\t%.2f s, %.2f µs per forwarded packet\n", r.ServerCPU, r.CPUPerPacket)
	}
	if r.JoinCPU > 0 {
		fmt.Fprintf(w, "server CPU\t%.2f ms per join, %.0f µs per idle viewer and second\n", r.JoinCPU, r.IdleCPU)
	}
	if r.MemoryViewer > 0 {
		fmt.Fprintf(w, "server memory\t%.0f kB per viewer\n", r.MemoryViewer)
	}
	if r.TrainLength > 0 {
		fmt.Fprintf(w, "packets per train\t%.2f, %.3f system calls per packet\n", r.TrainLength, r.Calls)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Dropped)) {
		fmt.Fprintf(w, "server dropped\t%.0f packets: %s\n", r.Dropped[reason], reason)
	}
	if r.ToolCores > 0 {
		fmt.Fprintf(w, "load tool\t%.2f cores\n", r.ToolCores)
	}
	return w.Flush()
}
