package load

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SoakConfig says how to soak a server: a steady load for Config.Duration, while
// others come and go.
type SoakConfig struct {
	Config
	Churn float64       // newcomers per second; as many leave
	Guest time.Duration // how long a newcomer stays
	Every time.Duration // between two Samples
}

// Sample is how the server stands at one moment of a soak.
type Sample struct {
	Seconds    float64 `json:"seconds"` // since the start
	RSS        float64 `json:"rss_mb"`
	Heap       float64 `json:"heap_mb"` // the least since the sample before
	Goroutines float64 `json:"goroutines"`
	Viewers    int     `json:"viewers"` // guests included
	Rate       float64 `json:"packets_per_second"`
	Lost       uint64  `json:"lost"` // so far, of the viewers that stay
	Came       int64   `json:"came"` // guests so far
}

// Soak is what a soak found.
type Soak struct {
	Report   Report   `json:"report"` // of the viewers that stayed
	Samples  []Sample `json:"samples"`
	Failures []string `json:"failures"` // what should not have been; none is good
}

// What a soak tolerates: how much more heap and how many more goroutines there
// may be in its last third than in its first. Of the heap the least of a third
// counts, which is what a garbage collection left; of goroutines the median.
const (
	heapTolerance      = 1.15
	heapSlack          = 4.0 // MB
	goroutineTolerance = 1.05
	goroutineSlack     = 20.0
)

// expectedDrops are the reasons for which a healthy server drops packets while
// clients come and go: those who come wait for a key frame, or speak a moment
// before the server has their keys; those who went are still spoken to and still
// speak.
var expectedDrops = []string{"awaiting_key_frame", "before_start", "unprotect_failed", "seal_failed", "no_peer", "unknown_ufrag"}

// RunSoak soaks the server. tell is called with every sample.
func RunSoak(ctx context.Context, c SoakConfig, tell func(Sample)) (Soak, error) {
	if err := c.check(); err != nil {
		return Soak{}, err
	}
	r, err := newRun(c.Config)
	if err != nil {
		return Soak{}, err
	}
	defer r.close()
	if err := r.publish(ctx); err != nil {
		return Soak{}, err
	}
	if err := r.watch(ctx); err != nil {
		return Soak{}, err
	}
	if err := pause(ctx, c.Warmup); err != nil {
		return Soak{}, err
	}
	guests := &guests{run: r, config: c}
	coming, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { stop(); running.Wait() }()
	running.Go(func() { guests.runArrivals(coming) })
	if err := pause(ctx, c.Guest+c.Warmup); err != nil { // until as many leave as come
		return Soak{}, err
	}

	w := window{from: r.published()}
	for i, p := range r.publishers {
		w.from[i] += uint64(p.stage.rate) / uint64(time.Second/headStart)
	}
	r.begin(w.from)
	if err := pause(ctx, headStart); err != nil {
		return Soak{}, err
	}
	before, err := r.serverSent(ctx)
	if err != nil {
		return Soak{}, err
	}
	tool, start := ownCPU(), time.Now()
	log := &soakLog{run: r, guests: guests, start: start, tell: tell}
	if err := log.runSamples(ctx, c.Duration, c.Every); err != nil {
		return Soak{}, err
	}
	w.to, w.elapsed, w.tool = r.published(), time.Since(start), ownCPU()-tool
	if w.sent, err = r.serverSent(ctx); err != nil {
		return Soak{}, err
	}
	w.sent = w.sent.since(before)
	stop()
	running.Wait()
	if err := pause(ctx, settle); err != nil {
		return Soak{}, err
	}
	out := Soak{Report: r.report(w), Samples: log.samples}
	out.Failures = log.judge(out.Report)
	if n := guests.failed.Load(); n > 0 {
		out.Failures = append(out.Failures, fmt.Sprintf("%d guests couldn't join; the first: %v", n, guests.first))
	}
	return out, nil
}

// guests come and go: viewers of the channels and, one in four, a publisher with
// a viewer in a channel of their own, which ends with them.
type guests struct {
	// Static
	run    *run
	config SoakConfig

	came, here, failed atomic.Int64
	once               sync.Once
	first              error // Guarded by once, read after the last has left
}

// runArrivals lets guests in until ctx ends, and returns when all have left.
func (g *guests) runArrivals(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(time.Duration(float64(time.Second) / g.config.Churn))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			all.Go(func() {
				if err := g.visit(ctx, i); err != nil && ctx.Err() == nil {
					g.failed.Add(1)
					g.once.Do(func() { g.first = err })
				}
			})
		}
	}
}

