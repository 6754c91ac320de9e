package wire_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// benchRoutes is how many viewers the benchmarks send to.
const benchRoutes = 100

// BenchmarkFlush sends a frame to each of 100 viewers that do not read, as trains
// of the given length. An operation is one packet. BenchmarkSendto is the same one
// by one, to compare with in the same run.
func BenchmarkFlush(b *testing.B) {
	benchSizes(b, []int{1, 4, 8, 16}, func(b *testing.B, s *wire.Socket, fars []far, train, size int) {
		a, frame := s.NewArena(), packet(1, size)
		var routes []*wire.Route
		for _, f := range fars {
			routes = append(routes, s.Route(f.addr, netip.Addr{}))
		}
		var sent wire.Stats
		for left := b.N; left > 0; {
			for _, to := range routes {
				for range min(train, left) {
					copy(a.Reserve(to, size), frame)
					a.Commit(size)
				}
				left -= min(train, left)
			}
			sent.Add(a.Flush())
		}
		b.ReportMetric(float64(sent.Calls)/float64(sent.Packets), "calls/op")
	})
}

// BenchmarkSendto is what a forwarder costs that sends each packet by itself with
// the net package.
func BenchmarkSendto(b *testing.B) {
	benchSizes(b, []int{1}, func(b *testing.B, _ *wire.Socket, fars []far, _, size int) {
		c, frame := newFar(b, ":0"), packet(1, size)
		for i := range b.N {
			_, _ = c.WriteToUDPAddrPort(frame, fars[i%len(fars)].addr)
		}
	})
}

// benchSizes runs f for each kind of frame with viewers on loopback.
func benchSizes(b *testing.B, trains []int, f func(b *testing.B, s *wire.Socket, fars []far, train, size int)) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, size := range []int{100, 1200} {
			for _, train := range trains {
				b.Run(fmt.Sprintf("host=%s/size=%d/train=%d", host, size, train), func(b *testing.B) {
					s := listen(b, net.JoinHostPort(host, "0"))
					var fars []far
					for range benchRoutes {
						fars = append(fars, newFar(b, net.JoinHostPort(host, "0")))
					}
					b.ReportAllocs()
					b.ResetTimer()
					f(b, s, fars, train, size)
				})
			}
		}
	}
}
