package transport

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// hostPriority is the type preference of host candidates (RFC 8445 §5.1.2.2).
const hostPriority = 126

// candidates lists what to offer: the configured addresses, or those the port is
// reachable at, in order of preference.
func candidates(s *wire.Socket, ips []netip.Addr) []string {
	local := s.LocalAddr()
	switch {
	case len(ips) > 0:
	case !local.Addr().IsUnspecified():
		ips = []netip.Addr{local.Addr()}
	default:
		ips = hostAddrs()
	}
	var list []string
	for _, ip := range ips {
		ip = ip.Unmap().WithZone("")
		if ip.Is6() && !s.IPv6() {
			continue
		}
		i := len(list)
		priority := hostPriority<<24 | (65535-i)<<8 | (256 - 1)
		list = append(list, fmt.Sprintf("%d 1 udp %d %s %d typ host", i+1, priority, ip, local.Port()))
	}
	return list
}

// hostAddrs are the machine's own addresses, IPv4 first; loopback only when
// there is nothing else.
func hostAddrs() []netip.Addr {
	own, err := net.InterfaceAddrs()
	if err != nil {
		own = nil
	}
	var v4, v6, loopback []netip.Addr
	for _, o := range own {
		n, ok := o.(*net.IPNet)
		if !ok {
			continue
		}
		a, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		switch a = a.Unmap(); {
		case a.IsLoopback():
			loopback = append(loopback, a)
		case a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified():
		case a.Is4():
			v4 = append(v4, a)
		default:
			v6 = append(v6, a)
		}
	}
	if list := append(v4, v6...); len(list) > 0 {
		return list
	}
	return loopback
}