// visit is the stay of guest i.
func (g *guests) visit(ctx context.Context, i int) error {
	s := g.run.stages[i%len(g.run.stages)]
	joining, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if i%4 == 3 {
		own := *s
		own.channel += "-guest-" + strconv.Itoa(i)
		s = &own
		p, err := startPublisher(joining, g.run, len(g.run.publishers), s)
		if err != nil {
			return fmt.Errorf("publisher: %w", err)
		}
		defer p.close()
	}
	start := startLeanViewer
	if g.run.poller == nil {
		start = startFullViewer
	}
	v, err := start(joining, g.run, s)
	if v != nil {
		defer v.close()
	}
	if err != nil {
		return fmt.Errorf("viewer: %w", err)
	}
	g.came.Add(1)
	g.here.Add(1)
	defer g.here.Add(-1)
	_ = pause(ctx, g.config.Guest) // an end of the soak is as good a reason to leave
	return nil
}

// soakLog takes samples. Owned by runSamples.
type soakLog struct {
	run    *run
	guests *guests
	start  time.Time
	tell   func(Sample)

	heap, goroutines []float64 // every second
	samples          []Sample
}

// runSamples looks at the server every second for d.
func (l *soakLog) runSamples(ctx context.Context, d, every time.Duration) error {
	var packets float64
	last, since := l.start, 0
	for end := l.start.Add(d); time.Now().Before(end); {
		if err := pause(ctx, min(time.Second, time.Until(end))); err != nil {
			return err
		}
		all, err := scrape(ctx, l.run.Metrics)
		if err != nil {
			return err
		}
		l.heap = append(l.heap, all["go_memstats_heap_alloc_bytes"]/1e6)
		l.goroutines = append(l.goroutines, all["go_goroutines"])
		now, sent := time.Now(), all["hibari_rtp_packets_sent_total"]
		if packets == 0 {
			packets, last = sent, now
			continue
		}
		if now.Sub(last) < every && now.Before(end) {
			continue
		}
		s := Sample{
			Seconds: now.Sub(l.start).Seconds(), RSS: all["process_resident_memory_bytes"] / 1e6,
			Heap: slices.Min(l.heap[since:]), Goroutines: middle(l.goroutines[since:]),
			Viewers: len(l.run.viewers) + int(l.guests.here.Load()), Came: l.guests.came.Load(),
			Rate: (sent - packets) / now.Sub(last).Seconds(), Lost: l.run.lostSoFar(),
		}
		packets, last, since = sent, now, len(l.heap)
		l.samples = append(l.samples, s)
		l.tell(s)
	}
	return nil
}

// lostSoFar is how many packets are missing at viewers of those that are surely
// there by now.
func (r *run) lostSoFar() (lost uint64) {
	sent := r.published()
	for _, v := range r.viewers {
		c := v.count()
		c.mu.Lock()
		for publisher, t := range c.tallies {
			if late := uint64(v.stage.rate); sent[publisher] > t.from+late { // of a second ago
				to := sent[publisher] - late
				lost += to - t.from - t.upTo(to)
			}
		}
		c.mu.Unlock()
	}
	return lost
}

// judge says what should not have been.
func (l *soakLog) judge(r Report) (failures []string) {
	if r.PacketsLost > 0 {
		failures = append(failures, fmt.Sprintf("viewers that stayed lost %d packets of %d", r.PacketsLost, r.PacketsExpected))
	}
	if r.PacketsTwice > 0 {
		failures = append(failures, fmt.Sprintf("%d packets came twice", r.PacketsTwice))
	}
	flat := func(what string, of func([]float64) float64, all []float64, tolerance, slack float64) {
		first, last := of(all[:(len(all)+2)/3]), of(all[2*len(all)/3:])
		if last > first*tolerance+slack {
			failures = append(failures, fmt.Sprintf("%s grew from %.0f in the first third to %.0f in the last", what, first, last))
		}
	}
	flat("MB of heap", slices.Min[[]float64], l.heap, heapTolerance, heapSlack)
	flat("goroutines", middle, l.goroutines, goroutineTolerance, goroutineSlack)
	for _, reason := range slices.Sorted(maps.Keys(r.Dropped)) {
		if !slices.Contains(expectedDrops, reason) {
			failures = append(failures, fmt.Sprintf("the server dropped %.0f packets: %s", r.Dropped[reason], strings.ReplaceAll(reason, "_", " ")))
		}
	}
	return failures
}

// middle is the median; 0 of none.
func middle(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(all))[len(all)/2]
}
