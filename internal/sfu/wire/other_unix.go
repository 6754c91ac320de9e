//go:build unix && (!linux || !(amd64 || arm64) || portable)

package wire

import (
	"errors"
	"net/netip"
	"syscall"
)

// errNoBuffers is how the system says that the socket is full.
const errNoBuffers = syscall.ENOBUFS

// Poll is Receive without waiting: it takes what has come, and 0 datagrams if
// nothing has. It may be called while another goroutine waits in Receive on another
// Inbound of the socket; each datagram goes to one of them.
func (in *Inbound) Poll() (int, error) {
	if in.buffer == nil {
		in.buffer = NewBuffer()
	}
	var (
		n    int
		from syscall.Sockaddr
		err  error
	)
	// Control, because Read would wait for who waits in Receive.
	gone := in.socket.raw.Control(func(fd uintptr) {
		// The net package's sockets do not block.
		for n, from, err = -1, nil, syscall.EINTR; err == syscall.EINTR; {
			n, from, err = syscall.Recvfrom(int(fd), in.buffer.data[:], 0)
		}
	})
	switch {
	case gone != nil:
		return 0, gone
	case errors.Is(err, syscall.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, err
	}
	in.n = n
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		in.from = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		in.from = netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return 1, nil
}
