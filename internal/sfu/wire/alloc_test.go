//go:build !race

// The race detector makes sync.Pool forget at random, so nothing can be said
// about allocations under it.

package wire_test

import (
	"net/netip"
	"testing"
)

func TestFlushAllocatesNothing(t *testing.T) {
	s, f := listen(t, ":0"), newFar(t, "127.0.0.1:0")
	a, to := s.NewArena(), s.Route(f.addr, netip.MustParseAddr("127.0.0.1"))
	b := packet(1, 1200)
	if n := testing.AllocsPerRun(200, func() {
		for range 8 {
			put(a, to, b)
		}
		a.Flush()
	}); n != 0 {
		t.Errorf("%v allocations per flush", n)
	}
}
