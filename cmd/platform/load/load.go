// Package load makes real WebRTC clients, as many as asked, that publish to
// and watch channels of a running server over the Sora dialect, and measures
// what arrives. It knows the server only from outside.
//
// Every media packet carries the time and number it was sent with, so that
// loss and latency are measured end to end, in one process, on one monotonic
// clock.
//
// Viewers are of two makes. A full viewer is a pion PeerConnection, as costly
// as it is faithful. A lean viewer does ICE, DTLS and SRTP with pion's parts
// but decrypts only one packet in 64 and knows the others by the sequence
// numbers in the clear; its socket is read now and then instead of waited at,
// so that hundreds of viewers neither keep the packets from each other nor
// charge the server for being woken.
package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Config says what to load the server with.
type Config struct {
	URL        string        // the server's /signaling, ws or wss
	Metrics    string        // the server's /metrics; "": not asked
	Token      string        // an access token for the channels, for both roles; "": none
	Channel    string        // the channel's name; of several, what their names begin with
	Channels   int           // how many channels
	Publishers int           // how many publish in each channel; 0 measures idle viewers
	Viewers    int           // how many watch each channel
	Full       int           // how many of all the viewers are full ones
	Audio      bool          // Opus instead of VP8
	Rate       int           // packets per second of a publisher
	PacketSize int           // bytes of RTP payload
	FrameRate  int           // frames per second; packets are sent in bursts of Rate/FrameRate
	Warmup     time.Duration // from the last join to the start of the measurement
	Duration   time.Duration // of the measurement
	Joining    int           // how many viewers join at once
	PID        int           // the server's process, for its CPU and memory; 0: not measured
}

const (
	// startTimeout bounds the joining of one client.
	startTimeout = 20 * time.Second
	// publishPause is from the last publisher's connection to the first viewer:
	// the server has seen every track by then.
	publishPause = 700 * time.Millisecond
	// settle is how long packets sent at the end have to arrive.
	settle = 500 * time.Millisecond
)

// check says what is wrong with c.
func (c Config) check() error {
	switch {
	case c.Channels < 1 || c.Viewers < 1 || c.Publishers < 0 || c.Channels*c.Publishers > 1<<15:
		return errors.New("need at least 1 channel and 1 viewer")
	case c.FrameRate < 1 || c.Rate < c.FrameRate:
		return errors.New("need at least 1 frame a second and 1 packet a frame")
	case c.PacketSize < minPayload || c.PacketSize > maxPayload:
		return fmt.Errorf("need packets of %d to %d bytes", minPayload, maxPayload)
	}
	return nil
}

// run is one load in progress.
type run struct {
	Config
	api        *webrtc.API
	identity   *identity
	poller     *poller   // nil: all viewers are full ones
	epoch      time.Time // the zero of the times in packets
	publishers []*publisher
	idle       time.Duration // the server's CPU in a second with nobody watching

	mu      sync.Mutex // guards viewers while they join
	viewers []placed
}

// placed is a viewer and the number of its channel.
type placed struct {
	watcher
	channel int
}

// Run loads the server and reports what was measured. progress is called now
// and then with a line for the person who waits.
func Run(ctx context.Context, c Config, progress func(string)) (Report, error) {
	if err := c.check(); err != nil {
		return Report{}, err
	}
	r, err := newRun(c)
	if err != nil {
		return Report{}, err
	}
	defer r.close()
	if c.Publishers > 0 {
		progress(fmt.Sprintf("publishers join: %d", c.Publishers*c.Channels))
	}
	if err := r.publish(ctx); err != nil {
		return Report{}, fmt.Errorf("the publisher couldn't start: %w", err)
	}
	alone, err := r.rest(ctx)
	if err != nil {
		return Report{}, err
	}
	progress(fmt.Sprintf("viewers join: %d, %d at once", c.Viewers*c.Channels, c.Joining))
	if err := r.watch(ctx); err != nil {
		return Report{}, err
	}
	joined, err := r.usage()
	if err != nil {
		return Report{}, err
	}
	if err := pause(ctx, c.Warmup); err != nil {
		return Report{}, err
	}
	progress(fmt.Sprintf("measuring for %s", c.Duration))
	return r.measure(ctx, alone, joined)
}

func newRun(c Config) (*run, error) {
	api, err := newAPI()
	if err != nil {
		return nil, err
	}
	identity, err := newIdentity()
	if err != nil {
		return nil, err
	}
	poller, err := startPoller()
	if err != nil {
		return nil, err
	}
	return &run{Config: c, api: api, identity: identity, poller: poller, epoch: time.Now()}, nil
}

