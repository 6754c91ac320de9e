package signaling

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// roomPlaces is how many clients meet in a room: a peer-to-peer call has two ends.
const roomPlaces = 2

// rooms are where the clients of peer-to-peer calls meet. A room is there from
// the first who comes to the first who leaves: that ends it for the other, too.
//
//	reserve ──► join ──► (leave | Disconnect | the other's leave)
//	   └──► release
type rooms struct {
	mu sync.Mutex
	// Guarded by mu.
	closed bool
	byName map[roomName][]*peer // those who reserved and those who joined, in this order of coming
	byID   map[string]*peer
}

// roomName names a room: a tenant's channel.
type roomName struct {
	tenant  tenant.ID
	channel string
}

// peer is one client in a room, as its session sees it.
type peer struct {
	// Static, but for what join sets.
	rooms *rooms
	name  roomName
	id    string        // of the connection
	as    string        // its client id
	ring  chan struct{} // a token when something waits to be taken

	// Set by join; Static from then on.
	call    *call
	info    sfu.ConnectionInfo
	invited bool // the other was there before: this one makes the offer

	// Guarded by rooms.mu.
	joined  bool
	offered bool      // an offer of this peer was passed on
	up      time.Time // when the other's answer to an offer, or this one's, was passed on; zero: not yet
	waiting []byte    // frames of the other, to be sent
	ended   bool
	ending  tenant.Ending
	after   []func() // to be started when it ends
}

func newRooms() *rooms {
	return &rooms{byName: map[roomName][]*peer{}, byID: map[string]*peer{}}
}

// reserve implements venue: it keeps a place until the client joins, or release.
func (r *rooms) reserve(o tenant.Opening) error {
	p := &peer{rooms: r, name: roomName{o.Tenant, o.Channel}, id: o.ConnectionID, as: o.ClientID, ring: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errDraining
	}
	if n := r.staying(o); n >= roomPlaces {
		full := tenant.Refuse(tenant.ChannelFull, "a peer-to-peer room has %d places and both are taken: use another room", roomPlaces)
		full.Current, full.Max = n, roomPlaces
		return full
	}
	r.byName[p.name] = append(r.byName[p.name], p)
	r.byID[p.id] = p
	return nil
}

// staying is how many of a room stay if o comes in; the caller holds mu.
func (r *rooms) staying(o tenant.Opening) (n int) {
	for _, q := range r.byName[roomName{o.Tenant, o.Channel}] {
		if o.Duplicates != tenant.DuplicatesReplace || q.as != o.ClientID {
			n++
		}
	}
	return n
}

// release implements venue.
func (r *rooms) release(connectionID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.byID[connectionID]; p != nil {
		r.remove(p)
	}
}

// join implements venue.
func (r *rooms) join(_ context.Context, c *call, v visitor, opened tenant.Opened) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.byID[c.id]
	if r.closed {
		r.remove(p)
		return errDraining
	}
	o := &c.opening
	p.call = c
	p.info = sfu.ConnectionInfo{
		Tenant: o.Tenant, Channel: o.Channel, SessionID: opened.SessionID, ConnectionID: c.id,
		ClientID: o.ClientID, Role: v.Role, JoinedAt: time.Now(),
	}
	p.invited = p.other() != nil
	p.joined = true
	c.life = p
	return nil
}

// remove takes a peer out of its room; the caller holds mu.
func (r *rooms) remove(p *peer) {
	delete(r.byID, p.id)
	rest := slices.DeleteFunc(r.byName[p.name], func(q *peer) bool { return q == p })
	if r.byName[p.name] = rest; len(rest) == 0 {
		delete(r.byName, p.name)
	}
}

// other is who else has joined the room; the caller holds mu.
func (p *peer) other() *peer {
	for _, q := range p.rooms.byName[p.name] {
		if q != p && q.joined {
			return q
		}
	}
	return nil
}

