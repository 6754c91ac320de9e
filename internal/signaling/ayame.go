package signaling

import (
	"encoding/json"
	"net/http"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Peer-to-peer calls in the protocol of Ayame (OpenAyame's ayame-spec, 2025-02):
// two clients meet in a room and exchange offer, answer and candidates, which
// are passed on byte for byte. Their media does not pass the platform.

// The types of messages that only Ayame has.
const (
	typeRegister  = "register"
	typeAccept    = "accept"
	typeReject    = "reject"
	typeConnected = "connected"
	typeBye       = "bye"
)

// AyameMessage is one message of an Ayame client.
type AyameMessage struct {
	Type       string
	Register   *Connect // register; nil otherwise
	Standalone bool     // register: the client leaves when its media is up
}

// ParseAyame reads a text frame of an Ayame client. Every error is a
// *tenant.Refusal, bad_message or too_large. A frame it lets through is JSON in
// UTF-8, so that passing it on harms nobody.
func ParseAyame(data []byte, limits Limits) (AyameMessage, error) {
	limits = limits.withDefaults()
	if len(data) > limits.MessageBytes {
		return AyameMessage{}, tenant.Refuse(tenant.TooLarge, "a message may have at most %d bytes", limits.MessageBytes)
	}
	if !utf8.Valid(data) {
		return AyameMessage{}, bad("a message must be UTF-8")
	}
	f, err := readFields(data)
	if err != nil {
		return AyameMessage{}, err
	}
	m := AyameMessage{Type: f.Text("type")}
	switch m.Type {
	case typeOffer, typeAnswer, typeCandidate, typePong, typeConnected:
	case typeRegister:
		if depth(data) > limits.Depth {
			return AyameMessage{}, bad("objects and arrays are nested deeper than %d", limits.Depth)
		}
		m.Standalone = f.Flag("standalone", false)
		m.Register = readRegister(f)
	default:
		f.Fail("type", "must be register, offer, answer, candidate, pong or connected")
	}
	if err := mistake(f); err != nil {
		return AyameMessage{}, err
	}
	return m, nil
}

// readRegister reads who wants to come in, and where. The token is the signaling
// key, which SDKs call by its old name.
func readRegister(f fields) *Connect {
	c := &Connect{Role: tenant.SendRecv}
	c.Audio.Enabled, c.Video.Enabled = true, true // what they will send is between the two
	c.Said = readSaid(f, "authnMetadata", "ayameClient")
	if c.Channel = channelName(f, "roomId"); c.Channel == "" {
		f.Fail("roomId", "is missing")
	}
	if f.Text("clientId") != "" { // empty: as if absent
		c.ClientID = f.Name("clientId")
	}
	for _, name := range []string{"signalingKey", "key"} {
		if raw := f.Raw(name); raw != nil && c.Token == nil {
			if json.Unmarshal(raw, &c.Token) != nil {
				f.Fail(name, "must be a string")
			}
		}
	}
	return c
}

// accept lets a client in. Both ways of saying that the other is there are sent,
// because the SDKs read the older one. Without ICE servers of ours an SDK takes its
// own, but only if the field is not there.
type accept struct {
	Type          string          `json:"type"`
	ConnectionID  string          `json:"connectionId"`
	IsExistClient bool            `json:"isExistClient"`
	IsExistUser   bool            `json:"isExistUser"`
	ICEServers    []rtcICEServer  `json:"iceServers,omitempty"`
	AuthzMetadata json.RawMessage `json:"authzMetadata,omitempty"`
}

// rtcICEServer is a browser's RTCIceServer; native clients want its URLs as a list.
type rtcICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// newAccept is what a peer that came in is told.
func (s *caller) newAccept(c *call) accept {
	a := accept{Type: typeAccept, ConnectionID: c.id, IsExistClient: s.peer.invited, IsExistUser: s.peer.invited, AuthzMetadata: c.metadata}
	for _, server := range s.door.iceServers(c.id) {
		a.ICEServers = append(a.ICEServers, rtcICEServer{[]string{server.URL}, server.Username, server.Credential})
	}
	return a
}

// reject refuses a client. Ayame's own word for a third client is "full"; the
// tenant's server may have one; all other reasons are ours.
type reject struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

func rejection(r *tenant.Refusal) reject {
	if r.Code == tenant.ChannelFull {
		return reject{typeReject, "full"}
	}
	return reject{typeReject, firstOf(r.Word, string(r.Code))}
}

var (
	ayamePing = makeFrame(finalText, `{"type":"ping"}`)
	ayameBye  = makeFrame(finalText, `{"type":"bye"}`)
)

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
	if s.say(rejection(asRefusal(err))) != nil {
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
