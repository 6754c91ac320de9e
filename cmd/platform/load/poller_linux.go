//go:build linux && (amd64 || arm64)

package load

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// pollEvery is how often a publisher is looked after, or a viewer that is not
	// up yet, and restPasses how many times less often one that is.
	pollEvery  = time.Millisecond
	restPasses = 20
	// pollPackets is how many datagrams one call reads.
	pollPackets = 32
	// socketMemory is the receive buffer: some seconds of 2 Mbit/s.
	socketMemory = 1 << 20
)

// socket is a lean peer's UDP socket, connected to the server. It is not
// watched by the Go runtime: nobody is woken by its packets.
type socket struct{ fd int }

// openSocket opens a socket to remote and says where it sends from.
func openSocket(remote netip.AddrPort) (*socket, netip.AddrPort, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("couldn't open a socket: %w", err)
	}
	s := &socket{fd}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketMemory) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketMemory)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		s.close()
		return nil, netip.AddrPort{}, fmt.Errorf("couldn't have the kernel note arrivals: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(remote.Port()), Addr: remote.Addr().As4()}); err != nil {
		s.close()
		return nil, netip.AddrPort{}, fmt.Errorf("couldn't reach %s: %w", remote, err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		s.close()
		return nil, netip.AddrPort{}, err
	}
	own := name.(*unix.SockaddrInet4) // an AF_INET socket has no other
	return s, netip.AddrPortFrom(netip.AddrFrom4(own.Addr), uint16(own.Port)), nil
}

// send sends one datagram or loses it.
func (s *socket) send(b []byte) { _, _ = unix.Write(s.fd, b) }

// sendTrain sends datagrams of one size as one train or loses them.
func (s *socket) sendTrain(b []byte, size int) {
	segment := segmentNote{header: unix.Cmsghdr{Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}, size: uint16(size)}
	segment.header.SetLen(unix.CmsgLen(2))
	note := unsafe.Slice((*byte)(unsafe.Pointer(&segment)), unsafe.Sizeof(segment))
	_, _ = unix.SendmsgN(s.fd, b, note, nil, 0)
}

// segmentNote is the control message of UDP_SEGMENT.
type segmentNote struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte
}

// park has the kernel drop all that comes, without waking anybody.
func (s *socket) park() error {
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	if err != nil {
		return fmt.Errorf("couldn't have the kernel drop packets: %w", err)
	}
	return nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// poller reads the sockets of all lean peers in turn.
type poller struct {
	epoch time.Time // of the run
	stop  chan struct{}
	done  chan struct{}

	mu    sync.Mutex // guards peers; held for each pass
	peers []*leanPeer

	// Owned by run
	msgs    [pollPackets]mmsghdr
	iovs    [pollPackets]unix.Iovec
	buffers [pollPackets][2048]byte
	notes   [pollPackets]arrivalNote
}

// arrivalNote is the control message of SO_TIMESTAMPNS: when a datagram came,
// by the wall clock.
type arrivalNote struct {
	header unix.Cmsghdr
	at     unix.Timespec
}

// mmsghdr is struct mmsghdr of recvmmsg(2) on 64-bit systems.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

func startPoller(epoch time.Time) (*poller, error) {
	p := &poller{epoch: epoch, stop: make(chan struct{}), done: make(chan struct{})}
	for i := range p.msgs {
		p.iovs[i].Base = &p.buffers[i][0]
		p.iovs[i].SetLen(len(p.buffers[i]))
		p.msgs[i].hdr.Iov = &p.iovs[i]
		p.msgs[i].hdr.SetIovlen(1)
		p.msgs[i].hdr.Control = (*byte)(unsafe.Pointer(&p.notes[i]))
	}
	go p.run()
	return p, nil
}

func (p *poller) close() {
	close(p.stop)
	<-p.done
}

func (p *poller) add(peer *leanPeer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peers = append(p.peers, peer)
}

// remove returns when peer is no longer looked after.
func (p *poller) remove(peer *leanPeer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.peers, peer); i >= 0 {
		p.peers = slices.Delete(p.peers, i, i+1)
	}
}

// run looks after the peers until close.
func (p *poller) run() {
	defer close(p.done)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for pass := 0; ; pass++ {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		p.pass(pass)
	}
}

// pass looks once after those whose turn it is: in each pass another part of
// those that are up.
func (p *poller) pass(pass int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	// The kernel notes arrivals by the wall clock, which may be pushed about; over
	// the few milliseconds until it is read it keeps its distance from ours.
	zero := now.UnixNano() - int64(now.Sub(p.epoch))
	for i, peer := range p.peers {
		if peer.sends || peer.media.Load() == nil || (pass+i)%restPasses == 0 {
			if !peer.parked.Load() {
				p.drain(peer, zero)
			}
			peer.due(now)
		}
	}
}

// drain reads what a peer's socket has. zero is the wall clock's nanosecond of
// the epoch.
func (p *poller) drain(peer *leanPeer, zero int64) {
	for {
		for i := range p.msgs {
			p.msgs[i].hdr.SetControllen(int(unsafe.Sizeof(arrivalNote{})))
		}
		// Raw: it never waits, so the scheduler need not know.
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(peer.socket.fd), uintptr(unsafe.Pointer(&p.msgs[0])), pollPackets, unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return
		}
		for i := range int(n) {
			if m := &p.msgs[i]; m.hdr.Flags&unix.MSG_TRUNC == 0 {
				peer.datagram(p.buffers[i][:m.n], time.Duration(p.notes[i].at.Nano()-zero))
			}
		}
		if n < pollPackets {
			return
		}
	}
}
