package signaling

import (
	"net/http"
	"runtime/debug"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Peer-to-peer calls in the protocol of Ayame (OpenAyame's ayame-spec, 2025-02):
// two clients meet in a room and exchange offer, answer and candidates, which
// are passed on byte for byte. Their media does not pass the platform.

// caller is one Ayame client's session. Everything in it is owned by setUp, and
// then by run.
type caller struct {
	door       *Door
	socket     *socket
	peer       *peer // nil: it has not come in
	standalone bool
	allowance  *rate.Limiter // of bytes it may send

	timer     *time.Timer // for the earliest of these
	pingDue   time.Time   // zero: it is sent none
	answerDue time.Time   // zero: it does not wait for an answer
	ponged    time.Time   // its last pong, or its coming
	heard     time.Time   // its last message
}

// Ayame serves GET /ayame: one client's WebSocket. Like Signaling it returns once
// the client is in, or out.
func (d *Door) Ayame(w http.ResponseWriter, r *http.Request) {
	if !d.arrive() {
		refuseHTTP(w, errDraining)
		return
	}
	socket, err := acceptSocket(w, r, d.limits)
	if err != nil {
		d.count(present{sessions: -1, sockets: -1})
		d.log.Debug("no WebSocket", "error", err)
		return
	}
	now := time.Now()
	s := &caller{door: d, socket: socket, ponged: now, heard: now,
		allowance: rate.NewLimiter(rate.Limit(d.limits.PeerRate), d.limits.PeerBurst)}
	bye := new(broken)
	defer func() { // also when setUp panics: net/http recovers, the call must not stay
		if bye != nil {
			s.end(*bye)
		}
	}()
	if bye = s.setUp(hostOf(r.RemoteAddr), r.UserAgent()); bye == nil {
		go s.run()
	}
}

// run is the life of a caller that has come in.
func (s *caller) run() {
	bye := broken
	defer func() {
		if v := recover(); v != nil {
			s.door.log.Error("a peer-to-peer session panicked", "connection", s.peer.id, "panic", v, "stack", string(debug.Stack()))
		}
		s.end(bye)
	}()
	bye = s.serve()
}

// end ends the call, for the other client, too. Ayame knows one close code.
func (s *caller) end(bye farewell) {
	defer s.door.count(present{sessions: -1, sockets: -1})
	if s.peer != nil {
		s.peer.Disconnect(bye.end)
	}
	if bye.code != 0 {
		bye.code = websocket.StatusNormalClosure
	}
	s.socket.close(bye)
}

// setUp takes a client in, from its register message to accept; not nil: that was
// the end of it.
func (s *caller) setUp(address, userAgent string) *farewell {
	m, bye := s.awaitRegister()
	if m.Register == nil {
		return &bye
	}
	s.standalone = m.Standalone
	call, err := s.door.enter(visitor{
		Connect: *m.Register, Peer: true, Protocol: tenant.ProtocolAyame,
		RemoteAddress: address, UserAgent: userAgent,
	})
	if err != nil {
		s.door.log.Debug("register refused", "room", m.Register.Channel, "remote", address, "error", err)
		return s.refuse(err)
	}
	s.peer = call.life.(*peer)
	welcome := s.newAccept(call)
	call.forgetRequest()
	return s.say(welcome)
}

// refuse tells the client that it may not come in.
func (s *caller) refuse(err error) *farewell {
	bye := refused(err)
	if s.say(rejection(tenant.AsRefusal(err))) != nil {
		bye.code = 0 // it is gone already
	}
	return &bye
}

// awaitRegister reads messages up to the register; without one that was all.
func (s *caller) awaitRegister() (AyameMessage, farewell) {
	deadline := time.NewTimer(s.door.limits.Connect)
	defer deadline.Stop()
	for {
		select {
		case <-s.door.draining:
			return AyameMessage{}, *s.refuse(s.door.refuse(errDraining))
		case <-deadline.C:
			return AyameMessage{}, refused(s.door.refuse(bad("no register message within %s of opening the socket", s.door.limits.Connect)))
		case f, ok := <-s.socket.frames:
			if !ok {
				return AyameMessage{}, farewell{}
			}
			m, err := s.parse(f)
			if err == nil && m.Type != typeRegister && m.Type != typePong {
				err = bad("%s came before register", m.Type)
			}
			if err != nil {
				return AyameMessage{}, refused(s.door.refuse(err))
			}
			if m.Register != nil {
				return m, farewell{}
			}
		}
	}
}

// frameCost is what a message counts at least, in bytes: what it costs to read
// and write however short it is.
const frameCost = 256

// parse reads a frame.
func (s *caller) parse(f frame) (AyameMessage, error) {
	if f.kind != websocket.MessageText {
		return AyameMessage{}, bad("binary frames have no meaning here; send JSON as text")
	}
	m, err := ParseAyame(f.data, s.door.limits)
	if err == nil && !s.allowance.AllowN(time.Now(), max(len(f.data), frameCost)) {
		err = tenant.Refuse(tenant.RateLimited, "more messages than signalling needs: at most %d bytes a second in the long run", s.door.limits.PeerRate)
	}
	return m, err
}

// serve talks with a client that has come in, to the end.
func (s *caller) serve() farewell {
	now, limits := time.Now(), s.door.limits
	s.ponged, s.heard = now, now
	if !s.standalone {
		s.pingDue = s.door.beat(now.Add(limits.Ping))
	}
	if s.peer.invited { // whoever makes the offer waits for the answer
		s.answerDue = now.Add(limits.Meet)
	}
	s.timer = time.NewTimer(0)
	defer s.timer.Stop()
	for {
		var bye *farewell
		select {
		case f, ok := <-s.socket.frames:
			if !ok {
				return farewell{end: tenant.EndClient} // without its socket a client can't be reached
			}
			bye = s.receive(f)
		case <-s.peer.ring:
			bye = s.tell()
		case now := <-s.timer.C:
			bye = s.due(now)
		}
		if bye != nil {
			return *bye
		}
	}
}

// due does what time has made due and sets the timer anew; not nil: that ends it.
func (s *caller) due(now time.Time) *farewell {
	limits := s.door.limits
	silence := s.heard.Add(limits.Read)
	switch {
	case !s.pingDue.IsZero() && now.Sub(s.ponged) > limits.Pong, !now.Before(silence):
		return new(ended(tenant.EndTimeout))
	case !s.answerDue.IsZero() && !now.Before(s.answerDue):
		if bye := s.bye(); bye != nil {
			return bye
		}
		return new(tooLate(tenant.EndSetupTimeout, "no answer within "+limits.Meet.String()+" of the second client's coming"))
	}
	if !s.pingDue.IsZero() && !now.Before(s.pingDue) {
		s.pingDue = s.door.beat(now.Add(limits.Ping))
		if bye := s.send(ayamePing); bye != nil {
			return bye
		}
	}
	first := silence
	for _, at := range []time.Time{s.pingDue, s.answerDue} {
		if !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	s.timer.Reset(time.Until(first))
	return nil
}

// receive does what a client's message asks; not nil: that ends it.
func (s *caller) receive(f frame) *farewell {
	m, err := s.parse(f)
	if err != nil {
		return new(refused(s.door.refuse(err)))
	}
	s.heard = time.Now()
	switch m.Type {
	case typePong:
		s.ponged = s.heard
	case typeRegister:
		return new(refused(s.door.refuse(bad("register came twice on one socket"))))
	case typeConnected:
		if s.standalone { // it goes on without us
			return &farewell{code: websocket.StatusNormalClosure, end: tenant.EndClient}
		}
	default:
		s.peer.pass(m.Type, append(appendHead(make([]byte, 0, maxHead+len(f.data)), finalText, len(f.data)), f.data...))
	}
	return nil
}

// tell tells the client what the other said, or that the call is over.
func (s *caller) tell() *farewell {
	frames, up, over := s.peer.take()
	if up {
		s.answerDue = time.Time{}
	}
	if len(frames) > 0 {
		if bye := s.send(frames); bye != nil {
			return bye
		}
	}
	if !over {
		return nil
	}
	if bye := s.bye(); bye != nil {
		return bye
	}
	return new(ended(s.peer.Ending().Reason))
}

// bye says that the room is no more; a client on its own does not ask for it.
func (s *caller) bye() *farewell {
	if s.standalone {
		return nil
	}
	return s.send(ayameBye)
}

// say sends a message; not nil: the client is gone.
func (s *caller) say(message any) *farewell {
	frame, err := appendMessage(nil, message)
	if err != nil {
		s.door.log.Error("couldn't tell a client", "error", err)
		return new(broken)
	}
	return s.send(frame)
}

// send sends frames; not nil: the client is gone.
func (s *caller) send(frames []byte) *farewell {
	if err := s.socket.send(frames); err != nil {
		return new(gone(err))
	}
	return nil
}

// Peers lists the connections of peer-to-peer calls, as SFU.Connections lists
// those of the media plane. Connected counts from the answer that was passed on;
// no bytes are known, because none pass the platform.
func (d *Door) Peers() []sfu.ConnectionInfo { return d.rooms.connections() }

// Disconnect ends a connection of a peer-to-peer call with a tenant.End reason,
// and is false if the tenant has no such connection here. It never blocks.
func (d *Door) Disconnect(id tenant.ID, connectionID, reason string) bool {
	return d.rooms.disconnect(id, connectionID, reason)
}

// Close ends every peer-to-peer call with a tenant.End reason and lets nobody
// begin another. Connections of the media plane are not the door's to end.
func (d *Door) Close(reason string) { d.rooms.close(reason) }
