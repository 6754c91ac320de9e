package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen opens a socket that the test closes.
func listen(t testing.TB, addr string) *wire.Socket {
	t.Helper()
	s, err := wire.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// far is a plain UDP socket at the other end.
type far struct {
	*net.UDPConn
	addr netip.AddrPort
}

func newFar(t testing.TB, addr string) far {
	t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	u := c.(*net.UDPConn)
	_ = u.SetReadBuffer(4 << 20)
	t.Cleanup(func() { _ = u.Close() })
	a := u.LocalAddr().(*net.UDPAddr).AddrPort()
	return far{u, netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}
}

// next reads one datagram.
func (f far) next(t interface{ Fatal(...any) }) []byte {
	b := make([]byte, 65536)
	_ = f.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := f.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// silent says that nothing waits at f.
func (f far) silent() bool {
	_ = f.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := f.Read(make([]byte, 1))
	return err != nil
}

// packet is n bytes that tell where they belong.
func packet(number, n int) []byte {
	b := bytes.Repeat([]byte{byte(number)}, n)
	copy(b, fmt.Sprintf("%06d", number))
	return b
}

func put(a *wire.Arena, to *wire.Route, b []byte) {
	copy(a.Reserve(to, len(b)), b)
	a.Commit(len(b))
}

func TestTrainArrivesAsSinglePackets(t *testing.T) {
	s, f := listen(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")
	a, to := s.NewArena(), s.Route(f.addr, netip.Addr{})
	const n = 40
	for i := range n {
		size := 1200
		if i == n-1 {
			size = 700 // only the last of a train may be shorter
		}
		put(a, to, packet(i, size))
	}
	got := a.Flush()
	if got.Packets != n || got.Bytes != (n-1)*1200+700 || got.Full+got.Refused != 0 {
		t.Fatalf("sent %+v", got)
	}
	for i := range n {
		want := packet(i, 1200)
		if i == n-1 {
			want = packet(i, 700)
		}
		if b := f.next(t); !bytes.Equal(b, want) {
			t.Fatalf("packet %d: got %d bytes starting %q", i, len(b), b[:6])
		}
	}
	if again := a.Flush(); again != (wire.Stats{}) {
		t.Errorf("an empty flush sent %+v", again)
	}
}

// TestEverythingArrivesInOrder checks, for any mix of sizes and destinations, that
// each destination gets its packets whole and in order.
func TestEverythingArrivesInOrder(t *testing.T) {
	s := listen(t, "127.0.0.1:0")
	fars := []far{newFar(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")}
	var routes []*wire.Route
	for _, f := range fars {
		routes = append(routes, s.Route(f.addr, netip.Addr{}))
	}
	a := s.NewArena()
	rapid.Check(t, func(t *rapid.T) {
		want := make([][][]byte, len(fars))
		runs := rapid.IntRange(1, 30).Draw(t, "runs")
		number, total := 0, 0
		var sent wire.Stats
		for range runs {
			to := rapid.IntRange(0, len(fars)-1).Draw(t, "to")
			size := rapid.IntRange(6, wire.MaxDatagram).Draw(t, "size")
			for range rapid.IntRange(1, 20).Draw(t, "length") {
				n := size
				if rapid.IntRange(0, 5).Draw(t, "odd") == 0 {
					n = rapid.IntRange(6, wire.MaxDatagram).Draw(t, "oddSize")
				}
				b := packet(number, n)
				number++
				total += n
				put(a, routes[to], b)
				want[to] = append(want[to], b)
			}
			if rapid.Bool().Draw(t, "flush") {
				sent.Add(a.Flush())
			}
		}
		sent.Add(a.Flush())
		if sent.Packets != number || sent.Bytes != total || sent.Messages > number {
			t.Fatalf("sent %+v of %d packets, %d bytes", sent, number, total)
		}
		for i, f := range fars {
			for j, w := range want[i] {
				if b := f.next(t); !bytes.Equal(b, w) {
					t.Fatalf("destination %d, packet %d: got %d bytes %q, want %d bytes %q", i, j, len(b), b[:6], len(w), w[:6])
				}
			}
		}
	})
	for _, f := range fars {
		if !f.silent() {
			t.Error("a packet came twice")
		}
	}
}

func TestReceiveKeepsAddressAndOrder(t *testing.T) {
	s, f, g := listen(t, ":0"), newFar(t, "127.0.0.1:0"), newFar(t, "[::1]:0")
	port := s.LocalAddr().Port()
	in := s.NewInbound()
	defer in.Free()
	to4, to6 := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), netip.AddrPortFrom(netip.IPv6Loopback(), port)
	const n = 50
	for i := range n {
		if _, err := f.WriteToUDPAddrPort(packet(i, 100+i), to4); err != nil {
			t.Fatal(err)
		}
		if _, err := g.WriteToUDPAddrPort(packet(i, 200+i), to6); err != nil {
			t.Fatal(err)
		}
	}
	counts := map[netip.AddrPort]int{}
	var kept []*wire.Buffer
	for counts[f.addr]+counts[g.addr] < 2*n {
		k, err := in.Receive(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range k {
			from := in.From(i)
			base := map[netip.AddrPort]int{f.addr: 100, g.addr: 200}[from]
			want := packet(counts[from], base+counts[from])
			if !bytes.Equal(in.Data(i), want) {
				t.Fatalf("from %v: got %q", from, in.Data(i)[:6])
			}
			size := len(in.Data(i))
			if b := in.Take(i); !bytes.Equal(b.Bytes()[:size], want) {
				t.Fatal("a taken buffer differs")
			} else {
				kept = append(kept, b)
			}
			counts[from]++
		}
	}
	for _, b := range kept {
		b.Free()
	}
}

// TestPollTakesWhatIsThere polls while another goroutine waits for datagrams: each
// goes to one of them, and polling never waits.
func TestPollTakesWhatIsThere(t *testing.T) {
	s, f := listen(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")
	poller := s.NewInbound()
	defer poller.Free()
	if n, err := poller.Poll(); n != 0 || err != nil {
		t.Fatalf("polled %d datagrams from an empty socket: %v", n, err)
	}
	if _, err := f.WriteToUDPAddrPort(packet(0, 500), s.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if n, err := poller.Poll(); n != 1 || err != nil || !bytes.Equal(poller.Data(0), packet(0, 500)) || poller.From(0) != f.addr {
		t.Fatalf("polled %d datagrams: %v", n, err)
	}
	const n = 500
	seen := make(chan byte, n)
	ended := make(chan error, 1)
	go func() {
		in := s.NewInbound()
		defer in.Free()
		for {
			k, err := in.Receive(nil)
			if err != nil {
				ended <- err
				return
			}
			for i := range k {
				seen <- in.Data(i)[0]
			}
		}
	}()
	for range n {
		if _, err := f.WriteToUDPAddrPort([]byte{7}, s.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		k, err := poller.Poll()
		if err != nil {
			t.Fatal(err)
		}
		for i := range k {
			seen <- poller.Data(i)[0]
		}
	}
	for i := range n {
		select {
		case b := <-seen:
			if b != 7 {
				t.Fatalf("datagram %d differs", i)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("only %d of %d datagrams came", i, n)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive ended with %v", err)
	}
	if _, err := poller.Poll(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("poll ended with %v", err)
	}
}

func TestTooLongDatagramIsMarked(t *testing.T) {
	s, f := listen(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")
	in := s.NewInbound()
	defer in.Free()
	for _, size := range []int{wire.BufferSize + 1, 900} {
		if _, err := f.WriteToUDPAddrPort(packet(1, size), s.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	var sizes []int
	for len(sizes) < 2 {
		k, err := in.Receive(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range k {
			sizes = append(sizes, len(in.Data(i)))
		}
	}
	if sizes[0] != 0 || sizes[1] != 900 {
		t.Fatalf("sizes %v", sizes)
	}
}

func TestSendOnce(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		s, f := listen(t, net.JoinHostPort("", "0")), newFar(t, net.JoinHostPort(host, "0"))
		if err := s.Send([]byte("hello"), s.Route(f.addr, netip.Addr{})); err != nil {
			t.Fatal(err)
		}
		if b := f.next(t); string(b) != "hello" {
			t.Errorf("%s: got %q", host, b)
		}
	}
}

// TestFamiliesInOneFlush sends to IPv4 and IPv6 viewers of one socket by turns, with
// and without the own address named.
func TestFamiliesInOneFlush(t *testing.T) {
	s := listen(t, ":0")
	a := s.NewArena()
	var fars []far
	for i := range 4 {
		host, local := "127.0.0.1:0", netip.MustParseAddr("127.0.0.1")
		if i%2 == 1 {
			host, local = "[::1]:0", netip.IPv6Loopback()
		}
		if i >= 2 {
			local = netip.Addr{}
		}
		f := newFar(t, host)
		fars = append(fars, f)
		to := s.Route(f.addr, local)
		for j := range 3 {
			put(a, to, packet(j, 1000+i))
		}
	}
	if got := a.Flush(); got.Packets != 12 || got.Dropped() != 0 || got.Trains != 0 && got.Trains != 4 {
		t.Fatalf("flushed %+v", got)
	}
	for i, f := range fars {
		for j := range 3 {
			if b := f.next(t); !bytes.Equal(b, packet(j, 1000+i)) {
				t.Fatalf("packet %d to %v differs", j, f.addr)
			}
		}
	}
}

// TestOneFamily has sockets that speak only IPv4 or only IPv6.
func TestOneFamily(t *testing.T) {
	for _, test := range []struct {
		addr, ours, theirs string
		v6                 bool
	}{
		{"0.0.0.0:0", "127.0.0.1:0", "[::1]:0", false},
		{"127.0.0.1:0", "127.0.0.1:0", "[::1]:0", false},
		{"[::1]:0", "[::1]:0", "127.0.0.1:0", true},
	} {
		s, f, g := listen(t, test.addr), newFar(t, test.ours), newFar(t, test.theirs)
		if s.IPv6() != test.v6 {
			t.Errorf("%s: speaks IPv6: %v", test.addr, s.IPv6())
		}
		a, to, other := s.NewArena(), s.Route(f.addr, netip.Addr{}), s.Route(g.addr, netip.Addr{})
		for i := range 3 {
			put(a, other, packet(i, 900))
		}
		for i := range 3 {
			put(a, to, packet(i, 900))
		}
		if got := a.Flush(); got.Packets != 3 || got.Dropped() != 3 || other.Single() {
			t.Errorf("%s: flushed %+v", test.addr, got)
		}
		for i := range 3 {
			if b := f.next(t); !bytes.Equal(b, packet(i, 900)) {
				t.Errorf("%s: packet %d differs", test.addr, i)
			}
		}
	}
}

func TestAddressOfOtherFamilyIsRefused(t *testing.T) {
	s := listen(t, "127.0.0.1:0")
	to := s.Route(netip.MustParseAddrPort("[::1]:9"), netip.Addr{})
	a := s.NewArena()
	for i := range 3 {
		put(a, to, packet(i, 500))
	}
	if got := a.Flush(); got.Refused != 3 || got.Packets != 0 {
		t.Errorf("flushed %+v", got)
	}
	if s.Send([]byte("x"), to) == nil {
		t.Error("sent to an IPv6 address from an IPv4 socket")
	}
}

func TestClosedSocket(t *testing.T) {
	s, f := listen(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")
	in, a, to := s.NewInbound(), s.NewArena(), s.Route(f.addr, netip.Addr{})
	defer in.Free()
	ended := make(chan error, 1)
	go func() {
		_, err := in.Receive(nil)
		ended <- err
	}()
	put(a, to, packet(1, 300))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive ended with %v", err)
	}
	if got := a.Flush(); got.Refused != 1 || got.Packets != 0 {
		t.Errorf("flushed %+v", got)
	}
	if s.Send([]byte("x"), to) == nil {
		t.Error("sent through a closed socket")
	}
}

func TestPortInUseNamesIt(t *testing.T) {
	s := listen(t, "127.0.0.1:0")
	if other, err := wire.Listen(s.LocalAddr().String()); err == nil {
		_ = other.Close()
		t.Fatal("the port was opened twice")
	}
}
