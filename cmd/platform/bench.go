package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/cmd/platform/load/naive"
	"github.com/hibari/hibari/cmd/platform/load/plane"
	"github.com/hibari/hibari/cmd/platform/load/suite"
	"github.com/hibari/hibari/internal/tenant"
)

// bench loads a running server with publishers and viewers.
func bench(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email, to sign a token for")
	token := fs.String("token", "", "an access token for the channels and both roles, instead of -tenant")
	url := fs.String("url", "", "the server's signalling, ws:// or wss:// (default: that of the settings)")
	metrics := fs.String("metrics", "", "the server's /metrics, for the length of its trains")
	channel := fs.String("channel", "bench", "channel to load; several get a number each")
	channels := fs.Int("channels", 1, "how many channels")
	publishers := fs.Int("publishers", 1, "how many publishers in each channel; 0 measures idle viewers")
	viewers := fs.Int("viewers", 10, "how many viewers in each channel")
	full := fs.Int("full", 4, "how many of all viewers are pion PeerConnections that decrypt every packet")
	audio := fs.Bool("audio", false, "publish Opus: 50 packets of 80 bytes per second, unless told otherwise")
	rate := fs.Int("rate", 240, "packets per second of a publisher")
	size := fs.Int("size", 1000, "bytes of payload in a packet")
	frames := fs.Int("fps", 30, "frames per second")
	duration := fs.Duration("duration", 10*time.Second, "how long to measure")
	warmup := fs.Duration("warmup", 2*time.Second, "how long to run before measuring")
	joining := fs.Int("joining", 4, "how many clients join at once")
	beside := fs.Int("beside", 0, "how many viewers watch one more channel, with a publisher of 1 Mbit/s")
	pid := fs.Int("pid", 0, "the server's process id, to measure its CPU and memory (Linux)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	c, err := readConfig(fs, args, os.Getenv, io)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if *audio {
		for name, speech := range map[string]string{"rate": "50", "size": "80", "fps": "50"} {
			if !given[name] {
				_ = fs.Set(name, speech) // numbers all
			}
		}
	}
	if *url == "" {
		*url = "ws" + strings.TrimPrefix(c.publicURL.String(), "http") + "/signaling"
	}
	if *token == "" && *name != "" {
		pattern := *channel
		if *channels > 1 {
			pattern += "*"
		}
		if *token, err = benchToken(ctx, c, *name, pattern, *duration, io); err != nil {
			return err
		}
	}
	report, err := load.Run(ctx, load.Config{
		URL: *url, Metrics: *metrics, Token: *token, Channel: *channel,
		Channels: *channels, Publishers: *publishers, Viewers: *viewers, Full: *full, Joining: *joining, Beside: *beside,
		Audio: *audio, Rate: *rate, PacketSize: *size, FrameRate: *frames,
		Warmup: *warmup, Duration: *duration, PID: *pid,
	}, func(line string) { fmt.Fprintln(io.err, line) })
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(io.out, report)
	}
	return report.Print(io.out)
}

// benchToken signs a token on the server's own database.
func benchToken(ctx context.Context, c *config, name, channel string, duration time.Duration, io stdio) (token string, err error) {
	err = c.withTools(ctx, io, func(t *tools) error {
		scope, err := t.find(ctx, name)
		if err != nil {
			return err
		}
		token, err = t.tenants.SignToken(ctx, scope, tenant.TokenRequest{Channel: channel, TTL: duration + 10*time.Minute})
		return err
	})
	return token, err
}

// benchNaive serves the benchmark's yardstick until ctx ends.
func benchNaive(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("bench naive", flag.ContinueOnError)
	signaling := fs.String("signaling", "127.0.0.1:18081", "address of the WebSocket, without tokens")
	media := fs.String("media", "127.0.0.1:17701", "address of the UDP port")
	if err := parseFlags(fs, args, io); err != nil {
		return err
	}
	s, err := naive.Listen(*signaling, *media)
	if err != nil {
		return err
	}
	fmt.Fprintf(io.out, "The yardstick is ready: %s\n", s.URL())
	return s.Serve(ctx)
}

