package sfu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The crew: goroutines that help a worker with a frame for many viewers when
// there are processors with nothing to do. The worker cuts what is left of the
// frame into chunks; it and whoever of the crew has time take one after the
// other; the worker goes on when all are done. So a channel is not bound to one
// processor, and yet everything in it has one owner at a time.

const (
	// chunkRoom is how many packets one chunk has at least.
	chunkRoom = stretchRoom
	// shareFrom is for how many packets help is asked: waking a helper costs
	// several microseconds.
	shareFrom = 4 * chunkRoom
	// chunksEach is how many chunks of a stretch there are for each processor.
	chunksEach = 3
)

// crew is the helpers of an SFU.
type crew struct {
	jobs chan *stretch // without buffer: only who waits for a job gets one
	work sync.WaitGroup
}

// stretch is a part of a frame that is sent by several at a time.
type stretch struct {
	// Static while anybody works on it
	frame *frame
	now   time.Time
	chunk int // viewers in a chunk
	end   int // of its viewers

	next  atomic.Int64        // the first viewer of the next chunk
	busy  sync.WaitGroup      // helpers at work
	broke atomic.Pointer[any] // what a helper panicked with
}

// start starts a helper for every processor but one.
func (c *crew) start(s *SFU) {
	c.jobs = make(chan *stretch)
	for range runtime.GOMAXPROCS(0) - 1 {
		c.work.Go(func() { c.run(newSender(s), s.counters) })
	}
}

// stop ends the helpers; no worker may be left.
func (c *crew) stop() {
	close(c.jobs)
	c.work.Wait()
}

func (c *crew) run(out sender, total *counters) {
	for job := range c.jobs {
		job.help(&out)
		out.round.flush(total)
		job.busy.Done()
	}
}

// ask finds helpers for a stretch, up to one for every chunk but the first. It
// is false if nobody has time.
func (c *crew) ask(job *stretch) bool {
	found := false
	for left := (job.end - int(job.next.Load()) - 1) / job.chunk; left > 0; left-- {
		job.busy.Add(1)
		select {
		case c.jobs <- job:
			found = true
			continue
		default:
			job.busy.Done()
		}
		break
	}
	return found
}

// help works on a stretch for its worker. What breaks, breaks that one's channel
// alone: the worker panics in turn.
func (s *stretch) help(out *sender) {
	defer func() {
		if broken := recover(); broken != nil {
			s.broke.Store(&broken)
			s.next.Store(int64(s.end)) // no more chunks
		}
	}()
	out.now = s.now
	s.takeChunks(out)
}

// takeChunks serves the viewers of one chunk after the other until none is left.
func (s *stretch) takeChunks(out *sender) {
	t := s.frame.tracks[0]
	for {
		i := int(s.next.Add(int64(s.chunk))) - s.chunk
		if i >= s.end {
			break
		}
		for _, d := range s.frame.viewers[i:min(i+s.chunk, s.end)] {
			out.forward(d, t)
		}
	}
	out.flush()
}

// share sends the next stretch of a frame together with the crew. It is false if
// the frame is too small for that, or nobody has time. The voices of several
// speakers are not shared: a listener stands there more than once, and no two
// may seal for one viewer.
func (w *worker) share(f *frame) bool {
	packets := len(f.tracks[0].going)
	if len(f.tracks) > 1 || (len(f.viewers)-f.next)*packets < shareFrom {
		return false
	}
	job := &w.stretch
	job.frame, job.now, job.chunk = f, w.now, max(1, chunkRoom/packets)
	job.end = min(len(f.viewers), f.next+job.chunk*chunksEach*runtime.GOMAXPROCS(0))
	job.next.Store(int64(f.next))
	if !w.sfu.crew.ask(job) {
		return false
	}
	job.takeChunks(&w.sender)
	job.busy.Wait()
	if broken := job.broke.Load(); broken != nil {
		panic(*broken)
	}
	f.next = job.end
	w.spent = stretchRoom
	return true
}
