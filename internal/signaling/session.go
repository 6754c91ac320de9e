package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// dialect is how one kind of client is spoken to.
type dialect interface {
	// protocol is the dialect's name in the ledger.
	protocol() string
	// offer is the first message to the client.
	offer(c *call, version string) any
	// message puts a signal to the client self into words; nil: clients of this
	// kind have none for it.
	message(self string, s sfu.Signal) any
	// pings reports whether its clients answer ping messages.
	pings() bool
}

// session is one client's signalling over one WebSocket. Everything in it is
// owned by run.
type session struct {
	door    *Door
	socket  *socket
	request *http.Request
	dialect dialect
	call    *call

	answerDue *time.Timer // running while an offer waits for its answer
	mediaDue  *time.Timer // running from the first answer until media is up
	answered  bool        // the first answer was taken
	up        bool        // media came up
	heard     time.Time   // the last pong, or the offer
}

// Signaling serves GET /signaling: one client's WebSocket, in either dialect,
// until it ends.
func (d *Door) Signaling(w http.ResponseWriter, r *http.Request) {
	if !d.arrive() {
		// Before the upgrade, so that clients with several URLs try another.
		refuseHTTP(w, errDraining)
		return
	}
	defer d.count(-1, 0)
	socket, err := acceptSocket(w, r, d.limits)
	if err != nil {
		d.log.Debug("no WebSocket", "error", err)
		return
	}
	s := &session{door: d, socket: socket, request: r}
	bye := farewell{websocket.StatusInternalError, "failed: signalling broke on our side; connect again", tenant.EndFailed}
	defer func() { // also when run panics: net/http recovers, the connection must not stay
		if s.call != nil {
			s.call.connection.Disconnect(bye.end)
		}
		socket.close(bye)
	}()
	bye = s.run()
}

// run is the life of a session. It returns how to end it.
func (s *session) run() farewell {
	connect, bye := s.awaitConnect()
	if connect == nil {
		return bye
	}
	s.dialect = today{}
	if connect.Dialect2015 {
		s.dialect = dialect2015{}
	}
	call, err := s.door.enter(visitor{
		Connect: *connect, Protocol: s.dialect.protocol(),
		RemoteAddress: hostOf(s.request.RemoteAddr), UserAgent: s.request.UserAgent(),
	})
	if err != nil {
		s.door.log.Debug("connect refused", "channel", connect.Channel, "remote", s.request.RemoteAddr, "error", err)
		return refused(err)
	}
	s.call = call
	if err := s.socket.send(s.dialect.offer(call, s.door.version)); err != nil {
		return gone(err)
	}
	return s.serve()
}

// awaitConnect reads messages up to the connect; nil if there was none, which
// is no failure: clients open several sockets and use the first that answers.
func (s *session) awaitConnect() (*Connect, farewell) {
	deadline := time.NewTimer(s.door.limits.Connect)
	defer deadline.Stop()
	for {
		select {
		case <-s.door.draining:
			return nil, refused(s.door.refuse(errDraining))
		case <-deadline.C:
			return nil, refused(s.door.refuse(bad("no connect message within %s of opening the socket", s.door.limits.Connect)))
		case f, ok := <-s.socket.frames:
			if !ok {
				return nil, farewell{}
			}
			m, err := s.parse(f)
			if err != nil {
				return nil, refused(s.door.refuse(err))
			}
			switch m.Type {
			case typeConnect:
				return m.Connect, farewell{}
			case typeDisconnect:
				return nil, ended(tenant.EndClient)
			case typeAnswer, typeReAnswer, typeUpdate:
				return nil, refused(s.door.refuse(bad("%s came before connect", m.Type)))
			}
		}
	}
}

// parse reads a frame.
func (s *session) parse(f frame) (Message, error) {
	if f.kind != websocket.MessageText {
		return Message{}, bad("binary frames have no meaning here; send JSON as text")
	}
	return ParseMessage(f.data, s.door.limits)
}