// benchPlane measures the data plane alone, on the cores that this process is
// given.
func benchPlane(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("bench plane", flag.ContinueOnError)
	channels := fs.Int("channels", 1, "how many channels, with a publisher each")
	viewers := fs.Int("viewers", 1000, "how many viewers in each channel")
	duration := fs.Duration("duration", time.Second, "how long to measure")
	kernel := fs.Bool("kernel", false, "measure the bare kernel path instead")
	if err := parseFlags(fs, args, io); err != nil {
		return err
	}
	measure := func() (plane.Result, error) {
		return plane.Run(ctx, plane.Config{Channels: *channels, Viewers: *viewers, Duration: *duration})
	}
	if *kernel {
		measure = func() (plane.Result, error) { return plane.Kernel(ctx, *duration) }
	}
	result, err := measure()
	if err != nil {
		return err
	}
	return printJSON(io.out, result)
}

// benchCores measures what a second core is worth.
func benchCores(ctx context.Context, args []string, io stdio) error {
	return benchSuite(ctx, append([]string{"-only", "two cores"}, args...), io)
}

// benchSoak has clients come and go at a server of its own, and fails if that
// left traces.
func benchSoak(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("bench soak", flag.ContinueOnError)
	duration := fs.Duration("duration", time.Minute, "how long to soak")
	every := fs.Duration("every", 30*time.Second, "how often to print a line")
	channels := fs.Int("channels", 4, "how many channels, with a publisher each")
	viewers := fs.Int("viewers", 50, "how many viewers stay in each channel")
	churn := fs.Float64("churn", 4, "how many guests come per second; as many leave")
	asJSON := fs.Bool("json", false, "print one JSON document")
	if err := parseFlags(fs, args, io); err != nil {
		return err
	}
	if *churn <= 0 || *duration < 3*time.Second {
		return fmt.Errorf("%w: need a -churn above 0 and a -duration of 3s or more", errUsage)
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	result, err := suite.Soak(ctx, suite.SoakConfig{
		Binary: binary, Duration: *duration, Every: min(*every, *duration/3),
		Channels: *channels, Viewers: *viewers, Churn: *churn, Log: io.err,
	}, func(s load.Sample) {
		fmt.Fprintf(io.err, "%.0f s: %.0f MB, %.0f goroutines, %.0f packets/s, lost %d\n", s.Seconds, s.RSS, s.Goroutines, s.Rate, s.Lost)
	})
	if err != nil {
		return err
	}
	if *asJSON {
		err = printJSON(io.out, result)
	} else {
		err = suite.PrintSoak(io.out, result)
	}
	if err == nil && len(result.Failures) > 0 {
		err = errors.New("the soak failed: " + strings.Join(result.Failures, "; "))
	}
	return err
}

// benchSuite measures Hibari against the yardstick, both started by itself.
func benchSuite(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("bench suite", flag.ContinueOnError)
	quick := fs.Bool("quick", false, "one short round of small loads, to see whether all is well")
	rounds := fs.Int("rounds", 3, "how often each load is measured")
	duration := fs.Duration("duration", 2*time.Second, "of each measurement")
	only := fs.String("only", "", "only the loads with this in their name")
	asJSON := fs.Bool("json", false, "print one JSON document")
	if err := parseFlags(fs, args, io); err != nil {
		return err
	}
	if *quick {
		*rounds, *duration = 1, time.Second
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	result, err := suite.Run(ctx, suite.Config{Binary: binary, Rounds: *rounds, Duration: *duration, Only: *only, Quick: *quick, Log: io.err})
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(io.out, struct {
			suite.Result
			Table []suite.Line `json:"table"`
		}{result, result.Lines()})
	}
	return result.Print(io.out)
}
