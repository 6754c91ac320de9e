package transport_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v3"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// dropped waits until the endpoint has counted n drops for a reason.
func dropped(t *testing.T, e *transport.Endpoint, reason transport.DropReason, n int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d drops as %s", n, reason), func() bool { return e.Stats().Drops[reason] == n })
}

// unanswered says that the endpoint sent the client nothing: a check sent after
// the bad one is answered first.
func (c *client) unanswered(p *transport.Peer) {
	c.t.Helper()
	c.check(p, false) // fails on any answer that is not its own, see examine
	select {
	case a := <-c.answers:
		c.t.Errorf("an answer came: %v", a)
	default:
	}
}

func TestWrongChecksStayUnanswered(t *testing.T) {
	e := listen(t, transport.Config{})
	p := e.NewPeer(newOwner(t))
	c := newClient(t, e, "127.0.0.1")
	name := p.Ufrag() + ":" + c.ufrag
	good := c.request(name, p.Pwd(), false)

	broken := append([]byte(nil), good.Raw...)
	broken[len(broken)-1] ^= 1
	late := append([]byte(nil), good.Raw...)
	late[3]++ // length beyond the end
	noName, _ := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewShortTermIntegrity(p.Pwd()), stun.Fingerprint)
	unsigned, _ := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(name), stun.Fingerprint)
	allocate, _ := stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.Fingerprint)

	for what, test := range map[string]struct {
		raw    []byte
		reason transport.DropReason
	}{
		"wrong password":    {c.request(name, "wrong"+p.Pwd(), true).Raw, transport.DropBadPassword},
		"no signature":      {unsigned.Raw, transport.DropBadPassword},
		"unknown ufrag":     {c.request("nobody:"+c.ufrag, p.Pwd(), true).Raw, transport.DropUnknownUser},
		"empty ufrag":       {c.request(":", p.Pwd(), true).Raw, transport.DropUnknownUser},
		"no user name":      {noName.Raw, transport.DropBadSTUN},
		"wrong fingerprint": {broken, transport.DropBadSTUN},
		"wrong length":      {late, transport.DropBadSTUN},
		"not a binding":     {allocate.Raw, transport.DropBadSTUN},
	} {
		t.Run(what, func(t *testing.T) {
			before := e.Stats()
			c.send(test.raw)
			dropped(t, e, test.reason, before.Drops[test.reason]+1)
			if e.Stats().Checks != before.Checks || p.Remote().IsValid() && before.Checks == 0 {
				t.Error("a wrong check moved the peer")
			}
		})
	}
	c.unanswered(p)

	// After the answer the second half of the name counts too.
	if err := p.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
		t.Fatal(err)
	}
	before := e.Stats().Drops[transport.DropUnknownUser]
	c.send(c.request(p.Ufrag()+":other", p.Pwd(), true).Raw)
	dropped(t, e, transport.DropUnknownUser, before+1)
	c.unanswered(p)
}

func TestRoleConflictAndIndicationsDoNoHarm(t *testing.T) {
	e := listen(t, transport.Config{})
	p := e.NewPeer(newOwner(t))
	c := newClient(t, e, "127.0.0.1")
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(p.Ufrag()+":"+c.ufrag),
		stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)}, stun.NewShortTermIntegrity(p.Pwd()), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	c.send(m.Raw)
	eventually(t, "the check is counted", func() bool { return e.Stats().Checks == 1 })
	if a := <-c.answers; a.Type != stun.BindingSuccess {
		t.Errorf("answer %v", a.Type)
	}
	indication, _ := stun.Build(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.Fingerprint)
	c.send(indication.Raw)
	c.unanswered(p)
	if n := e.Stats().Drops[transport.DropBadSTUN]; n != 0 {
		t.Errorf("%d indications counted as bad", n)
	}
}

