package wire

import (
	"sync/atomic"
	"time"
)

// A route that refused a train tries one again after refusalFirst, and after each
// further refusal in a row waits twice as long, at most refusalMost. A refusal may
// pass: the path's MTU grew again, a device was replaced. A try that fails costs one
// system call, so the first may come soon.
const (
	refusalFirst = 10 * time.Second
	refusalMost  = 5 * time.Minute
)

// refusal is what a route knows of trains that the kernel refused. Workers that send
// on one route at the same time may overwrite each other's word; then a try comes
// earlier or later, and no packet is lost by it. Times are the socket's clock's.
type refusal struct {
	// Atomic.
	again atomic.Int64 // when the next train may try; 0 while trains go
	since atomic.Int64 // when the last refusal came
	wait  atomic.Int64 // how long it waits, in nanoseconds
	from  atomic.Int64 // segments of so many bytes are refused; shorter ones still go
}

// holds says whether a train of segments of n bytes must not be tried. Of the trains
// that could try again it lets one through.
func (r *refusal) holds(n int, s *Socket) bool {
	again := r.again.Load()
	if again == 0 || int64(n) < r.from.Load() {
		return false
	}
	now := s.clock()
	return now < again || !r.again.CompareAndSwap(again, now+r.wait.Load())
}

// add enters a refusal of segments of n bytes, or of all when it was not for their
// size.
func (r *refusal) add(n int, size bool, s *Socket) {
	if !size {
		n = 0
	}
	now := s.clock()
	switch wait := r.wait.Load(); {
	case r.again.Load() == 0:
		r.from.Store(int64(n))
		r.wait.Store(int64(refusalFirst))
	case now-r.since.Load() < wait: // a neighbour of the train refused just now
		r.from.Store(min(r.from.Load(), int64(n)))
		return
	default:
		r.from.Store(min(r.from.Load(), int64(n)))
		r.wait.Store(min(2*wait, int64(refusalMost)))
	}
	r.since.Store(now)
	r.again.Store(now + r.wait.Load())
}

// passed takes note of a train of segments of n bytes that went, and says whether
// that ends a refusal.
func (r *refusal) passed(n int) bool {
	again := r.again.Load()
	return again != 0 && int64(n) >= r.from.Load() && r.again.CompareAndSwap(again, 0)
}
