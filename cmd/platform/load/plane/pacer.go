package plane

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/internal/sfu"
)

// pacer lets publishers send a frame whenever the SFU has forwarded another.
type pacer struct {
	// Static
	media    *sfu.SFU
	channels int
	viewers  int           // in each channel
	tokens   chan struct{} // one for each frame to be sent

	crowd atomic.Pointer[load.Crowd] // nil while viewers still join
}

const (
	joiningEvery = 33 * time.Millisecond  // between frames while viewers join
	lookEvery    = 500 * time.Microsecond // at what has been forwarded
	lostAfter    = 50 * time.Millisecond  // without progress: what is missing was lost on its way in
)

// wait returns when a publisher may send its next frame.
func (p *pacer) wait(ctx context.Context, _ int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-p.tokens:
		return true
	}
}

// open goes from the pace for joining to full speed.
func (p *pacer) open(crowd *load.Crowd) { p.crowd.Store(crowd) }

// run gives out tokens until ctx ends.
func (p *pacer) run(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(joiningEvery)
	defer tick.Stop()
	var f flightCount
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			crowd := p.crowd.Load()
			if crowd == nil {
				p.give(1 << 10)
				continue
			}
			if f.moved.IsZero() {
				tick.Reset(lookEvery)
			}
			stats := p.media.Stats()
			under := f.update(int64(crowd.Published())*int64(p.viewers), stats.Forwarded+drops(stats), now)
			frame := int64(p.viewers * packets / frames)
			// One frame, or of many channels one in every other.
			flight := max(1, int64(p.channels)/2)*frame + spare
			p.give((flight - under) / frame)
		}
	}
}

// give gives up to n tokens to publishers that wait for one.
func (p *pacer) give(n int64) {
	for range n {
		select {
		case p.tokens <- struct{}{}:
		default:
			return
		}
	}
}

// flightCount counts the packets under way.
type flightCount struct {
	in, out int64     // since the start of the SFU, when nothing was under way
	last    int64     // what was out when that last changed
	moved   time.Time // and when
}

// update says how many packets are under way, of in that were due and out that
// were sent or dropped.
func (f *flightCount) update(in, out int64, now time.Time) int64 {
	if f.moved.IsZero() || out == f.last && now.Sub(f.moved) > lostAfter {
		f.in, f.out = in, out
		f.moved = now
	}
	if out != f.last {
		f.last, f.moved = out, now
	}
	return in - f.in - (out - f.out)
}
