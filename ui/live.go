package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/tenant"
)

// fragment renders the part of a page that is live. The page and its stream
// use the same one.
type fragment func(r *http.Request, v *visit) (templ.Component, error)

// How a stream behaves. What a page shows is never older than livePoll, even
// when the change came from another node or no change was told.
const (
	liveGap       = 250 * time.Millisecond // between two fragments
	livePoll      = 2 * time.Second
	liveHeartbeat = 15 * time.Second
	liveRecheck   = 5 * time.Second // the log-in may have ended: a removed member sees no more after this
	liveWrite     = 10 * time.Second
	// maxLivePages is how many a tenant's members may have open at one node.
	maxLivePages = 64
	// maxFragments is how many of these are rendered at once: a change of the
	// tenant wakes all.
	maxFragments = 2
)

// stream answers with server-sent events: the whole fragment, whenever it has
// changed, until the page goes away, the log-in ends or the console closes.
func (c *Console) stream(f fragment) action {
	return func(w http.ResponseWriter, r *http.Request, v *visit) error {
		leave, err := c.lives.Take(r.Context(), v.login.Scope.Tenant())
		if err != nil {
			return err
		}
		defer leave()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(c.closing, cancel)()
		wake, stop := c.hub.watch(v.login.Scope.Tenant())
		defer stop()
		v.live = true
		return c.follow(ctx, startStream(w), r.WithContext(ctx), v, f, wake)
	}
}

// follow sends fragments to s. It returns nil when the stream is over: the
// answer has begun, so there is no error page to send.
func (c *Console) follow(ctx context.Context, s *eventStream, r *http.Request, v *visit, f fragment, wake <-chan struct{}) error {
	poll, heartbeat, recheck := time.NewTicker(livePoll), time.NewTicker(liveHeartbeat), time.NewTicker(liveRecheck)
	defer poll.Stop()
	defer heartbeat.Stop()
	defer recheck.Stop()
	last := ""
	for s.alive() {
		html, err := c.renderFragment(r, v, f)
		switch {
		case errors.Is(err, tenant.ErrNotFound):
			s.send("gone", "")
			return nil
		case isRateLimited(err): // counted; the next poll comes back to it
		case err != nil && ctx.Err() == nil: // the next try may do better; the page keeps what it has
			c.Log.Warn("a live page could not be read", "path", r.URL.Path, "error", err)
		case err == nil && html != last:
			s.send("fragment", html)
			last = html
		}
		if !rest(ctx, liveGap) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-poll.C:
		case <-heartbeat.C:
			s.heartbeat()
		case <-recheck.C:
			if login, err := c.session(r); errors.Is(err, tenant.ErrNoSession) || err == nil && login.Member.Role != v.login.Member.Role {
				s.send("gone", "")
				return nil
			}
		}
	}
	return nil
}

// renderFragment renders f as of now.
func (c *Console) renderFragment(r *http.Request, v *visit, f fragment) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), pageLimit)
	defer cancel()
	leave, err := c.fragments.Take(ctx, v.login.Scope.Tenant())
	if err != nil {
		return "", err
	}
	defer leave()
	r = r.WithContext(ctx)
	v.now = time.Now()
	component, err := f(r, v)
	if err != nil {
		return "", err
	}
	var html bytes.Buffer
	if err := component.Render(r.Context(), &html); err != nil {
		return "", fmt.Errorf("couldn't render: %w", err)
	}
	return html.String(), nil
}

// isRateLimited reports whether it was not the tenant's turn.
func isRateLimited(err error) bool {
	var refusal *tenant.Refusal
	return errors.As(err, &refusal) && refusal.Code == tenant.RateLimited
}

// rest waits for d; false when ctx ended first.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// eventStream writes server-sent events. Owned by the request.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error // of the first write that failed
}

// startStream sends the head of the answer.
func startStream(w http.ResponseWriter) *eventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	s := &eventStream{w: w, control: http.NewResponseController(w)}
	s.write("retry: 2000\n\n")
	return s
}

func (s *eventStream) send(name, data string) {
	s.write("event: " + name + "\ndata: " + strings.ReplaceAll(strings.ReplaceAll(data, "\r", ""), "\n", "\ndata: ") + "\n\n")
}

func (s *eventStream) heartbeat() { s.write(": still here\n\n") }

func (s *eventStream) alive() bool { return s.err == nil }

// write sends text at once. The server's write timeout is for answers that
// end; each write here has its own.
func (s *eventStream) write(text string) {
	if s.err != nil {
		return
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.err = err
		return
	}
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		s.err = s.control.Flush()
	}
}
