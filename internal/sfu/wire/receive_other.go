//go:build !linux || !(amd64 || arm64) || portable

package wire

import (
	"net/netip"
	"sync"
)

// Inbound is the memory of one reader. It belongs to the goroutine that calls
// Receive or Poll.
type Inbound struct {
	socket *Socket
	buffer *Buffer
	n      int
	from   netip.AddrPort
}

// NewInbound makes the memory of a reader; Free it in the end.
func (s *Socket) NewInbound() *Inbound { return &Inbound{socket: s} }

// Free gives the buffer back if nobody took it.
func (in *Inbound) Free() {
	if in.buffer != nil {
		in.buffer.Free()
		in.buffer = nil
	}
}

// Receive waits for a datagram. It is valid until the next Receive or Poll
// unless taken. Unless there is an error, order is locked then; it may be nil. On
// this system it can't be locked before the reading.
func (in *Inbound) Receive(order sync.Locker) (int, error) {
	if in.buffer == nil {
		in.buffer = NewBuffer()
	}
	n, from, err := in.socket.conn.ReadFromUDPAddrPort(in.buffer.data[:])
	if err != nil {
		return 0, err
	}
	in.n, in.from = n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if order != nil {
		order.Lock()
	}
	return 1, nil
}

// Data is the datagram, nil if it may have been longer than a buffer.
func (in *Inbound) Data(int) []byte {
	if in.n == BufferSize {
		return nil
	}
	return in.buffer.data[:in.n]
}

// From is where the datagram came from, IPv4 not mapped.
func (in *Inbound) From(int) netip.AddrPort { return in.from }

// To is unknown on this system.
func (in *Inbound) To(int) netip.Addr { return netip.Addr{} }

// Take moves the buffer to the caller, who frees it.
func (in *Inbound) Take(int) *Buffer {
	b := in.buffer
	in.buffer = nil
	return b
}
