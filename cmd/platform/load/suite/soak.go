package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
)

// SoakConfig says how long to soak, and with what.
type SoakConfig struct {
	Binary   string        // the platform
	Duration time.Duration // of the steady load
	Every    time.Duration // between two lines of the table
	Channels int
	Viewers  int     // that stay, in each channel
	Churn    float64 // guests per second
	Log      io.Writer
}

// guestStay is how long a guest of a soak stays.
const guestStay = 10 * time.Second

// Soak starts a platform and has clients come and go for a while, beside others
// that stay. tell gets every sample.
func Soak(ctx context.Context, c SoakConfig, tell func(load.Sample)) (result load.Soak, err error) {
	b, err := newBench(Config{Binary: c.Binary, Log: c.Log})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.prepare(ctx); err != nil {
		return result, err
	}
	s, err := b.startHibari(ctx)
	if err != nil {
		return result, err
	}
	defer s.stop()
	if err := b.cores.stay(); err != nil {
		return result, fmt.Errorf("couldn't keep off the server's core: %w", err)
	}
	return load.RunSoak(ctx, load.SoakConfig{
		Config: load.Config{
			URL: s.signaling, Metrics: s.metrics, Token: s.token, Channel: "bench",
			Channels: c.Channels, Publishers: 1, Viewers: c.Viewers, Full: 1, Joining: usualJoining,
			Rate: videoRate, FrameRate: 30, PacketSize: 1000, Warmup: time.Second, Duration: c.Duration, PID: s.cmd.Process.Pid,
		},
		Churn: c.Churn, Guest: min(guestStay, c.Duration/4), Every: c.Every,
	}, tell)
}

// PrintSoak writes a soak's table and verdict.
func PrintSoak(out io.Writer, s load.Soak) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "seconds\tRSS MB\theap MB\tgoroutines\tviewers\tguests so far\tpackets/s\tlost\t\n")
	for _, l := range s.Samples {
		fmt.Fprintf(w, "%.0f\t%.0f\t%.1f\t%.0f\t%d\t%d\t%.0f\t%d\t\n", l.Seconds, l.RSS, l.Heap, l.Goroutines, l.Viewers, l.Came, l.Rate, l.Lost)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return s.Report.Print(out)
}
