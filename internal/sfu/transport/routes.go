package transport

import (
	"net/netip"
	"slices"
	"sync"
)

// routes finds a peer by what a datagram carries. The lock is held for one map
// operation at a time, so the reader never waits long for a join; it asks once
// per run of datagrams from one address.
type routes struct {
	mu sync.RWMutex
	// Guarded by mu.
	byUfrag map[string]*Peer         // every open peer, by two while it restarts ICE
	open    int                      // how many peers
	byAddr  map[netip.AddrPort]*Peer // proved by an authenticated check
}

func (r *routes) init() {
	r.byUfrag = map[string]*Peer{}
	r.byAddr = map[netip.AddrPort]*Peer{}
}

func (r *routes) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.open
}

// add enters p, or gives it one more name, unless that is taken.
func (r *routes) add(p *Peer, ufrag string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byUfrag[ufrag] != nil {
		return false
	}
	if len(p.names) == 0 {
		r.open++
	}
	r.byUfrag[ufrag] = p
	p.names = append(p.names, ufrag)
	return true
}

// drop takes one of its names from p, which has another.
func (r *routes) drop(p *Peer, ufrag string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(p.names, ufrag); i >= 0 {
		p.names = slices.Delete(p.names, i, i+1)
		delete(r.byUfrag, ufrag)
	}
}

// remove takes p out with all its addresses.
func (r *routes) remove(p *Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p.names) == 0 {
		return
	}
	for _, ufrag := range p.names {
		delete(r.byUfrag, ufrag)
	}
	p.names = nil
	r.open--
	for _, a := range p.addrs {
		if r.byAddr[a] == p {
			delete(r.byAddr, a)
		}
	}
	p.addrs = nil
}

// bind gives the address to p and reports whether p has it now. It takes an
// address from another peer only after that one has been silent since the given
// time: otherwise a client that can forge addresses could take somebody's away.
// Of too many addresses p loses the oldest that is not in use.
func (r *routes) bind(p *Peer, a netip.AddrPort, since int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	holder := r.byAddr[a]
	switch {
	case holder == p:
		return true
	case len(p.names) == 0: // removed
		return false
	case holder != nil && holder.seen.Load() > since:
		return false
	}
	r.byAddr[a] = p
	if slices.Contains(p.addrs, a) {
		return true
	}
	if len(p.addrs) == maxAddrs {
		i := 0
		if p.addrs[0] == p.Remote() {
			i = 1
		}
		if r.byAddr[p.addrs[i]] == p {
			delete(r.byAddr, p.addrs[i])
		}
		p.addrs = slices.Delete(p.addrs, i, i+1)
	}
	p.addrs = append(p.addrs, a)
	return true
}

// user finds a peer by the local half of a check's user name.
func (r *routes) user(ufrag []byte) *Peer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byUfrag[string(ufrag)]
}

// at finds the peer that proved to be at a.
func (r *routes) at(a netip.AddrPort) *Peer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byAddr[a]
}

// single counts the peers whose route refuses trains.
func (r *routes) single() (n int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for ufrag, p := range r.byUfrag {
		if ufrag != p.names[0] {
			continue
		}
		if to := p.route.Load(); to != nil && to.Single() {
			n++
		}
	}
	return n
}

// all appends every open peer to list.
func (r *routes) all(list []*Peer) []*Peer {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for ufrag, p := range r.byUfrag {
		if ufrag == p.names[0] {
			list = append(list, p)
		}
	}
	return list
}
