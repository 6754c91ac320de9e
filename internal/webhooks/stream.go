package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/tenant"
)

// Why a stream was closed, besides the codes of RFC 6455.
const (
	closeSlow    websocket.StatusCode = 4408 // the reader did not keep up; the reason has the last seq
	closeExpired websocket.StatusCode = 4410 // events after the position are no longer kept
)

const (
	heartbeatEvery = 15 * time.Second
	// streamPatience is how long a frame may wait to be read, and how long a
	// live stream may stay MaxEvents behind.
	streamPatience = 10 * time.Second
	// writeTimeout ends a connection whose reader is not coming back.
	writeTimeout = 30 * time.Second
	// maxStreams is how many streams of one tenant may be open, on this node. Each
	// is a server of the tenant that follows its events, not a client of it.
	maxStreams = 16
	// maxReads is how many of them ask the database at once: an event wakes all,
	// and each of them asks. The others wait, for readPatience at most.
	maxReads     = 2
	readPatience = 10 * time.Second
)

// stream is one WebSocket that follows a tenant's events.
type stream struct {
	// Static.
	conn     *websocket.Conn
	feed     *Feed
	sora2015 bool
	patience time.Duration

	// Owned by run.
	sent     int64     // seq of the last event written or, in the 2015 dialect, passed over
	live     bool      // it has caught up once
	caughtUp time.Time // when it last had
}

// Stream serves GET /stream: a WebSocket that sends the events of the scope's
// tenant with a seq greater than ?after, or from now on, each as one text
// frame. Today's format is the envelope of the webhooks, after a hello and with
// heartbeats that carry the position; ?format=sora2015 is the Stream API of
// 2015, without frames of its own making. It returns when the socket is closed.
func (w *Webhooks) Stream(rw http.ResponseWriter, r *http.Request, scope tenant.Scope) {
	after, err := ParseAfter(r.URL.Query().Get("after"))
	format := r.URL.Query().Get("format")
	if err == nil && format != "" && format != "sora2015" {
		err = errors.New("format must be left out or be sora2015")
	}
	if err == nil && scope.Tenant() == "" {
		err = tenant.ErrScope
	}
	if err != nil {
		refuseStream(rw, tenant.Refuse(tenant.BadMessage, "%v", err))
		return
	}
	leave, err := w.streams.Take(r.Context(), scope.Tenant())
	if err != nil {
		refuseStream(rw, err)
		return
	}
	defer leave()
	conn, err := websocket.Accept(rw, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go runReader(ctx, cancel, conn)
	feed, err := w.Feed(ctx, scope, after)
	if err != nil {
		closeStream(conn, err)
		return
	}
	defer feed.Close()
	s := &stream{conn: conn, feed: feed, sora2015: format == "sora2015", patience: w.patience, sent: feed.After()}
	err = s.run(ctx)
	if errors.As(err, new(*slowError)) {
		w.counters.slowStreams.Add(1)
	}
	closeStream(conn, err)
}

// refuseStream answers a request that gets no stream with a problem document
// (RFC 9457): it is bad, or one too many.
func refuseStream(rw http.ResponseWriter, err error) {
	var refusal *tenant.Refusal
	if !errors.As(err, &refusal) {
		return // whoever asked has gone
	}
	status := http.StatusBadRequest
	if refusal.Code == tenant.RateLimited {
		status = http.StatusTooManyRequests
		rw.Header().Set("Retry-After", "10")
	}
	rw.Header().Set("Content-Type", "application/problem+json")
	rw.WriteHeader(status)
	json.NewEncoder(rw).Encode(map[string]any{
		"title": http.StatusText(status), "status": status, "code": refusal.Code, "detail": refusal.Detail,
	})
}

// runReader answers pings and closes, and throws away what the client says:
// there is nothing to say. It ends with the socket, and ends the stream.
func runReader(ctx context.Context, cancel context.CancelFunc, conn *websocket.Conn) {
	defer cancel()
	for {
		_, message, err := conn.Reader(ctx)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, message); err != nil {
			return
		}
	}
}

