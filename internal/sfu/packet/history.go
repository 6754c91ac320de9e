package packet

// Packet is one published RTP packet as the history keeps it.
type Packet struct {
	Seq       uint64 // unwrapped
	Timestamp uint32
	Marker    bool
	HasLevel  bool  // Level is set
	Level     uint8 // the audio level header extension (RFC 6464)
	Pad       uint8 // bytes of padding that every viewer gets, so that packets of a frame are of equal size
	// Ready: the padding is decided. Nothing may be sent of a packet before that:
	// every viewer, and every repeat, must get the same bytes.
	Ready   bool
	Payload []byte
}

// PadRoom is how much padding a packet in a History can get, in bytes.
const PadRoom = 64

// SetPad gives a packet of a History n bytes of padding, at most PadRoom. They
// lie behind its payload once and for all viewers.
func (p *Packet) SetPad(n int) {
	p.Pad = uint8(n)
	if n > 0 {
		padding := p.Payload[len(p.Payload) : len(p.Payload)+n]
		clear(padding)
		padding[n-1] = uint8(n)
	}
}

// Padded is the payload with the padding: what a header with the P bit set goes
// before.
func (p *Packet) Padded() []byte { return p.Payload[:len(p.Payload)+int(p.Pad)] }

// History keeps the newest packets of one published track, one copy for all
// viewers: fan-out and resends read from it. It belongs to one goroutine. Slots
// grow to the size of what they hold and are then reused, so that in the long
// run nothing is allocated.
type History struct {
	slots []Packet
	used  []bool
}

// NewHistory makes a history of the newest size packets; size is a power of two.
func NewHistory(size int) *History {
	if size <= 0 || size&(size-1) != 0 {
		panic("packet: history size is no power of two")
	}
	return &History{slots: make([]Packet, size), used: make([]bool, size)}
}

// slotRoom is the least memory of a slot: any packet of an ordinary network.
const slotRoom = 1280

// Add copies p, payload included, and returns the copy. It returns nil when p is
// there already or is older than what the history reaches back to. The copy is
// overwritten by the packet size numbers later.
func (h *History) Add(p *Packet) *Packet {
	i := p.Seq & uint64(len(h.slots)-1)
	slot := &h.slots[i]
	if h.used[i] && slot.Seq >= p.Seq {
		return nil
	}
	room := slot.Payload[:0]
	if n := len(p.Payload) + PadRoom; cap(room) < n {
		room = make([]byte, 0, max(slotSize(n), n))
	}
	*slot = *p
	slot.Payload = append(room, p.Payload...)
	h.used[i] = true
	return slot
}

// slotSize gives small packets (audio) small slots.
func slotSize(n int) int {
	if n <= 256 {
		return 256
	}
	return slotRoom
}

// Get returns the packet of that number, nil when it is unknown or too old.
func (h *History) Get(seq uint64) *Packet {
	i := seq & uint64(len(h.slots)-1)
	if !h.used[i] || h.slots[i].Seq != seq {
		return nil
	}
	return &h.slots[i]
}

// Clear forgets everything but keeps the memory.
func (h *History) Clear() { clear(h.used) }
