package sfutest

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// DatagramKind says what a datagram of a WebRTC transport holds, as far as its
// clear bytes tell (RFC 7983, RFC 5761).
type DatagramKind int

// The kinds of datagrams.
const (
	Other     DatagramKind = iota
	STUN                   // connectivity checks
	DTLS                   // the handshake, data channels
	AudioRTP               // Opus
	VideoRTP               // any codec, repeats under the same payload type included
	RepairRTP              // retransmissions with a payload type of their own (RFC 4588)
	NACK                   // RTCP that begins with a generic NACK
	RTCP                   // all other RTCP
)

// KindOf tells what a datagram holds. The payload types are the platform's.
func KindOf(datagram []byte) DatagramKind {
	switch {
	case len(datagram) < 12:
		return Other
	case datagram[0] < 4:
		return STUN
	case datagram[0] >= 20 && datagram[0] < 64:
		return DTLS
	case datagram[0]>>6 != 2:
		return Other
	case datagram[1] >= 192 && datagram[1] <= 223:
		const transportFeedback, genericNACK = 205, 1
		if datagram[1] == transportFeedback && datagram[0]&0x1f == genericNACK {
			return NACK
		}
		return RTCP
	}
	switch pt := datagram[1] & 0x7f; {
	case pt == audioPayloadType:
		return AudioRTP
	case isRepair(pt):
		return RepairRTP
	}
	return VideoRTP
}

// IsRTP reports whether a datagram is protected RTP with that payload type,
// payload type 0 meaning any: for Options.Drop and DropSent.
func IsRTP(datagram []byte, payloadType uint8) bool {
	switch KindOf(datagram) {
	case AudioRTP, VideoRTP, RepairRTP:
		return payloadType == 0 || datagram[1]&0x7f == payloadType
	}
	return false
}

// Impairment is what happens to datagrams on their way, as shares from 0 to 1.
// The zero value lets everything pass at once.
type Impairment struct {
	Loss      float64
	Burst     float64 // mean length of a run of losses (Gilbert's model); below 1: losses are independent
	Duplicate float64
	Reorder   float64 // held back by up to LongestHold, so that others overtake
	Delay     time.Duration
	Jitter    time.Duration // added to Delay, evenly distributed; datagrams may overtake each other
}

// LongestHold is how long a reordered datagram is held back at most.
const LongestHold = 40 * time.Millisecond

// Path is one direction of a network. What it does is decided by Seed and the
// order of the datagrams of each kind alone.
type Path struct {
	Seed uint64
	// Media is what happens to RTP and RTCP; connectivity checks and handshakes
	// pass, unless Kinds names them.
	Media Impairment
	// Kinds is what happens to some kinds of datagrams instead.
	Kinds map[DatagramKind]Impairment
}

// Passed counts what went through a Link.
type Passed struct{ Came, Lost, Doubled, Held int64 }

// Link carries datagrams along a Path. Its methods may be called from any
// goroutine.
type Link struct {
	// Static
	path Path

	// Guarded by mu
	mu     sync.Mutex
	lanes  map[DatagramKind]*lane
	passed Passed
}

// lane is the state of one kind of datagrams.
type lane struct {
	Impairment
	random *rand.Rand
	losing bool // Gilbert's bad state
}

// NewLink makes a link.
func NewLink(p Path) *Link { return &Link{path: p, lanes: map[DatagramKind]*lane{}} }

// Carry hands a datagram on: never, at once or later, once or twice. The
// callee of deliver gets a copy if it is not called before Carry returns.
func (l *Link) Carry(kind DatagramKind, datagram []byte, deliver func([]byte)) {
	l.mu.Lock()
	delays, n := l.fate(kind)
	l.mu.Unlock()
	for _, delay := range delays[:n] {
		if delay == 0 {
			deliver(datagram)
			continue
		}
		copied := append([]byte(nil), datagram...)
		time.AfterFunc(delay, func() { deliver(copied) })
	}
}

// Passed says what the link has done so far.
func (l *Link) Passed() Passed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed
}

