package suite_test

import (
	"bytes"
	"math"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/cmd/platform/load/plane"
	"github.com/hibari/hibari/cmd/platform/load/suite"
)

func TestMedian(t *testing.T) {
	for _, one := range []struct {
		s    suite.Series
		want float64
	}{
		{nil, 0}, {suite.Series{3}, 3}, {suite.Series{4, 1}, 2.5}, {suite.Series{9, 1, 2}, 2}, {suite.Series{8, 1, 4, 2}, 3},
	} {
		if got := one.s.Median(); got != one.want {
			t.Errorf("the median of %v is %v, want %v", one.s, got, one.want)
		}
	}
}

// Half of the values are on each side of the median, all lie within the spread,
// and asking changes nothing.
func TestMedianLiesInTheMiddle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := suite.Series(rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 20).Draw(t, "series"))
		before := append(suite.Series(nil), s...)
		median := s.Median()
		low, high := s.Spread()
		below, above := 0, 0
		for i, v := range s {
			if v != before[i] {
				t.Fatalf("the series became %v", s)
			}
			if v < low || v > high {
				t.Fatalf("%v is outside %v to %v", v, low, high)
			}
			if v < median {
				below++
			}
			if v > median {
				above++
			}
		}
		if below > len(s)/2 || above > len(s)/2 {
			t.Fatalf("of %v, %d are below %v and %d above", s, below, median, above)
		}
	})
}

// A ratio is taken within its round: noise that slows a whole round does not
// show.
func TestRatiosOfARound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0.01, 10).Draw(t, "share")
		naive := suite.Series(rapid.SliceOfN(rapid.Float64Range(0.1, 100), 1, 10).Draw(t, "naive"))
		var ours suite.Series
		for _, v := range naive {
			ours = append(ours, share*v)
		}
		if got := ours.Over(naive).Median(); math.Abs(got-share) > 1e-9*share {
			t.Fatalf("ratio %v, want %v", got, share)
		}
	})
	if got := (suite.Series{1, 2, 3}).Over(suite.Series{0, 4}); len(got) != 1 || got[0] != 0.5 {
		t.Errorf("ratios %v, want only 0.5", got)
	}
}

// build builds the platform.
func build(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "platform")
	if out, err := exec.Command("go", "build", "-o", binary, "../../").CombinedOutput(); err != nil {
		t.Fatalf("couldn't build the platform: %v\n%s", err, out)
	}
	return binary
}

// A soak has guests come and go beside those who stay, and looks at the server
// all the while. Whether it passes is no matter for a test on a busy machine.
func TestSoak(t *testing.T) {
	var log bytes.Buffer
	told := 0
	result, err := suite.Soak(t.Context(), suite.SoakConfig{
		Binary: build(t), Duration: 4 * time.Second, Every: time.Second, Channels: 2, Viewers: 3, Churn: 4, Log: &log,
	}, func(load.Sample) { told++ })
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if len(result.Samples) < 2 || told != len(result.Samples) {
		t.Fatalf("%d samples, %d told", len(result.Samples), told)
	}
	last := result.Samples[len(result.Samples)-1]
	if last.Came < 4 || last.Heap <= 0 || last.Goroutines < 10 || last.Rate <= 0 || last.Viewers < 6 {
		t.Errorf("the last sample is %+v", last)
	}
	if result.Report.Viewers != 6 || result.Report.PacketsDelivered < 6*240 {
		t.Errorf("those who stayed: %+v", result.Report)
	}
	var out strings.Builder
	if err := suite.PrintSoak(&out, result); err != nil || !strings.Contains(out.String(), "guests so far") {
		t.Errorf("printed %q (%v)", &out, err)
	}
}

