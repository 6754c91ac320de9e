//go:build linux && (amd64 || arm64) && !portable

package wire

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// path is a route in the kernel's form.
type path struct {
	name    [unix.SizeofSockaddrInet6]byte
	nameLen uint32
	// source is the control message that names the own address; empty where the
	// kernel chooses.
	source    [40]byte // unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	sourceLen int
}

// mmsghdr is struct mmsghdr of sendmmsg(2) on 64-bit systems.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// tune asks for large kernel buffers, for the own address of each datagram, and
// whether the kernel knows trains.
func (s *Socket) tune() error {
	var failed error
	err := s.raw.Control(func(f uintptr) {
		fd := int(f)
		// The forced kind needs a privilege and passes the system's limit.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketMemory) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketMemory)
		}
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketMemory) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketMemory)
		}
		// An old kernel would ignore the control message and send a train as one
		// huge datagram, hence the question beforehand.
		_, e := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		s.trains = e == nil
		s.discoverMTU(fd)
		if !s.any {
			return
		}
		if s.v6 {
			failed = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		} else {
			failed = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// discoverMTU has datagrams carry "don't fragment" as long as they fit the path as
// known, so that routers tell the kernel where they don't, and has the kernel
// fragment those that don't fit: a packet in two pieces is better than a frame that
// never comes. That is the system's default, but the system can be told otherwise.
// To discover nothing (IP_PMTUDISC_DONT) would do harm to trains: the kernel numbers
// their datagrams in a row from one number, so those of two trains to one address
// may be equal, and then the pieces that routers make get mixed up (RFC 6864 §4).
func (s *Socket) discoverMTU(fd int) {
	// On an IPv6 socket the first is for mapped addresses. An error leaves the
	// default, most likely the same.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_WANT)
	if s.v6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_WANT)
	}
}

// setPath writes the route in the kernel's form.
func (s *Socket) setPath(r *Route) {
	r.nameLen = putName(&r.name, r.remote, s.v6)
	if !s.any || !r.local.IsValid() || r.local.Is6() && !s.v6 {
		return
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&r.source[0]))
	data := r.source[unix.CmsgLen(0):]
	if s.v6 {
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		a := r.local.As16()
		copy(data, a[:])
		r.sourceLen = unix.CmsgSpace(unix.SizeofInet6Pktinfo)
		return
	}
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	a := r.local.As4()
	copy(data[4:], a[:]) // in_pktinfo: ifindex, spec_dst, addr
	r.sourceLen = unix.CmsgSpace(unix.SizeofInet4Pktinfo)
}

// putName writes a as a sockaddr and returns its length, 0 for an IPv6 address on
// an IPv4 socket, which the kernel refuses.
func putName(b *[unix.SizeofSockaddrInet6]byte, a netip.AddrPort, v6 bool) uint32 {
	binary.BigEndian.PutUint16(b[2:], a.Port())
	if v6 {
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET6)
		ip := a.Addr().As16()
		copy(b[8:], ip[:])
		return unix.SizeofSockaddrInet6
	}
	if !a.Addr().Is4() {
		return 0
	}
	binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
	ip := a.Addr().As4()
	copy(b[4:], ip[:])
	return unix.SizeofSockaddrInet4
}

// name reads a sockaddr.
func name(b *[unix.SizeofSockaddrInet6]byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(b[2:])
	if binary.NativeEndian.Uint16(b[:]) == unix.AF_INET6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
}

// Send sends one datagram at once, or drops it with ErrFull.
func (s *Socket) Send(b []byte, to *Route) error {
	if len(b) == 0 {
		return nil
	}
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(len(b))
	h := unix.Msghdr{Name: &to.name[0], Namelen: to.nameLen, Iov: &iov}
	h.SetIovlen(1)
	if to.sourceLen > 0 {
		h.Control = &to.source[0]
		h.SetControllen(to.sourceLen)
	}
	var errno unix.Errno
	err := s.raw.Control(func(fd uintptr) {
		for {
			_, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&h)), unix.MSG_DONTWAIT)
			if errno != unix.EINTR {
				return
			}
		}
	})
	switch {
	case err != nil:
		return s.failure(err)
	case errno == unix.EAGAIN || errno == unix.ENOBUFS:
		return ErrFull
	case errno != 0:
		return errno
	}
	return nil
}
