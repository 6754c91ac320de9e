package transport

import (
	"crypto/rand"

	"github.com/pion/stun/v3"
)

// iceAlphabet is RFC 8839's ice-char; 64 of them make 6 bits each.
const iceAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// credentials are our side of one ICE session of a peer. They are not changed.
type credentials struct {
	ufrag, pwd string
	integrity  stun.MessageIntegrity
	client     string // the client's ufrag; "": the first session, see remote
}

// newCredentials makes fresh ones.
func newCredentials(client string) *credentials {
	c := &credentials{ufrag: iceString(8), pwd: iceString(24), client: client}
	c.integrity = stun.NewShortTermIntegrity(c.pwd)
	return c
}

// iceString is n random characters of 6 bits each.
func iceString(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = iceAlphabet[b[i]&63]
	}
	return string(b)
}

// validCredentials: RFC 8839 §5.4 wants 4 to 256 and 22 to 256 characters.
func validCredentials(ufrag, pwd string) bool {
	return len(ufrag) >= 4 && len(ufrag) <= 256 && len(pwd) >= 22 && len(pwd) <= 256
}

// newest are the credentials to tell the client: those of the restart under way,
// if there is one.
func (p *Peer) newest() *credentials {
	if c := p.next.Load(); c != nil {
		return c
	}
	return p.local.Load()
}

// Ufrag is the local ICE user name fragment, the newest after a restart.
func (p *Peer) Ufrag() string { return p.newest().ufrag }

// Pwd is the local ICE password, the newest after a restart.
func (p *Peer) Pwd() string { return p.newest().pwd }

// Restart begins a new ICE session (RFC 8445 §9) with the client's new credentials
// and returns ours. Those of before are valid beside them until the first check
// with the new ones has come; another restart before that replaces them. DTLS,
// SRTP and the pair in use go on. The error is ErrBadCredentials, or ErrNotUp when
// the client has not answered yet or the peer is over.
func (p *Peer) Restart(ufrag, pwd string) (localUfrag, localPwd string, err error) {
	if !validCredentials(ufrag, pwd) {
		return "", "", ErrBadCredentials
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == over || p.remote.Load() == nil {
		return "", "", ErrNotUp
	}
	routes := &p.endpoint.routes
	c := newCredentials(ufrag)
	for !routes.add(p, c.ufrag) {
		c = newCredentials(ufrag) // the name is taken
	}
	if old := p.next.Swap(c); old != nil {
		routes.drop(p, old.ufrag)
	}
	return c.ufrag, c.pwd, nil
}

// restarted: a valid check with the new credentials came; the old ones are void.
func (p *Peer) restarted(c *credentials) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == over || p.next.Load() != c {
		return
	}
	old := p.local.Swap(c) // first, so that a check in between finds c here or there
	p.next.Store(nil)
	p.endpoint.routes.drop(p, old.ufrag)
}

// session finds the credentials of a check by both halves of its user name; nil:
// it is of none. Before the answer the second half may be any: the first checks
// overtake it.
func (p *Peer) session(local, client []byte) *credentials {
	c := p.next.Load()
	if c == nil || c.ufrag != string(local) {
		if c = p.local.Load(); c.ufrag != string(local) {
			return nil
		}
	}
	want := c.client
	if want == "" {
		r := p.remote.Load()
		if r == nil {
			return c
		}
		want = r.ufrag
	}
	if want != string(client) {
		return nil
	}
	return c
}
