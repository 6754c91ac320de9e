//go:build unix

package wire_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// The benchmarks tell the processor time of the process as cpu-ns/op, the Go
// runtime's share included: on a machine that does other things, too, that is what to
// compare, and only within one run. Loopback's receiving half is charged to the
// sender.

// benchRoutes is how many viewers the benchmarks send to.
const benchRoutes = 100

// deaf is a UDP socket that nobody reads and, unlike those of the net package, that
// the Go runtime does not watch: viewers are other processes.
func deaf(b *testing.B, addr string) netip.AddrPort {
	b.Helper()
	at := netip.MustParseAddrPort(addr)
	family, name := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if at.Addr().Is6() {
		family, name = unix.AF_INET6, &unix.SockaddrInet6{Addr: at.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, name); err != nil {
		b.Fatal(err)
	}
	name, err = unix.Getsockname(fd)
	if err != nil {
		b.Fatal(err)
	}
	port := 0
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		port = name.Port
	case *unix.SockaddrInet6:
		port = name.Port
	}
	return netip.AddrPortFrom(at.Addr(), uint16(port))
}

// ways are the sockets the benchmarks send from, and where to: each family by itself,
// and IPv4 from a socket for both.
var ways = []struct{ name, from, to string }{
	{"IPv4", "127.0.0.1:0", "127.0.0.1:0"},
	{"IPv6", "[::1]:0", "[::1]:0"},
	{"mapped", ":0", "127.0.0.1:0"},
}

// BenchmarkFlush sends a frame to each of 100 viewers that do not read, as trains
// of the given length. An operation is one packet, copied into the arena and sent.
// BenchmarkSendto is the same one by one, to compare with in the same run.
func BenchmarkFlush(b *testing.B) {
	for _, way := range ways {
		for _, size := range []int{100, 1200} {
			for _, train := range []int{1, 4, 8, 16} {
				b.Run(fmt.Sprintf("%s/size=%d/train=%d", way.name, size, train), func(b *testing.B) {
					s := listen(b, way.from)
					a, frame := s.NewArena(), packet(1, size)
					var routes []*wire.Route
					for range benchRoutes {
						to := deaf(b, way.to)
						routes = append(routes, s.Route(to, to.Addr()))
					}
					put(a, routes[0], frame)
					a.Flush() // has the arena's memory made
					var sent wire.Stats
					b.ReportAllocs()
					b.ResetTimer()
					before := cpu(b)
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
					b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
					b.ReportMetric(float64(sent.Calls)/float64(sent.Packets), "calls/op")
				})
			}
		}
	}
}

// BenchmarkSendto is what a forwarder costs that sends each packet by itself with
// the net package.
func BenchmarkSendto(b *testing.B) {
	for _, way := range ways {
		for _, size := range []int{100, 1200} {
			b.Run(fmt.Sprintf("%s/size=%d", way.name, size), func(b *testing.B) {
				c, frame := newFar(b, way.from), packet(1, size)
				var to []netip.AddrPort
				for range benchRoutes {
					to = append(to, deaf(b, way.to))
				}
				b.ReportAllocs()
				b.ResetTimer()
				before := cpu(b)
				for i := range b.N {
					_, _ = c.WriteToUDPAddrPort(frame, to[i%len(to)])
				}
				b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkReceive empties a full socket. An operation is one datagram.
// BenchmarkReadFrom is the same one by one with the net package.
func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{100, 1200} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := listen(b, ":0")
			in := s.NewInbound()
			defer in.Free()
			drain(b, s.LocalAddr().Port(), size, func() (int, error) {
				n, err := in.Receive(nil)
				for i := range n {
					if len(in.Data(i)) != size || !in.From(i).IsValid() {
						b.Fatal("a datagram differs")
					}
				}
				return n, err
			})
		})
	}
}

// BenchmarkReadFrom is the yardstick of BenchmarkReceive.
func BenchmarkReadFrom(b *testing.B) {
	for _, size := range []int{100, 1200} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			f, memory := newFar(b, ":0"), make([]byte, wire.BufferSize)
			drain(b, f.addr.Port(), size, func() (int, error) {
				_, _, err := f.ReadFromUDPAddrPort(memory)
				return 1, err
			})
		})
	}
}

// drain fills the socket at a port, with the clock stopped, for read to empty.
func drain(b *testing.B, port uint16, size int, read func() (int, error)) {
	const full = 512
	s := listen(b, "127.0.0.1:0")
	a, to, frame := s.NewArena(), s.Route(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), netip.Addr{}), packet(1, size)
	var used time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; {
		b.StopTimer()
		there := min(full, left)
		for range there {
			put(a, to, frame)
		}
		a.Flush()
		left -= there
		before := cpu(b)
		b.StartTimer()
		for there > 0 {
			n, err := read()
			if err != nil {
				b.Fatal(err)
			}
			there -= n
		}
		used += cpu(b) - before
	}
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}

// BenchmarkBurst is a server's rhythm: nothing for a few milliseconds, then a frame of
// one or 8 packets to each of 100 viewers, while somebody waits for datagrams that
// don't come. An operation is a burst; the processor time is for one packet.
func BenchmarkBurst(b *testing.B) {
	for _, way := range []struct {
		name        string
		train, size int
	}{{"audio", 1, 100}, {"video", 8, 1200}} {
		b.Run(way.name, func(b *testing.B) {
			s := listen(b, "127.0.0.1:0")
			in := s.NewInbound()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = in.Receive(nil) // until the socket is closed
				in.Free()
			}()
			defer func() { _ = s.Close(); <-ended }()
			a, frame := s.NewArena(), packet(1, way.size)
			var routes []*wire.Route
			for range benchRoutes {
				routes = append(routes, s.Route(deaf(b, "127.0.0.1:0"), netip.Addr{}))
			}
			var sent wire.Stats
			pause := time.NewTicker(3 * time.Millisecond)
			defer pause.Stop()
			b.ResetTimer()
			before := cpu(b)
			for range b.N {
				<-pause.C
				for _, to := range routes {
					for range way.train {
						put(a, to, frame)
					}
				}
				sent.Add(a.Flush())
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(sent.Packets), "cpu-ns/packet")
		})
	}
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
