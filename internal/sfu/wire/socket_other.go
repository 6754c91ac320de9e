//go:build !linux || !(amd64 || arm64) || portable

package wire

import (
	"errors"
	"syscall"
)

// watch is empty: the net package waits.
type watch struct{}

func (s *Socket) startWatch() error { return nil }

func (s *Socket) closeAll() error { return s.conn.Close() }

// tune asks for large kernel buffers.
func (s *Socket) tune() error {
	_ = s.conn.SetReadBuffer(socketMemory)
	_ = s.conn.SetWriteBuffer(socketMemory)
	return nil
}

// Send sends one datagram at once, or drops it with ErrFull. The own address is the
// kernel's choice.
func (s *Socket) Send(b []byte, to *Route) error {
	if len(b) == 0 {
		return nil
	}
	err := s.sendto(b, to)
	if errors.Is(err, errFull) || errors.Is(err, errNoBuffers) {
		return ErrFull
	}
	return err
}

// batch is empty: packets go out one by one.
type batch struct{}

func (m *storage) setup(*Socket) {}

// send hands the committed packets to the kernel, one call each. When one is refused
// the rest of what would have been one train is dropped with it: without its
// beginning it is of no use, and a full socket needs the room.
func (m *storage) send(s *Socket, stats *Stats) {
	for i := 0; i < m.n; {
		for end := m.run(i); i < end; i++ {
			p := &m.spans[i]
			stats.Calls++
			if err := s.sendto(m.data[p.off:p.off+p.len], p.to); err != nil {
				stats.drop(errnoOf(err), end-i)
				i = end
				break
			}
			stats.Packets++
			stats.Messages++
			stats.Bytes += p.len
		}
	}
}

// errnoOf is the system's reason in err, 0 if there is none.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}
