package wire

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Probe is what a machine and its network interfaces do for a media port.
type Probe struct {
	Trains        bool        `json:"trains"`         // the kernel knows UDP_SEGMENT
	BufferAsked   int         `json:"buffer_asked"`   // bytes a socket asks for in each direction
	SendBuffer    int         `json:"send_buffer"`    // bytes it is granted to send, 0 if unknown
	ReceiveBuffer int         `json:"receive_buffer"` // bytes it is granted to receive, 0 if unknown
	Interfaces    []Interface `json:"interfaces"`
}

// Interface is a network interface that media leaves by.
type Interface struct {
	Name  string       `json:"name"`
	MTU   int          `json:"mtu"`       // bytes of an IP packet
	Addrs []netip.Addr `json:"addresses"` // those of the asked that it serves

	Segmentation Offload `json:"tx_udp_segmentation"`     // the device cuts trains
	Checksum     Offload `json:"tx_checksum"`             // the device sums UDP
	Generic      Offload `json:"tx_generic_segmentation"` // the kernel keeps trains whole until the device
}

// Offload is the state of one thing that a device does for the kernel.
type Offload string

// The states of an offload.
const (
	OffloadOn      Offload = "on"
	OffloadOff     Offload = "off"     // turned off; ethtool -K turns it on
	OffloadNone    Offload = "none"    // the device or its driver can't
	OffloadUnknown Offload = "unknown" // the system does not say
)

// NewProbe opens a port on the host of addr, "host:port", for a moment, with the
// options Listen sets, and looks at the interfaces that serve ips. An address of none
// of them is taken for one that others translate: it counts to the interface that
// leads out. An error says that no port could be opened.
func NewProbe(addr string, ips []netip.Addr) (Probe, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return Probe{}, fmt.Errorf("couldn't read the media port's address: %w", err)
	}
	s, err := Listen(net.JoinHostPort(host, "0"))
	if err != nil {
		return Probe{}, err
	}
	defer func() { _ = s.Close() }()
	p := Probe{Trains: s.trains, BufferAsked: socketMemory, Interfaces: interfaces(ips)}
	p.SendBuffer, p.ReceiveBuffer = s.granted()
	return p, nil
}

// interfaces finds those that serve ips, in the order of ips.
func interfaces(ips []netip.Addr) (found []Interface) {
	for _, ip := range ips {
		i, ok := interfaceOf(ip)
		if !ok {
			if i, ok = interfaceOf(wayOut(ip)); !ok {
				continue
			}
		}
		at := slices.IndexFunc(found, func(f Interface) bool { return f.Name == i.Name })
		if at < 0 {
			at = len(found)
			n := Interface{Name: i.Name, MTU: i.MTU}
			n.Segmentation, n.Checksum, n.Generic = offloads(i.Name)
			found = append(found, n)
		}
		found[at].Addrs = append(found[at].Addrs, ip)
	}
	return found
}

// interfaceOf finds the interface that has ip.
func interfaceOf(ip netip.Addr) (net.Interface, bool) {
	all, _ := net.Interfaces() // none found: no interface
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && holds(p, ip, i) {
				return i, true
			}
		}
	}
	return net.Interface{}, false
}

// holds says whether ip is the address p of interface i; loopback has all of its
// network.
func holds(p netip.Prefix, ip netip.Addr, i net.Interface) bool {
	return p.Addr().WithZone("") == ip || i.Flags&net.FlagLoopback != 0 && p.Contains(ip)
}

// wayOut is the own address that datagrams to the world outside leave from, the zero
// Addr if there is no way out. Nothing is sent to find it.
func wayOut(ip netip.Addr) netip.Addr {
	outside := "192.0.2.1:9" // for documentation (RFC 5737, RFC 3849)
	if ip.Is6() {
		outside = "[2001:db8::1]:9"
	}
	c, err := net.Dial("udp", outside)
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}