// serve talks with an admitted client, from the offer to the end.
func (s *session) serve() farewell {
	limits := s.door.limits
	s.answerDue = time.NewTimer(limits.Answer)
	defer s.answerDue.Stop()
	s.mediaDue = time.NewTimer(limits.Media)
	s.mediaDue.Stop()
	defer s.mediaDue.Stop()
	s.heard = time.Now()
	var pingDue <-chan time.Time
	if s.dialect.pings() {
		ticker := time.NewTicker(limits.Ping)
		defer ticker.Stop()
		pingDue = ticker.C
	} else {
		go s.socket.runPings()
	}
	statsAsked := time.Now()

	for {
		var bye *farewell
		select {
		case f, ok := <-s.socket.frames:
			if !ok {
				return farewell{end: tenant.EndClient} // without its socket a client can't be reached
			}
			bye = s.receive(f)
		case signal, ok := <-s.call.connection.Signals():
			bye = s.signal(signal, ok)
		case <-s.answerDue.C:
			bye = s.unanswered()
		case <-s.mediaDue.C:
			bye = new(ended(tenant.EndSetupTimeout))
		case <-s.socket.lost:
			bye = new(ended(tenant.EndTimeout))
		case now := <-pingDue:
			if now.Sub(s.heard) > limits.Pong {
				return ended(tenant.EndTimeout)
			}
			stats := now.Sub(statsAsked) >= limits.Stats
			if stats {
				statsAsked = now
			}
			bye = s.send(ping{typePing, stats})
		}
		if bye != nil {
			return *bye
		}
	}
}

// receive does what a client's message asks; not nil: that ends it.
func (s *session) receive(f frame) *farewell {
	m, err := s.parse(f)
	if err != nil {
		return new(refused(err))
	}
	switch m.Type {
	case typeAnswer, typeReAnswer, typeUpdate:
		return s.answer(m.SDP)
	case typeCandidate:
		s.call.connection.Candidate(m.Candidate)
	case typePong:
		s.heard = time.Now()
	case typeDisconnect:
		bye := ended(tenant.EndClient)
		bye.end = clientEnd(m.Reason)
		return &bye
	case typeConnect:
		return new(refused(bad("connect came twice on one socket")))
	}
	return nil
}

// answer hands the client's answer to the media plane.
func (s *session) answer(sdp string) *farewell {
	switch err := s.call.connection.Answer(sdp); {
	case errors.Is(err, sfu.ErrNoOffer): // said twice
		return nil
	case errors.Is(err, sfu.ErrEnded): // the last signal says why
		return nil
	case err != nil:
		return new(refused(bad("%s", err)))
	}
	s.answerDue.Stop()
	if !s.answered && !s.up {
		s.mediaDue.Reset(s.door.limits.Media)
	}
	s.answered = true
	return nil
}

// unanswered ends a client that left an offer without an answer.
func (s *session) unanswered() *farewell {
	if !s.answered {
		return new(tooLate(tenant.EndSetupTimeout, "no answer within "+s.door.limits.Answer.String()+" of the offer"))
	}
	return new(refused(bad("no re-answer within %s of a re-offer", s.door.limits.Answer)))
}

// signal tells the client what its connection says; ok is false once there is
// nothing more to come.
func (s *session) signal(signal sfu.Signal, ok bool) *farewell {
	if !ok {
		<-s.call.connection.Done()
		return new(ended(s.call.connection.Ending().Reason))
	}
	switch signal.Kind {
	case sfu.SignalEnded:
		return new(ended(signal.Reason))
	case sfu.SignalConnected:
		if !s.up {
			s.up = true
			s.mediaDue.Stop()
			close(s.call.up)
		}
		return nil
	case sfu.SignalReoffer:
		s.answerDue.Reset(s.door.limits.Answer)
	}
	if message := s.dialect.message(s.call.id, signal); message != nil {
		return s.send(message)
	}
	return nil
}

// send sends a message; not nil: the client is gone.
func (s *session) send(message any) *farewell {
	if err := s.socket.send(message); err != nil {
		return new(gone(err))
	}
	return nil
}

// gone is the farewell of a client that a message couldn't be sent to.
func gone(err error) farewell {
	if errors.Is(err, context.DeadlineExceeded) {
		return farewell{end: tenant.EndTimeout}
	}
	return farewell{end: tenant.EndClient}
}

// refuseHTTP refuses a request as a problem document (RFC 9457).
func refuseHTTP(w http.ResponseWriter, r *tenant.Refusal) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	json.NewEncoder(w).Encode(map[string]any{ // a failure means nobody listens
		"type": "about:blank", "title": "Service Unavailable", "status": http.StatusServiceUnavailable,
		"code": r.Code, "detail": r.Detail,
	})
}

// hostOf returns the address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
