//go:build linux && (amd64 || arm64) && !portable

package wire

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendMessages and sendPackets bound one sendmmsg: at most so many kernel messages
// and, unless one message alone has more, so many packets. With a microsecond for a
// packet of a train and four for a single one, a call lasts less than 0.3 ms.
//
// That is what makes raw system calls right here. They keep the scheduler's P, so
// neither does each burst wake the runtime's monitor thread, nor has the worker to
// get a P back afterwards; but they also hold up a stop of the world for as long as
// they last, hence MSG_DONTWAIT and the bounds.
const (
	sendMessages = 64
	sendPackets  = 128
)

// segmentSpace is the size of the UDP_SEGMENT control message, before the one
// that names the source.
var segmentSpace = unix.CmsgSpace(2)

// batch is what sendmmsg needs for the packets of an arena.
type batch struct {
	socket  *Socket // static
	msgs    [arenaPackets]mmsghdr
	firsts  [arenaPackets]int // the first packet of each message
	counts  [arenaPackets]int // packets in each message
	behind  [arenaPackets]int // messages behind it that would have been one train with it
	iovs    [arenaPackets]unix.Iovec
	control [arenaPackets][64]byte // segment size and source
	made    int                    // messages

	stats *Stats // of the flush under way
	// retry has one packet per message, for a train the kernel refused.
	retry [trainPackets]mmsghdr
	write func(fd uintptr) // sendAll, bound once
}

func (m *storage) setup(s *Socket) {
	m.socket = s
	m.write = m.sendAll
}

// send hands the committed packets to the kernel.
func (m *storage) send(s *Socket, stats *Stats) {
	m.compose()
	m.stats = stats
	// Control holds the file descriptor open for the duration of the call but,
	// unlike Write, does not make the workers wait for each other.
	if err := s.raw.Control(m.write); err != nil {
		stats.Refused += m.n
	}
	m.stats = nil
}

// compose turns the packets into kernel messages, a train where it can.
func (m *storage) compose() {
	m.made = 0
	for i := 0; i < m.n; {
		end := m.run(i)
		for j := i; j < end; j++ {
			m.iovs[j].Base = &m.data[m.spans[j].off]
			m.iovs[j].SetLen(m.spans[j].len)
		}
		first := &m.spans[i]
		if end == i+1 || m.socket.trains && !first.to.holds(first.len, m.socket) {
			m.message(i, end-i, 0)
			i = end
			continue
		}
		for ; i < end; i++ {
			m.message(i, 1, end-i-1)
		}
	}
}

// message composes the next message of count packets from number first on.
func (m *storage) message(first, count, behind int) {
	k := m.made
	m.address(&m.msgs[k].hdr, first, count)
	if count > 1 {
		m.segment(k, first)
	}
	m.firsts[k], m.counts[k], m.behind[k] = first, count, behind
	m.made++
}

// address fills in h for count packets from number first on.
func (m *storage) address(h *unix.Msghdr, first, count int) {
	to := m.spans[first].to
	h.Name, h.Namelen = &to.name[0], to.nameLen
	h.Iov = &m.iovs[first]
	h.SetIovlen(count)
	h.Control = nil
	if to.sourceLen > 0 {
		h.Control = &to.source[0]
	}
	h.SetControllen(to.sourceLen)
}

// segment adds to message k the size at which the kernel cuts the train.
func (m *storage) segment(k, first int) {
	c := m.control[k][:]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(c[unix.CmsgLen(0):], uint16(m.spans[first].len))
	to := m.spans[first].to
	n := copy(c[segmentSpace:], to.source[:to.sourceLen])
	m.msgs[k].hdr.Control = &c[0]
	m.msgs[k].hdr.SetControllen(segmentSpace + n)
}

// sendAll sends the composed messages, each tried once whatever became of those
// before it: a call that stops at one goes on behind it.
func (m *storage) sendAll(fd uintptr) {
	for k := 0; k < m.made; {
		sent, errno := m.sendmmsg(fd, m.msgs[k:m.callEnd(k)])
		for end := k + sent; k < end; k++ {
			m.went(m.firsts[k], m.counts[k])
		}
		if errno != 0 {
			k += m.failed(fd, k, errno)
		}
	}
}

// callEnd returns the end of the messages, starting with number k, that may go with
// one call.
func (m *storage) callEnd(k int) int {
	end, packets := k+1, m.counts[k]
	for end < m.made && end-k < sendMessages {
		if packets += m.counts[end]; packets > sendPackets {
			break
		}
		end++
	}
	return end
}

// failed deals with message k, which the kernel refused with errno, and returns how
// many messages are done with. A refused train is sent again packet by packet.
// Anything else is dropped, and with it the rest of what would have been one train:
// without its beginning it is of no use, and a full socket needs the room.
func (m *storage) failed(fd uintptr, k int, errno unix.Errno) int {
	if m.counts[k] > 1 && refusesTrains(errno) {
		m.sendSingly(fd, m.firsts[k], m.counts[k], errno)
		return 1
	}
	done := 1 + m.behind[k]
	m.stats.drop(errno, m.counts[k]+m.behind[k])
	return done
}

// sendSingly sends the packets of a train that was refused with errno one by one.
// Only if they go was it refused for being a train.
func (m *storage) sendSingly(fd uintptr, first, count int, errno unix.Errno) {
	for i := range count {
		m.address(&m.retry[i].hdr, first+i, 1)
	}
	for i := 0; i < count; {
		sent, failed := m.sendmmsg(fd, m.retry[i:count])
		if i == 0 && sent > 0 {
			s := &m.spans[first]
			s.to.add(s.len, errno == unix.EMSGSIZE, m.socket)
			m.stats.TrainsRefused++
		}
		for end := i + sent; i < end; i++ {
			m.went(first+i, 1)
		}
		if failed != 0 {
			m.stats.drop(failed, count-i)
			return
		}
	}
}

// sendmmsg returns how many messages went and, if none did, why.
func (m *storage) sendmmsg(fd uintptr, msgs []mmsghdr) (int, unix.Errno) {
	for {
		m.stats.Calls++
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// went counts a message of count packets from number first on.
func (m *storage) went(first, count int) {
	m.stats.Messages++
	m.stats.Packets += count
	for i := first; i < first+count; i++ {
		m.stats.Bytes += m.spans[i].len
	}
	if count == 1 {
		return
	}
	m.stats.Trains++
	if s := &m.spans[first]; s.to.passed(s.len) {
		m.stats.TrainsRegained++
	}
}

// refusesTrains says whether errno is how a kernel, a driver or a path refuses
// UDP_SEGMENT: no checksum offload, a tunnel, segments larger than the path.
func refusesTrains(errno unix.Errno) bool {
	switch errno {
	case unix.EINVAL, unix.EIO, unix.EMSGSIZE, unix.ENOPROTOOPT, unix.EOPNOTSUPP:
		return true
	}
	return false
}
