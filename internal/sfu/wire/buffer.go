package wire

import "sync"

// BufferSize is the largest datagram that can be received, in bytes. It leaves
// room over an Ethernet frame; longer datagrams are dropped as truncated.
const BufferSize = 2048

// Buffer holds one received datagram. It has one owner at a time, who frees it.
type Buffer struct {
	data [BufferSize]byte
}

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// NewBuffer takes a buffer from the pool.
func NewBuffer() *Buffer { return buffers.Get().(*Buffer) }

// Free gives the buffer back to the pool; it must not be used afterwards.
func (b *Buffer) Free() { buffers.Put(b) }

// Bytes is the buffer's whole memory.
func (b *Buffer) Bytes() []byte { return b.data[:] }
