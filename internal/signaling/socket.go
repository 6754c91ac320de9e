package signaling

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// socket is one WebSocket with bounds: on the size of a message, on the time a
// message may take to leave, on the time a close may take. Messages are sent by
// the session's goroutine alone.
type socket struct {
	// Static.
	conn    *websocket.Conn
	carrier *carrier // under conn
	limits  Limits
	opened  time.Time
	frames  chan frame    // what the client sent; closed when no more can come
	quit    chan struct{} // closed by close: nobody takes frames any longer

	ponged atomic.Int64 // when the last answer to a ping frame came, in ns from opened
}

// frame is one message as received.
type frame struct {
	kind websocket.MessageType
	data []byte // one byte more than the limit if the message was too large
}

// acceptSocket upgrades a request, from any origin: access tokens, not
// cookies, say who a client is. If it fails it has answered the request.
func acceptSocket(w http.ResponseWriter, r *http.Request, limits Limits) (*socket, error) {
	s := &socket{limits: limits, opened: time.Now(), frames: make(chan frame), quit: make(chan struct{})}
	h := &hijacker{ResponseWriter: w, limit: limits.Write}
	conn, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // any origin
		CompressionMode:    websocket.CompressionDisabled,
		OnPongReceived:     func(context.Context, []byte) { s.ponged.Store(int64(time.Since(s.opened))) },
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't upgrade to WebSocket: %w", err)
	}
	conn.SetReadLimit(-1) // runReader has its own, which can say why
	s.conn, s.carrier = conn, h.carrier
	go s.runReader()
	return s, nil
}

// runReader hands over what the client sends, until the socket is closed or a
// message is too large to be read.
func (s *socket) runReader() {
	defer close(s.frames)
	for {
		kind, r, err := s.conn.Reader(context.Background())
		if err != nil {
			return
		}
		data, err := io.ReadAll(io.LimitReader(r, int64(s.limits.MessageBytes)+1))
		if err != nil {
			return
		}
		select {
		case s.frames <- frame{kind, data}:
		case <-s.quit:
			return
		}
		if len(data) > s.limits.MessageBytes {
			return // the rest of it is drained by the close handshake
		}
	}
}

// lastPong is when the client's WebSocket library last answered a ping frame;
// the socket's opening if it never did.
func (s *socket) lastPong() time.Time { return s.opened.Add(time.Duration(s.ponged.Load())) }

// send writes frames. After a failure the socket is of no use.
func (s *socket) send(frames []byte) error {
	if err := s.carrier.send(frames); err != nil {
		return fmt.Errorf("couldn't send message: %w", err)
	}
	return nil
}

// close says farewell and returns when the socket and its reader are done,
// within limits.Farewell whatever the client does.
func (s *socket) close(f farewell) {
	close(s.quit)
	s.carrier.finish(time.Now().Add(s.limits.Farewell))
	if f.code == 0 {
		s.conn.CloseNow()
	} else {
		s.conn.Close(f.code, f.reason) // its error would say how the client left
	}
	for range s.frames {
	}
}
