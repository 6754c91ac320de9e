package wire_test

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// bystanders are two viewers that whatever happens to others must not harm.
type bystanders struct {
	fars   [2]far
	routes [2]*wire.Route
}

func newBystanders(t *testing.T, s *wire.Socket) *bystanders {
	b := new(bystanders)
	for i := range b.fars {
		b.fars[i] = newFar(t, "127.0.0.1:0")
		b.routes[i] = s.Route(b.fars[i].addr, netip.Addr{})
	}
	return b
}

// around flushes three packets to each bystander with n of the given size to others
// in between.
func (b *bystanders) around(a *wire.Arena, n, size int, others ...*wire.Route) wire.Stats {
	for i := range 3 {
		put(a, b.routes[0], packet(i, 700))
	}
	for _, to := range others {
		for i := range n {
			put(a, to, packet(i, size))
		}
	}
	for i := range 3 {
		put(a, b.routes[1], packet(i, 800))
	}
	return a.Flush()
}

// unharmed checks that both got theirs.
func (b *bystanders) unharmed(t *testing.T) {
	t.Helper()
	for i, f := range b.fars {
		for j := range 3 {
			if got := f.next(t); !bytes.Equal(got, packet(j, 700+100*i)) {
				t.Fatalf("packet %d to bystander %d differs", j, i)
			}
		}
	}
}

func TestUnreachableViewerCostsOthersNothing(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	s := listen(t, "0.0.0.0:0")
	a, others := s.NewArena(), newBystanders(t, s)
	away := s.Route(netip.MustParseAddrPort("192.0.2.1:9"), netip.Addr{}) // there is no way out
	got := others.around(a, 40, 1200, away)
	if got.Unreachable != 40 || got.Dropped() != 40 || got.Packets != 6 || got.TrainsRefused != 0 || away.Single() {
		t.Fatalf("flushed %+v", got)
	}
	if got.Calls > got.Packets+1 {
		t.Errorf("%d calls", got.Calls)
	}
	others.unharmed(t)
	// The way there comes.
	lan(t, unix.IFF_NOARP)
	near := s.Route(netip.MustParseAddrPort("10.9.0.77:9"), netip.Addr{})
	if got := others.around(a, 40, 1200, near); got.Packets != 46 || got.Dropped() != 0 {
		t.Fatalf("flushed %+v", got)
	}
	others.unharmed(t)
}

func TestForbiddenAddressCostsOthersNothing(t *testing.T) {
	s := listen(t, "127.0.0.1:0")
	a, others := s.NewArena(), newBystanders(t, s)
	option(t, s, unix.SOL_SOCKET, unix.SO_BROADCAST, 0)
	got := others.around(a, 5, 1200, s.Route(netip.MustParseAddrPort("127.255.255.255:9"), netip.Addr{}))
	if got.Forbidden != 5 || got.Dropped() != 5 || got.Packets != 6 {
		t.Fatalf("flushed %+v", got)
	}
	others.unharmed(t)
}

// TestTooBigIsNoRefusalOfTrains: a path too small for the packets themselves, where
// they must not be fragmented, is not the trains' fault.
func TestTooBigIsNoRefusalOfTrains(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	setMTU(t, "lo", 1000)
	s, f := listen(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")
	a, others, to := s.NewArena(), newBystanders(t, s), s.Route(f.addr, netip.Addr{})
	option(t, s, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	got := others.around(a, 4, 1200, to)
	if got.TooBig != 4 || got.Dropped() != 4 || got.Packets != 6 || got.TrainsRefused != 0 || to.Single() {
		t.Fatalf("flushed %+v", got)
	}
	others.unharmed(t)
}

// TestFullSocket fills the socket with packets that wait for an Ethernet address
// nobody has. A frame is dropped whole, nothing waits, and the room comes back.
func TestFullSocket(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	device := lan(t, 0)
	s := listen(t, "0.0.0.0:0")
	a, others := s.NewArena(), newBystanders(t, s)
	stuck := s.Route(netip.MustParseAddrPort("10.9.0.77:9"), netip.Addr{})
	option(t, s, unix.SOL_SOCKET, unix.SO_SNDBUF, 0) // the least there is
	put(a, stuck, packet(0, 1400))
	put(a, stuck, packet(1, 1400))
	put(a, stuck, packet(2, 1400))
	first := a.Flush() // without trains the third has no room
	if first.Packets < 2 || first.Packets+first.Full != 3 {
		t.Fatalf("flushed %+v", first)
	}
	got := others.around(a, 40, 1200, stuck)
	if got.Full != 46 || got.Dropped() != 46 || got.Packets != 0 || got.TrainsRefused != 0 || stuck.Single() {
		t.Fatalf("flushed %+v", got)
	}
	if got.Calls != 3 {
		t.Errorf("%d calls, want one for each run of packets", got.Calls)
	}
	if err := s.Send([]byte("x"), others.routes[0]); err != wire.ErrFull {
		t.Errorf("a single datagram: %v, want %v", err, wire.ErrFull)
	}
	down(t, device) // throws away what waits
	if got := others.around(a, 0, 0); got.Packets != 6 || got.Dropped() != 0 {
		t.Fatalf("flushed %+v", got)
	}
	others.unharmed(t)
}

// TestFullQueue has an interface without room in its queue. The kernel tells only
// sockets that ask for errors.
func TestFullQueue(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	blockQueue(t, lan(t, unix.IFF_NOARP))
	s := listen(t, "0.0.0.0:0")
	a, others := s.NewArena(), newBystanders(t, s)
	option(t, s, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	got := others.around(a, 20, 1200,
		s.Route(netip.MustParseAddrPort("10.9.0.77:9"), netip.Addr{}), s.Route(netip.MustParseAddrPort("10.9.0.78:9"), netip.Addr{}))
	if got.NoBuffers != 40 || got.Dropped() != 40 || got.Packets != 6 || got.TrainsRefused != 0 {
		t.Fatalf("flushed %+v", got)
	}
	if got.Calls > got.Packets+2 {
		t.Errorf("%d calls", got.Calls)
	}
	others.unharmed(t)
}

// TestLongPacketsLeaveInPieces: where the path takes less than a packet, it still
// arrives.
func TestLongPacketsLeaveInPieces(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	setMTU(t, "lo", 1280)
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		s, f := listen(t, host), newFar(t, host)
		a, to := s.NewArena(), s.Route(f.addr, netip.Addr{})
		for i := range 5 {
			put(a, to, packet(i, 1400))
		}
		if got := a.Flush(); got.Packets != 5 || got.Dropped() != 0 {
			t.Fatalf("%s: flushed %+v", host, got)
		}
		for i := range 5 {
			if b := f.next(t); !bytes.Equal(b, packet(i, 1400)) {
				t.Fatalf("%s: packet %d differs", host, i)
			}
		}
	}
}