func TestClientMayRoam(t *testing.T) {
	e := listen(t, transport.Config{})
	p, o, c := connect(t, e, "127.0.0.1")
	b := e.NewBatch()
	first := c.addr()

	c.open()
	// A packet from an address that proved nothing goes nowhere.
	before := e.Stats().Drops[transport.DropNoPeer]
	c.send(c.protect(5, 1, payload(10)))
	dropped(t, e, transport.DropNoPeer, before+1)
	// Neither does media follow a forged nomination.
	c.send(c.request(p.Ufrag()+":"+c.ufrag, "forged", true).Raw)
	dropped(t, e, transport.DropBadPassword, 1)
	// A check without nomination only opens the way in.
	c.check(p, false)
	if p.Remote() != first {
		t.Fatalf("media goes to %v without nomination", p.Remote())
	}
	c.send(c.protect(5, 2, payload(10)))
	d := o.datagram()
	if _, _, err := p.Unprotect(&d); err != nil {
		t.Fatal(err)
	}
	d.Free()
	// The nomination moves media.
	c.check(p, true)
	if p.Remote() != c.addr() {
		t.Fatalf("media goes to %v, client is at %v", p.Remote(), c.addr())
	}
	if err := p.SealRTP(b, header(1, 1), payload(100), 0); err != nil {
		t.Fatal(err)
	}
	b.Flush()
	if got := c.receive(); got.SSRC != 1 {
		t.Errorf("got %v", got)
	}
	// Many networks later the newest still work.
	for range 20 {
		c.open()
		c.check(p, true)
		c.send(c.protect(5, uint16(c.addr().Port()), payload(10)))
		d := o.datagram()
		d.Free()
	}
}

func TestAddressOfALivingPeerIsNotTaken(t *testing.T) {
	e := listen(t, transport.Config{})
	_, o, c := connect(t, e, "127.0.0.1")
	thief := e.NewPeer(newOwner(t))
	c.send(c.request(thief.Ufrag()+":thief", thief.Pwd(), true).Raw)
	dropped(t, e, transport.DropAddrTaken, 1)
	if thief.Remote().IsValid() {
		t.Error("the thief has an address")
	}
	c.send(c.protect(5, 1, payload(10)))
	d := o.datagram()
	d.Free()
}

func TestCandidates(t *testing.T) {
	ips := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
	for _, test := range []struct {
		config transport.Config
		want   []string // address of each candidate
	}{
		{transport.Config{Addr: ":0", IPs: ips}, []string{"192.0.2.7", "2001:db8::7"}},
		{transport.Config{Addr: "127.0.0.1:0", IPs: ips}, []string{"192.0.2.7"}}, // no IPv6 there
		{transport.Config{Addr: "127.0.0.1:0"}, []string{"127.0.0.1"}},
		{transport.Config{Addr: "[::1]:0"}, []string{"::1"}},
	} {
		e := listen(t, test.config)
		list := e.Candidates()
		if len(list) != len(test.want) {
			t.Fatalf("%+v: %v", test.config, list)
		}
		last := uint32(1<<32 - 1)
		foundations := map[string]bool{}
		for i, text := range list {
			c, err := ice.UnmarshalCandidate(text)
			if err != nil {
				t.Fatal(err)
			}
			if c.Address() != test.want[i] || c.Port() != int(e.LocalAddr().Port()) || c.Component() != 1 ||
				c.Type() != ice.CandidateTypeHost || c.Priority() >= last || foundations[c.Foundation()] {
				t.Errorf("candidate %q", text)
			}
			last, foundations[c.Foundation()] = c.Priority(), true
		}
	}
	e := listen(t, transport.Config{Addr: ":0"})
	for _, text := range e.Candidates() {
		c, err := ice.UnmarshalCandidate(text)
		if err != nil {
			t.Fatal(err)
		}
		if a := netip.MustParseAddr(c.Address()); a.IsLinkLocalUnicast() || a.IsLoopback() && len(e.Candidates()) > 2 {
			t.Errorf("own address %v offered", a)
		}
	}
	if _, err := transport.Listen(transport.Config{Addr: "127.0.0.1:0", IPs: ips[1:]}); err == nil {
		t.Error("an endpoint that nobody can reach was opened")
	}
}

