package transport

import (
	"bytes"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/transport/v5/deadline"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// record is one queued DTLS datagram.
type record struct {
	buf *wire.Buffer
	n   int
}

// pipe is the net.PacketConn one dtls.Conn reads and writes: the peer's queue
// inwards, the shared port outwards, always to where the peer is now.
type pipe struct {
	// Static.
	peer   *Peer
	read   *deadline.Deadline
	open   chan struct{} // closed when reading may begin
	held   chan struct{} // closed by hold: no more is read
	closed chan struct{}

	once, holding sync.Once
	conn          *dtls.Conn  // set before held is closed
	muted         atomic.Bool // nothing goes out any more

	mu sync.Mutex
	// Guarded by mu.
	fresh  bool     // something was read since the last write
	told   bool     // lastFlight was asked for: no more is kept
	flight [][]byte // what was written since the last read
}

// newPipe makes a pipe that reads nothing before its open is closed.
func newPipe(p *Peer) *pipe {
	return &pipe{peer: p, read: deadline.New(),
		open: make(chan struct{}), held: make(chan struct{}), closed: make(chan struct{})}
}

// hold has nothing more read, and conn interrupted once it asks for more: then it
// has dealt with all that it was given.
func (c *pipe) hold(conn *dtls.Conn) {
	c.holding.Do(func() {
		c.conn = conn
		close(c.held)
	})
}

// ReadFrom waits for the next datagram.
func (c *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case <-c.open:
	case <-c.closed:
		return 0, nil, net.ErrClosed
	case <-c.read.Done():
		return 0, nil, os.ErrDeadlineExceeded
	}
	records, held := c.peer.records, c.held
	for {
		select {
		case <-c.closed:
			return 0, nil, net.ErrClosed
		case <-c.read.Done():
			return 0, nil, os.ErrDeadlineExceeded
		case <-held:
			records, held = nil, nil
			interrupt(c.conn)
		case r := <-records:
			n := copy(b, r.buf.Bytes()[:r.n])
			r.buf.Free()
			c.mu.Lock()
			c.fresh = true
			c.mu.Unlock()
			return n, c.LocalAddr(), nil
		}
	}
}

// WriteTo sends one datagram; the address is ignored.
func (c *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	if c.muted.Load() {
		return len(b), nil
	}
	r := c.peer.route.Load()
	if r == nil {
		return 0, net.ErrClosed
	}
	c.mu.Lock()
	if c.fresh {
		c.fresh, c.flight = false, nil
	}
	if !c.told {
		c.flight = append(c.flight, bytes.Clone(b))
	}
	c.mu.Unlock()
	c.peer.endpoint.send(b, r) // what is dropped, DTLS repeats
	return len(b), nil
}

// lastFlight is what was sent last, datagram by datagram. It is asked once, at the
// end of the handshake; what is sent later is not kept.
func (c *pipe) lastFlight() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	flight := c.flight
	c.told, c.flight = true, nil
	return flight
}

// Close ends a waiting ReadFrom.
func (c *pipe) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// LocalAddr is nominal: DTLS compares addresses only with connection ids, which
// are not in use.
func (c *pipe) LocalAddr() net.Addr { return &net.UDPAddr{} }

// SetDeadline sets the deadline of reads; writes never wait.
func (c *pipe) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline makes a waiting ReadFrom return at t; zero is never.
func (c *pipe) SetReadDeadline(t time.Time) error {
	c.read.Set(t)
	return nil
}

// SetWriteDeadline does nothing: writes never wait.
func (c *pipe) SetWriteDeadline(time.Time) error { return nil }
