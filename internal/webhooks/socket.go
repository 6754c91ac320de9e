package webhooks

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

// What a stream's client may say, since there is nothing to say: pongs and pings.
// What is more waits in its own socket.
const (
	streamReadRate  = 4 << 10 // bytes a second
	streamReadBurst = 64 << 10
)

// socket is the connection below a stream's WebSocket. The library reads from it and
// writes pongs and closes, each in one Write, since its buffer is larger than
// these; the stream writes whole frames beside it. Writes of a net.Conn do
// not mix.
type socket struct {
	net.Conn
	ctx   context.Context // Static; of the request: ends a wait in Read
	pace  *rate.Limiter   // locks for itself
	heard atomic.Int64    // when something was read last, in ns since the epoch
}

// Read reads no faster than a client has reason to write.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.heard.Store(time.Now().UnixNano())
		if wait := s.pace.WaitN(s.ctx, min(n, streamReadBurst)); wait != nil && err == nil {
			err = io.ErrClosedPipe
		}
	}
	return n, err
}

// silent is how long the client has not been heard of.
func (s *socket) silent() time.Duration { return time.Since(time.Unix(0, s.heard.Load())) }

// hijack hands the library a socket of ours.
type hijack struct {
	http.ResponseWriter
	ctx    context.Context
	socket *socket // nil: not handed over yet
}

// Hijack implements http.Hijacker.
func (h *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	const controlFrame = 2 + 125 // RFC 6455 §5.5
	conn, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.socket = &socket{Conn: conn, ctx: h.ctx, pace: rate.NewLimiter(streamReadRate, streamReadBurst)}
	h.socket.heard.Store(time.Now().UnixNano())
	return h.socket, bufio.NewReadWriter(buffers.Reader, bufio.NewWriterSize(h.socket, 2*controlFrame)), nil
}

// acceptSocket makes a WebSocket of a request. On error it has answered.
func acceptSocket(ctx context.Context, rw http.ResponseWriter, r *http.Request) (*websocket.Conn, *socket, error) {
	h := &hijack{ResponseWriter: rw, ctx: ctx}
	conn, err := websocket.Accept(h, r, nil)
	return conn, h.socket, err
}
