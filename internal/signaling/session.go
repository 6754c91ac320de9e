package signaling

import (
	"errors"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

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
	// kind have none for it. What it says of others, it says to all the same.
	message(self string, s sfu.Signal) any
	// ping is the frame that asks whether a client is there, with statistics if
	// its clients have any to tell.
	ping(stats bool) []byte
	// framed reports whether clients answer with WebSocket's own pong, not with a
	// message.
	framed() bool
}

// session is one client's signalling: over its WebSocket, and later perhaps over
// DataChannels (channels.go). Everything in it is owned by setUp, and then by run.
type session struct {
	door    *Door
	socket  *socket // nil: the client does without since it signals over DataChannels
	dialect dialect
	call    *call

	allowance *rate.Limiter // of what it may send over its WebSocket

	packing  packing // of what is sent on the path in use
	opening  bool    // the DataChannels may be that soon
	switched bool    // they are

	timer      *time.Timer  // for the earliest of these
	armed      time.Time    // what it is set to
	answerDue  time.Time    // while an offer waits for its answer
	mediaDue   time.Time    // from the first answer until media is up
	openDue    time.Time    // from media being up until the DataChannels are open
	pingDue    time.Time    // or, without a WebSocket, the next question for statistics
	answered   bool         // the first answer was taken
	up         bool         // media came up
	heard      time.Time    // the last pong message, or the offer
	statsAsked time.Time    // the last ping that asked for statistics
	signals    []sfu.Signal // scratch
}

// broken ends a session that panicked.
var broken = farewell{code: websocket.StatusInternalError, reason: "failed: signalling broke on our side; connect again", end: tenant.EndFailed}

// Signaling serves GET /signaling: one client's WebSocket, in either dialect.
// It returns once the client has its offer, or none: what net/http keeps of a
// request, and the stack that the way in needs, are not kept for the whole call.
func (d *Door) Signaling(w http.ResponseWriter, r *http.Request) {
	if !d.arrive() {
		// Before the upgrade, so that clients with several URLs try another.
		refuseHTTP(w, errDraining)
		return
	}
	socket, err := acceptSocket(w, r, d.limits)
	if err != nil {
		d.count(present{sessions: -1, sockets: -1})
		d.log.Debug("no WebSocket", "error", err)
		return
	}
	s := &session{door: d, socket: socket, allowance: rate.NewLimiter(rate.Limit(d.limits.MessageRate), d.limits.MessageBurst)}
	bye := new(broken)
	defer func() { // also when setUp panics: net/http recovers, the connection must not stay
		if bye != nil {
			s.end(*bye)
		}
	}()
	if bye = s.setUp(hostOf(r.RemoteAddr), r.UserAgent()); bye == nil {
		go s.run()
	}
}

// run is the life of a session after its offer.
func (s *session) run() {
	bye := broken
	defer func() {
		if v := recover(); v != nil {
			s.door.log.Error("a session panicked", "connection", s.call.id, "panic", v, "stack", string(debug.Stack()))
		}
		s.end(bye)
	}()
	bye = s.serve()
}

// end ends the session, in the order that clients understand. They take the first
// of two ends for the true one, be it only a channel that closes.
func (s *session) end(bye farewell) {
	defer s.door.count(present{sessions: -1})
	if s.call == nil {
		s.closeSocket(bye)
		return
	}
	c := s.call.connection
	c.Disconnect(bye.end)
	switch {
	case bye.byChannel:
		c.HangUp()
		s.awaitLeft()
	case s.switched && (s.socket == nil || s.call.leaves):
		s.sayGoodbye(bye)
	default:
		s.closeSocket(bye)
	}
	c.HangUp()
	s.closeSocket(bye)
}

// closeSocket closes the WebSocket, if there still is one.
func (s *session) closeSocket(bye farewell) {
	if s.socket == nil {
		return
	}
	s.socket.close(bye)
	s.socket = nil
	s.door.count(present{sockets: -1})
}

