package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socketMemory is the kernel buffer asked for in each direction, in bytes; the
// kernel may grant less.
const socketMemory = 8 << 20

// ErrFull reports that the socket had no room; the datagram is dropped.
var ErrFull = errors.New("socket is full")

// Socket is one UDP port. Its methods may be called from any goroutine; an Inbound
// and an Arena belong to one each.
type Socket struct {
	// Static after Listen.
	conn   *net.UDPConn
	raw    syscall.RawConn
	watch  // how Receive waits
	local  netip.AddrPort
	v6     bool // speaks IPv6, and IPv4 as mapped addresses
	any    bool // bound to the unspecified address, so that replies must name their source
	trains bool // the kernel knows UDP_SEGMENT
	opened time.Time
	arenas sync.Pool

	// Atomic.
	closed atomic.Bool
}

// Listen opens the UDP port addr, "host:port". An empty host is every address of
// the machine, IPv6 and IPv4 where there is IPv6; 0.0.0.0 is every IPv4 address.
func Listen(addr string) (*Socket, error) {
	network := "udp"
	if a, err := netip.ParseAddrPort(addr); err == nil && a.Addr().Is4() {
		network = "udp4" // or 0.0.0.0 would be every IPv6 address, too
	}
	c, err := new(net.ListenConfig).ListenPacket(context.Background(), network, addr)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the media port: %w", err)
	}
	conn := c.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("couldn't open the media port: %w", err)
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s := &Socket{conn: conn, raw: raw, local: local, v6: local.Addr().Is6(), any: local.Addr().IsUnspecified(), opened: time.Now()}
	s.local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	s.arenas.New = func() any { return newStorage(s) }
	if err := errors.Join(s.tune(), s.startWatch()); err != nil {
		_ = s.closeAll()
		return nil, fmt.Errorf("couldn't set up the media port: %w", err)
	}
	return s, nil
}

// Close closes the port; Receive returns net.ErrClosed and flushes send nothing
// from then on.
func (s *Socket) Close() error {
	s.closed.Store(true)
	return s.closeAll()
}

// clock is the time since the socket was opened, in nanoseconds.
func (s *Socket) clock() int64 { return int64(time.Since(s.opened)) }

// LocalAddr is the address the port is bound to.
func (s *Socket) LocalAddr() netip.AddrPort { return s.local }

// IPv6 says whether the port can reach IPv6 addresses.
func (s *Socket) IPv6() bool { return s.v6 }

// SyscallConn gives access to the socket's options.
func (s *Socket) SyscallConn() (syscall.RawConn, error) { return s.raw, nil }

// Route is where datagrams go: the far address, the own address they must come
// from, and what the path is known to refuse. An address that changes needs a
// new route. Packets of one train share one *Route.
type Route struct {
	remote netip.AddrPort
	local  netip.Addr
	refusal
	path
}

// Route makes the way to remote. local is the own address its datagrams came to,
// so that answers leave from there; the zero Addr lets the kernel choose.
func (s *Socket) Route(remote netip.AddrPort, local netip.Addr) *Route {
	r := &Route{remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()), local: local.Unmap()}
	s.setPath(r)
	return r
}

// Remote is the far address, IPv4 not mapped.
func (r *Route) Remote() netip.AddrPort { return r.remote }

// Local is the own address datagrams come from; the zero Addr if the kernel
// chooses.
func (r *Route) Local() netip.Addr { return r.local }

// Single says that the kernel refused a train on this route, so that packets go out
// one by one until it takes one again.
func (r *Route) Single() bool { return r.again.Load() != 0 }
