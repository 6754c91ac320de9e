package packet

// Renumber gives the packets of changing sources one continuous numbering: what
// a viewer sees of a track. Within one source the distance between two packets
// stays what it was, so that losses stay visible and repeats keep their number.
// No number is given out twice, though: what was sent under it may have carried
// what is true only once, and AES-GCM must never get two contents for one number
// (RFC 7714 §9.1). It belongs to one goroutine.
type Renumber struct {
	started bool
	base    uint64 // first number of the current source
	offset  uint64 // out = in + offset, modulo 2^64
	tsShift uint32 // likewise for timestamps
	highest uint64 // highest number given out
	lastTS  uint32 // its timestamp
	given   [givenRoom / 64]uint64
}

// givenRoom is how far behind the highest number one may still be given out: as
// far as the longest history reaches.
const givenRoom = 1024

// NewRenumber starts the numbering at seq and timestamp, ideally random ones.
// A first number below 32768 keeps receivers from misjudging SRTP's rollover
// counter when the first packets are lost.
func NewRenumber(seq uint16, timestamp uint32) Renumber {
	return Renumber{highest: 1<<16 + uint64(seq) - 1, lastTS: timestamp}
}

// Switch begins a new source with its packet of number seq and timestamp ts: it
// will follow directly on the highest number given out, elapsed clock ticks
// after the newest timestamp.
func (r *Renumber) Switch(seq uint64, ts uint32, elapsed uint32) {
	if r.started {
		elapsed = max(elapsed, 1) // two frames must not share a timestamp
	}
	r.started = true
	r.base = seq
	r.offset = r.highest + 1 - seq
	r.tsShift = r.lastTS + elapsed - ts
}

// Map is what the source's packet becomes when it is first sent. It is false
// before the first Switch, for packets from before the current source's first,
// for those that it was true for already, and for those that come too late to
// know.
func (r *Renumber) Map(seq uint64, ts uint32) (uint64, uint32, bool) {
	if !r.started || seq < r.base {
		return 0, 0, false
	}
	out, outTS := seq+r.offset, ts+r.tsShift
	place, bit := out%givenRoom/64, uint64(1)<<(out%64)
	switch {
	case out > r.highest:
		if out != r.highest+1 {
			r.skip(out)
		}
		r.given[place] |= bit
		r.highest, r.lastTS = out, outTS
	case r.highest-out >= givenRoom || r.given[place]&bit != 0:
		return 0, 0, false
	default:
		r.given[place] |= bit
	}
	return out, outTS, true
}

// skip notes that the numbers between the highest and out have not been given out.
func (r *Renumber) skip(out uint64) {
	if out-r.highest > givenRoom {
		clear(r.given[:])
		return
	}
	for n := r.highest + 1; n < out; n++ {
		r.given[n%givenRoom/64] &^= 1 << (n % 64)
	}
}

// Again is what a packet of the current source has become, for repeats.
func (r *Renumber) Again(seq uint64, ts uint32) (uint64, uint32) {
	return seq + r.offset, ts + r.tsShift
}

// Source is the number in the current source of what was given out as seq. It
// is false when that was never given out or belongs to an earlier source.
func (r *Renumber) Source(seq uint16) (uint64, bool) {
	if !r.started {
		return 0, false
	}
	out := Nearest(r.highest, seq)
	in := out - r.offset
	if out > r.highest || out < r.base+r.offset || in < r.base {
		return 0, false
	}
	return in, true
}

// Timestamp is what a timestamp of the current source becomes.
func (r *Renumber) Timestamp(ts uint32) uint32 { return ts + r.tsShift }

// Ahead is how many ticks after the newest timestamp given out ts would come if
// the present distance changed by correction; negative: before it.
func (r *Renumber) Ahead(ts, correction uint32) int32 {
	return int32(ts + r.tsShift + correction - r.lastTS)
}

// Highest is the highest number given out.
func (r *Renumber) Highest() uint64 { return r.highest }