// setUp takes a client in, from its connect message to the offer; not nil: that
// was the end of it.
func (s *session) setUp(address, userAgent string) *farewell {
	connect, bye := s.awaitConnect()
	if connect == nil {
		return &bye
	}
	if connect.Dialect2015 {
		s.dialect = dialect2015{}
	} else {
		s.dialect = today{}
		s.door.byDefault(connect)
	}
	s.packing = framed(s.dialect)
	call, err := s.door.enter(visitor{
		Connect: *connect, Redirects: !connect.Dialect2015 && !connect.Redirected, Protocol: s.dialect.protocol(),
		RemoteAddress: address, UserAgent: userAgent,
	})
	if elsewhere := asElsewhere(err); elsewhere != nil {
		return s.redirect(elsewhere)
	}
	if err != nil {
		s.door.log.Debug("connect refused", "channel", connect.Channel, "remote", address, "error", err)
		return new(refused(err))
	}
	s.call, s.opening = call, call.channels
	offer, err := s.packing.append(nil, s.dialect.offer(call, s.door.version))
	if err == nil {
		err = s.socket.send(offer)
	}
	if err != nil {
		return new(gone(err))
	}
	call.forgetRequest()
	return nil
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

// weightUnit is how many bytes of a message count as much as one message more.
const weightUnit = 4 << 10

// parse reads a frame. Whoever sends more than signalling needs is told off before
// it costs others their share of the processor.
func (s *session) parse(f frame) (Message, error) {
	if !s.allowance.AllowN(time.Now(), 1+len(f.data)/weightUnit) {
		return Message{}, tenant.Refuse(tenant.RateLimited, "more messages than signalling needs: at most %d a second in the long run", s.door.limits.MessageRate)
	}
	if f.kind != websocket.MessageText {
		return Message{}, bad("binary frames have no meaning here; send JSON as text")
	}
	return ParseMessage(f.data, s.door.limits)
}

// serve talks with an admitted client, from the offer to the end.
func (s *session) serve() farewell {
	now := time.Now()
	s.heard, s.statsAsked = now, now
	s.answerDue = now.Add(s.door.limits.Answer)
	s.pingDue = s.door.beat(now.Add(s.door.limits.Ping))
	s.timer = time.NewTimer(time.Hour)
	defer s.timer.Stop()

	for {
		s.arm()
		var bye *farewell
		var frames <-chan frame // none come without a WebSocket
		if s.socket != nil {
			frames = s.socket.frames
		}
		select {
		case f, ok := <-frames:
			if ok {
				bye = s.receiveFrame(f)
			} else {
				bye = s.socketLost()
			}
		case <-s.call.connection.Ring():
			bye = s.tell()
		case now := <-s.timer.C:
			bye = s.due(now)
		}
		if bye != nil {
			return *bye
		}
	}
}

// arm sets the timer to what is due first.
func (s *session) arm() {
	first := s.pingDue
	for _, at := range []time.Time{s.answerDue, s.mediaDue, s.openDue} {
		if !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	if !first.Equal(s.armed) {
		s.armed = first
		s.timer.Reset(time.Until(first))
	}
}

// due does what time has made due; not nil: that ends it.
func (s *session) due(now time.Time) *farewell {
	s.armed = time.Time{}
	reached := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	switch {
	case reached(s.answerDue):
		return s.unanswered()
	case reached(s.mediaDue):
		return new(ended(tenant.EndSetupTimeout))
	case reached(s.openDue):
		return new(tooLate(tenant.EndSetupTimeout, "the DataChannels did not open within "+s.door.limits.Media.String()))
	case reached(s.pingDue) && s.socket == nil:
		s.pingDue = s.door.beat(now.Add(s.door.limits.Stats))
		return s.askStats(now)
	case reached(s.pingDue):
		return s.ping(now)
	}
	return nil
}

// ping asks whether the client is there, unless it has not said so for too long.
func (s *session) ping(now time.Time) *farewell {
	limits := s.door.limits
	heard := s.heard
	if s.dialect.framed() {
		if pong := s.socket.lastPong(); pong.After(heard) {
			heard = pong
		}
	}
	if now.Sub(heard) > limits.Pong {
		return new(ended(tenant.EndTimeout))
	}
	s.pingDue = s.door.beat(now.Add(limits.Ping))
	stats := now.Sub(s.statsAsked) >= limits.Stats && !s.call.noStats
	if stats && s.switched {
		if bye := s.askStats(now); bye != nil {
			return bye
		}
		stats = false
	}
	if stats {
		s.statsAsked = now
	}
	return s.send(s.dialect.ping(stats))
}

// receiveFrame does what a client's frame asks; not nil: that ends it.
func (s *session) receiveFrame(f frame) *farewell {
	m, err := s.parse(f)
	if err != nil {
		return new(refused(s.door.refuse(err)))
	}
	return s.receive(m)
}

// receive does what a client's message asks, whichever way it came; not nil: that
// ends it.
func (s *session) receive(m Message) *farewell {
	switch m.Type {
	case typeAnswer, typeReAnswer, typeUpdate:
		return s.answer(m.SDP)
	case typeCandidate:
		s.call.connection.Candidate(m.Candidate)
	case typePong:
		s.heard = time.Now()
		s.reported(m)
	case typeDisconnect:
		bye := ended(tenant.EndClient)
		bye.end = clientEnd(m.Reason)
		return &bye
	case typeConnect:
		return new(refused(bad("connect came twice on one socket")))
	}
	return nil
}

// reported hands on what the client reports of itself, if it was asked to.
func (s *session) reported(m Message) {
	if len(m.Stats) > 0 && s.door.statistics != nil && !s.call.noStats {
		s.door.statistics.Report(s.call.subject.Tenant, s.call.id, m.Stats)
	}
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
	s.answerDue = time.Time{}
	if !s.answered && !s.up {
		s.mediaDue = time.Now().Add(s.door.limits.Media)
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

// send sends frames; not nil: the client is gone.
func (s *session) send(frames []byte) *farewell {
	if err := s.socket.send(frames); err != nil {
		return new(gone(err))
	}
	return nil
}

// gone is the farewell of a client that a message couldn't be sent to.
func gone(err error) farewell {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return farewell{end: tenant.EndTimeout}
	}
	return farewell{end: tenant.EndClient}
}

// hostOf returns the address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
