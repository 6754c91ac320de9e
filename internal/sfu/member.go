package sfu

import (
	"errors"
	"iter"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// member is a connection as its channel's worker knows it. It is also the
// handler of the connection's transport; those methods only post.
type member struct {
	// Static
	conn *Connection

	// Owned by run
	payloads *payloadTable // of its uploads; shared, never changed
	offered  *Offer        // the client's, until it is answered; nil: we offer
	up       bool          // the media transport is up
	offerAt  time.Time
	sections []*section
	ups      [kinds]*track // what it publishes; nil: no section for that

	// Negotiation
	sdpID    uint64
	version  int
	offering bool // an offer waits for its answer
	answered bool // the first offer has been answered
	stale    bool // the sections no longer show what they should
	opening  bool // the client took data channels, and not all are open yet

	// Feedback
	arrivals     *packet.Arrivals // nil: nothing came with a transport-wide number
	transportExt uint8            // id of the transport-wide sequence number; 0: not negotiated
	feedbackAt   time.Time
	nextReport   time.Time
	clockOffset  time.Duration // ours minus its, from sender reports
	clockKnown   bool
	transportSeq uint16  // of the newest packet to it, where the client counts those
	quality      quality // of the way to it

	// Simulcast: what it is to get
	wishForAll wish            // of every publisher
	wishes     map[string]wish // of single ones, by connection id
	allotment  allotment
	allotted   time.Time // when that was last brought up to date
	minute     time.Time // when the next minute since its connecting is full

	// Spotlight: its voice, nil: it has none there; and which layers it wants of all
	// and of single publishers
	voice  *speaker
	spot   ridPair
	spotOf map[string]ridPair // by connection id

	changes  allowance          // of its metadata
	keyAsks  allowance          // key frames that the tenant's server asks of it
	filters  filters            // what it wants to be shown
	verdicts map[*track]verdict // of the filters
	untold   bool               // they may keep something from it that it was not told of

	// What came and went. Of in, what a layer or report counts is added when it is
	// published; out is also written by whoever seals for the member.
	bytesIn, packetsIn int64 // of all media, also what was of no use
	in, out            [kinds]Flow
}

// open prepares the member's state; from then on it is a member.
func (m *member) open(w *worker) {
	m.sdpID = rand.Uint64() >> 2 // positive in 63 bits, as browsers want it
	m.offerAt = w.now
	m.filters = newFilters(m.request().Filters)
	m.payloads = &payloadTypes
	if s := m.request().Simulcast; s != nil {
		m.wishForAll, _ = parseWish(s.RequestRID) // what it does not know is auto
	}
}

// request is what the client asked for.
func (m *member) request() *JoinRequest { return &m.conn.request }

// peer is the connection's transport.
func (m *member) peer() *transport.Peer { return m.conn.peer }

// sameBundle reports whether two connections must not be shown to each other.
func (m *member) sameBundle(o *member) bool {
	return m.request().BundleID == o.request().BundleID
}

// wants reports whether the member is to be shown a kind of media.
func (m *member) wants(k kind) bool {
	return m.request().Role.Receives() && m.wish(k).Enabled
}

func (m *member) wish(k kind) MediaWish {
	if k == audio {
		return m.request().Audio
	}
	return m.request().Video
}

// nextMID names the section that comes next.
func (m *member) nextMID() string { return strconv.Itoa(len(m.sections)) }

// arrived notes a packet with a transport-wide sequence number.
func (m *member) arrived(ssrc uint32, number []byte, at time.Time) {
	if len(number) != 2 {
		return
	}
	if m.arrivals == nil {
		m.arrivals = new(packet.Arrivals)
	}
	m.arrivals.Saw(ssrc, uint16(number[0])<<8|uint16(number[1]), at.Sub(began))
}

// feedbackDue is how many arrived packets wait to be reported.
func (m *member) feedbackDue() int {
	if m.arrivals == nil {
		return 0
	}
	return m.arrivals.Pending()
}

// publish makes the counters visible to others, as of now.
func (m *member) publish(now time.Time) {
	m.conn.bytesIn.Store(m.bytesIn)
	m.conn.bytesOut.Store(m.out[audio].Bytes + m.out[video].Bytes)
	m.conn.packetsIn.Store(m.packetsIn)
	m.conn.packetsOut.Store(m.out[audio].Packets + m.out[video].Packets)
	m.conn.quality.store(m)
	m.conn.reading.store(m, now)
}

// Datagrams takes protected packets from the transport.
func (m *member) Datagrams(_ *transport.Peer, batch []transport.Datagram) {
	if ch := m.conn.home(); ch != nil {
		ch.deliver(m, batch)
		return
	}
	for i := range batch {
		batch[i].Free()
	}
}

// Up is told when the DTLS handshake is over.
func (m *member) Up(*transport.Peer) {
	if ch := m.conn.home(); ch != nil {
		ch.post(func(w *worker) { w.goneUp(m) })
	}
}

// Down is told when the client is lost.
func (m *member) Down(_ *transport.Peer, reason error) {
	m.conn.leave()
	if ch := m.conn.home(); ch != nil {
		ch.post(func(w *worker) { w.goneDown(m, reason) })
	}
}

// endOf is how a loss of the transport is called in events.
func endOf(m *member, reason error) string {
	switch {
	case errors.Is(reason, transport.ErrClosedByClient):
		return tenant.EndClient
	case m.up, errors.Is(reason, transport.ErrConsentLost):
		return tenant.EndTimeout
	}
	return tenant.EndSetupTimeout
}

// layers yields all layers of what the member publishes.
func (m *member) layers() iter.Seq[*layer] {
	return func(yield func(*layer) bool) {
		for _, t := range m.ups {
			if t == nil {
				continue
			}
			for _, l := range t.layers {
				if !yield(l) {
					return
				}
			}
		}
	}
}
