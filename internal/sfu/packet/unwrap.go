package packet

// Unwrap turns 16-bit sequence numbers into 64-bit ones that never wrap. The
// zero value is ready; the first number becomes 65536 + seq, so that earlier
// packets that come late still have positive numbers.
type Unwrap struct {
	highest uint64 // 0: nothing seen yet
}

// Next is the unwrapped form of seq: the number nearest to the highest seen.
func (u *Unwrap) Next(seq uint16) uint64 {
	if u.highest == 0 {
		u.highest = 1<<16 + uint64(seq)
		return u.highest
	}
	n := Nearest(u.highest, seq)
	u.highest = max(u.highest, n)
	return n
}

// Highest is the highest number seen; 0: none yet.
func (u *Unwrap) Highest() uint64 { return u.highest }

// Nearest is the number with the low 16 bits of seq that is nearest to around.
func Nearest(around uint64, seq uint16) uint64 {
	n := around + uint64(int64(int16(seq-uint16(around))))
	if n > around+1<<15 { // it would be below zero
		n += 1 << 16
	}
	return n
}
