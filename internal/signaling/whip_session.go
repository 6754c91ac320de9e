package signaling

import (
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// wishSession is what the POST of a WHIP or WHEP client made. Its URL is known to
// the client alone: it holds 128 random bits beside the connection's id, which
// others in the channel know. So who knows the URL may restart ICE and delete the
// session, also when the token, which is for coming in, has expired meanwhile.
type wishSession struct {
	// Static.
	door       *Door
	protocol   wish
	channel    string // as the client wrote it
	id         string
	call       *call
	media, mid string // of the section that carries the transport

	mu sync.Mutex
	// Guarded by mu: the newest ICE session.
	client fragment
	tag    string
}

// wishSessions are the sessions of a door, by id.
type wishSessions struct {
	mu sync.Mutex
	// Guarded by mu.
	byID     map[string]*wishSession
	requests map[WishRequest]int64
}

// WishRequest is a kind of request to the WHIP and WHEP endpoints and sessions.
type WishRequest struct {
	Protocol string // whip, whep
	Method   string // a method that has a meaning there, or "other"
	Status   int
}

// count is how many sessions there are, and how many requests of each kind came.
func (l *wishSessions) count() (int, map[WishRequest]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byID), maps.Clone(l.requests)
}

// newSession gives an admitted client its session.
func (d *Door) newSession(protocol wish, channel string, c *call, o *sfu.Offer) *wishSession {
	s := &wishSession{door: d, protocol: protocol, channel: channel, id: c.id + "." + rand.Text(), call: c, tag: rand.Text()}
	s.media, s.mid = o.Transport()
	s.client.ufrag, s.client.pwd = o.Credentials()
	d.wishes.mu.Lock()
	defer d.wishes.mu.Unlock()
	d.wishes.byID[s.id] = s
	return s
}

// forget makes the session's URL one of nothing.
func (s *wishSession) forget() {
	s.door.wishes.mu.Lock()
	defer s.door.wishes.mu.Unlock()
	delete(s.door.wishes.byID, s.id)
}

// session finds a session by its URL.
func (d *Door) session(protocol wish, channel, id string) *wishSession {
	d.wishes.mu.Lock()
	defer d.wishes.mu.Unlock()
	if s := d.wishes.byID[id]; s != nil && s.protocol == protocol && s.channel == channel {
		return s
	}
	return nil
}

// run attends to the connection until it ends.
func (s *wishSession) run() {
	c := s.call.connection
	defer s.forget()
	defer func() {
		if v := recover(); v != nil {
			s.door.log.Error("a session panicked", "connection", s.call.id, "panic", v, "stack", string(debug.Stack()))
			c.Disconnect(tenant.EndFailed)
		}
	}()
	for signal := range c.Signals() {
		if signal.Kind == sfu.SignalConnected {
			s.call.connected()
		}
	}
}

// location is the session's URL. It is absolute for a client that came by the
// node's own name, maybe sent here by another node: some take what is relative for
// relative to where they asked first. Who came by another name is told the path,
// for that name may be the only one it can use.
func (s *wishSession) location(host string) string {
	path := "/" + s.protocol.name + "/" + url.PathEscape(s.channel) + "/" + s.id
	if own := s.door.url; own != nil && strings.EqualFold(own.Host, host) {
		return own.Scheme + "://" + own.Host + path
	}
	return path
}

// etag identifies the newest ICE session.
func (s *wishSession) etag() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return `"` + s.tag + `"`
}

// serveSession serves the URL of a session. Every error is a *tenant.Refusal or a
// problem.
func (d *Door) serveSession(w http.ResponseWriter, r *http.Request, protocol wish, channel, id string) error {
	const allow = "DELETE, GET, HEAD, OPTIONS, PATCH"
	if r.Method == http.MethodOptions { // a browser asks without having looked whether it is there
		w.Header().Set("Allow", allow)
		w.Header().Set("Accept-Patch", typeFragment)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	s := d.session(protocol, channel, id)
	if s == nil {
		return errNoSession
	}
	switch r.Method {
	case http.MethodPatch:
		return s.patch(w, r)
	case http.MethodDelete:
		s.forget()
		s.call.connection.Disconnect(tenant.EndClient)
		w.WriteHeader(http.StatusOK)
	case http.MethodGet, http.MethodHead: // no representation (RFC 9725 §4.1)
		w.WriteHeader(http.StatusNoContent)
	default:
		return notAllowed(w, allow)
	}
	return nil
}

var errNoSession = badHTTP(http.StatusNotFound, "there is no such session: it has ended, or the URL is not the Location that was answered")

// patch takes candidates, which are of no use to an ICE-lite server, or restarts
// ICE: that is what other credentials ask for (RFC 9725 §4.3).
func (s *wishSession) patch(w http.ResponseWriter, r *http.Request) error {
	text, err := s.door.body(w, r, typeFragment)
	if err != nil {
		return err
	}
	f, err := parseFragment(text)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.precondition(r.Header.Values("If-Match")); err != nil {
		return err
	}
	if f.ufrag == "" || f == s.client {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	ice, err := s.call.connection.RestartICE(f.ufrag, f.pwd)
	switch {
	case errors.Is(err, sfu.ErrEnded):
		return errNoSession
	case err != nil:
		return bad("ICE can't be restarted with these credentials: %s", err)
	}
	s.client, s.tag = f, rand.Text()
	w.Header().Set("ETag", `"`+s.tag+`"`)
	w.Header().Set("Content-Type", typeFragment)
	w.WriteHeader(http.StatusOK)
	io.WriteString(w, restarted(ice, s.media, s.mid)) // a failure means nobody listens: the client will ask again
	return nil
}

// precondition checks that a request means the newest ICE session, or any: requests
// may overtake each other. The caller holds mu.
func (s *wishSession) precondition(values []string) error {
	if len(values) == 0 {
		return badHTTP(http.StatusPreconditionRequired, "send If-Match with the ETag of the newest answer, or * to restart ICE")
	}
	for tag := range strings.SplitSeq(strings.Join(values, ","), ",") {
		// RFC 9725's own example puts the asterisk between quotation marks.
		if tag = strings.TrimSpace(tag); tag == "*" || tag == `"*"` || tag == `"`+s.tag+`"` {
			return nil
		}
	}
	return badHTTP(http.StatusPreconditionFailed, "If-Match is not the ETag of the newest ICE session")
}

// requested counts a request.
func (d *Door) requested(protocol wish, method string, status int) {
	switch method {
	case http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPatch, http.MethodPost:
	default:
		method = "other"
	}
	d.wishes.mu.Lock()
	defer d.wishes.mu.Unlock()
	d.wishes.requests[WishRequest{protocol.name, method, status}]++
}