// slowError says that the client did not keep up.
type slowError struct{ seq int64 }

func (e *slowError) Error() string {
	return fmt.Sprintf("slow_consumer: last seq %d; reconnect with after=%d", e.seq, e.seq)
}

// closeStream closes the socket with the code that tells the client what to do.
func closeStream(conn *websocket.Conn, err error) {
	var slow *slowError
	switch {
	case errors.As(err, &slow):
		conn.Close(closeSlow, slow.Error())
	case errors.Is(err, ErrExpired):
		conn.Close(closeExpired, "expired: events after this position are no longer kept; reconnect without after")
	case errors.Is(err, ErrAhead):
		conn.Close(websocket.StatusPolicyViolation, "bad_message: after is greater than the seq of the last event")
	case errors.Is(err, ErrClosed):
		conn.Close(websocket.StatusGoingAway, "draining: reconnect with after= the last seq you saw")
	case errors.Is(err, context.Canceled):
		conn.CloseNow()
	default:
		conn.Close(websocket.StatusTryAgainLater, "unavailable: reconnect in a few seconds with after= the last seq you saw")
	}
}

// run writes events and heartbeats until something ends the stream.
func (s *stream) run(ctx context.Context) error {
	if !s.sora2015 {
		hello := map[string]any{"type": "hello", "seq": s.sent, "heartbeat_s": int(heartbeatEvery.Seconds())}
		if err := s.writeJSON(ctx, hello); err != nil {
			return err
		}
	}
	beat := time.Now().Add(heartbeatEvery)
	for {
		waiting, cancel := context.WithDeadline(ctx, beat)
		events, err := s.feed.Next(waiting)
		cancel()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return err
		}
		if err := s.keepUp(len(events)); err != nil {
			return err
		}
		for _, e := range events {
			if err := s.writeEvent(ctx, e); err != nil {
				return err
			}
		}
		if now := time.Now(); !now.Before(beat) {
			if err := s.heartbeat(ctx); err != nil {
				return err
			}
			beat = now.Add(heartbeatEvery)
		}
	}
}

// keepUp judges from the size of a batch whether the client keeps up. A backlog
// that it asked for is no fault of its own, nor is a burst.
func (s *stream) keepUp(events int) error {
	if events < MaxEvents {
		s.live, s.caughtUp = true, time.Now()
		return nil
	}
	if s.live && time.Since(s.caughtUp) > s.patience {
		return &slowError{s.sent}
	}
	return nil
}

func (s *stream) writeEvent(ctx context.Context, e tenant.Event) error {
	var frame []byte
	var err error
	if s.sora2015 {
		frame, err = record2015(e)
	} else {
		frame, err = envelope(e)
	}
	if err != nil {
		return err
	}
	if frame != nil {
		if err := s.write(ctx, frame, e.Seq); err != nil {
			return err
		}
	}
	s.sent = e.Seq
	return nil
}

// heartbeat shows that the connection lives, and where the stream stands.
func (s *stream) heartbeat(ctx context.Context) error {
	if !s.sora2015 {
		return s.writeJSON(ctx, map[string]any{"type": "heartbeat", "seq": s.sent})
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	return s.conn.Ping(ctx)
}

func (s *stream) writeJSON(ctx context.Context, value any) error {
	frame, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("couldn't write a stream frame: %w", err)
	}
	return s.write(ctx, frame, s.sent)
}

// write sends one frame, after which the client stands at seq. A client that
// lets it wait beyond our patience, then reads on, is told where it was.
func (s *stream) write(ctx context.Context, frame []byte, seq int64) error {
	ctx, cancel := context.WithTimeout(ctx, max(writeTimeout, 3*s.patience))
	defer cancel()
	began := time.Now()
	if err := s.conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return err
	}
	if time.Since(began) > s.patience {
		return &slowError{seq}
	}
	return nil
}
