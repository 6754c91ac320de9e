//go:build linux && (amd64 || arm64) && !portable

package wire_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hibari/hibari/internal/sfu/wire"
)

func TestTrainsSaveCalls(t *testing.T) {
	s := listen(t, ":0")
	var fars []far
	a := s.NewArena()
	for range 10 {
		f := newFar(t, "127.0.0.1:0")
		fars = append(fars, f)
		to := s.Route(f.addr, netip.MustParseAddr("127.0.0.1"))
		for i := range 8 {
			put(a, to, packet(i, 1100))
		}
	}
	if got := a.Flush(); got.Packets != 80 || got.Messages != 10 || got.Calls != 1 {
		t.Fatalf("flushed %+v, want 80 packets as 10 trains in one call", got)
	}
	for _, f := range fars {
		for i := range 8 {
			if b := f.next(t); !bytes.Equal(b, packet(i, 1100)) {
				t.Fatalf("packet %d differs", i)
			}
		}
	}
}

// TestRefusedTrainGoesOutSingly makes the kernel refuse trains for real: it does
// so on sockets that send without checksums. The route tries again later.
func TestRefusedTrainGoesOutSingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f, g := listen(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")
		a, to, single := s.NewArena(), s.Route(f.addr, netip.Addr{}), s.Route(g.addr, netip.Addr{})
		option(t, s, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
		for i := range 5 {
			put(a, to, packet(i, 1000))
		}
		put(a, single, packet(9, 400))
		got := a.Flush()
		if got.Packets != 6 || got.Messages != 6 || got.Trains != 0 || got.TrainsRefused != 1 || got.Dropped() != 0 {
			t.Fatalf("flushed %+v", got)
		}
		if !to.Single() || single.Single() {
			t.Error("the refusal was not remembered for its route alone")
		}
		// The memory stays for a while when the cause has gone.
		option(t, s, unix.SOL_SOCKET, unix.SO_NO_CHECK, 0)
		for i := 5; i < 8; i++ {
			put(a, to, packet(i, 1000))
		}
		if got := a.Flush(); got.Packets != 3 || got.Messages != 3 || got.Calls != 1 {
			t.Fatalf("flushed %+v, want three single messages in one call", got)
		}
		// A new route tries at once, the old one when its time has come.
		time.Sleep(10*time.Second - 1)
		for i, route := range []*wire.Route{to, s.Route(f.addr, netip.Addr{})} {
			put(a, route, packet(8+2*i, 1000))
			put(a, route, packet(9+2*i, 1000))
		}
		if got := a.Flush(); got.Messages != 3 || got.Trains != 1 || !to.Single() {
			t.Fatalf("flushed %+v, want two single packets and one train", got)
		}
		time.Sleep(time.Nanosecond)
		put(a, to, packet(12, 1000))
		put(a, to, packet(13, 1000))
		if got := a.Flush(); got.Messages != 1 || got.TrainsRegained != 1 || to.Single() {
			t.Fatalf("flushed %+v, want one train", got)
		}
		for i := range 14 {
			if b := f.next(t); !bytes.Equal(b, packet(i, 1000)) {
				t.Fatalf("packet %d differs", i)
			}
		}
		if b := g.next(t); !bytes.Equal(b, packet(9, 400)) {
			t.Error("the packet after the refused train differs")
		}
	})
}

// TestTrainsFollowTheMTU has a path whose MTU shrinks and grows again: trains of
// segments that no longer fit stop, shorter ones go on, and all come back.
func TestTrainsFollowTheMTU(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		synctest.Test(t, func(t *testing.T) {
			s, f := listen(t, host), newFar(t, host)
			a, to := s.NewArena(), s.Route(f.addr, netip.Addr{})
			frame := func(size int) wire.Stats {
				for i := range 4 {
					put(a, to, packet(i, size))
				}
				got := a.Flush()
				if got.Packets != 4 || got.Dropped() != 0 {
					t.Fatalf("%s: flushed %+v", host, got)
				}
				for i := range 4 {
					if b := f.next(t); !bytes.Equal(b, packet(i, size)) {
						t.Fatalf("%s: packet %d differs", host, i)
					}
				}
				return got
			}
			if got := frame(1400); got.Trains != 1 {
				t.Fatalf("%s: flushed %+v, want a train", host, got)
			}
			setMTU(t, "lo", 1280)
			if got := frame(1400); got.TrainsRefused != 1 || got.Trains != 0 {
				t.Fatalf("%s: flushed %+v, want a refusal", host, got)
			}
			if got := frame(1200); got.Trains != 1 || !to.Single() {
				t.Fatalf("%s: flushed %+v, want a train of what fits", host, got)
			}
			if got := frame(1400); got.Calls != 1 || got.Messages != 4 {
				t.Fatalf("%s: flushed %+v, want single packets in one call", host, got)
			}
			setMTU(t, "lo", 65536)
			time.Sleep(10 * time.Second)
			if got := frame(1400); got.Trains != 1 || got.TrainsRegained != 1 || to.Single() {
				t.Fatalf("%s: flushed %+v, want a train again", host, got)
			}
		})
	}
}

// TestRefusedRouteTriesEverMoreSeldom counts the tries of a route that refuses
// trains for an hour.
func TestRefusedRouteTriesEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := listen(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")
		a, to := s.NewArena(), s.Route(f.addr, netip.Addr{})
		option(t, s, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
		var tries []int
		for second := range 1000 {
			// Two trains each time: a refusal is one, whoever asks meanwhile.
			for i := range 2 * 64 {
				put(a, to, packet(i, 20))
			}
			got := a.Flush()
			if got.Packets != 128 || got.Dropped() != 0 {
				t.Fatalf("flushed %+v", got)
			}
			if got.TrainsRefused > 0 {
				tries = append(tries, second)
			}
			if n := min(second, 1); got.TrainsRefused > 2-n {
				t.Errorf("%d trains tried at second %d", got.TrainsRefused, second)
			}
			time.Sleep(time.Second)
		}
		if want := []int{0, 10, 30, 70, 150, 310, 610, 910}; !slices.Equal(tries, want) {
			t.Errorf("tried at seconds %v, want %v", tries, want)
		}
	})
}

// TestAnswerComesFromTheAddressAsked: a port bound to every address must answer
// from the one the datagram came to, or the client will not know the answer.
func TestAnswerComesFromTheAddressAsked(t *testing.T) {
	s := listen(t, ":0")
	f := newFar(t, "127.0.0.1:0")
	asked := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.5"), s.LocalAddr().Port())
	if _, err := f.WriteToUDPAddrPort([]byte("question"), asked); err != nil {
		t.Fatal(err)
	}
	in := s.NewInbound()
	defer in.Free()
	if _, err := in.Receive(nil); err != nil {
		t.Fatal(err)
	}
	if in.To(0) != asked.Addr() {
		t.Fatalf("came to %v, want %v", in.To(0), asked.Addr())
	}
	to := s.Route(in.From(0), in.To(0))
	if err := s.Send([]byte("answer"), to); err != nil {
		t.Fatal(err)
	}
	a := s.NewArena()
	for i := range 3 { // one train, then a single packet
		put(a, to, packet(i, 300))
	}
	put(a, to, packet(3, 800))
	if got := a.Flush(); got.Packets != 4 || got.Messages != 2 {
		t.Fatalf("flushed %+v", got)
	}
	for range 5 {
		n, from, err := f.ReadFromUDPAddrPort(make([]byte, 2048))
		if err != nil {
			t.Fatal(err)
		}
		if netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != asked {
			t.Fatalf("%d bytes came from %v, want %v", n, from, asked)
		}
	}
}
