package signaling

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// carrier is the connection below a WebSocket. Two write to it, whole frames
// each: the WebSocket library its control frames, and the session its messages,
// several with one system call. A server's frames are not masked (RFC 6455 §5.3),
// so the same bytes serve every client that is told the same.
type carrier struct {
	net.Conn
	limit time.Duration // for a write to leave; Static

	farewell atomic.Pointer[time.Time] // the deadline of everything, once a close has begun

	mu     sync.Mutex
	closed bool // Guarded by mu: a close frame went out, so no other may
}

// Opcodes of the frames written here, with the bit that says that each is a
// whole message (RFC 6455 §5.2).
const (
	finalText  = 0x81
	finalClose = 0x88
	finalPing  = 0x89
)

// Write takes a control frame of the library.
func (c *carrier) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.write(b)
	c.closed = c.closed || len(b) > 0 && b[0] == finalClose
	return n, err
}

// send writes whole frames of the session.
func (c *carrier) send(frames []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	_, err := c.write(frames)
	return err
}

// write writes within the limit, or until the farewell's end; the caller holds mu.
func (c *carrier) write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(c.limit)) // an error shows when writing
	if end := c.farewell.Load(); end != nil {
		c.SetWriteDeadline(*end)
	}
	return c.Conn.Write(b)
}

// finish gives everything that is still to be read or written until end. It
// waits for nobody.
func (c *carrier) finish(end time.Time) {
	c.farewell.Store(&end)
	c.SetDeadline(end)
}

// appendHead appends the head of a frame of n bytes.
func appendHead(dst []byte, opcode byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, opcode, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, opcode, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, opcode, 127), uint64(n))
}

// makeFrame is a frame of its own.
func makeFrame(opcode byte, payload string) []byte {
	return append(appendHead(nil, opcode, len(payload)), payload...)
}

// maxHead is the longest head of a frame that is not masked.
const maxHead = 10

// appendMessage appends a message's frame.
func appendMessage(dst []byte, message any) ([]byte, error) {
	start := len(dst)
	room := append(dst, make([]byte, maxHead)...) // how long the head is, the payload decides
	whole, err := appendText(room, message)
	if err != nil {
		return dst, fmt.Errorf("couldn't encode message: %w", err)
	}
	payload := whole[start+maxHead:]
	framed := appendHead(whole[:start], finalText, len(payload))
	return append(framed, payload...), nil // moves it down by some bytes
}

// appendText appends a message in JSON.
func appendText(dst []byte, message any) ([]byte, error) {
	if m, ok := message.(notify); ok {
		return m.appendText(dst)
	}
	data, err := json.Marshal(message)
	return append(dst, data...), err
}

// keptBuffer is the largest buffer for frames that is kept for the next session
// to use.
const keptBuffer = 64 << 10

// buffers are for frames that leave together.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keep gives a buffer back for the next session, with what it has grown to.
func keep(buffer *[]byte, grown []byte) {
	if cap(grown) <= keptBuffer {
		*buffer = grown
		buffers.Put(buffer)
	}
}

// What the library reads and writes through: frames' heads and control frames
// need little, and long payloads pass by a buffer that is smaller than they are.
const (
	readBuffer  = 512
	writeBuffer = 256 // a whole control frame, so that it is one Write
)

// hijacker takes a connection from its HTTP server and puts a carrier on it. The
// server's buffers of 4 kB each are left behind.
type hijacker struct {
	http.ResponseWriter
	limit   time.Duration
	carrier *carrier
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.carrier = &carrier{Conn: conn, limit: h.limit}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what the client sent behind its request
	reader := bufio.NewReaderSize(bytes.NewReader(early), max(readBuffer, len(early)))
	if _, err := reader.Peek(len(early)); err != nil { // the library takes over what is buffered
		return nil, nil, err
	}
	return h.carrier, bufio.NewReadWriter(reader, bufio.NewWriterSize(h.carrier, writeBuffer)), nil
}
