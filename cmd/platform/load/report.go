package load

import (
	"bytes"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// Report is what one load measured. Durations are in milliseconds, since
// people and programs both read it.
type Report struct {
	Viewers          int     `json:"viewers"`
	Seconds          float64 `json:"seconds"`
	PacketsPublished uint64  `json:"packets_published"` // in the measured time
	PacketsExpected  uint64  `json:"packets_expected"`  // published × viewers
	PacketsDelivered uint64  `json:"packets_delivered"`
	PacketsLost      uint64  `json:"packets_lost"`
	PacketsTwice     int     `json:"packets_duplicated"`
	DeliveredRatio   float64 `json:"delivered_ratio"`
	LostRatio        float64 `json:"lost_ratio"`
	JoinP50          float64 `json:"join_ms_p50"` // from the WebSocket to the first packet
	JoinP99          float64 `json:"join_ms_p99"`
	LatencyP50       float64 `json:"latency_ms_p50"` // publisher's write to viewer's read
	LatencyP99       float64 `json:"latency_ms_p99"`
	LatencyMax       float64 `json:"latency_ms_max"`
	ServerCPU        float64 `json:"server_cpu_seconds,omitempty"`
	CPUPerPacket     float64 `json:"server_cpu_us_per_packet,omitempty"` // per packet delivered
}

// report counts the packets numbered from up to to.
func (r *run) report(from, to uint64, elapsed, cpu time.Duration) Report {
	out := Report{
		Viewers: len(r.viewers), Seconds: elapsed.Seconds(),
		PacketsPublished: to - from, PacketsExpected: (to - from) * uint64(len(r.viewers)),
	}
	var joins, delays []time.Duration
	for _, v := range r.viewers {
		v.mu.Lock()
		out.PacketsDelivered += countBits(v.seen, to-from)
		out.PacketsTwice += v.twice
		delays = append(delays, v.delays...)
		v.mu.Unlock()
		joins = append(joins, v.joined)
	}
	out.PacketsLost = out.PacketsExpected - out.PacketsDelivered
	if out.PacketsExpected > 0 {
		out.DeliveredRatio = float64(out.PacketsDelivered) / float64(out.PacketsExpected)
		out.LostRatio = float64(out.PacketsLost) / float64(out.PacketsExpected)
	}
	out.JoinP50, out.JoinP99 = percentile(joins, 50), percentile(joins, 99)
	out.LatencyP50, out.LatencyP99, out.LatencyMax = percentile(delays, 50), percentile(delays, 99), percentile(delays, 100)
	if r.PID != 0 && out.PacketsDelivered > 0 {
		out.ServerCPU = cpu.Seconds()
		out.CPUPerPacket = float64(cpu.Nanoseconds()) / 1e3 / float64(out.PacketsDelivered)
	}
	return out
}

// countBits counts the ones among the first n bits.
func countBits(words []uint64, n uint64) (count uint64) {
	for i, w := range words {
		switch left := int64(n) - int64(i)*64; {
		case left <= 0:
			return count
		case left < 64:
			w &= 1<<left - 1
		}
		count += uint64(bits.OnesCount64(w))
	}
	return count
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
	fmt.Fprintf(w, "delivered\t%d of %d (%.4f %%)\n", r.PacketsDelivered, r.PacketsExpected, 100*r.DeliveredRatio)
	fmt.Fprintf(w, "lost\t%d (%.4f %%), %d twice\n", r.PacketsLost, 100*r.LostRatio, r.PacketsTwice)
	fmt.Fprintf(w, "join to first packet\tp50 %.0f ms, p99 %.0f ms\n", r.JoinP50, r.JoinP99)
	fmt.Fprintf(w, "latency\tp50 %.2f ms, p99 %.2f ms, max %.2f ms\n", r.LatencyP50, r.LatencyP99, r.LatencyMax)
	if r.ServerCPU > 0 {
		fmt.Fprintf(w, "server CPU\t%.2f s, %.2f µs per forwarded packet\n", r.ServerCPU, r.CPUPerPacket)
	}
	return w.Flush()
}

// userHZ is the unit of /proc's CPU times on Linux: 1/100 s on every
// architecture Go runs on.
const userHZ = 100

// processCPU returns the CPU time a process has used so far; 0 for process 0.
func processCPU(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("couldn't read the server's CPU time (Linux only): %w", err)
	}
	// The command's name, in parentheses, may hold spaces; utime and stime are
	// the 12th and 13th fields after it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("couldn't read the server's CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHZ, nil
}