// fate decides about the next datagram of a kind: how many copies arrive and
// when. The caller holds mu.
func (l *Link) fate(kind DatagramKind) (delays [2]time.Duration, n int) {
	way := l.lanes[kind]
	if way == nil {
		way = &lane{random: rand.New(rand.NewPCG(l.path.Seed, uint64(kind)))}
		if own, ok := l.path.Kinds[kind]; ok {
			way.Impairment = own
		} else if kind != STUN && kind != DTLS {
			way.Impairment = l.path.Media
		}
		l.lanes[kind] = way
	}
	l.passed.Came++
	if way.loses() {
		l.passed.Lost++
		return delays, 0
	}
	n = 1
	if way.random.Float64() < way.Duplicate {
		l.passed.Doubled++
		n = 2
	}
	for i := range n {
		delays[i] = way.Delay
		if way.Jitter > 0 {
			delays[i] += time.Duration(way.random.Int64N(int64(way.Jitter)))
		}
		if way.random.Float64() < way.Reorder {
			l.passed.Held++
			delays[i] += time.Millisecond + time.Duration(way.random.Int64N(int64(LongestHold-time.Millisecond)))
		}
	}
	return delays, n
}

// loses decides whether the next datagram is lost: independently, or in runs
// of the mean length Burst that make up the same share.
func (w *lane) loses() bool {
	if w.Burst <= 1 {
		return w.random.Float64() < w.Loss
	}
	change := 1 / w.Burst
	if !w.losing {
		change *= w.Loss / (1 - w.Loss)
	}
	if w.random.Float64() < change {
		w.losing = !w.losing
	}
	return w.losing
}

// lossyConn is a client's socket with a network in front of it.
type lossyConn struct {
	// Static
	net.PacketConn
	drop, dropSent func([]byte) bool // may be nil
	in, out        *Link             // nil: a perfect network
	arrived        chan parcel       // what in let through; nil without in
	gone           chan struct{}     // closed when the socket fails

	once sync.Once
	err  error // why; set before gone is closed
}

// parcel is a datagram on its way to its reader.
type parcel struct {
	data []byte
	from net.Addr
}

// newLossyConn puts a network in front of a socket.
func newLossyConn(socket net.PacketConn, o Options) *lossyConn {
	l := &lossyConn{PacketConn: socket, drop: o.Drop, dropSent: o.DropSent, gone: make(chan struct{})}
	if o.Out != nil {
		l.out = NewLink(*o.Out)
	}
	if o.In != nil {
		l.in = NewLink(*o.In)
		l.arrived = make(chan parcel, 4096)
		go l.run()
	}
	return l
}

// run reads the socket until it fails.
func (l *lossyConn) run() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := l.PacketConn.ReadFrom(b)
		if err != nil {
			l.once.Do(func() {
				l.err = err
				close(l.gone)
			})
			return
		}
		l.in.Carry(KindOf(b[:n]), b[:n], func(datagram []byte) {
			select {
			case l.arrived <- parcel{append([]byte(nil), datagram...), from}:
			default: // as a kernel whose buffer is full
			}
		})
	}
}

// WriteTo sends a datagram, or loses it.
func (l *lossyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if l.dropSent != nil && l.dropSent(b) {
		return len(b), nil
	}
	if l.out == nil {
		return l.PacketConn.WriteTo(b, to)
	}
	l.out.Carry(KindOf(b), b, func(datagram []byte) {
		_, _ = l.PacketConn.WriteTo(datagram, to) // fails when the client has closed
	})
	return len(b), nil
}

// ReadFrom reads the next datagram that is not lost.
func (l *lossyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.next(b)
		if err != nil || l.drop == nil || !l.drop(b[:n]) {
			return n, from, err
		}
	}
}

func (l *lossyConn) next(b []byte) (int, net.Addr, error) {
	if l.arrived == nil {
		return l.PacketConn.ReadFrom(b)
	}
	select {
	case p := <-l.arrived:
		return copy(b, p.data), p.from, nil
	case <-l.gone:
		return 0, nil, l.err
	}
}
