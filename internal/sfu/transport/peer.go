package transport

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/hibari/hibari/internal/sfu/wire"
)

const (
	// maxAddrs is how many proved addresses a peer keeps: enough for every pair
	// of a client with several networks.
	maxAddrs = 8
	// quiet is how long a peer must be silent before another may have its address.
	quiet = 5 * time.Second
	// maxRecords is how many DTLS datagrams wait for the handshake at most.
	maxRecords = 16
	// dataRecords is the same for a peer that may carry data: a burst of a client
	// that sends a long message.
	dataRecords = 128
	// restAfter is how long the DTLS connection is kept open after a waking.
	restAfter = 2 * time.Second
)

// phase is where a peer is in its life.
type phase int

const (
	waiting  phase = iota // for the answer and a valid check
	shaking               // DTLS handshake under way
	attended              // up; its goroutine reads the DTLS connection
	resting               // up; the DTLS state is put away, there is no goroutine
	carrying              // up; its goroutine is the SCTP association's
	leaving               // closed; that goroutine takes leave of the client in order
	over                  // down or closed
)

// Peer is one client. Unprotect, SealRTP and SealRTCP belong to the goroutine
// that owns it, everything else may be called from any.
type Peer struct {
	// Static.
	endpoint *Endpoint
	handler  Handler
	identity *identity
	records  chan record // DTLS datagrams from the reader

	// Atomic.
	local  atomic.Pointer[credentials] // changed by the first check with next
	next   atomic.Pointer[credentials] // of an ICE restart, valid beside local; nil: none under way
	remote atomic.Pointer[remote]      // nil before the answer
	route  atomic.Pointer[wire.Route]  // the pair in use; set by the reader
	media  atomic.Pointer[media]       // set when up; what it points to is the owner's
	seen   atomic.Int64                // last authenticated sign of life, Endpoint.since
	data   atomic.Pointer[association] // set before the answer; nil: no data
	left   atomic.Bool                 // leaving or over: the handlers are not called any more

	// Guarded by routes.mu.
	names []string // local ufrags that find it; none: not any more
	addrs []netip.AddrPort

	mu sync.Mutex
	// Guarded by mu.
	phase  phase
	due    time.Time          // end of the time for set-up; zero before the answer
	cancel context.CancelFunc // ends the handshake; set while shaking
	conn   *dtls.Conn         // while attended or carrying
	pipe   *pipe              // under conn
	since  time.Time          // start of being attended
	saved  *dtls.State        // while resting
	flight [][]byte           // our last, from the handshake's end; nil: the client's was the last
}

// remote is what the client's answer said.
type remote struct {
	ufrag, pwd  string
	fingerprint fingerprint
	setup       Setup
}

// Setup is the client's part in the DTLS handshake, its answer to our actpass
// (RFC 8842 §5).
type Setup string

// What a client may answer.
const (
	// Active: the client begins, as every browser does. Then our order of
	// ciphers decides.
	Active Setup = "active"
	// Passive: we begin. pion answers so to an ICE-lite offer.
	Passive Setup = "passive"
)

// NewPeer makes a peer with fresh ICE credentials. On a closed endpoint it is
// never heard of.
func (e *Endpoint) NewPeer(h Handler) *Peer { return e.newPeer(h, maxRecords) }

// NewDataPeer is NewPeer for a peer that may CarryData.
func (e *Endpoint) NewDataPeer(h Handler) *Peer { return e.newPeer(h, dataRecords) }

func (e *Endpoint) newPeer(h Handler, queue int) *Peer {
	for {
		p := &Peer{
			endpoint: e,
			handler:  h,
			identity: e.identity(),
			records:  make(chan record, queue),
		}
		c := newCredentials("")
		p.local.Store(c)
		e.mu.Lock()
		closing := e.closing
		added := !closing && e.routes.add(p, c.ufrag)
		e.mu.Unlock()
		if closing {
			p.phase = over
		}
		if closing || added {
			return p
		}
	}
}

// Remote is the address media goes to; the zero AddrPort before the first valid
// check.
func (p *Peer) Remote() netip.AddrPort {
	if r := p.route.Load(); r != nil {
		return r.Remote()
	}
	return netip.AddrPort{}
}

// CheckRemote says what SetRemote would object to.
func CheckRemote(ufrag, pwd, fingerprint string, setup Setup) error {
	_, err := parseRemote(ufrag, pwd, fingerprint, setup)
	return err
}

func parseRemote(ufrag, pwd, fingerprint string, setup Setup) (*remote, error) {
	if !validCredentials(ufrag, pwd) {
		return nil, ErrBadCredentials
	}
	f, err := parseFingerprint(fingerprint)
	if err != nil {
		return nil, err
	}
	if setup != Active && setup != Passive {
		return nil, ErrBadSetup
	}
	return &remote{ufrag: ufrag, pwd: pwd, fingerprint: f, setup: setup}, nil
}

