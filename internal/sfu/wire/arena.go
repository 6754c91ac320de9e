package wire

const (
	// arenaPackets is the most packets one flush holds.
	arenaPackets = 256
	// arenaChunk is after how many packets a new destination flushes first:
	// small enough for the memory to stay in the second-level cache.
	arenaChunk = 128
	// arenaBytes is the memory of an arena.
	arenaBytes = arenaPackets * 1536
	// slotAlign keeps packets on cache lines of their own.
	slotAlign = 64
	// MaxDatagram is the largest payload Reserve takes, in bytes: what Ethernet
	// carries over IPv4.
	MaxDatagram = 1472
	// trainPackets and trainBytes bound a train: UDP_MAX_SEGMENTS of the older
	// kernels, and one IP packet.
	trainPackets = 64
	trainBytes   = 65000
)

// Arena collects outgoing packets of one worker and sends them with few system
// calls. It belongs to the goroutine that uses it. Its memory is lent by the
// socket between the first Reserve and the flush, so an idle arena costs
// nothing.
type Arena struct {
	socket *Socket
	mem    *storage // nil while empty
	stats  Stats    // since the last Flush
}

// storage is the memory of an arena that holds packets.
type storage struct {
	data  []byte
	spans [arenaPackets]span
	n     int // packets committed
	end   int // where the next slot starts in data
	batch     // what the system needs to send them
}

// span is one committed packet.
type span struct {
	to       *Route
	off, len int
}

func newStorage(s *Socket) *storage {
	m := &storage{data: make([]byte, arenaBytes)}
	m.setup(s)
	return m
}

// NewArena makes an empty arena.
func (s *Socket) NewArena() *Arena { return &Arena{socket: s} }

// Reserve gives room for one packet of up to n bytes to the given route, n being
// at most MaxDatagram. The memory is the caller's until Commit or the next
// Reserve. A full arena flushes first.
func (a *Arena) Reserve(to *Route, n int) []byte {
	if m := a.mem; m != nil {
		full := m.n == arenaPackets || m.end+n > len(m.data)
		if full || m.n >= arenaChunk && m.spans[m.n-1].to != to {
			a.flush()
		}
	}
	if a.mem == nil {
		a.mem = a.socket.arenas.Get().(*storage)
	}
	m := a.mem
	m.spans[m.n].to = to
	return m.data[m.end : m.end+n : m.end+n]
}

// Commit adds the first n bytes of the reserved memory as a packet.
func (a *Arena) Commit(n int) {
	m := a.mem
	m.spans[m.n].off, m.spans[m.n].len = m.end, n
	m.n++
	m.end += (n + slotAlign - 1) &^ (slotAlign - 1)
}

// Flush sends what has been committed and says what was sent since the last
// Flush, including what a full arena sent by itself. It never waits and tries
// nothing twice: what the socket does not take is dropped and counted, a train's
// packets together, and what stands behind it is tried all the same.
func (a *Arena) Flush() Stats {
	a.flush()
	s := a.stats
	a.stats = Stats{}
	return s
}

func (a *Arena) flush() {
	m := a.mem
	if m == nil {
		return
	}
	a.mem = nil
	if m.n > 0 {
		m.send(a.socket, &a.stats)
	}
	for i := range m.n {
		m.spans[i].to = nil
	}
	m.n, m.end = 0, 0
	a.socket.arenas.Put(m)
}

// run returns the end of the run of packets, starting with number i, that can make
// one train: one route, equal sizes, only the last one shorter.
func (m *storage) run(i int) int {
	first := &m.spans[i]
	j, total := i+1, first.len
	for j < m.n && j-i < trainPackets {
		s := &m.spans[j]
		total += s.len
		if s.to != first.to || s.len > first.len || total > trainBytes {
			break
		}
		j++
		if s.len < first.len {
			break
		}
	}
	return j
}
