package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/internal/tenant"
)

// bench loads a running server with one publisher and many viewers.
func bench(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	name := fs.String("tenant", "", "tenant id, name or a member's email, to sign a token for")
	given := fs.String("token", "", "an access token for the channel and both roles, instead of -tenant")
	channel := fs.String("channel", "bench", "channel to load")
	viewers := fs.Int("viewers", 10, "how many viewers")
	rate := fs.Int("rate", 240, "packets per second of the publisher")
	size := fs.Int("size", 1000, "bytes of payload in a packet")
	frames := fs.Int("fps", 30, "frames per second")
	duration := fs.Duration("duration", 10*time.Second, "how long to measure")
	warmup := fs.Duration("warmup", 2*time.Second, "how long to run before measuring")
	joining := fs.Int("joining", 4, "how many viewers join at once")
	pid := fs.Int("pid", 0, "the server's process id, to measure its CPU (Linux)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	c, err := readConfig(fs, args, os.Getenv, io)
	if err != nil {
		return err
	}
	token := *given
	if token == "" {
		if token, err = benchToken(ctx, c, *name, *channel, *duration, io); err != nil {
			return err
		}
	}
	report, err := load.Run(ctx, load.Config{
		URL:   "ws" + strings.TrimPrefix(c.publicURL.String(), "http") + "/signaling",
		Token: token, Channel: *channel, Viewers: *viewers, Rate: *rate, PacketSize: *size, FrameRate: *frames,
		Warmup: *warmup, Duration: *duration, Joining: *joining, PID: *pid,
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
