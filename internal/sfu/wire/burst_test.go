//go:build unix

package wire_test

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// BenchmarkBurst is a server's rhythm: nothing for a few milliseconds, then a frame
// of 8 packets to each of 100 viewers. What counts is the processor time of the
// whole process, the Go runtime's share included; it is reported for one packet.
// An operation is a burst.
func BenchmarkBurst(b *testing.B) {
	s := listen(b, "127.0.0.1:0")
	a, frame := s.NewArena(), packet(1, 1200)
	var routes []*wire.Route
	for range benchRoutes {
		routes = append(routes, s.Route(newFar(b, "127.0.0.1:0").addr, netip.Addr{}))
	}
	var sent wire.Stats
	pause := time.NewTicker(3 * time.Millisecond)
	defer pause.Stop()
	b.ResetTimer()
	before := cpu(b)
	for range b.N {
		<-pause.C
		for _, to := range routes {
			for range 8 {
				copy(a.Reserve(to, len(frame)), frame)
				a.Commit(len(frame))
			}
		}
		sent.Add(a.Flush())
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(sent.Packets), "cpu-ns/packet")
}

// cpu is the processor time of this process until now.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
