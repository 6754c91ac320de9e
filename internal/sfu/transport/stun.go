package transport

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// check answers an ICE connectivity check as a lite agent does (RFC 8445 §7.3,
// §2.5). Checks that are not for a peer here, or not signed with its password,
// are counted and left unanswered.
func (r *reader) check(data []byte, from netip.AddrPort, to netip.Addr, now time.Time) {
	c := &r.endpoint.stats
	m := &r.request
	if err := stun.Decode(data, m); err != nil {
		c.drop(badSTUN)
		return
	}
	if m.Type != stun.BindingRequest {
		// Indications keep a NAT open and want no answer (RFC 8445 §11).
		if m.Type.Class != stun.ClassIndication {
			c.drop(badSTUN)
		}
		return
	}
	if m.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(m) != nil {
		c.drop(badSTUN)
		return
	}
	name, err := m.Get(stun.AttrUsername)
	if err != nil {
		c.drop(badSTUN)
		return
	}
	local, remote, _ := bytes.Cut(name, []byte{':'})
	p := r.endpoint.routes.user(local)
	if p == nil {
		c.drop(unknownUser)
		return
	}
	session := p.session(local, remote)
	if session == nil {
		c.drop(unknownUser)
		return
	}
	if session.integrity.Check(m) != nil {
		c.drop(badPassword)
		return
	}
	if !p.checked(session, from, to, m.Contains(stun.AttrUseCandidate), now) {
		c.drop(addressTaken)
		return
	}
	c.checks.Add(1)
	r.answer(p, session, from, to)
}

// answer sends the success response to the request at hand, to where it came
// from.
func (r *reader) answer(p *Peer, session *credentials, from netip.AddrPort, to netip.Addr) {
	mapped := stun.XORMappedAddress{Port: int(from.Port())}
	r.ip = from.Addr().As16()
	mapped.IP = r.ip[:]
	if from.Addr().Is4() {
		mapped.IP = r.ip[12:]
	}
	err := r.response.Build(&r.request, stun.BindingSuccess, &mapped, session.integrity, stun.Fingerprint)
	if err != nil {
		r.endpoint.stats.drop(badSTUN)
		return
	}
	route := p.route.Load()
	if route == nil || route.Remote() != from || route.Local() != to {
		route = r.endpoint.socket.Route(from, to)
	}
	r.endpoint.send(r.response.Raw, route)
}