// pass passes a frame on to the other, who is told of it in its own time; a peer
// that is alone speaks to nobody. An answer to an offer of the other is as near
// as a signalling server sees to media that connects.
func (p *peer) pass(kind string, frame []byte) {
	now := time.Now()
	var up []*peer
	p.rooms.mu.Lock()
	other := p.other()
	if p.ended || other == nil {
		p.rooms.mu.Unlock()
		return
	}
	other.waiting = append(other.waiting, frame...)
	switch {
	case kind == typeOffer:
		p.offered = true
	case kind == typeAnswer && other.offered && p.up.IsZero():
		up = []*peer{p, other}
		p.up, other.up = now, now
	}
	p.rooms.mu.Unlock()
	other.wake()
	for _, q := range up {
		q.call.connectedSince(now)
	}
}

// take returns the frames that wait, and whether the peer is connected or at its
// end. It never waits.
func (p *peer) take() (frames []byte, up, ended bool) {
	p.rooms.mu.Lock()
	defer p.rooms.mu.Unlock()
	frames, p.waiting = p.waiting, nil
	return frames, !p.up.IsZero(), p.ended
}

// wake rings the session.
func (p *peer) wake() {
	select {
	case p.ring <- struct{}{}:
	default: // a token is there already
	}
}

// Disconnect implements life: the room ends, for the other, too.
func (p *peer) Disconnect(reason string) {
	p.rooms.mu.Lock()
	after := p.rooms.end(p, reason)
	p.rooms.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// end ends a peer and the room, and returns what is to be done when mu, which
// the caller holds, is free.
func (r *rooms) end(p *peer, reason string) (then []func()) {
	if p.ended {
		return nil
	}
	other := p.other()
	then = r.finish(p, reason)
	if other != nil {
		then = append(then, r.finish(other, tenant.EndPeerLeft)...)
	}
	return then
}

// finish ends one peer; as end.
func (r *rooms) finish(p *peer, reason string) (then []func()) {
	p.ended = true
	p.ending = tenant.Ending{Reason: reason}
	if !p.up.IsZero() {
		p.ending.Duration = max(time.Since(p.up), 1) // 0 would say that it never was
	}
	r.remove(p)
	for _, f := range p.after {
		then = append(then, func() { go f() })
	}
	p.after = nil
	return append(then, p.wake)
}

// AfterEnd implements life.
func (p *peer) AfterEnd(f func()) {
	p.rooms.mu.Lock()
	ended := p.ended
	if !ended {
		p.after = append(p.after, f)
	}
	p.rooms.mu.Unlock()
	if ended {
		go f()
	}
}

// Ending implements life.
func (p *peer) Ending() tenant.Ending {
	p.rooms.mu.Lock()
	defer p.rooms.mu.Unlock()
	return p.ending
}

// disconnect ends a peer by its connection's id, and is false if it is not here.
func (r *rooms) disconnect(id tenant.ID, connectionID, reason string) bool {
	r.mu.Lock()
	p := r.byID[connectionID]
	here := p != nil && p.joined && p.name.tenant == id
	r.mu.Unlock()
	if here {
		p.Disconnect(reason)
	}
	return here
}

// connections lists those who have joined.
func (r *rooms) connections() []sfu.ConnectionInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]sfu.ConnectionInfo, 0, len(r.byID))
	for _, p := range r.byID {
		if !p.joined {
			continue
		}
		info := p.info
		if !p.up.IsZero() {
			info.Connected = time.Since(p.up)
		}
		list = append(list, info)
	}
	return list
}

// count is how many have joined, in how many rooms.
func (r *rooms) count() (peers, names int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byID), len(r.byName)
}

// close ends every room, and lets nobody in any longer.
func (r *rooms) close(reason string) {
	r.mu.Lock()
	r.closed = true
	var then []func()
	for _, p := range r.byID {
		if p.joined {
			then = append(then, r.finish(p, reason)...)
		}
	}
	r.mu.Unlock()
	for _, f := range then {
		f()
	}
}
