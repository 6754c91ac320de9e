package signaling

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/tenant"
)

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
