package signaling

import (
	"bytes"

	"github.com/hibari/hibari/internal/tenant"
)

// The types of messages that mean something here; all others are ignored.
const (
	typeConnect    = "connect"
	typeOffer      = "offer"
	typeAnswer     = "answer"
	typeCandidate  = "candidate"
	typeReOffer    = "re-offer"
	typeReAnswer   = "re-answer"
	typeUpdate     = "update" // 2015: re-offer and re-answer alike
	typePong       = "pong"
	typeNotify     = "notify"
	typePush       = "push"
	typeDisconnect = "disconnect"
	typeRedirect   = "redirect"
	typeSwitched   = "switched"
	typeReqStats   = "req-stats"
	typeStats      = "stats"
	typeClose      = "close"
)

// Message is one message of a client. Only the fields of its type are set.
type Message struct {
	Type      string
	Connect   *Connect // connect
	SDP       string   // answer, re-answer, update
	Candidate string   // candidate; "" ends the candidates
	Reason    string   // disconnect
	Stats     []byte   // pong, stats: a list of RTCStats as JSON, unread; a part of the message
}

// ParseMessage reads a text frame of a client, in either dialect. A type it
// does not know is no mistake. Every error is a *tenant.Refusal, bad_message or
// too_large.
func ParseMessage(data []byte, limits Limits) (Message, error) {
	limits = limits.withDefaults()
	if len(data) > limits.MessageBytes {
		return Message{}, tenant.Refuse(tenant.TooLarge, "a message may have at most %d bytes", limits.MessageBytes)
	}
	f, err := readFields(data)
	if err != nil {
		return Message{}, err
	}
	m := Message{Type: f.Text("type")}
	switch {
	case f.Err() != nil:
	case m.Type == "":
		f.Fail("type", "is missing")
	case m.Type == typeConnect:
		if depth(data) > limits.Depth {
			return Message{}, bad("objects and arrays are nested deeper than %d", limits.Depth)
		}
		m.Connect, err = parseConnect(f, limits)
		if err != nil {
			return Message{}, err
		}
	case m.Type == typeAnswer || m.Type == typeReAnswer || m.Type == typeUpdate:
		if m.SDP = f.Text("sdp"); m.SDP == "" {
			f.Fail("sdp", "is missing")
		}
	case m.Type == typeCandidate:
		m.Candidate = readCandidate(f)
	case m.Type == typePong:
		m.Stats = f.Raw("stats")
	case m.Type == typeStats:
		m.Stats = f.Raw("reports")
	case m.Type == typeDisconnect:
		m.Reason = f.Text("reason")
	}
	if err := mistake(f); err != nil {
		return Message{}, err
	}
	return m, nil
}

// readCandidate reads the candidate as a line, or as the browser's
// RTCIceCandidate, which is what a page sends that does not unpack it.
func readCandidate(f fields) string {
	if bytes.HasPrefix(f.Raw("candidate"), []byte("{")) {
		f = f.Object("candidate")
	}
	return f.Text("candidate")
}
