package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	heartbeatEvery = 15 * time.Second
	// silentBeats is how many heartbeats a client may leave unanswered.
	silentBeats = 3
	// recheckEvery is how often a stream asks whether its API key still holds.
	recheckEvery = 5 * time.Second
	recheckLimit = 2 * time.Second
	// streamPatience is how long one piece may wait to be read, and how long a
	// stream that was live may stay behind what is kept in memory.
	streamPatience = 10 * time.Second
	// writeTimeout ends a connection whose reader is not coming back.
	writeTimeout = 30 * time.Second
	// maxPiece is how many bytes are written at once, unless one event has more.
	maxPiece = 64 << 10
	// maxReads is how many streams of a tenant read for themselves at once; the
	// others wait, for readPatience at most.
	maxReads     = 2
	readPatience = 10 * time.Second
)

// streamQuery is what a client asks of a stream.
type streamQuery struct {
	after    int64
	sora2015 bool
	filter   Filter
}

// readStreamQuery reads the parameters of /stream.
func readStreamQuery(values url.Values) (q streamQuery, err error) {
	if q.after, err = ParseAfter(values.Get("after")); err != nil {
		return q, err
	}
	switch values.Get("format") {
	case "":
	case "sora2015":
		q.sora2015 = true
	default:
		return q, errors.New("format must be left out or be sora2015")
	}
	for _, list := range values["types"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(q.filter.Types, name) {
				q.filter.Types = append(q.filter.Types, name)
			}
		}
	}
	q.filter.Channel, q.filter.Connection = values.Get("channel_id"), values.Get("connection_id")
	return q, q.filter.check()
}

// stream is one WebSocket that follows a tenant's events.
type stream struct {
	// Static.
	hooks  *Webhooks
	socket *socket
	feed   *Feed
	query  streamQuery
	still  func(context.Context) error

	// Owned by run.
	moving *moving // what it is told when it is to go
	sent   int64   // seq up to which everything has been told or passed over
	piece  []byte  // scratch of a stream with a filter
	beat   time.Time
	check  time.Time
	end    time.Time       // when to go, once it has been told to; zero: not yet
	to     <-chan struct{} // closed when it is told to go; nil: it has been
}

