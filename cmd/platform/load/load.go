// Package load makes real WebRTC clients, as many as asked, that publish to
// and watch a channel of a running server over the Sora dialect, and measures
// what arrives. It knows the server only from outside.
//
// Every media packet carries the time and number it was sent with, so that
// loss and latency are measured end to end, in one process, on one monotonic
// clock.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// Config says what to load the server with.
type Config struct {
	URL        string        // the server's /signaling, ws or wss
	Token      string        // an access token for the channel, for both roles
	Channel    string        // one channel
	Viewers    int           // how many watch
	Rate       int           // packets per second of the publisher's video
	PacketSize int           // bytes of RTP payload
	FrameRate  int           // frames per second; packets are sent in bursts of Rate/FrameRate
	Warmup     time.Duration // from the last join to the start of the measurement
	Duration   time.Duration // of the measurement
	Joining    int           // how many viewers join at once
	PID        int           // the server's process, for its CPU; 0: not measured
}

// startTimeout bounds the joining of one client.
const startTimeout = 20 * time.Second

// Run loads the server and reports what was measured. progress is called now
// and then with a line for the person who waits.
func Run(ctx context.Context, c Config, progress func(string)) (Report, error) {
	if c.Viewers < 1 || c.Rate < c.FrameRate || c.FrameRate < 1 || c.PacketSize < minPayload || c.PacketSize > maxPayload {
		return Report{}, fmt.Errorf("need at least 1 viewer, 1 packet a frame and packets of %d to %d bytes", minPayload, maxPayload)
	}
	api, err := newAPI()
	if err != nil {
		return Report{}, err
	}
	run := &run{Config: c, api: api, epoch: time.Now()}
	defer run.close()

	progress("publisher joins")
	if err := run.publish(ctx); err != nil {
		return Report{}, fmt.Errorf("the publisher couldn't start: %w", err)
	}
	progress(fmt.Sprintf("%d viewers join, %d at once", c.Viewers, c.Joining))
	if err := run.watch(ctx); err != nil {
		return Report{}, err
	}
	if err := pause(ctx, c.Warmup); err != nil {
		return Report{}, err
	}
	progress(fmt.Sprintf("measuring for %s", c.Duration))
	return run.measure(ctx)
}

// run is one load in progress.
type run struct {
	Config
	api       *webrtc.API
	epoch     time.Time // the zero of the times in packets
	publisher *publisher
	mu        sync.Mutex // guards viewers while they join
	viewers   []*viewer
}

// newAPI returns pion without interceptors: a client that never asks for a
// packet again, so that nothing lost goes unseen.
func newAPI() (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: "urn:ietf:params:rtp-hdrext:sdes:mid"}, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.DisableMediaEngineCopy(true)
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{})), nil
}

// publish joins the publisher and starts its frames.
func (r *run) publish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, err := startPublisher(ctx, r)
	if err != nil {
		return err
	}
	r.publisher = p
	return nil
}

// watch joins the viewers, Joining at a time, and returns when each has seen
// its first packet.
func (r *run) watch(ctx context.Context) error {
	places := make(chan struct{}, max(1, r.Joining))
	errs := make(chan error, r.Viewers)
	var wg sync.WaitGroup
	for range r.Viewers {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, startTimeout)
			defer cancel()
			v, err := startViewer(ctx, r)
			if v != nil {
				r.mu.Lock()
				r.viewers = append(r.viewers, v)
				r.mu.Unlock()
			}
			if err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	if n := len(errs); n > 0 {
		return fmt.Errorf("%d of %d viewers couldn't start; the first: %w", n, r.Viewers, <-errs)
	}
	return nil
}

// measure watches the counters over Duration.
func (r *run) measure(ctx context.Context) (Report, error) {
	before, err := processCPU(r.PID)
	if err != nil {
		return Report{}, err
	}
	from := r.publisher.sent.Load()
	for _, v := range r.viewers {
		v.begin(from)
	}
	start := time.Now()
	if err := pause(ctx, r.Duration); err != nil {
		return Report{}, err
	}
	to := r.publisher.sent.Load()
	elapsed := time.Since(start)
	after, err := processCPU(r.PID)
	if err != nil {
		return Report{}, err
	}
	if err := pause(ctx, settle); err != nil {
		return Report{}, err
	}
	return r.report(from, to, elapsed, after-before), nil
}

// settle is how long packets sent at the end have to arrive.
const settle = time.Second

// close ends the viewers and the publisher and returns when all are gone.
func (r *run) close() {
	if r.publisher != nil {
		r.publisher.close()
	}
	var wg sync.WaitGroup
	for _, v := range r.viewers {
		wg.Go(v.close)
	}
	wg.Wait()
}

// pause waits for d, or for the person's Ctrl-C.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errors.New("interrupted")
	case <-time.After(d):
		return nil
	}
}
