//go:build linux && (amd64 || arm64) && !portable

package wire

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inboundPackets is how many datagrams one Receive takes at most.
const inboundPackets = 32

// controlSize has room for one in6_pktinfo or in_pktinfo control message.
const controlSize = 64

// Inbound is the memory of one reader. It belongs to the goroutine that calls
// Receive or Poll.
type Inbound struct {
	socket  *Socket
	buffers [inboundPackets]*Buffer
	msgs    [inboundPackets]mmsghdr
	iovs    [inboundPackets]unix.Iovec
	names   [inboundPackets][unix.SizeofSockaddrInet6]byte
	control [inboundPackets][controlSize]byte
	n       int
	errno   unix.Errno
	took    bool                     // false if there was nothing
	order   sync.Locker              // of the Receive under way; may be nil
	read    func(epoll uintptr) bool // for Receive, bound once
	poll    func(fd uintptr)         // for Poll, bound once
}

// NewInbound makes the memory of a reader; Free it in the end.
func (s *Socket) NewInbound() *Inbound {
	in := &Inbound{socket: s}
	for i := range in.msgs {
		h := &in.msgs[i].hdr
		h.Name = &in.names[i][0]
		h.Iov = &in.iovs[i]
		h.SetIovlen(1)
		in.iovs[i].SetLen(BufferSize)
	}
	in.read, in.poll = in.recvInOrder, in.recvmmsg
	return in
}

// Free gives the buffers back that nobody took.
func (in *Inbound) Free() {
	for i, b := range in.buffers {
		if b != nil {
			b.Free()
			in.buffers[i] = nil
		}
	}
}

// Receive waits for datagrams and returns how many came, at most 32. They are
// valid until the next Receive or Poll unless taken.
//
// Where others poll the socket, order keeps the datagrams of one sender in order:
// who holds it reads and works off what it has read. Receive locks it when there
// is something to read, and returns with it locked unless it returns an error. It
// may be nil.
func (in *Inbound) Receive(order sync.Locker) (int, error) {
	in.prepare()
	in.order = order
	return in.result(in.socket.readable.Read(in.read))
}

// Poll is Receive without waiting: it takes what has come, and 0 datagrams if
// nothing has. It may be called while another goroutine waits in Receive on another
// Inbound of the socket; each datagram goes to one of them.
func (in *Inbound) Poll() (int, error) {
	in.prepare()
	// Control, because Read would wait for who waits in Receive.
	return in.result(in.socket.raw.Control(in.poll))
}

// prepare makes room for the next datagrams.
func (in *Inbound) prepare() {
	for i := range in.msgs {
		if in.buffers[i] == nil {
			in.buffers[i] = NewBuffer()
			in.iovs[i].Base = &in.buffers[i].data[0]
		}
		h := &in.msgs[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if in.socket.any {
			h.Control = &in.control[i][0]
			h.SetControllen(controlSize)
		}
	}
	in.n, in.errno, in.took = 0, 0, false
}

// result is what a read that ended with err has brought.
func (in *Inbound) result(err error) (int, error) {
	if err != nil {
		return 0, in.socket.failure(err)
	}
	if in.errno != 0 {
		return 0, in.errno
	}
	return in.n, nil
}

// recvInOrder is recvmmsg with order locked if anything came. It reports false to be
// called again once the socket is readable.
func (in *Inbound) recvInOrder(uintptr) bool {
	if in.order != nil {
		in.order.Lock()
	}
	// An error says that the socket is closed, as the next wait will.
	_ = in.socket.raw.Control(in.poll)
	if in.order != nil && in.n == 0 {
		in.order.Unlock()
	}
	return in.took
}

// recvmmsg takes what is there. The call is raw for the reasons that sendmmsg is; 32
// datagrams take less than 0.1 ms.
func (in *Inbound) recvmmsg(fd uintptr) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.msgs[0])), inboundPackets, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			in.n, in.took = int(n), true
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			in.errno, in.took = errno, true
		}
		return
	}
}

// Data is datagram i, nil if it was longer than a buffer.
func (in *Inbound) Data(i int) []byte {
	m := &in.msgs[i]
	if m.hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil
	}
	return in.buffers[i].data[:m.n]
}

// From is where datagram i came from, IPv4 not mapped.
func (in *Inbound) From(i int) netip.AddrPort { return name(&in.names[i]) }

// To is the own address datagram i came to; the zero Addr if the port is bound
// to one address or the kernel did not say.
func (in *Inbound) To(i int) netip.Addr {
	h := &in.msgs[i].hdr
	if !in.socket.any || h.Controllen < uint64(unix.CmsgLen(unix.SizeofInet4Pktinfo)) {
		return netip.Addr{}
	}
	c := in.control[i][:]
	level := binary.NativeEndian.Uint32(c[8:])
	kind := binary.NativeEndian.Uint32(c[12:])
	data := c[unix.CmsgLen(0):]
	switch {
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO:
		return netip.AddrFrom16([16]byte(data[:16])).Unmap()
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO:
		return netip.AddrFrom4([4]byte(data[4:8]))
	}
	return netip.Addr{}
}

// Take moves the buffer of datagram i to the caller, who frees it.
func (in *Inbound) Take(i int) *Buffer {
	b := in.buffers[i]
	in.buffers[i] = nil
	return b
}