// channelName is the name of channel i.
func (r *run) channelName(i int) string {
	if r.Channels == 1 {
		return r.Channel
	}
	return r.Channel + "-" + strconv.Itoa(i)
}

// publish joins the publishers and starts their frames.
func (r *run) publish(ctx context.Context) error {
	for channel := range r.Channels {
		for range r.Publishers {
			joining, cancel := context.WithTimeout(ctx, startTimeout)
			p, err := startPublisher(joining, r, len(r.publishers), channel)
			cancel()
			if err != nil {
				return err
			}
			r.publishers = append(r.publishers, p)
		}
	}
	if r.Publishers == 0 {
		return nil
	}
	return pause(ctx, publishPause)
}

// rest measures what the server uses before anybody watches.
func (r *run) rest(ctx context.Context) (usage, error) {
	if r.PID == 0 {
		return usage{}, nil
	}
	start, err := r.usage()
	if err != nil || r.Publishers > 0 {
		return start, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return usage{}, err
	}
	end, err := r.usage()
	r.idle = end.cpu - start.cpu
	return end, err
}

// watch joins the viewers, Joining at a time, and returns when each has seen
// its first packet.
func (r *run) watch(ctx context.Context) error {
	n := r.Viewers * r.Channels
	places := make(chan struct{}, max(1, r.Joining))
	errs := make(chan error, n)
	var wg sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, startTimeout)
			defer cancel()
			if err := r.join(ctx, i); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	if failed := len(errs); failed > 0 {
		return fmt.Errorf("%d of %d viewers couldn't start; the first: %w", failed, n, <-errs)
	}
	return nil
}

// join joins viewer i. The full ones are spread evenly over the others, so that
// they stand for the first and the last of a channel alike.
func (r *run) join(ctx context.Context, i int) error {
	n := r.Viewers * r.Channels
	make := startFullViewer
	if full := min(r.Full, n); r.poller != nil && (full == 0 || (i+1)*full/n == i*full/n) {
		make = startLeanViewer
	}
	channel := i % r.Channels
	v, err := make(ctx, r, r.channelName(channel))
	if v != nil {
		r.mu.Lock()
		r.viewers = append(r.viewers, placed{v, channel})
		r.mu.Unlock()
	}
	return err
}

// measure watches the counters over Duration. alone and joined are what the
// server had used before and after the viewers joined.
func (r *run) measure(ctx context.Context, alone, joined usage) (Report, error) {
	// Viewers begin at packets that are still to be sent: one that came while
	// they were being told would count as lost.
	w := window{from: r.sent(), alone: alone, joined: joined}
	for i := range w.from {
		w.from[i] += uint64(r.Rate) / uint64(time.Second/headStart)
	}
	r.begin(w.from)
	if err := pause(ctx, headStart); err != nil {
		return Report{}, err
	}
	trainsBefore, err := r.trains(ctx)
	if err != nil {
		return Report{}, err
	}
	serverBefore, err := r.usage()
	if err != nil {
		return Report{}, err
	}
	toolBefore, start := ownCPU(), time.Now()
	if err := pause(ctx, r.Duration); err != nil {
		return Report{}, err
	}
	w.to, w.elapsed, w.tool = r.sent(), time.Since(start), ownCPU()-toolBefore
	if w.server, err = r.usage(); err != nil {
		return Report{}, err
	}
	w.server.cpu -= serverBefore.cpu
	if w.trains, err = r.trains(ctx); err != nil {
		return Report{}, err
	}
	w.trains = w.trains.since(trainsBefore)
	if err := pause(ctx, settle); err != nil {
		return Report{}, err
	}
	return r.report(w), nil
}

// headStart is how long before the measurement the viewers are told of it.
const headStart = 500 * time.Millisecond

// begin has every viewer count its publishers' packets from these on.
func (r *run) begin(from []uint64) {
	for _, v := range r.viewers {
		own := map[int]uint64{}
		for _, p := range r.publishers {
			if p.channel == v.channel {
				own[p.index] = from[p.index]
			}
		}
		v.count().begin(own)
	}
}

// sent is how many packets each publisher has sent.
func (r *run) sent() []uint64 {
	all := make([]uint64, len(r.publishers))
	for i, p := range r.publishers {
		all[i] = p.sent.Load()
	}
	return all
}

func (r *run) close() {
	var wg sync.WaitGroup
	for _, p := range r.publishers {
		wg.Go(p.close)
	}
	for _, v := range r.viewers {
		wg.Go(v.close)
	}
	wg.Wait()
	r.poller.close()
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
