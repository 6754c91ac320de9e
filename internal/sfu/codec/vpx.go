package codec

// vp8KeyFrame reads the payload descriptor (RFC 7741 §4.2) and the first byte of
// the frame header, whose lowest bit is 0 in a key frame (§4.3).
func vp8KeyFrame(b []byte) bool {
	const x, s, pid = 0x80, 0x10, 0x07
	if len(b) < 1 || b[0]&s == 0 || b[0]&pid != 0 {
		return false // not the start of the first partition
	}
	n := 1
	if b[0]&x != 0 {
		if len(b) < 2 {
			return false
		}
		const i, l, t, k = 0x80, 0x40, 0x20, 0x10
		flags := b[1]
		n = 2
		if flags&i != 0 {
			if len(b) <= n {
				return false
			}
			if b[n]&0x80 != 0 { // 15-bit picture id
				n++
			}
			n++
		}
		if flags&l != 0 {
			n++
		}
		if flags&(t|k) != 0 {
			n++
		}
	}
	return len(b) > n && b[n]&0x01 == 0
}

// vp9KeyFrame reads the payload descriptor (RFC 9628 §4.2): the beginning of a
// frame that predicts from no other picture and, with layers, of the lowest one.
// Some packetizers in flexible mode claim that of every frame, so the frame's own
// header is asked too, if it is one: payloads may be encrypted end to end.
func vp9KeyFrame(b []byte) bool {
	const i, p, l, f, start, v = 0x80, 0x40, 0x20, 0x10, 0x08, 0x02
	if len(b) < 2 || b[0]&p != 0 || b[0]&start == 0 {
		return false
	}
	n := 1
	if b[0]&i != 0 {
		if b[n]&0x80 != 0 {
			n++
		}
		n++
	}
	if b[0]&l != 0 {
		if len(b) <= n {
			return false
		}
		if spatial := b[n] >> 1 & 0x07; spatial != 0 {
			return false
		}
		if n++; b[0]&f == 0 {
			n++ // TL0PICIDX
		}
	}
	if b[0]&v != 0 {
		n = vp9AfterStructure(b, n)
	}
	return len(b) > n && !vp9Inter(b[n])
}

// vp9Inter reports whether a frame's first byte is that of an inter frame, not
// hidden, of profile 0, the only one that is negotiated (VP9 bitstream §6.2).
func vp9Inter(first byte) bool { return first&0xfc == 0x84 }

// vp9AfterStructure skips the scalability structure that begins at n (§4.2.1). The
// result lies behind b when it is cut short.
func vp9AfterStructure(b []byte, n int) int {
	const y, g = 0x10, 0x08
	if len(b) <= n {
		return n
	}
	flags := b[n]
	n++
	if flags&y != 0 {
		n += 4 * (int(flags>>5) + 1) // widths and heights
	}
	if flags&g == 0 || len(b) <= n {
		return n
	}
	pictures := int(b[n])
	for n++; pictures > 0 && len(b) > n; pictures-- {
		n += 1 + int(b[n]>>2&0x03) // its references
	}
	return n + pictures
}
