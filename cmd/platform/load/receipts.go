package load

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"time"
)

// A payload begins with room for a VP8 descriptor and frame header, then says
// which packet it is:
//
//	header 11 | publisher 2 | number 6 | nanoseconds since epoch 8
const (
	headerSize = 11
	minPayload = headerSize + 16
	maxPayload = 1180
)

// stamp is what a packet says of itself.
type stamp struct {
	publisher int
	number    uint64        // counts the publisher's packets
	sent      time.Duration // since the run's epoch
}

// write puts the stamp into a payload.
func (s stamp) write(payload []byte) {
	binary.BigEndian.PutUint64(payload[headerSize:], uint64(s.publisher)<<48|s.number)
	binary.BigEndian.PutUint64(payload[headerSize+8:], uint64(s.sent))
}

// readStamp reads the stamp of an RTP packet in the clear; false if it has none.
func readStamp(packet []byte) (stamp, bool) {
	payload := rtpPayload(packet)
	if len(payload) < minPayload {
		return stamp{}, false
	}
	id := binary.BigEndian.Uint64(payload[headerSize:])
	return stamp{
		publisher: int(id >> 48),
		number:    id & (1<<48 - 1),
		sent:      time.Duration(binary.BigEndian.Uint64(payload[headerSize+8:])),
	}, true
}

// rtpPayload skips the RTP header (RFC 3550 §5.1); nil if there is none.
func rtpPayload(b []byte) []byte {
	if len(b) < 12 {
		return nil
	}
	n := 12 + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return nil
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	if len(b) < n {
		return nil
	}
	return b[n:]
}

// receipts is what one viewer got.
type receipts struct {
	// Static
	start time.Time // of the call
	first chan struct{}

	mu      sync.Mutex // guards the rest
	joined  time.Duration
	tallies map[int]*tally  // by publisher; nil: not counting yet
	delays  []time.Duration // of some packets
}

// tally counts the packets of one publisher.
type tally struct {
	from  uint64
	seen  []uint64 // a bit per packet number since from
	twice int
}

// maxDelays bounds the delays that one viewer keeps.
const maxDelays = 1 << 14

// maxWords bounds what a viewer notes: a packet that claims a number far ahead
// must not cost memory.
const maxWords = 1 << 20

func newReceipts() *receipts { return &receipts{start: time.Now(), first: make(chan struct{})} }

// join notes that the viewer has what it came for; the first call counts.
func (r *receipts) join() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joinLocked()
}

func (r *receipts) joinLocked() {
	if r.joined == 0 {
		r.joined = max(1, time.Since(r.start))
		close(r.first)
	}
}

// begin starts the counting, for each publisher at a packet number.
func (r *receipts) begin(from map[int]uint64) {
	tallies := make(map[int]*tally, len(from))
	for publisher, number := range from {
		tallies[publisher] = &tally{from: number}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tallies = tallies
}

// got notes a packet.
func (r *receipts) got(publisher int, number uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joinLocked()
	if t := r.tallies[publisher]; t != nil {
		t.add(number)
	}
}

// delayed notes how long a packet took, of those that the viewer times.
func (r *receipts) delayed(delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tallies != nil && len(r.delays) < maxDelays {
		r.delays = append(r.delays, delay)
	}
}

// add counts one packet.
func (t *tally) add(number uint64) {
	if number < t.from {
		return
	}
	word, bit := (number-t.from)/64, uint64(1)<<((number-t.from)%64)
	if word >= maxWords {
		return // no packet of ours
	}
	for uint64(len(t.seen)) <= word {
		t.seen = append(t.seen, 0)
	}
	if t.seen[word]&bit != 0 {
		t.twice++
	}
	t.seen[word] |= bit
}

// upTo says how many different packets came of those before number to.
func (t *tally) upTo(to uint64) (count uint64) {
	n := to - t.from
	for i, w := range t.seen {
		switch left := int64(n) - int64(i)*64; {
		case left <= 0:
			return count
		case left < 64:
			w &= 1<<left - 1
		}
		count += uint64(bits.OnesCount64(w))
	}
	return count
}
