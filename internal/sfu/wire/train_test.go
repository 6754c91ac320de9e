//go:build linux && (amd64 || arm64) && !portable

package wire_test

import (
	"bytes"
	"net/netip"
	"testing"

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
// so on sockets that send without checksums.
func TestRefusedTrainGoesOutSingly(t *testing.T) {
	s, f, g := listen(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0"), newFar(t, "127.0.0.1:0")
	a, to, single := s.NewArena(), s.Route(f.addr, netip.Addr{}), s.Route(g.addr, netip.Addr{})
	checksums(t, s, false)
	for i := range 5 {
		put(a, to, packet(i, 1000))
	}
	put(a, single, packet(9, 400))
	got := a.Flush()
	if got.Packets != 6 || got.Messages != 6 || got.Refused+got.Full != 0 {
		t.Fatalf("flushed %+v", got)
	}
	if !to.Single() || single.Single() {
		t.Error("the refusal was not remembered for its route alone")
	}
	// The memory stays when the cause has gone.
	checksums(t, s, true)
	for i := 5; i < 8; i++ {
		put(a, to, packet(i, 1000))
	}
	if got := a.Flush(); got.Packets != 3 || got.Messages != 3 || got.Calls != 1 {
		t.Fatalf("flushed %+v, want three single messages in one call", got)
	}
	for i := range 8 {
		if b := f.next(t); !bytes.Equal(b, packet(i, 1000)) {
			t.Fatalf("packet %d differs", i)
		}
	}
	if b := g.next(t); !bytes.Equal(b, packet(9, 400)) {
		t.Error("the packet after the refused train differs")
	}
	// A new route tries again.
	fresh := s.Route(f.addr, netip.Addr{})
	put(a, fresh, packet(1, 1000))
	put(a, fresh, packet(2, 1000))
	if got := a.Flush(); got.Messages != 1 {
		t.Errorf("flushed %+v, want one train", got)
	}
}

func checksums(t *testing.T, s *wire.Socket, on bool) {
	t.Helper()
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	off := 1
	if on {
		off = 0
	}
	err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, off) })
	if err != nil {
		t.Fatal(err)
	}
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