func TestSetRemoteRefusesNonsense(t *testing.T) {
	e := listen(t, transport.Config{})
	p := e.NewPeer(newOwner(t))
	_, print := newCertificate(t)
	pwd := strings.Repeat("p", 22)
	for _, bad := range [][3]string{
		{"", pwd, print}, {"abc", pwd, print}, {"abcd", "short", print}, {strings.Repeat("u", 257), pwd, print},
		{"abcd", pwd, ""}, {"abcd", pwd, "sha-256"}, {"abcd", pwd, "sha-256 AB:CD"}, {"abcd", pwd, "sha-1 " + strings.Repeat("AB:", 19) + "AB"},
		{"abcd", pwd, "md5 AB"}, {"abcd", pwd, print + ":AB"}, {"abcd", pwd, strings.Replace(print, ":", "g", 1)},
	} {
		if p.SetRemote(bad[0], bad[1], bad[2], transport.Active) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := p.SetRemote("abcd", pwd, print, transport.Active); err != nil {
		t.Fatal(err)
	}
	// A re-answer repeats the values, perhaps in other letters.
	if err := p.SetRemote("abcd", pwd, "SHA-256 "+strings.ToLower(print[8:]), transport.Active); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := p.SetRemote("efgh", pwd, print, transport.Active); err != transport.ErrRemoteChanged {
		t.Errorf("other ufrag: %v", err)
	}
	_, other := newCertificate(t)
	if err := p.SetRemote("abcd", pwd, other, transport.Active); err != transport.ErrRemoteChanged {
		t.Errorf("other fingerprint: %v", err)
	}
}

func TestCredentialsDiffer(t *testing.T) {
	e := listen(t, transport.Config{})
	seen := map[string]bool{}
	for range 1000 {
		p := e.NewPeer(newOwner(t))
		if len(p.Ufrag()) < 4 || len(p.Pwd()) < 22 || seen[p.Ufrag()] || seen[p.Pwd()] {
			t.Fatalf("credentials %s %s", p.Ufrag(), p.Pwd())
		}
		seen[p.Ufrag()], seen[p.Pwd()] = true, true
	}
	if n := e.Stats().Peers; n != 1000 {
		t.Errorf("%d peers", n)
	}
}

// FuzzDatagram sends anything to a port with a live peer, from the address of
// that peer and from a stranger's; afterwards the peer must be as it was.
func FuzzDatagram(f *testing.F) {
	e := listen(f, transport.Config{})
	p, o, c := connect(f, e, "127.0.0.1")
	stranger := newClient(f, e, "127.0.0.1")
	f.Add(c.request(p.Ufrag()+":"+c.ufrag, p.Pwd(), true).Raw)
	f.Add(c.protect(9, 9, payload(50)))
	f.Add([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40})
	f.Add([]byte{0x90, 0x60, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0xff, 0xff})
	f.Add([]byte{64, 0, 0, 0})
	f.Add([]byte{})
	seq := uint16(0)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 60000 {
			return
		}
		o.t, c.t, stranger.t = t, t, t
		before := e.Stats().PacketsIn
		stranger.send(b)
		c.send(b)
		seq++
		c.send(c.protect(5, seq, payload(20)))
		for {
			select {
			case d := <-o.inbox:
				plain, isRTCP, err := p.Unprotect(&d)
				done := err == nil && !isRTCP && len(plain) > 20 && uint16(plain[2])<<8|uint16(plain[3]) == seq && plain[11] == 5
				d.Free()
				if done {
					if e.Stats().PacketsIn < before+1 {
						t.Fatal("nothing was counted")
					}
					return
				}
			case err := <-o.down:
				t.Fatalf("peer went down: %v", err)
			case <-time.After(patience):
				t.Fatal("media stopped")
			}
		}
	})
}
