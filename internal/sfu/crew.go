package sfu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// The crew: goroutines that help a worker with a frame for many viewers when
// there are processors with nothing to do. The worker cuts what is left of the
// frame into chunks; it and whoever of the crew has time take one after the
// other; the worker goes on when all are done. So a channel is not bound to one
// processor, and yet everything in it has one owner at a time.

const (
	// chunkRoom is how many packets one chunk has at least.
	chunkRoom = stretchRoom
	// shareFrom is for how many packets help is asked: some 2 ms of work. Waking a
	// helper and waiting for its last chunk costs a tenth of that.
	shareFrom = 8 * chunkRoom
	// chunksAtLeast is how many chunks of a stretch a worker takes before it looks
	// whether its channel has something else to do: some 2 ms.
	chunksAtLeast = 8
	// lingering is how long a helper looks out for another job before it sleeps,
	// as a part of the time that the last one took: under load the next is near,
	// and to be woken takes longer.
	lingering = 16
)

// crew is the helpers of an SFU.
type crew struct {
	jobs chan *stretch // room for one for each helper
	idle atomic.Int32  // helpers without a job
	work sync.WaitGroup
}

// stretch is what is left of a frame, sent by several at a time.
type stretch struct {
	// Static while anybody works on it
	frame    *frame
	now      time.Time
	chunk    int // viewers in a chunk
	port     *transport.Endpoint
	counters *counters

	helpers atomic.Int32        // at work
	broke   atomic.Pointer[any] // what a helper panicked with

	// Guarded by mu
	mu   sync.Mutex
	next int // the first viewer of the next chunk
	end  int // of the viewers
}

// take gives somebody the next chunk, an empty one if there is none.
func (s *stretch) take() []*downTrack {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.next
	s.next = min(from+s.chunk, s.end)
	return s.frame.viewers[from:s.next]
}

// stop lets nobody take another chunk.
func (s *stretch) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = s.next
}

// start starts a helper for every processor but one.
func (c *crew) start(s *SFU) {
	n := runtime.GOMAXPROCS(0) - 1
	c.jobs = make(chan *stretch, n)
	c.idle.Store(int32(n))
	for range n {
		c.work.Go(func() { c.run(newSender(s)) })
	}
}

// stop ends the helpers; no worker may be left.
func (c *crew) stop() {
	close(c.jobs)
	c.work.Wait()
}

func (c *crew) run(out sender) {
	job, more := <-c.jobs
	for more {
		start := time.Now()
		job.help(&out)
		took := time.Since(start)
		c.idle.Add(1)
		job.helpers.Add(-1) // the worker may use it for another stretch from now on
		job, more = c.await(took / lingering)
	}
}

// await waits for a job, at first without sleeping.
func (c *crew) await(awake time.Duration) (job *stretch, more bool) {
	for start := time.Now(); time.Since(start) < awake; runtime.Gosched() {
		select {
		case job, more = <-c.jobs:
			return job, more
		default:
		}
	}
	job, more = <-c.jobs
	return job, more
}

// ask finds helpers for a stretch, up to one for every chunk but the first. It
// is false if nobody has time.
func (c *crew) ask(job *stretch) bool {
	found := false
	for left := (job.end - job.next - 1) / job.chunk; left > 0; left-- {
		if c.idle.Add(-1) < 0 {
			c.idle.Add(1)
			break
		}
		job.helpers.Add(1)
		c.jobs <- job // there is room for one for each that is idle
		found = true
	}
	return found
}

// help works on a stretch for its worker. What breaks, breaks that one's channel
// alone: the worker panics in turn.
func (s *stretch) help(out *sender) {
	defer func() {
		if broken := recover(); broken != nil {
			s.broke.Store(&broken)
			s.stop()
		}
	}()
	out.now = s.now
	s.work(out, func(int) bool { return false })
}

// work serves the viewers of one chunk after the other until none is left, or
// enough says so of the number of chunks. Between two it lets other channels have
// the processor.
func (s *stretch) work(out *sender, enough func(done int) bool) {
	l := s.frame.layers[0]
	for done := 1; ; done++ {
		chunk := s.take()
		if len(chunk) == 0 {
			return
		}
		for _, d := range chunk {
			out.forward(d, l)
		}
		out.flush()
		out.round.flush(s.counters)
		if enough(done) {
			s.stop()
		}
		giveWay(s.port)
	}
}

// share sends what is left of a frame together with the crew, or a part of it if
// the channel has something else to do. It is false if the frame is too small for
// that, or nobody has time. The voices of several speakers are not shared: a
// listener stands there more than once, and no two may seal for one viewer.
func (w *worker) share(f *frame) bool {
	packets := len(f.layers[0].going)
	if len(f.layers) > 1 || (len(f.viewers)-f.next)*packets < shareFrom {
		return false
	}
	job := &w.stretch
	job.frame, job.now, job.port, job.counters = f, w.now, w.sfu.cfg.Transport, w.sfu.counters
	job.chunk, job.next, job.end = max(1, chunkRoom/packets), f.next, len(f.viewers)
	if !w.sfu.crew.ask(job) {
		return false
	}
	job.work(&w.sender, func(done int) bool { return done >= chunksAtLeast && w.channel.called() })
	for job.helpers.Load() > 0 { // at their last chunks
		giveWay(job.port)
	}
	if broken := job.broke.Load(); broken != nil {
		panic(*broken)
	}
	f.next = job.next
	w.spent = stretchRoom
	return true
}
