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
	msgs    [arenaPackets]mmsghdr
	counts  [arenaPackets]int // packets in each message
	firsts  [arenaPackets]int // the first of them
	iovs    [arenaPackets]unix.Iovec
	control [arenaPackets][64]byte // segment size and source
	made    int                    // messages

	stats *Stats // of the flush under way
	// retry has one packet per message, for a train the kernel refused.
	retry [trainPackets]mmsghdr
	write func(fd uintptr) // sendAll, bound once
}

func (m *storage) setup(*Socket) {
	m.write = m.sendAll
}

// send hands the committed packets to the kernel.
func (m *storage) send(s *Socket, stats *Stats) {
	m.compose(s)
	m.stats = stats
	// Control holds the file descriptor open for the duration of the call but,
	// unlike Write, does not make the workers wait for each other.
	if err := s.raw.Control(m.write); err != nil {
		stats.Refused += m.n
	}
	m.stats = nil
}

// compose turns the packets into kernel messages, a train where it can.
func (m *storage) compose(s *Socket) {
	m.made = 0
	for i := 0; i < m.n; {
		end := i + 1
		if s.trains {
			end = m.train(i)
		}
		for j := i; j < end; j++ {
			m.iovs[j].Base = &m.data[m.spans[j].off]
			m.iovs[j].SetLen(m.spans[j].len)
		}
		k := m.made
		m.address(&m.msgs[k].hdr, i, end-i)
		if end-i > 1 {
			m.segment(k, i)
		}
		m.firsts[k], m.counts[k] = i, end-i
		m.made++
		i = end
	}
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

// sendAll sends the composed messages. A message that does not go is dropped and
// counted, or sent again packet by packet when it was a train the kernel refused.
func (m *storage) sendAll(fd uintptr) {
	for i := 0; i < m.made; {
		sent, errno := m.sendmmsg(fd, m.msgs[i:m.callEnd(i)])
		for k := i; k < i+sent; k++ {
			m.count(m.firsts[k], m.counts[k])
		}
		i += sent
		if errno == 0 {
			continue
		}
		first, count := m.firsts[i], m.counts[i]
		if count > 1 && refusesTrains(errno) {
			m.spans[first].to.single.Store(true)
			m.sendSingly(fd, first, count)
		} else {
			m.drop(errno, count)
		}
		i++
	}
}

// callEnd returns the end of the messages, starting with number i, that may go with
// one call.
func (m *storage) callEnd(i int) int {
	end, packets := i+1, m.counts[i]
	for end < m.made && end-i < sendMessages {
		if packets += m.counts[end]; packets > sendPackets {
			break
		}
		end++
	}
	return end
}

// sendSingly sends each packet of a refused train on its own.
func (m *storage) sendSingly(fd uintptr, first, count int) {
	for i := range count {
		m.address(&m.retry[i].hdr, first+i, 1)
	}
	for i := 0; i < count; {
		sent, errno := m.sendmmsg(fd, m.retry[i:count])
		for k := i; k < i+sent; k++ {
			m.count(first+k, 1)
		}
		i += sent
		if errno != 0 {
			m.drop(errno, 1)
			i++
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

func (m *storage) count(first, count int) {
	m.stats.Messages++
	m.stats.Packets += count
	for i := first; i < first+count; i++ {
		m.stats.Bytes += m.spans[i].len
	}
}

func (m *storage) drop(errno unix.Errno, count int) {
	if errno == unix.EAGAIN || errno == unix.ENOBUFS {
		m.stats.Full += count
		return
	}
	m.stats.Refused += count
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
