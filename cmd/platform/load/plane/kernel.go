package plane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// sinks is how many sockets take what a thread of Kernel sends.
const sinks = 100

// Kernel is the yardstick: what the bare path through the kernel allows. As many
// threads as there are cores send trains to sockets that drop them, each from a
// port of its own, with nothing else to do. A shared machine, or two cores that
// share their silicon, may not give twice as much on two.
func Kernel(ctx context.Context, d time.Duration) (Result, error) {
	var sent sentCount
	ctx, stop := context.WithCancel(ctx)
	var threads sync.WaitGroup
	defer func() { stop(); threads.Wait() }()
	for range runtime.GOMAXPROCS(0) {
		t, err := newThread()
		if err != nil {
			return Result{}, err
		}
		threads.Go(func() { t.run(ctx, &sent) })
	}
	if err := sleep(ctx, warmup/5); err != nil {
		return Result{}, err
	}
	return measure(ctx, d, func() counts { return counts{packets: sent.packets.Load(), trains: sent.trains.Load()} })
}

// sentCount is what all threads have sent.
type sentCount struct{ packets, trains atomic.Int64 }

// thread sends from one port. Owned by run.
type thread struct {
	socket *wire.Socket
	sinks  []net.PacketConn
	routes []*wire.Route
}

func newThread() (t *thread, err error) {
	t = &thread{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.socket, err = wire.Listen("127.0.0.1:0"); err != nil {
		return nil, err
	}
	for range sinks {
		sink, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("couldn't open a socket: %w", err)
		}
		t.sinks = append(t.sinks, sink)
		nothing, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
		if err != nil {
			return nil, err
		}
		if err := ipv4.NewPacketConn(sink).SetBPF(nothing); err != nil {
			return nil, fmt.Errorf("couldn't have the kernel drop packets: %w", err)
		}
		at := sink.LocalAddr().(*net.UDPAddr).AddrPort() // of a UDP socket
		t.routes = append(t.routes, t.socket.Route(at, netip.Addr{}))
	}
	return t, nil
}

// run sends frames to one sink after the other until ctx ends, and counts the
// packets.
func (t *thread) run(ctx context.Context, sent *sentCount) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer t.close()
	arena := t.socket.NewArena()
	for i := 0; ctx.Err() == nil; i++ {
		route := t.routes[i%len(t.routes)]
		for range packets / frames {
			_ = arena.Reserve(route, packetSize)
			arena.Commit(packetSize)
		}
		if i%16 == 15 { // 128 packets, as the SFU does
			stats := arena.Flush()
			sent.packets.Add(int64(stats.Packets))
			sent.trains.Add(int64(stats.Messages))
		}
	}
}

func (t *thread) close() error {
	var errs []error
	if t.socket != nil {
		errs = append(errs, t.socket.Close())
	}
	for _, s := range t.sinks {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
