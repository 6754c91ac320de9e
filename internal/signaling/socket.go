package signaling

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// socket is one WebSocket with bounds: on the size of a message, on the time a
// message may take to leave, on the time a close may take. Messages are sent by
// the session's goroutine alone.
type socket struct {
	// Static.
	conn   *websocket.Conn
	raw    net.Conn // under conn: its deadline is the only one a close obeys
	limits Limits
	frames chan frame    // what the client sent; closed when no more can come
	quit   chan struct{} // closed by close: nobody takes frames any longer
	lost   chan struct{} // closed by runPings: no pong for too long
}

// frame is one message as received.
type frame struct {
	kind websocket.MessageType
	data []byte // one byte more than the limit if the message was too large
}

// acceptSocket upgrades a request, from any origin: access tokens, not
// cookies, say who a client is. If it fails it has answered the request.
func acceptSocket(w http.ResponseWriter, r *http.Request, limits Limits) (*socket, error) {
	keeper := &connKeeper{ResponseWriter: w}
	conn, err := websocket.Accept(keeper, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // any origin
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't upgrade to WebSocket: %w", err)
	}
	conn.SetReadLimit(-1) // runReader has its own, which can say why
	s := &socket{
		conn: conn, raw: keeper.conn, limits: limits,
		frames: make(chan frame), quit: make(chan struct{}), lost: make(chan struct{}),
	}
	go s.runReader()
	return s, nil
}

// connKeeper remembers the connection that is hijacked from a ResponseWriter.
type connKeeper struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (k *connKeeper) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(k.ResponseWriter).Hijack()
	k.conn = conn
	return conn, rw, err
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

// runPings keeps a client alive that knows no ping message: any WebSocket
// library answers the protocol's own.
func (s *socket) runPings() {
	ticker := time.NewTicker(s.limits.Ping)
	defer ticker.Stop()
	heard := time.Now()
	for {
		select {
		case <-ticker.C:
		case <-s.quit:
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), min(s.limits.Pong, s.limits.Write))
		err := s.conn.Ping(ctx)
		cancel()
		switch {
		case err == nil:
			heard = time.Now()
		case errors.Is(err, net.ErrClosed):
			return // the reader tells
		case time.Since(heard) > s.limits.Pong:
			close(s.lost)
			return
		}
	}
}

// send writes one message. A failure has closed the socket.
func (s *socket) send(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("couldn't encode message: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.Write)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("couldn't send message: %w", err)
	}
	return nil
}

// close says farewell and returns when the socket and its reader are done,
// within limits.Farewell whatever the client does.
func (s *socket) close(f farewell) {
	close(s.quit)
	s.raw.SetDeadline(time.Now().Add(s.limits.Farewell))
	if f.code == 0 {
		s.conn.CloseNow()
	} else {
		s.conn.Close(f.code, f.reason) // its error would say how the client left
	}
	for range s.frames {
	}
}
