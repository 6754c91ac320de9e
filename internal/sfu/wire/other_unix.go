//go:build unix && (!linux || !(amd64 || arm64) || portable)

package wire

import (
	"errors"
	"net/netip"
	"sync"
	"syscall"
)

// path is a route in the syscall package's form, nil for an IPv6 address on an IPv4
// socket.
type path struct {
	name syscall.Sockaddr
}

func (s *Socket) setPath(r *Route) {
	a, port := r.remote.Addr(), int(r.remote.Port())
	switch {
	case s.v6:
		r.name = &syscall.SockaddrInet6{Addr: a.As16(), Port: port}
	case a.Is4():
		r.name = &syscall.SockaddrInet4{Addr: a.As4(), Port: port}
	}
}

// sending is one call of sendto(2); pooled, so that it costs no memory.
type sending struct {
	data []byte
	to   syscall.Sockaddr
	err  error
	call func(fd uintptr) // sendto, bound once
}

var sendings = sync.Pool{New: func() any {
	c := new(sending)
	c.call = c.sendto
	return c
}}

func (c *sending) sendto(fd uintptr) {
	// The net package's sockets do not block.
	for c.err = syscall.EINTR; c.err == syscall.EINTR; {
		c.err = syscall.Sendto(int(fd), c.data, 0, c.to)
	}
}

// sendto sends one datagram. The net package would wait for room in the socket.
func (s *Socket) sendto(b []byte, to *Route) error {
	if to.name == nil {
		return syscall.EAFNOSUPPORT
	}
	c := sendings.Get().(*sending)
	c.data, c.to = b, to.name
	err := s.raw.Control(c.call)
	if err == nil {
		err = c.err
	}
	c.data, c.to = nil, nil
	sendings.Put(c)
	return err
}

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
