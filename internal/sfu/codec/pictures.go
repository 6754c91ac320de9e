package codec

// Pictures keeps the numbers by which VP8 and VP9 count pictures in their payload
// descriptors continuous for a viewer that is sent one source after another: the
// picture ID, of 7 or 15 bits, and TL0PICIDX, of 8 (RFC 7741 §4.2, RFC 9628 §4.2).
// Decoders take a number that goes back for an old picture. Other codecs have no
// such numbers here.
//
// Within one source each number is moved by the same distance, so that repeats are
// the same bytes. It belongs to one goroutine; the zero value is ready and moves
// nothing.
type Pictures struct {
	id, tl0 counting
}

// counting is one such number.
type counting struct {
	shift  uint16 // what is added
	newest uint16 // the newest that was sent
	begun  bool   // any was
}

// counts says where a payload counts pictures: places in it; 0: not at all.
type counts struct {
	id, tl0 int
	wide    bool // the picture ID has 15 bits
}

// Switch begins another source with its first payload: its numbers follow on the
// newest of the source before.
func (p *Pictures) Switch(codec string, payload []byte) {
	c := countsOf(codec, payload)
	if c.id != 0 {
		p.id.follow(c.readID(payload), c.mask())
	}
	if c.tl0 != 0 {
		p.tl0.follow(uint16(payload[c.tl0]), 0xff)
	}
}

// Sent notes a payload of the present source, as it was published, that is sent
// for the first time.
func (p *Pictures) Sent(codec string, payload []byte) {
	c := countsOf(codec, payload)
	if c.id != 0 {
		p.id.sent(c.readID(payload), c.mask())
	}
	if c.tl0 != 0 {
		p.tl0.sent(uint16(payload[c.tl0]), 0xff)
	}
}

// Rewrite is the payload of the present source as the viewer gets it: payload
// itself if nothing is to be changed, else a copy in scratch's memory, which is
// grown when it is too small.
func (p *Pictures) Rewrite(codec string, payload, scratch []byte) []byte {
	if p.id.shift == 0 && p.tl0.shift == 0 {
		return payload
	}
	c := countsOf(codec, payload)
	if c.id == 0 && c.tl0 == 0 {
		return payload
	}
	b := append(scratch[:0], payload...)
	if c.id != 0 {
		c.writeID(b, (c.readID(payload)+p.id.shift)&c.mask())
	}
	if c.tl0 != 0 {
		b[c.tl0] += uint8(p.tl0.shift)
	}
	return b
}

// follow begins another source with its first number.
func (c *counting) follow(first, mask uint16) {
	if c.begun {
		c.shift = (c.newest + 1 - first) & mask
	}
}

func (c *counting) sent(n, mask uint16) {
	n = (n + c.shift) & mask
	if ahead := (n - c.newest) & mask; !c.begun || ahead <= mask/2 {
		c.newest, c.begun = n, true
	}
}

// mask has a bit for each of the picture ID's.
func (c counts) mask() uint16 {
	if c.wide {
		return 1<<15 - 1
	}
	return 1<<7 - 1
}

func (c counts) readID(b []byte) uint16 {
	if c.wide {
		return uint16(b[c.id]&0x7f)<<8 | uint16(b[c.id+1])
	}
	return uint16(b[c.id] & 0x7f)
}

func (c counts) writeID(b []byte, id uint16) {
	if c.wide {
		b[c.id], b[c.id+1] = 0x80|uint8(id>>8), uint8(id)
		return
	}
	b[c.id] = uint8(id)
}

// countsOf finds the numbers of a payload. What is cut short has none.
func countsOf(codec string, b []byte) (c counts) {
	switch codec {
	case VP8:
		c = vp8Counts(b)
	case VP9:
		c = vp9Counts(b)
	}
	if c.wide && c.id+1 >= len(b) || c.id >= len(b) || c.tl0 >= len(b) {
		return counts{}
	}
	return c
}

func vp8Counts(b []byte) (c counts) {
	const x, i, l = 0x80, 0x80, 0x40
	if len(b) < 3 || b[0]&x == 0 {
		return counts{}
	}
	n := 2
	if b[1]&i != 0 {
		c.id, c.wide = n, b[n]&0x80 != 0
		n++
		if c.wide {
			n++
		}
	}
	if b[1]&l != 0 {
		c.tl0 = n
	}
	return c
}

func vp9Counts(b []byte) (c counts) {
	const i, l, f = 0x80, 0x20, 0x10
	if len(b) < 2 {
		return counts{}
	}
	n := 1
	if b[0]&i != 0 {
		c.id, c.wide = n, b[n]&0x80 != 0
		n++
		if c.wide {
			n++
		}
	}
	if b[0]&l != 0 && b[0]&f == 0 {
		c.tl0 = n + 1
	}
	return c
}
