package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
)

// association is the SCTP association of a peer that carries data. It is the
// net.Conn that pion's association reads from and writes to, for the sake of the
// moments when pion asks for the next packet: then it has dealt with the one
// before, and what has become readable in any stream is read in that goroutine.
// So a peer needs no goroutine for each of its channels.
type association struct {
	// Static.
	peer     *Peer
	handler  DataHandler
	channels []DataChannel
	most     int // the longest message the client takes

	ctx  context.Context // of the association's set-up
	stop context.CancelFunc
	conn *dtls.Conn // set when the peer is up, before anything else happens here

	streams atomic.Pointer[[]*stream] // nil before the channels are being opened
	sctp    atomic.Pointer[sctp.Association]
	closed  atomic.Bool // pion is to read and write no more

	// Owned by whoever reads for pion.
	opened int // channels that are, or were, open
	abused bool

	resets chan struct{}         // closed when the client has reset every stream
	ended  chan struct{}         // closed when run is over
	failed atomic.Pointer[error] // what ended the reading

	sending sync.Mutex // makes of the look at what waits and of the sending one step
}

// stream is one open channel.
type stream struct {
	*sctp.Stream
	open atomic.Bool
	// Owned by whoever reads for pion.
	known bool // it was open once
	reset bool // the client has closed it
}

func newAssociation(p *Peer, channels []DataChannel, most int, h DataHandler) *association {
	a := &association{peer: p, handler: h, channels: channels, most: most,
		resets: make(chan struct{}), ended: make(chan struct{})}
	a.ctx, a.stop = context.WithCancel(context.Background())
	return a
}

// run sets the association up, opens the channels, and returns when the
// association has ended, with the reason: ErrClosedByClient if the whole DTLS
// connection has.
func (a *association) run() error {
	defer close(a.ended)
	defer a.stop()
	assoc, err := sctp.ClientContext(a.ctx,
		sctp.WithNetConn(a),
		sctp.WithLoggerFactory(muted),
		sctp.WithMaxReceiveBufferSize(dataWindow),
		sctp.WithMaxMessageSize(uint32(a.longest())),
		sctp.WithMaxReassemblyQueueEntries(dataFragments),
		// Browsers do not have it, and it would be one more way for fragments to
		// wait.
		sctp.WithEnableInterleaving(false))
	if err != nil {
		_ = a.Close()
		return a.reason()
	}
	a.sctp.Store(assoc)
	err = a.open(assoc)
	if err == nil {
		err = a.refuse(assoc)
	}
	_ = assoc.Close()
	if errors.Is(err, ErrDataAbuse) {
		return err
	}
	return a.reason()
}

// longest is the longest message that may be sent.
func (a *association) longest() int {
	const any = 1 << 30
	if a.most <= 0 {
		return any
	}
	return min(a.most, any)
}

// reason is why the association ended.
func (a *association) reason() error {
	switch err := a.failed.Load(); {
	case err != nil && errors.Is(*err, io.EOF):
		return ErrClosedByClient
	case err != nil && errors.Is(*err, ErrDataAbuse):
		return ErrDataAbuse
	}
	return ErrDataClosed
}

// open opens every channel. The DTLS client has the even streams (RFC 8832 §6).
func (a *association) open(assoc *sctp.Association) error {
	id := uint16(1)
	if a.peer.remote.Load().setup == Passive {
		id = 0
	}
	streams := make([]*stream, len(a.channels))
	for i := range streams {
		s, err := assoc.OpenStream(id+2*uint16(i), sctp.PayloadTypeWebRTCBinary)
		if err != nil {
			return err
		}
		if err := neverWait(s); err != nil {
			return err
		}
		streams[i] = &stream{Stream: s}
	}
	a.streams.Store(&streams) // before there is anything to read in them
	for i, s := range streams {
		_, _ = s.WriteSCTP(a.channels[i].open(), sctp.PayloadTypeWebRTCDCEP) // fails when we leave already
	}
	return nil
}

// neverWait makes a stream say that its deadline has passed rather than wait for
// something to read.
func neverWait(s *sctp.Stream) error {
	if err := s.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	// pion notices the deadline in a goroutine. Nothing can be here yet.
	if _, _, err := s.ReadSCTP(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrDataAbuse
	}
	return nil
}

// refuse closes the channels that the client opens by itself, until the
// association ends.
func (a *association) refuse(assoc *sctp.Association) error {
	for strays := 0; ; {
		s, err := assoc.AcceptStream()
		if err != nil {
			return err
		}
		if a.ours(s) {
			continue
		}
		a.peer.endpoint.stats.strays.Add(1)
		if strays++; strays > maxStrays {
			return ErrDataAbuse
		}
		_ = s.Close() // fails when the association is over
	}
}

func (a *association) ours(s *sctp.Stream) bool {
	for _, known := range *a.streams.Load() {
		if known.Stream == s {
			return true
		}
	}
	return false
}

