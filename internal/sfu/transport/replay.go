package transport

// window is the newest indices that came of a source (RFC 3711 §3.3.2).
type window struct {
	highest uint64
	seen    [replayWindow / 64]uint64 // bit n%replayWindow: index n came
}

// fresh reports whether an index may still come: it hasn't, and is not too old.
func (w *window) fresh(index uint64) bool {
	if index > w.highest {
		return true
	}
	return w.highest-index < replayWindow && w.seen[index%replayWindow/64]&(1<<(index%64)) == 0
}

// accept notes an index that is fresh and whose packet was genuine.
func (w *window) accept(index uint64) {
	if index > w.highest {
		if index-w.highest >= replayWindow {
			clear(w.seen[:])
		} else {
			for n := w.highest + 1; n < index; n++ {
				w.seen[n%replayWindow/64] &^= 1 << (n % 64)
			}
		}
		w.highest = index
	}
	w.seen[index%replayWindow/64] |= 1 << (index % 64)
}

// newWindow begins with the first index that came.
func newWindow(index uint64) *window {
	w := &window{highest: index}
	w.seen[index%replayWindow/64] = 1 << (index % 64)
	return w
}

// estimate is the index of a packet by the highest that came (RFC 3711 §3.3.1):
// its sequence number with the rollover counter that brings it nearest. Before
// half a round nothing can have rolled over.
func estimate(highest uint64, seq uint16) uint64 {
	const half = 1 << 15
	roc, newest := highest>>16, uint16(highest)
	switch {
	case highest <= half:
		roc = 0
	case newest < half && int(seq)-int(newest) > half:
		roc--
	case newest >= half && int(newest)-half > int(seq):
		roc++
	}
	return roc<<16 | uint64(seq)
}