// SetRemote sets what the client's answer said: its ICE credentials, the
// fingerprint of its certificate ("sha-256 AB:…"; SHA-384 and SHA-512 too) and
// its part in the handshake, which starts with the first valid check; the time
// for set-up runs from here. Calling it again with the same values does nothing;
// other values are ErrRemoteChanged.
func (p *Peer) SetRemote(ufrag, pwd, fingerprint string, setup Setup) error {
	r, err := parseRemote(ufrag, pwd, fingerprint, setup)
	if err != nil {
		return err
	}
	p.mu.Lock()
	if old := p.remote.Load(); old != nil {
		p.mu.Unlock()
		if *old != *r {
			return ErrRemoteChanged
		}
		return nil
	}
	p.remote.Store(r)
	p.due = time.Now().Add(p.endpoint.setup)
	p.mu.Unlock()
	p.startHandshake()
	return nil
}

// checked takes in a check that is valid by c. The first one sets the pair to use,
// a nominating one changes it: that is how a client changes networks. It reports
// false if the address is another peer's.
func (p *Peer) checked(c *credentials, from netip.AddrPort, to netip.Addr, nominated bool, now time.Time) bool {
	e := p.endpoint
	if !e.routes.bind(p, from, e.since(now.Add(-quiet))) {
		return false
	}
	r := p.route.Load()
	if r == nil || nominated && (r.Remote() != from || r.Local() != to) {
		p.route.Store(e.socket.Route(from, to))
	}
	p.seen.Store(e.since(now))
	if c != p.local.Load() {
		p.restarted(c)
	}
	p.startHandshake()
	return true
}

// record takes a DTLS datagram over: for the handshake, or because it wants
// something of a peer that has finished that.
func (p *Peer) record(r record) {
	p.mu.Lock()
	up, last := p.phase >= attended, p.flight
	p.mu.Unlock()
	if up {
		switch needOf(r.buf.Bytes()[:r.n]) {
		case nothing:
			r.buf.Free()
			p.endpoint.stats.drop(unverified)
			return
		case flight:
			r.buf.Free()
			p.repeat(last)
			return
		}
	}
	select {
	case p.records <- r:
	default:
		r.buf.Free()
		p.endpoint.stats.drop(dtlsFull)
	}
	p.startAttending()
}

// repeat sends our last flight once more.
func (p *Peer) repeat(flight [][]byte) {
	route := p.route.Load()
	for _, datagram := range flight {
		p.endpoint.send(datagram, route)
	}
}

// Close tells the client that the connection is over and frees everything: that of
// a peer that carries data within two seconds, in which what was sent is delivered
// and each data channel is closed. No call of the handlers begins after Close,
// though one may be under way in another goroutine, but for that of DataLeft: Close
// reports whether that is to follow, or was to. It does not block and may be called
// more than once.
func (p *Peer) Close() bool {
	p.finish(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.phase == leaving
}

// lose ends the peer from this side and tells its owner why, unless it is over
// already.
func (p *Peer) lose(reason error) {
	if p.finish(false) {
		p.endpoint.log.Debug("media transport is down", "peer", p.Ufrag(), "reason", reason)
		p.handler.Down(p, reason)
	}
}

// finish takes the peer out of the endpoint and ends its goroutine; it reports
// whether it was the first to do so. In order, a client with data may say goodbye
// first.
func (p *Peer) finish(inOrder bool) bool {
	p.mu.Lock()
	before := p.phase
	if before >= leaving {
		p.mu.Unlock()
		return false
	}
	cancel, conn, saved := p.cancel, p.conn, p.saved
	p.phase, p.cancel, p.conn, p.pipe, p.saved = over, nil, nil, nil, nil
	inOrder = inOrder && before == carrying && p.endpoint.begin(true)
	if inOrder {
		p.phase = leaving
	}
	p.mu.Unlock()
	p.left.Store(true)
	p.media.Store(nil)
	if inOrder {
		go p.runLeaving()
		return true
	}
	p.endpoint.routes.remove(p)
	switch before {
	case shaking:
		cancel()
	case attended, carrying:
		interrupt(conn)
	case resting:
		p.startFarewell(saved)
	}
	return true
}

// sweep is the sweeper's look at the peer.
func (p *Peer) sweep(now time.Time) {
	p.mu.Lock()
	var reason error
	var rest *pipe
	var conn *dtls.Conn
	switch p.phase {
	case waiting, shaking:
		if !p.due.IsZero() && now.After(p.due) {
			reason = ErrSetupTimeout
		}
	case attended, resting, carrying:
		switch silent := p.endpoint.since(now) - p.seen.Load(); {
		case silent > int64(p.endpoint.consent):
			reason = ErrConsentLost
		case p.phase == attended && now.Sub(p.since) > restAfter:
			rest, conn = p.pipe, p.conn
		}
	}
	p.mu.Unlock()
	if reason != nil {
		p.lose(reason)
	}
	if rest != nil {
		rest.hold(conn)
	}
}
