// Package plane measures how much the data plane forwards, and how that grows
// with the cores it is given: the real port and the real SFU, without HTTP and
// a database, in one process with its clients. Publishers send as fast as
// packets are forwarded; viewers, once they have joined, have the kernel drop
// what comes at their sockets' door.
package plane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// Config says what to measure. How many cores there are for it is the
// process's affinity and GOMAXPROCS.
type Config struct {
	Channels int
	Viewers  int // in each channel
	Duration time.Duration
}

// Result is how much was forwarded.
type Result struct {
	Cores        int     `json:"cores"`
	Packets      int64   `json:"packets"`
	Dropped      int64   `json:"dropped"` // by the server, for whatever reason
	Seconds      float64 `json:"seconds"`
	CPU          float64 `json:"cpu_seconds"`    // of the process, its clients included
	Waited       float64 `json:"waited_seconds"` // for a core that others had, all threads together
	PerSecond    float64 `json:"packets_per_second"`
	PerCPUSecond float64 `json:"packets_per_cpu_second"`
	TrainLength  float64 `json:"packets_per_train"`
}

const (
	// Of a publisher: a frame is a train of 8 packets of 1,000 bytes.
	packets    = 240
	frames     = 30
	packetSize = 1000
	// spare is how many packets are still on their way from the SFU when it gets
	// another frame, so that it hardly ever has nothing to do. With many more,
	// frames that wait for one another would leave together, in trains longer and
	// cheaper than those of a live stream.
	spare = 1200
	// warmup is from full speed to the start of the measurement.
	warmup = 500 * time.Millisecond
)

// Run measures the data plane.
func Run(ctx context.Context, c Config) (result Result, err error) {
	port, err := transport.Listen(transport.Config{Addr: "127.0.0.1:0", IPs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}})
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, port.Close()) }()
	media := sfu.New(sfu.Config{Transport: port})
	defer media.Close(tenant.EndShutdown)
	p := &pacer{media: media, channels: c.Channels, viewers: c.Viewers, tokens: make(chan struct{})}
	pacing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go p.run(pacing, done)
	defer func() { stop(); <-done }()
	crowd, err := load.Join(ctx, load.Config{
		Channel: "plane", Channels: c.Channels, Publishers: 1, Viewers: c.Viewers,
		Rate: packets, FrameRate: frames, PacketSize: packetSize, Joining: 25,
		Door: door(media), Pace: p.wait,
	})
	if err != nil {
		return Result{}, err
	}
	defer crowd.Close()
	if err := crowd.Park(); err != nil {
		return Result{}, err
	}
	p.open(crowd)
	if err := sleep(ctx, warmup); err != nil {
		return Result{}, err
	}
	return measure(ctx, c.Duration, func() counts {
		s := port.Stats()
		return counts{s.PacketsOut, s.Messages, drops(media.Stats())}
	})
}

// counts are packets sent, in how many trains, and packets dropped.
type counts struct {
	packets, trains, dropped int64
}

// measure counts over d what the process does.
func measure(ctx context.Context, d time.Duration, count func() counts) (Result, error) {
	before := count()
	cpu, err := load.ProcessCPU(os.Getpid())
	if err != nil {
		return Result{}, err
	}
	waiting, start := waited(), time.Now()
	if err := sleep(ctx, d); err != nil {
		return Result{}, err
	}
	seconds := time.Since(start).Seconds()
	after := count()
	cpuNow, err := load.ProcessCPU(os.Getpid())
	if err != nil {
		return Result{}, err
	}
	r := Result{
		Cores:   runtime.GOMAXPROCS(0),
		Packets: after.packets - before.packets, Dropped: after.dropped - before.dropped,
		Seconds: seconds, CPU: (cpuNow - cpu).Seconds(), Waited: (waited() - waiting).Seconds(),
	}
	r.PerSecond = float64(r.Packets) / r.Seconds
	r.PerCPUSecond = float64(r.Packets) / r.CPU
	if trains := after.trains - before.trains; trains > 0 {
		r.TrainLength = float64(r.Packets) / float64(trains)
	}
	return r, nil
}

// drops are all packets that an SFU dropped.
func drops(s sfu.Stats) (sum int64) {
	for _, n := range s.Drops {
		sum += n
	}
	return sum
}

// door lets clients in without a server around the SFU.
func door(media *sfu.SFU) load.Door {
	return func(ctx context.Context, channel, role string, answer func(string) (string, error)) (func(), error) {
		conn, err := media.Join(ctx, sfu.JoinRequest{
			Tenant: "plane", Channel: channel, ConnectionID: tenant.NewID(), ClientID: "bench",
			Role: tenant.Role(role), Video: sfu.MediaWish{Enabled: true, Codec: "VP8"},
		})
		if err != nil {
			return nil, err
		}
		offer, _, _ := conn.Offer()
		text, err := answer(offer)
		if err == nil {
			err = conn.Answer(text)
		}
		if err != nil {
			conn.Disconnect(tenant.EndProtocol)
			return nil, fmt.Errorf("couldn't join: %w", err)
		}
		go runSignals(conn, answer)
		return func() {
			conn.Disconnect(tenant.EndClient)
			<-conn.Done()
		}, nil
	}
}

// runSignals answers re-offers until the connection ends.
func runSignals(conn *sfu.Connection, answer func(string) (string, error)) {
	for s := range conn.Signals() {
		if s.Kind != sfu.SignalReoffer {
			continue
		}
		text, err := answer(s.SDP)
		if err == nil {
			err = conn.Answer(text)
		}
		if err != nil {
			conn.Disconnect(tenant.EndProtocol)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