// The whole of it, with both servers and a database of its own: what the table
// says was really measured.
func TestSuite(t *testing.T) {
	binary := build(t)
	var log bytes.Buffer
	result, err := suite.Run(t.Context(), suite.Config{
		Binary: binary, Rounds: 2, Duration: 500 * time.Millisecond, Only: "audio 1:50", Quick: true, Log: &log,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if len(result.Loads) != 1 || len(result.Loads[0].Hibari) != 2 || len(result.Loads[0].Naive) != 2 {
		t.Fatalf("measured %+v", result.Loads)
	}
	for server, reports := range map[string][]load.Report{"hibari": result.Loads[0].Hibari, "naive": result.Loads[0].Naive} {
		for _, r := range reports {
			if r.Viewers != 50 || r.PacketsDelivered < 50*10 || r.LatencyP50 <= 0 {
				t.Errorf("%s: %+v", server, r)
			}
			if runtime.GOOS == "linux" && (r.CPUPerPacket <= 0 || r.MemoryViewer == 0) {
				t.Errorf("%s: its process was not measured: %+v", server, r)
			}
			if (r.TrainLength > 0) != (server == "hibari") || (r.Calls > 0) != (server == "hibari") {
				t.Errorf("%s: trains of %v, %v system calls per packet", server, r.TrainLength, r.Calls)
			}
		}
	}
}

// Every load prints all its figures, and says so when it was the tool that was
// measured.
func TestTable(t *testing.T) {
	result := suite.Result{Machine: suite.Machine{CPU: "abacus", Cores: 2, Kernel: "wood", Go: "go1", At: time.Unix(0, 0).UTC()}}
	for i, l := range suite.Loads(false) {
		m := suite.Measured{
			Load: l,
			Hibari: []load.Report{
				{CPUPerPacket: 2, JoinCPU: 1, MemoryViewer: 50, TrainLength: 7.5, JoinP50: 120, LatencyP99: float64(4 * i)},
				{CPUPerPacket: 3, ToolCores: 0.9, LatencyP99: float64(4 * i)},
			},
			Naive: []load.Report{{CPUPerPacket: 8, JoinCPU: 4, MemoryViewer: 500, JoinP50: 200}, {CPUPerPacket: 12}},
		}
		for i := range m.Hibari {
			m.Hibari[i].Beside = &load.Beside{LatencyP99: 15}
		}
		if strings.Contains(l.Name, "1:1000") {
			m.Naive = nil
			m.Hibari[1].CPUPerPacket = 6
		}
		result.Loads = append(result.Loads, m)
	}
	result.Scaling = []suite.Scaling{{
		Name: "two cores, beads",
		One:  []plane.Result{{Cores: 1, PerSecond: 1000, PerCPUSecond: 500000, CPU: 1, Seconds: 1}},
		Two:  []plane.Result{{Cores: 2, PerSecond: 1500, PerCPUSecond: 400000, CPU: 1.5, Seconds: 1, Waited: 0.5}},
	}}
	var out strings.Builder
	if err := result.Print(&out); err != nil {
		t.Fatal(err)
	}
	table := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"1970-01-01 00:00 UTC: 2 × abacus (no SMT siblings), wood, go1",
		"| CPU µs per packet | 2.50 [2.00–3.00] | 10.00 [8.00–12.00] | 0.25 | ratio ≤ 0.3 ✓ |",
		"| CPU µs per packet | 4.00 [2.00–6.00] | – | – | |",
		"| packets per train | 3.75 [0.00–7.50] | – | – | |",
		"| latency p99 ms | 15.00 | – | – | ≤ 10 ✗ |",
		"| join to first packet p50 ms, 50 at once | 60 [0–120] | 100 [0–200] | 0.60 | ≤ 100 ✓ |",
		"| the same packets/s at 1:10, 1:100, 1:1000 | dearest ÷ cheapest packet | 1.50 [1.00–2.00] | – | – | ≤ 1.25 ✗ |",
		"| video 1:4 beside 1:1000 | latency p99 ms added | 4.00 | – | – | ≤ 5 ✓ |",
		"| two cores, beads | packets of two cores ÷ of one | 1.50 | – | – | |",
		"| the same, less what others took | 2.00 |",
		"| CPU µs per packet, two cores | 2.50 |",
		"The load tool used 0.90 cores",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	for _, l := range suite.Loads(false) {
		if n := strings.Count(table, "| "+l.Name+" | CPU") + strings.Count(table, "| "+l.Name+" | latency p50"); n != 1 {
			t.Errorf("%q is there %d times", l.Name, n)
		}
	}
}
