package webhooks

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"
)

// answerHeadKept is how much of an answer's header is kept for the log, in bytes
// of names and values. Whole fields only: one that does not fit is left out.
const answerHeadKept = 8 << 10

// Exchange is what went over the wire for one attempt, as the log keeps it.
type Exchange struct {
	Remote   string `json:"remote,omitempty"`   // the address and port that was connected to; "": none was
	Protocol string `json:"protocol,omitempty"` // of the answer, such as HTTP/2.0
	Reused   bool   `json:"reused,omitempty"`   // the connection was there from an earlier attempt
	// Sent is the header of our request. The secret is not among it; the
	// signature is, and is worth nothing for any other body or time.
	Sent map[string]string `json:"sent,omitempty"`
	// Answer is the header of the answer, up to 8 KiB of it; AnswerCut: it was longer.
	Answer    map[string]string `json:"answer,omitempty"`
	AnswerCut bool              `json:"answer_cut,omitempty"`
	// AnswerBytes is how long the answer's body was, as far as it was read: 64 KiB
	// and then no further.
	AnswerBytes int64  `json:"answer_bytes,omitempty"`
	Timing      Timing `json:"timing"`
}

// Timing is where an attempt's time went, in microseconds; 0: it did not come to
// that, or needed nothing of it.
type Timing struct {
	DNS     int64 `json:"dns,omitempty"`     // to look the name up
	Connect int64 `json:"connect,omitempty"` // to open a TCP connection
	TLS     int64 `json:"tls,omitempty"`     // for its handshake
	Wait    int64 `json:"wait,omitempty"`    // from the request's last byte to the answer's first
	Total   int64 `json:"total"`             // of the whole attempt, to the answer's last byte
}

// stored is the exchange as its row has it.
func (x *Exchange) stored() []byte {
	if x == nil {
		return nil
	}
	text, _ := json.Marshal(x) // strings and numbers: it never fails
	return text
}

// stopwatch follows one attempt. net/http calls its hooks from goroutines of its
// own, some of them after the attempt has ended.
type stopwatch struct {
	began time.Time // Static

	mu sync.Mutex
	// Guarded by mu.
	ended                                           bool
	remote                                          string
	reused                                          bool
	dnsBegan, connectBegan, tlsBegan, wrote         time.Time
	dnsTook, connectTook, tlsTook, waitTook         time.Duration
	dnsRuns, connectRuns, tlsRuns, waits, connected bool
}

// watch returns a context whose request the stopwatch follows.
func watch(ctx context.Context) (context.Context, *stopwatch) {
	s := &stopwatch{began: time.Now()}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) {
			s.note(func(now time.Time) { s.dnsBegan, s.dnsRuns = now, true })
		},
		DNSDone: func(httptrace.DNSDoneInfo) {
			s.note(func(now time.Time) { s.dnsTook, s.dnsRuns = now.Sub(s.dnsBegan), false })
		},
		ConnectStart: func(_, address string) {
			s.note(func(now time.Time) {
				if !s.connectRuns { // the addresses of a name may be tried side by side
					s.connectBegan, s.connectRuns = now, true
				}
				s.remote = address
			})
		},
		ConnectDone: func(_, address string, err error) {
			s.note(func(now time.Time) {
				if s.connected {
					return
				}
				s.connectTook = now.Sub(s.connectBegan)
				if err == nil {
					s.remote, s.connected, s.connectRuns = address, true, false
				}
			})
		},
		TLSHandshakeStart: func() { s.note(func(now time.Time) { s.tlsBegan, s.tlsRuns = now, true }) },
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			s.note(func(now time.Time) { s.tlsTook, s.tlsRuns = now.Sub(s.tlsBegan), false })
		},
		GotConn: func(got httptrace.GotConnInfo) {
			s.note(func(time.Time) {
				s.remote, s.reused = got.Conn.RemoteAddr().String(), got.Reused
				if got.Reused { // what was dialled beside it is another request's
					s.dnsTook, s.connectTook, s.tlsTook, s.dnsRuns, s.connectRuns, s.tlsRuns = 0, 0, 0, false, false, false
				}
			})
		},
		WroteRequest: func(httptrace.WroteRequestInfo) {
			s.note(func(now time.Time) { s.wrote, s.waits = now, true })
		},
		GotFirstResponseByte: func() {
			s.note(func(now time.Time) {
				if s.waits {
					s.waitTook, s.waits = now.Sub(s.wrote), false
				}
			})
		},
	}), s
}

func (s *stopwatch) note(what func(now time.Time)) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		what(now)
	}
}

// stop ends the watch and returns what it saw. What was still going on took the
// time until now.
func (s *stopwatch) stop() *Exchange {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, phase := range []struct {
		runs  bool
		began time.Time
		took  *time.Duration
	}{{s.dnsRuns, s.dnsBegan, &s.dnsTook}, {s.connectRuns, s.connectBegan, &s.connectTook}, {s.tlsRuns, s.tlsBegan, &s.tlsTook}, {s.waits, s.wrote, &s.waitTook}} {
		if phase.runs {
			*phase.took = now.Sub(phase.began)
		}
	}
	return &Exchange{Remote: s.remote, Reused: s.reused, Timing: Timing{
		DNS: s.dnsTook.Microseconds(), Connect: s.connectTook.Microseconds(), TLS: s.tlsTook.Microseconds(),
		Wait: s.waitTook.Microseconds(), Total: now.Sub(s.began).Microseconds(),
	}}
}

// sentHead is the header of a request as the log shows it.
func sentHead(r *http.Request) map[string]string {
	head, _ := shownHead(r.Header, answerHeadKept)
	head["Host"] = r.URL.Host
	return head
}

// shownHead is up to limit bytes of a header, in the order of the names; cut: it
// has more.
func shownHead(h http.Header, limit int) (head map[string]string, cut bool) {
	head = make(map[string]string, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		value := strings.Join(h[name], ", ")
		if len(h[name]) == 0 { // net/http sends none of it
			continue
		}
		if len(name)+len(value) > limit {
			cut = true
			continue
		}
		limit -= len(name) + len(value)
		head[cleanText(name)] = cleanText(value)
	}
	return head, cut
}
