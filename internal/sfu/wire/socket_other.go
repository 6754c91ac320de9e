//go:build !linux || !(amd64 || arm64) || portable

package wire

import "errors"

// path is empty: the net package writes addresses itself.
type path struct{}

func (s *Socket) setPath(*Route) {}

// tune asks for large kernel buffers.
func (s *Socket) tune() error {
	_ = s.conn.SetReadBuffer(socketMemory)
	_ = s.conn.SetWriteBuffer(socketMemory)
	return nil
}

// Send sends one datagram at once. The own address is the kernel's choice.
func (s *Socket) Send(b []byte, to *Route) error {
	if len(b) == 0 {
		return nil
	}
	_, err := s.conn.WriteToUDPAddrPort(b, to.remote)
	return err
}

// batch is empty: packets go out one by one.
type batch struct{}

func (m *storage) setup(*Socket) {}

// send hands the committed packets to the kernel, one call each.
func (m *storage) send(s *Socket, stats *Stats) {
	for i := range m.n {
		p := &m.spans[i]
		stats.Calls++
		switch err := s.Send(m.data[p.off:p.off+p.len], p.to); {
		case err == nil:
			stats.Packets++
			stats.Messages++
			stats.Bytes += p.len
		case errors.Is(err, errNoBuffers):
			stats.Full++
		default:
			stats.Refused++
		}
	}
}