// Stream serves GET /stream: a WebSocket that sends the events of the scope's
// tenant with a seq greater than ?after, or from now on, each as one text
// frame. Today's format is the envelope of the webhooks, after a hello and with
// heartbeats that carry the position; ?format=sora2015 is the Stream API of
// 2015, without frames of its own making.
//
// Still is asked from time to time whether the scope still may; an error that is
// not about the database ends the stream. The error returned is why no stream was
// opened: nothing has been answered then. Else it returns when the socket is closed.
func (w *Webhooks) Stream(rw http.ResponseWriter, r *http.Request, scope tenant.Scope, still func(context.Context) error) error {
	query, err := readStreamQuery(r.URL.Query())
	if err != nil {
		return tenant.Refuse(tenant.BadMessage, "%v", err)
	}
	if scope.Tenant() == "" {
		return tenant.ErrScope
	}
	leave, err := w.streams.Take(r.Context(), scope.Tenant())
	if err != nil {
		return err
	}
	defer leave()
	moving, goOut, err := w.open.enter()
	if err != nil {
		return err
	}
	defer goOut()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	conn, socket, err := acceptSocket(ctx, rw, r)
	if err != nil {
		return nil // Accept has answered
	}
	defer conn.CloseNow()
	go runReader(ctx, cancel, conn)
	feed, err := w.Feed(ctx, scope, query.after)
	if err != nil {
		closeStream(conn, err, query.after)
		return nil
	}
	defer feed.Close()
	s := &stream{hooks: w, socket: socket, feed: feed, query: query, still: still, moving: moving, sent: feed.After(), to: moving.given}
	err = s.run(ctx)
	switch {
	case errors.As(err, new(*slowError)), errors.Is(err, os.ErrDeadlineExceeded):
		w.counters.slowStreams.Add(1)
	case errors.Is(err, errDead):
		w.counters.deadStreams.Add(1)
	}
	closeStream(conn, err, s.sent)
	return nil
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

// run writes events and heartbeats until something ends the stream.
func (s *stream) run(ctx context.Context) error {
	now := time.Now()
	s.beat = now.Add(s.hooks.heartbeat)
	s.check = now.Add(rand.N(s.recheckAfter()))
	if err := s.hello(); err != nil {
		return err
	}
	timer := time.NewTimer(s.hooks.heartbeat)
	defer timer.Stop()
	for {
		more, err := s.tell(ctx)
		if err != nil {
			return err
		}
		if err := s.due(ctx, time.Now()); err != nil {
			return err
		}
		timer.Reset(time.Until(s.next()))
		select {
		case <-more:
		case <-timer.C:
		case <-s.to:
			s.to = nil
			err = s.toldToGo()
		case <-s.hooks.life.Done():
			err = ErrClosed
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// always is a channel that does not let wait.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// tell writes the page that comes next, if there is one, and returns what to wait
// for until there may be another.
func (s *stream) tell(ctx context.Context) (more <-chan struct{}, err error) {
	p, first, more := s.feed.take()
	if p == nil && more != nil {
		return more, nil
	}
	if p == nil {
		if s.feed.behindFor() > s.hooks.patience {
			return nil, &slowError{s.sent}
		}
		reading, cancel := context.WithDeadline(ctx, s.next())
		p, err = s.feed.catchUp(reading)
		cancel()
		switch {
		case errors.Is(err, ErrExpired):
			return nil, err
		case err != nil: // the database is away, or others read: everything is still there later
			later := make(chan struct{})
			time.AfterFunc(feedRetry, func() { close(later) })
			return later, nil
		}
	}
	return always, s.write(p, first)
}

// next is when the earliest thing is due.
func (s *stream) next() time.Time {
	first := s.beat
	if s.check.Before(first) {
		first = s.check
	}
	if !s.end.IsZero() && s.end.Before(first) {
		first = s.end
	}
	return first
}

// due does what is due by now.
func (s *stream) due(ctx context.Context, now time.Time) error {
	if !now.Before(s.check) {
		s.check = now.Add(s.recheckAfter())
		if err := s.recheck(ctx); err != nil {
			return err
		}
	}
	if !now.Before(s.beat) {
		s.beat = now.Add(s.hooks.heartbeat)
		if err := s.heartbeat(); err != nil {
			return err
		}
	}
	if s.end.IsZero() || now.Before(s.end) {
		return nil
	}
	select {
	case <-s.moving.written: // when the process stops
		s.moving, s.end = &moving{}, now.Add(lastTold)
		return nil
	default:
	}
	if s.moving.written == nil {
		return ErrClosed
	}
	s.end = now.Add(lastTold)
	return nil
}

func (s *stream) recheckAfter() time.Duration { return min(recheckEvery, s.hooks.heartbeat) }

// recheck asks whether whoever opened the stream still may have it.
func (s *stream) recheck(ctx context.Context) error {
	if s.still == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recheckLimit)
	defer cancel()
	if err := s.still(ctx); err != nil && ctx.Err() == nil && !tenant.DatabaseAway(err) {
		return errRevoked
	}
	return nil
}

// write tells the events of a page from the first-th on, in pieces of whole frames.
func (s *stream) write(p *page, first int) error {
	f, err := p.framed(s.query.sora2015)
	if err != nil {
		return err
	}
	shared := s.query.filter.all()
	var piece []byte
	told := 0
	for i := first; i < len(p.events); i++ {
		frame := f.of(i)
		if !shared && !s.query.filter.wants(&p.events[i]) {
			frame = nil
		}
		if len(piece) > 0 && len(piece)+len(frame) > maxPiece {
			if err := s.send(piece, p.events[i-1].Seq); err != nil {
				return err
			}
			s.hooks.counters.streamEvents.Add(int64(told))
			piece, told = nil, 0
		}
		switch {
		case len(frame) == 0:
			continue
		case shared && piece == nil: // what follows it on the page follows it in memory
			piece = frame
		case shared:
			piece = piece[:len(piece)+len(frame)]
		case piece == nil:
			piece = append(s.piece[:0], frame...)
			s.piece = piece
		default:
			piece = append(piece, frame...)
			s.piece = piece
		}
		told++
	}
	if len(piece) > 0 {
		if err := s.send(piece, p.last()); err != nil {
			return err
		}
		s.hooks.counters.streamEvents.Add(int64(told))
	}
	s.sent = p.last()
	return nil
}

// send writes whole frames, after which the client stands at seq. A client that
// lets them wait beyond our patience, then reads on, is told where it was.
func (s *stream) send(frames []byte, seq int64) error {
	began := time.Now()
	s.socket.SetWriteDeadline(began.Add(max(writeTimeout, 3*s.hooks.patience)))
	if _, err := s.socket.Write(frames); err != nil {
		return fmt.Errorf("couldn't write to a stream: %w", err)
	}
	s.sent = seq
	if time.Since(began) > s.hooks.patience {
		return &slowError{seq}
	}
	return nil
}

// hello is the first frame.
func (s *stream) hello() error {
	return s.say(map[string]any{
		"type": "hello", "seq": s.sent, "retention_from": s.feed.from, "heartbeat_s": int(s.hooks.heartbeat.Seconds()),
	}, nil)
}

// heartbeat shows that the connection lives, and where the stream stands; the ping
// asks the same of the client.
func (s *stream) heartbeat() error {
	if s.socket.silent() > silentBeats*s.hooks.heartbeat {
		return errDead
	}
	return s.say(map[string]any{"type": "heartbeat", "seq": s.sent, "live": s.feed.current()}, appendFrame(nil, opPing, nil))
}

// toldToGo passes on that the client should come back elsewhere.
func (s *stream) toldToGo() error {
	after := s.moving.after()
	s.end = time.Now().Add(after + s.moving.grace)
	return s.say(map[string]any{
		"type": "reconnect", "seq": s.sent, "after_seconds": after.Seconds(), "reason": s.moving.reason,
	}, nil)
}

// say writes a frame of our own, which 2015 did not have, and control frames.
func (s *stream) say(value any, control []byte) error {
	var frame []byte
	if !s.query.sora2015 {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("couldn't write a stream frame: %w", err)
		}
		frame = appendFrame(nil, opText, text)
	}
	if frame = append(frame, control...); len(frame) == 0 {
		return nil
	}
	return s.send(frame, s.sent)
}
