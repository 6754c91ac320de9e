package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// Endpoint is one UDP port that carries any number of peers.
type Endpoint struct {
	// Static after Listen.
	socket     *wire.Socket
	log        *slog.Logger
	candidates []string
	setup      time.Duration
	consent    time.Duration
	started    time.Time // origin of Peer.seen

	stats      counters
	routes     routes
	identities identities

	order  sync.Mutex // held from the reading of datagrams until they are handed on
	poller *reader    // guarded by order; nil once closed

	// Channels closed by Close, by the two loops and by the last peer goroutine.
	stop, readerDone, sweeperDone, idle chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	closing bool // no new peers and handshakes
	sealed  bool // no new goroutines at all
	active  int  // goroutines of peers
}

// Listen opens the port and starts the reader and the sweeper.
func Listen(c Config) (*Endpoint, error) {
	socket, err := wire.Listen(c.Addr)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		socket:      socket,
		log:         c.Log,
		candidates:  candidates(socket, c.IPs),
		setup:       c.SetupTimeout,
		consent:     c.ConsentTimeout,
		started:     time.Now(),
		stop:        make(chan struct{}),
		readerDone:  make(chan struct{}),
		sweeperDone: make(chan struct{}),
		idle:        make(chan struct{}),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.setup <= 0 {
		e.setup = DefaultSetupTimeout
	}
	if e.consent <= 0 {
		e.consent = DefaultConsentTimeout
	}
	e.identities.lifetime = c.CertificateLifetime
	if e.identities.lifetime <= 0 {
		e.identities.lifetime = DefaultCertificateLifetime
	}
	if _, err := e.identities.at(e.started); err != nil {
		_ = socket.Close()
		return nil, err
	}
	if len(e.candidates) == 0 {
		_ = socket.Close()
		return nil, fmt.Errorf("couldn't open the media port: no usable address to offer among %v", c.IPs)
	}
	e.routes.init()
	e.poller = newReader(e)
	e.start()
	return e, nil
}

func (e *Endpoint) start() {
	go e.runReader()
	go e.runSweeper()
}

// Close closes every peer, telling the clients, then the port, and waits for the
// endpoint's goroutines. No handler is called after it has returned.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		<-e.readerDone
		return nil
	}
	e.closing = true
	e.mu.Unlock()

	for _, p := range e.routes.all(nil) {
		p.Close()
	}
	e.mu.Lock()
	e.sealed = true
	wait := e.active > 0
	e.mu.Unlock()
	if wait {
		<-e.idle
	}
	close(e.stop)
	err := e.socket.Close()
	<-e.readerDone
	<-e.sweeperDone
	e.order.Lock()
	e.poller.in.Free()
	e.poller = nil
	e.order.Unlock()
	return err
}

// begin counts a goroutine of a peer; false means the endpoint is closing and it
// must not start. last lets the goodbyes through that Close itself causes.
func (e *Endpoint) begin(last bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sealed || e.closing && !last {
		return false
	}
	e.active++
	return true
}

// end counts down what begin counted.
func (e *Endpoint) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.active--; e.active == 0 && e.sealed {
		close(e.idle)
	}
}

// LocalAddr is the address the port is bound to.
func (e *Endpoint) LocalAddr() netip.AddrPort { return e.socket.LocalAddr() }

// Candidates are the values of the SDP "candidate" attributes to offer, without
// "candidate:", most preferred first.
func (e *Endpoint) Candidates() []string { return append([]string(nil), e.candidates...) }

// send sends one datagram at once; what does not go is counted.
func (e *Endpoint) send(b []byte, to *wire.Route) {
	switch err := e.socket.Send(b, to); {
	case err == nil:
	case errors.Is(err, wire.ErrFull):
		e.stats.drop(sendFull)
	default:
		e.stats.drop(sendRefused)
	}
}

// since is t on the endpoint's clock, in nanoseconds from its start.
func (e *Endpoint) since(t time.Time) int64 { return int64(t.Sub(e.started)) }