// Read hands pion the next SCTP packet, after what the ones before have made
// readable has been read.
func (a *association) Read(b []byte) (int, error) {
	a.poll()
	n, err := 0, ErrDataAbuse
	if !a.abused {
		n, err = a.conn.Read(b)
	}
	if err != nil {
		a.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// messages is memory for what is being read.
var messages = sync.Pool{New: func() any { return new(make([]byte, 4<<10)) }}

// poll reads all that has become readable.
func (a *association) poll() {
	streams := a.streams.Load()
	if streams == nil {
		return
	}
	buf := messages.Get().(*[]byte)
	closed := 0
	for i, s := range *streams {
		if !s.reset {
			a.drain(i, s, buf)
		}
		if s.reset {
			closed++
		}
	}
	messages.Put(buf)
	if closed == len(*streams) {
		select {
		case <-a.resets:
		default:
			close(a.resets)
		}
	}
}

// drain reads what is readable in one stream.
func (a *association) drain(channel int, s *stream, buf *[]byte) {
	for !a.abused {
		n, ppid, err := s.ReadSCTP(*buf)
		switch {
		case errors.Is(err, io.ErrShortBuffer):
			if n > MaxDataMessage {
				a.abused = true // it was told max-message-size
				return
			}
			*buf = make([]byte, max(n, min(2*len(*buf), MaxDataMessage)))
		case err == nil && ppid == sctp.PayloadTypeWebRTCDCEP:
			a.establish(channel, s, (*buf)[:n])
		case err == nil:
			a.deliver(channel, s, (*buf)[:n], ppid)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		default: // the client has closed it, or the association has ended
			s.reset = true
			s.open.Store(false)
			_ = s.Close() // ours is closed in turn (RFC 8831 §6.7)
			if errors.Is(err, io.EOF) && s.known && !a.peer.left.Load() {
				a.handler.DataClosed(a.peer, channel, ErrNotOpen)
			}
			return
		}
	}
}

// establish takes the client's answer to the opening of a channel.
func (a *association) establish(channel int, s *stream, message []byte) {
	if s.known || len(message) == 0 || message[0] != dcepACK {
		return
	}
	a.channels[channel].commit(s.Stream)
	s.known = true
	s.open.Store(true)
	if a.opened++; a.opened == len(a.channels) && !a.peer.left.Load() {
		a.handler.DataOpen(a.peer)
	}
}

// deliver hands a message to the handler.
func (a *association) deliver(channel int, s *stream, payload []byte, ppid sctp.PayloadProtocolIdentifier) {
	message, binary, ok := messageOf(payload, ppid)
	if !ok || !s.known || len(message) > MaxDataMessage {
		a.abused = true
		return
	}
	if a.peer.left.Load() {
		return
	}
	stats := &a.peer.endpoint.stats
	stats.messagesIn.Add(1)
	stats.messageBytesIn.Add(int64(len(message)))
	a.handler.DataMessage(a.peer, channel, message, binary)
}

// send sends a message.
func (a *association) send(channel int, message []byte, binary bool) error {
	assoc, streams := a.sctp.Load(), a.streams.Load()
	if assoc == nil || streams == nil || channel < 0 || channel >= len(*streams) {
		return ErrNotOpen
	}
	s := (*streams)[channel]
	payload, ppid := payloadOf(message, binary)
	if len(payload) > a.longest() {
		return ErrMessageTooLarge
	}
	a.sending.Lock()
	defer a.sending.Unlock()
	if !s.open.Load() {
		return ErrNotOpen
	}
	if assoc.BufferedAmount()+len(payload) > a.channels[channel].Buffer {
		return ErrDataFull
	}
	if _, err := s.WriteSCTP(payload, ppid); err != nil {
		return ErrNotOpen
	}
	stats := &a.peer.endpoint.stats
	stats.messagesOut.Add(1)
	stats.messageBytesOut.Add(int64(len(message)))
	return nil
}

// leave ends the association in order: what was sent is delivered, every stream
// is reset and the client resets its own (RFC 6525), then the association is shut
// down (RFC 9260 §9.2). It gives up after dataFarewell.
func (a *association) leave() {
	a.stop() // if it is not yet set up
	ctx, cancel := context.WithTimeout(context.Background(), dataFarewell)
	defer cancel()
	if assoc, streams := a.sctp.Load(), a.streams.Load(); assoc != nil && streams != nil {
		a.sending.Lock() // whoever is sending has sent
		for _, s := range *streams {
			s.open.Store(false)
		}
		a.sending.Unlock()
		a.drained(ctx, assoc)
		for _, s := range *streams {
			_ = s.Close() // fails when the association is over
		}
		select {
		case <-a.resets:
			_ = assoc.Shutdown(ctx) // as far as it comes
		case <-a.ended:
		case <-ctx.Done():
		}
	}
	_ = a.Close()
}

// drained waits until the client has all that was sent. A reset that overtakes
// data is put off by the client, and asked for again only after a second.
func (a *association) drained(ctx context.Context, assoc *sctp.Association) {
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for assoc.BufferedAmount() > 0 {
		select {
		case <-tick.C:
		case <-a.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Write sends an SCTP packet.
func (a *association) Write(b []byte) (int, error) {
	if a.closed.Load() {
		return 0, net.ErrClosed
	}
	return a.conn.Write(b)
}

// Close has pion read no more. The DTLS connection stays.
func (a *association) Close() error {
	if !a.closed.Swap(true) {
		interrupt(a.conn)
	}
	return nil
}

// LocalAddr is nominal.
func (a *association) LocalAddr() net.Addr { return a.conn.LocalAddr() }

// RemoteAddr is nominal.
func (a *association) RemoteAddr() net.Addr { return a.conn.RemoteAddr() }

// SetDeadline sets the deadline of reads; writes never wait.
func (a *association) SetDeadline(t time.Time) error { return a.conn.SetReadDeadline(t) }

// SetReadDeadline sets the deadline of reads.
func (a *association) SetReadDeadline(t time.Time) error { return a.conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes never wait.
func (a *association) SetWriteDeadline(time.Time) error { return nil }
