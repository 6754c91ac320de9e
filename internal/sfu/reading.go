package sfu

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// Flow counts the media of one kind that goes one way, since the connection
// began. The words are those of W3C's webrtc-stats.
type Flow struct {
	Bytes   int64 // of RTP packets with their headers, without what SRTP, UDP and IP add
	Packets int64 // resends included
	// Lost is by RFC 3550 §6.4.1, of Expected packets: what the client reports of
	// what it is sent, or what did not come of what it sends. What was repaired
	// counts as lost, and what came twice makes it less.
	Lost, Expected int64
	Resent         int64 // packets that were sent again
	NACKs          int64 // messages that ask for packets again: from the client, or to it
	PLIs, FIRs     int64 // messages that ask for a key frame, likewise
	Frames         int64 // video: that ended; of several layers, of the one with the most
	FramesDropped  int64 // video to the client: not sent, for it waits for a key frame or they were late
	// Jitter of arrivals now (RFC 3550 §6.4.1), of the source where it is largest;
	// 0: not known.
	Jitter time.Duration
}

// Flows are the flows of one direction.
type Flows struct{ Audio, Video Flow }

// LayerCounts are views, or layers, by which layer of a simulcast they are: none,
// r0, r1, r2.
type LayerCounts [1 + len(rids)]int

// Reading is what a connection's counters said at one moment.
type Reading struct {
	// Static
	Tenant       tenant.ID
	Channel      string
	ConnectionID string

	At        time.Time     // of the reading, on the monotonic clock
	Connected time.Duration // how long media has been up
	In, Out   Flows         // from the client, to the client
	RTT       time.Duration // round trip by the client's reports of what it is sent, smoothed; 0: not known
	Bandwidth int64         // what the client says that it can receive, in bit/s (REMB); 0: it says nothing
	DataIn    int64         // bytes of data messages from the client
	DataOut   int64         // and to it
	Sent      LayerCounts   // simulcast: which layers the client sends
	Shown     LayerCounts   // simulcast: how many of the publishers that it is shown come in each layer
	Target    LayerCounts   // and in which they are to come
}

// publishedReading is a reading that anybody may copy. The worker brings it up to
// date once a second.
type publishedReading struct {
	mu sync.Mutex
	// Guarded by mu
	any bool
	at  Reading
}

// store notes what the counters say; nothing before media is up.
func (p *publishedReading) store(m *member, now time.Time) {
	since := m.conn.connectedAt.Load()
	if since == nil {
		return
	}
	m.sumUp()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.at
	p.any = true
	r.At, r.Connected = now, now.Sub(*since)
	r.In, r.Out = Flows{m.in[audio], m.in[video]}, Flows{m.out[audio], m.out[video]}
	r.RTT, r.Bandwidth = m.quality.rtt, int64(min(m.quality.bandwidth, 1<<62))
	m.countLayers(r, now)
}

// sumUp brings those figures of a member's flows up to date that are not counted as
// packets pass.
func (m *member) sumUp() {
	for k, t := range m.ups {
		if t == nil {
			continue
		}
		in := &m.in[k]
		in.Lost, in.Expected, in.Jitter = 0, 0, 0
		var frames uint32
		for _, l := range t.layers {
			in.Lost += l.past.lost + l.receipt.lost()
			in.Expected += l.past.expected + l.receipt.expected()
			if l.live && !l.ended {
				in.Jitter = max(in.Jitter, time.Duration(l.receipt.jitter>>4)*time.Second/time.Duration(l.kind.clock()))
			}
			frames = max(frames, l.frames)
			l.frames = 0
		}
		in.Frames += int64(frames)
	}
	m.out[audio].Jitter, m.out[video].Jitter = 0, 0
	for _, s := range m.sections {
		if d := s.down; d != nil && d.bound && d.report.any {
			m.out[d.kind].Jitter = max(m.out[d.kind].Jitter, d.report.jitter)
		}
	}
}

// countLayers notes what a member has to do with simulcast.
func (m *member) countLayers(r *Reading, now time.Time) {
	r.Sent, r.Shown, r.Target = LayerCounts{}, LayerCounts{}, LayerCounts{}
	if t := m.ups[video]; t != nil && t.simulcast() {
		for _, l := range t.layers {
			if l.sent(now) {
				r.Sent[1+l.place]++
			}
		}
	}
	for _, s := range m.sections {
		d := s.down
		if d == nil || !d.bound || !d.source.simulcast() {
			continue
		}
		shown, target := 0, 0
		if d.layer != nil && !d.waiting {
			shown = 1 + d.layer.place
		}
		switch {
		case d.next != nil:
			target = 1 + d.next.place
		case d.layer != nil:
			target = 1 + d.layer.place
		}
		r.Shown[shown]++
		r.Target[target]++
	}
}

// Reading is what the connection's counters said within the last second; false
// before its media was up.
func (c *Connection) Reading() (Reading, bool) {
	c.reading.mu.Lock()
	r, ok := c.reading.at, c.reading.any
	c.reading.mu.Unlock()
	r.Tenant, r.Channel, r.ConnectionID = c.request.Tenant, c.request.Channel, c.request.ConnectionID
	r.DataIn, r.DataOut = c.data.received(), c.data.sent()
	return r, ok
}

// readingSeed spreads connections over the parts of Readings.
var readingSeed = maphash.MakeSeed()

// Readings appends the readings of one of several parts of all connections, those
// of all tenants, to list: a connection is always in the same part. It never waits
// for a channel. Only the process itself may call it.
func (s *SFU) Readings(list []Reading, part, parts int) []Reading {
	s.mu.Lock()
	conns := make([]*Connection, 0, len(s.conns)/parts+1)
	for id, c := range s.conns {
		if maphash.String(readingSeed, id)%uint64(parts) == uint64(part) {
			conns = append(conns, c)
		}
	}
	s.mu.Unlock()
	for _, c := range conns {
		if r, ok := c.Reading(); ok {
			list = append(list, r)
		}
	}
	return list
}
