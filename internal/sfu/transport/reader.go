package transport

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// readerPause is how long the reader rests after an error of the socket that is
// not its end, such as a lack of kernel memory.
const readerPause = 10 * time.Millisecond

// reader is what it takes to work off datagrams. The endpoint has two: one for its
// goroutine, which waits for them, and one for those who poll.
type reader struct {
	// Static.
	endpoint *Endpoint
	in       *wire.Inbound

	// Owned by whoever holds the endpoint's order.
	groups []group // media of the batch at hand, by peer
	used   int
	// The peer of the last address asked for; valid within a batch.
	lastAddr netip.AddrPort
	lastPeer *Peer
	// Memory for parsing and answering checks.
	request, response stun.Message
	ip                [16]byte
}

// group is the media of one peer in one batch.
type group struct {
	peer  *Peer
	batch []Datagram
}

// runReader takes batches from the socket until it is closed.
func (e *Endpoint) runReader() {
	defer close(e.readerDone)
	r := newReader(e)
	defer r.in.Free()
	for {
		n, err := r.in.Receive(&e.order)
		switch {
		case err == nil:
			r.batch(n, time.Now())
			e.order.Unlock()
		case errors.Is(err, net.ErrClosed):
			return
		default:
			e.log.Warn("couldn't read the media port", "error", err)
			select {
			case <-e.stop:
			case <-time.After(readerPause):
			}
		}
	}
}

func newReader(e *Endpoint) *reader { return &reader{endpoint: e, in: e.socket.NewInbound()} }

// Poll works off what has arrived at the port, without waiting, in the goroutine
// of the caller. Who is busy for long calls it now and then: the reader's own
// goroutine may not get a processor meanwhile. The caller must be ready to have
// its handlers called.
func (e *Endpoint) Poll() {
	if !e.order.TryLock() {
		return // somebody is at it
	}
	defer e.order.Unlock()
	if e.poller == nil {
		return // closed
	}
	if n, err := e.poller.in.Poll(); err == nil && n > 0 {
		e.poller.batch(n, time.Now())
	}
}

// batch sorts n datagrams by kind (RFC 7983 §7) and hands out the media.
func (r *reader) batch(n int, now time.Time) {
	r.lastAddr, r.lastPeer = netip.AddrPort{}, nil
	c := &r.endpoint.stats
	var bytes int64
	for i := range n {
		data := r.in.Data(i)
		if data == nil {
			c.drop(truncated)
			continue
		}
		bytes += int64(len(data))
		switch {
		case len(data) < 12:
			c.drop(unknownKind)
		case data[0] <= 3:
			r.check(data, r.in.From(i), r.in.To(i), now)
			r.lastAddr = netip.AddrPort{} // the check may have moved a peer
		case data[0] >= 20 && data[0] <= 63:
			r.dtls(i)
		case data[0] >= 128 && data[0] <= 191:
			r.media(i, now)
		default:
			c.drop(unknownKind)
		}
	}
	c.packetsIn.Add(int64(n))
	c.bytesIn.Add(bytes)
	r.deliver()
}

// peer finds who sent datagram i.
func (r *reader) peer(i int) *Peer {
	a := r.in.From(i)
	if a != r.lastAddr {
		r.lastAddr, r.lastPeer = a, r.endpoint.routes.at(a)
	}
	if r.lastPeer == nil {
		r.endpoint.stats.drop(noPeer)
	}
	return r.lastPeer
}

// dtls queues a DTLS datagram for its peer.
func (r *reader) dtls(i int) {
	if p := r.peer(i); p != nil {
		n := len(r.in.Data(i))
		p.record(record{buf: r.in.Take(i), n: n})
	}
}

// media puts an SRTP or SRTCP packet to the others of its peer.
func (r *reader) media(i int, now time.Time) {
	p := r.peer(i)
	if p == nil {
		return
	}
	g := r.group(p)
	n := len(r.in.Data(i))
	buf := r.in.Take(i)
	g.batch = append(g.batch, Datagram{Data: buf.Bytes()[:n], At: now, buf: buf})
}

// group finds or starts the group of p.
func (r *reader) group(p *Peer) *group {
	for i := range r.used {
		if r.groups[i].peer == p {
			return &r.groups[i]
		}
	}
	if r.used == len(r.groups) {
		r.groups = append(r.groups, group{})
	}
	g := &r.groups[r.used]
	g.peer = p
	r.used++
	return g
}

// deliver hands each peer's media to its handler.
func (r *reader) deliver() {
	for i := range r.used {
		g := &r.groups[i]
		if g.peer.left.Load() { // but is still taking leave
			for j := range g.batch {
				g.batch[j].Free()
			}
		} else {
			g.peer.handler.Datagrams(g.peer, g.batch)
		}
		clear(g.batch)
		g.peer, g.batch = nil, g.batch[:0]
	}
	r.used = 0
}
