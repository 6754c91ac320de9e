//go:build linux && (amd64 || arm64) && !portable

package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watch is how Receive waits for datagrams. The Go runtime watches a socket for room
// to write, too, so each packet that leaves the send buffer would wake a thread that
// finds nothing to do: on loopback with every send, on a device with every interrupt.
// So the runtime is shown an epoll instance instead that watches the socket for
// datagrams only. Static.
type watch struct {
	socket   *os.File // nil before startWatch
	epoll    *os.File
	readable syscall.RawConn // waits for the epoll instance
}

// startWatch takes the socket away from the net package.
func (s *Socket) startWatch() error {
	var fd int
	var failed error
	err := s.raw.Control(func(f uintptr) { fd, failed = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	// The os package leaves a blocking file alone; every call says MSG_DONTWAIT.
	failed = unix.SetNonblock(fd, false)
	s.watch.socket = os.NewFile(uintptr(fd), "udp")
	if err := errors.Join(failed, s.conn.Close()); err != nil {
		return err
	}
	if s.raw, err = s.watch.socket.SyscallConn(); err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	failed = unix.SetNonblock(epoll, true)
	s.epoll = os.NewFile(uintptr(epoll), "epoll")
	err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})
	if err := errors.Join(failed, err); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	s.readable, err = s.epoll.SyscallConn()
	return err
}

// closeAll closes what is open.
func (s *Socket) closeAll() error {
	if s.watch.socket == nil {
		return s.conn.Close()
	}
	err := s.watch.socket.Close()
	if s.epoll != nil {
		err = errors.Join(err, s.epoll.Close())
	}
	return err
}

// failure is err, or net.ErrClosed in place of the os package's word for it.
func (s *Socket) failure(err error) error {
	if s.closed.Load() {
		return net.ErrClosed
	}
	return err
}
