package naive_test

import (
	"context"
	"testing"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/cmd/platform/load/naive"
)

// TestForwards drives the yardstick with the clients of the benchmark: each
// kind of viewer gets every packet of every publisher of its channel.
func TestForwards(t *testing.T) {
	for name, c := range map[string]load.Config{
		"video, lean and full viewers": {Channels: 2, Publishers: 2, Viewers: 4, Full: 3, Rate: 240, PacketSize: 1000, FrameRate: 30},
		"audio":                        {Channels: 1, Publishers: 1, Viewers: 4, Full: 1, Audio: true, Rate: 50, PacketSize: 80, FrameRate: 50},
	} {
		t.Run(name, func(t *testing.T) {
			c.URL = start(t)
			c.Channel, c.Joining, c.Duration = "bench", 3, 2*time.Second
			report, err := load.Run(t.Context(), c, func(line string) { t.Log(line) })
			if err != nil {
				t.Fatal(err)
			}
			if report.PacketsExpected < uint64(c.Channels*c.Publishers*c.Viewers*c.Rate) {
				t.Errorf("only %d packets were expected: %+v", report.PacketsExpected, report)
			}
			if report.PacketsLost != 0 || report.PacketsTwice != 0 {
				t.Errorf("lost %d packets of %d, %d came twice", report.PacketsLost, report.PacketsExpected, report.PacketsTwice)
			}
			if report.LatencyP50 <= 0 || report.LatencyP50 > 1000 || report.JoinP50 <= 0 {
				t.Errorf("latency %v ms, join %v ms", report.LatencyP50, report.JoinP50)
			}
		})
	}
}

// TestIdle joins viewers to a channel in which nobody publishes.
func TestIdle(t *testing.T) {
	report, err := load.Run(t.Context(), load.Config{
		URL: start(t), Channel: "bench", Channels: 1, Viewers: 4, Full: 2, Joining: 4,
		Rate: 30, FrameRate: 30, PacketSize: 1000, Duration: 100 * time.Millisecond,
	}, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	if report.Viewers != 4 || report.PacketsExpected != 0 || report.JoinP50 <= 0 {
		t.Errorf("got %+v", report)
	}
}

// start serves a yardstick for the length of a test and returns its URL.
func start(t *testing.T) string {
	t.Helper()
	s, err := naive.Listen("127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.URL()
}
