package packet

import "time"

// Gaps finds the packets that a publisher's track lacks and says when to ask
// for them. It belongs to one goroutine; the zero value is ready.
type Gaps struct {
	highest uint64
	missing []gap // ascending
}

type gap struct {
	seq   uint64
	next  time.Time // when to ask
	tries int
}

const (
	gapPatience = 10 * time.Millisecond // for packets that were only overtaken
	gapRetry    = 60 * time.Millisecond // a round trip of most networks
	gapTries    = 8
	gapLimit    = 256 // a longer hole is no loss: the source jumped
)

// Saw notes the arrival of a packet.
func (g *Gaps) Saw(seq uint64, now time.Time) {
	switch {
	case g.highest == 0:
		g.highest = seq
	case seq > g.highest:
		if seq-g.highest > gapLimit {
			g.missing = g.missing[:0]
		} else {
			for n := g.highest + 1; n < seq; n++ {
				g.missing = append(g.missing, gap{seq: n, next: now.Add(gapPatience)})
			}
			if over := len(g.missing) - gapLimit; over > 0 {
				g.missing = append(g.missing[:0], g.missing[over:]...)
			}
		}
		g.highest = seq
	default:
		for i := range g.missing {
			if g.missing[i].seq == seq {
				g.missing = append(g.missing[:i], g.missing[i+1:]...)
				return
			}
		}
	}
}

// Due appends the numbers to ask for now to dst, ascending, and gives up those
// that were asked for often enough.
func (g *Gaps) Due(now time.Time, dst []uint16) []uint16 {
	kept := g.missing[:0]
	for _, m := range g.missing {
		if !m.next.After(now) {
			if m.tries == gapTries {
				continue
			}
			m.tries++
			m.next = now.Add(gapRetry)
			dst = append(dst, uint16(m.seq))
		}
		kept = append(kept, m)
	}
	g.missing = kept
	return dst
}

// Open reports whether anything is missing.
func (g *Gaps) Open() bool { return len(g.missing) > 0 }

// Reset forgets everything: the source begins anew.
func (g *Gaps) Reset() { g.highest, g.missing = 0, g.missing[:0] }
