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
// but decrypts only some packets and knows the others by the sequence numbers
// in the clear; its socket is read now and then instead of waited at, so that
// hundreds of viewers neither keep the packets from each other nor charge the
// server for being woken. When a packet came, it asks the kernel, so that its
// own waiting is no part of the latency.
package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
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
	Joining    int           // how many clients join at once
	Beside     int           // how many watch one more channel, with a publisher of 1 Mbit/s
	// Door is how clients come in, where it is not over a WebSocket to URL.
	Door Door
	// Pace, if set, is called for each frame of a publisher instead of keeping to
	// the frame rate; it returns when the frame is to be sent, or false.
	Pace func(ctx context.Context, publisher int) bool
	PID  int // the server's process, for its CPU and memory; 0: not measured
}

// Door asks for a role in a channel and has answer answer every offer, the first
// before it returns, until leave is called.
type Door func(ctx context.Context, channel, role string, answer func(offer string) (string, error)) (leave func(), err error)

const (
	// startTimeout bounds the joining of one client.
	startTimeout = 20 * time.Second
	// publishPause is from the last publisher's connection to the first viewer:
	// the server has seen every track by then.
	publishPause = 700 * time.Millisecond
	// settle is how long packets sent at the end have to arrive.
	settle = 500 * time.Millisecond
	// retryAfter is how long a client waits that was told to try again.
	retryAfter = 250 * time.Millisecond
)

// Of the channel beside the others: 1 Mbit/s of payload, in 30 frames of 4 packets
// a second.
const (
	besideRate   = 120
	besideFrames = 30
	besideSize   = 1042
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
	stages     []*stage
	publishers []*publisher  // by index; nil: did not get that far
	idle       time.Duration // the server's CPU in a second with nobody watching
	retries    atomic.Int64  // joins that the server put off

	mu      sync.Mutex // guards viewers while they join
	viewers []placed
}

// stage is one channel of a run. Static.
type stage struct {
	channel    string
	publishers int
	viewers    int
	rate, fps  int    // of a publisher: packets and frames per second
	size       int    // bytes of RTP payload in its packets
	beside     bool   // the channel beside the others
	every      uint16 // how many packets go between those a lean viewer decrypts
}

// placed is a viewer and where it is.
type placed struct {
	watcher
	stage *stage
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
	if n := len(r.publishers); n > 0 {
		progress(fmt.Sprintf("publishers join: %d", n))
	}
	if err := r.publish(ctx); err != nil {
		return Report{}, fmt.Errorf("the publisher couldn't start: %w", err)
	}
	alone, err := r.rest(ctx)
	if err != nil {
		return Report{}, err
	}
	progress(fmt.Sprintf("viewers join: %d, %d at once", c.Viewers*c.Channels+c.Beside, c.Joining))
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
	epoch := time.Now()
	poller, err := startPoller(epoch)
	if err != nil {
		return nil, err
	}
	stages := c.stages()
	publishers := 0
	for _, s := range stages {
		publishers += s.publishers
	}
	return &run{
		Config: c, api: api, identity: identity, poller: poller, epoch: epoch,
		stages: stages, publishers: make([]*publisher, publishers),
	}, nil
}

// stages are the channels.
func (c Config) stages() (all []*stage) {
	every := decryptEvery(c.Channels * c.Publishers * c.Viewers * c.Rate)
	for i := range c.Channels {
		name := c.Channel
		if c.Channels > 1 {
			name += "-" + strconv.Itoa(i)
		}
		all = append(all, &stage{name, c.Publishers, c.Viewers, c.Rate, c.FrameRate, c.PacketSize, false, every})
	}
	if c.Beside > 0 {
		all = append(all, &stage{c.Channel + "-beside", 1, c.Beside, besideRate, besideFrames, besideSize, true, decryptEvery(c.Beside * besideRate)})
	}
	return all
}

// publish joins the publishers, Joining at a time, and starts their frames.
func (r *run) publish(ctx context.Context) error {
	if len(r.publishers) == 0 {
		return nil
	}
	// Those of one channel get indices, and so phases, far from each other.
	var order []*stage
	for i := 0; len(order) < len(r.publishers); i++ {
		for _, s := range r.stages {
			if i < s.publishers {
				order = append(order, s)
			}
		}
	}
	err := r.together(ctx, len(order), func(ctx context.Context, i int) error {
		p, err := startPublisher(ctx, r, i, order[i])
		r.publishers[i] = p
		return err
	})
	if err != nil {
		return err
	}
	return pause(ctx, publishPause)
}

// together calls start for each of n clients, Joining at a time, and returns
// when all have started or one has failed.
func (r *run) together(ctx context.Context, n int, start func(ctx context.Context, i int) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	places := make(chan struct{}, max(1, r.Joining))
	var wg sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(ctx, startTimeout)
			defer cancel()
			if err := start(ctx, i); err != nil {
				fail(fmt.Errorf("client %d of %d couldn't start: %w", i+1, n, err)) // the first counts
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// rest measures what the server uses before anybody watches.
func (r *run) rest(ctx context.Context) (usage, error) {
	if r.PID == 0 {
		return usage{}, nil
	}
	start, err := r.usage()
	if err != nil || len(r.publishers) > 0 {
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
	// The channels fill up evenly, the one beside them last.
	var order []*stage
	for range r.Viewers {
		order = append(order, r.stages[:r.Channels]...)
	}
	for range r.Beside {
		order = append(order, r.stages[r.Channels])
	}
	return r.together(ctx, len(order), func(ctx context.Context, i int) error { return r.join(ctx, i, order[i]) })
}

// join joins viewer i. The full ones are spread evenly over the others, so that
// they stand for the first and the last of a channel alike.
func (r *run) join(ctx context.Context, i int, s *stage) error {
	n := r.Viewers * r.Channels
	make := startFullViewer
	if full := min(r.Full, n); r.poller != nil && (i >= n || (i+1)*full/n == i*full/n) {
		make = startLeanViewer
	}
	v, err := make(ctx, r, s)
	if v != nil {
		r.mu.Lock()
		r.viewers = append(r.viewers, placed{v, s})
		r.mu.Unlock()
	}
	return err
}

// measure watches the counters over Duration. alone and joined are what the
// server had used before and after the viewers joined.
func (r *run) measure(ctx context.Context, alone, joined usage) (Report, error) {
	// Viewers begin at packets that are still to be sent: one that came while
	// they were being told would count as lost.
	w := window{from: r.published(), alone: alone, joined: joined}
	for i, p := range r.publishers {
		w.from[i] += uint64(p.stage.rate) / uint64(time.Second/headStart)
	}
	r.begin(w.from)
	if err := pause(ctx, headStart); err != nil {
		return Report{}, err
	}
	sentBefore, err := r.serverSent(ctx)
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
	w.to, w.elapsed, w.tool = r.published(), time.Since(start), ownCPU()-toolBefore
	if w.server, err = r.usage(); err != nil {
		return Report{}, err
	}
	w.server.cpu -= serverBefore.cpu
	if w.sent, err = r.serverSent(ctx); err != nil {
		return Report{}, err
	}
	w.sent = w.sent.since(sentBefore)
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
			if p.stage == v.stage {
				own[p.index] = from[p.index]
			}
		}
		v.count().begin(own)
	}
}

// published is how many packets each publisher has sent.
func (r *run) published() []uint64 {
	all := make([]uint64, len(r.publishers))
	for i, p := range r.publishers {
		all[i] = p.sent.Load()
	}
	return all
}

func (r *run) close() {
	var wg sync.WaitGroup
	for _, p := range r.publishers {
		if p != nil {
			wg.Go(p.close)
		}
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
