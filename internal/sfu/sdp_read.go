package sfu

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// maxAnswer is the longest answer that is looked at, in bytes: a participant of
// a channel with 150 publishers sends some 400 kB.
const maxAnswer = 1 << 20

// answer is what matters of a client's SDP.
type answer struct {
	ufrag, pwd, fingerprint string
	setup                   transport.Setup
	sections                map[string]answerSection // by mid
}

// answerSection is the client's side of one m-section.
type answerSection struct {
	rejected   bool // port 0
	sends      bool
	receives   bool
	formats    [formatCount]answerFormat
	extensions map[string]uint8 // id by URI
	layers     []string         // rids of what it sends as simulcast, also of what it has paused

	// Of a section of data channels (RFC 8841).
	sctpPort   int // 0: none
	maxMessage int // the longest message the client takes; 0: any
}

// defaultMaxMessage is what a client takes that does not say (RFC 8841 §6.1).
const defaultMaxMessage = 64 << 10

// answerFormat is how the client wants to be sent a codec.
type answerFormat struct {
	pt, rtx uint8 // 0: not at all
}

// parseAnswer reads an answer. Every error wraps ErrBadAnswer.
func parseAnswer(text string) (*answer, error) {
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("%w: %d bytes are too many", ErrBadAnswer, len(text))
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	a := &answer{sections: map[string]answerSection{}}
	for _, m := range d.MediaDescriptions {
		mid, ok := m.Attribute("mid")
		if !ok {
			return nil, fmt.Errorf("%w: m-section without mid", ErrBadAnswer)
		}
		if _, ok := a.sections[mid]; ok {
			return nil, fmt.Errorf("%w: mid %.16q twice", ErrBadAnswer, mid)
		}
		s := readSection(&d, m)
		a.sections[mid] = s
		if s.rejected || a.ufrag != "" {
			continue
		}
		a.ufrag = either(m, &d, "ice-ufrag")
		a.pwd = either(m, &d, "ice-pwd")
		a.fingerprint = either(m, &d, "fingerprint")
		a.setup = transport.Active
		if setup := either(m, &d, "setup"); setup != "" {
			a.setup = transport.Setup(setup)
		}
	}
	switch {
	case len(a.sections) == 0:
		return nil, fmt.Errorf("%w: no m-section", ErrBadAnswer)
	case a.ufrag == "" || a.pwd == "":
		return nil, fmt.Errorf("%w: no ICE credentials, or every m-section refused", ErrBadAnswer)
	case a.setup != transport.Active && a.setup != transport.Passive:
		return nil, fmt.Errorf("%w: setup must be active or passive, not %.16q", ErrBadAnswer, a.setup)
	case a.fingerprint == "":
		return nil, fmt.Errorf("%w: no certificate fingerprint", ErrBadAnswer)
	}
	return a, nil
}

// either is an attribute of the section or, failing that, of the session.
func either(m *sdp.MediaDescription, d *sdp.SessionDescription, name string) string {
	if v, ok := m.Attribute(name); ok {
		return v
	}
	v, _ := d.Attribute(name)
	return v
}

func readSection(d *sdp.SessionDescription, m *sdp.MediaDescription) answerSection {
	s := answerSection{rejected: m.MediaName.Port.Value == 0, extensions: map[string]uint8{},
		maxMessage: defaultMaxMessage}
	direction := "sendrecv"
	for _, name := range []string{"sendrecv", "sendonly", "recvonly", "inactive"} {
		if _, ok := d.Attribute(name); ok {
			direction = name
		}
	}
	names, fmtps := map[uint8]string{}, map[uint8]string{}
	for _, a := range m.Attributes {
		switch a.Key {
		case "sendrecv", "sendonly", "recvonly", "inactive":
			direction = a.Key
		case "rtpmap":
			if pt, rest, ok := cutPayloadType(a.Value); ok {
				name, _, _ := strings.Cut(rest, "/")
				names[pt] = name
			}
		case "fmtp":
			if pt, rest, ok := cutPayloadType(a.Value); ok {
				fmtps[pt] = rest
			}
		case "extmap":
			readExtension(a.Value, s.extensions)
		case "simulcast":
			s.layers = append(s.layers, readLayers(a.Value)...)
		case "sctp-port":
			s.sctpPort = readSize(a.Value, 1<<16-1)
		case "max-message-size":
			s.maxMessage = readSize(a.Value, 1<<30)
		}
	}
	if !s.rejected {
		s.sends = direction == "sendrecv" || direction == "sendonly"
		s.receives = direction == "sendrecv" || direction == "recvonly"
		s.readFormats(m.MediaName.Formats, names, fmtps)
	}
	return s
}

// readLayers reads what a client sends of "send r0;~r1,r2 recv r3" (RFC 8853
// §5.1): of alternatives the first.
func readLayers(value string) (rids []string) {
	fields := strings.Fields(value)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != "send" {
			continue
		}
		for part := range strings.SplitSeq(fields[i+1], ";") {
			rid, _, _ := strings.Cut(part, ",")
			rids = append(rids, strings.TrimPrefix(rid, "~"))
		}
	}
	return rids
}

// readSize reads a number up to most; 0 if there is none.
func readSize(value string, most uint64) int {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0
	}
	return int(min(n, most))
}

// readFormats picks the first payload type of each codec that the client can be
// sent, and its retransmission type.
func (s *answerSection) readFormats(order []string, names, fmtps map[uint8]string) {
	byPT := map[uint8]formatID{}
	for _, text := range order {
		n, err := strconv.ParseUint(text, 10, 7)
		if err != nil {
			continue
		}
		pt := uint8(n)
		id, ok := formatOf(names[pt])
		if !ok || s.formats[id].pt != 0 || !sameProfile(id, fmtps[pt]) {
			continue
		}
		s.formats[id].pt = pt
		byPT[pt] = id
	}
	for pt, name := range names {
		if !strings.EqualFold(name, "rtx") {
			continue
		}
		if apt, err := strconv.ParseUint(param(fmtps[pt], "apt"), 10, 7); err == nil {
			if id, ok := byPT[uint8(apt)]; ok {
				s.formats[id].rtx = pt
			}
		}
	}
}

// sameProfile reports whether a client's fmtp of a codec can take what our
// publishers send.
func sameProfile(id formatID, fmtp string) bool {
	switch formats[id].codec {
	case "VP9":
		p := param(fmtp, "profile-id")
		return p == "" || p == "0"
	case "H264":
		return param(fmtp, "packetization-mode") == "1"
	case "AV1":
		p := param(fmtp, "profile")
		return p == "" || p == "0"
	}
	return true
}

// param is the value of one fmtp parameter; "" when it is absent.
func param(fmtp, name string) string {
	for part := range strings.SplitSeq(fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// cutPayloadType splits "109 opus/48000/2".
func cutPayloadType(value string) (pt uint8, rest string, ok bool) {
	head, rest, ok := strings.Cut(value, " ")
	if !ok {
		return 0, "", false
	}
	n, err := strconv.ParseUint(head, 10, 7)
	return uint8(n), rest, err == nil && n != 0
}

// readExtension notes "4 urn:…" or "4/recvonly urn:…". Ids above 14 need the
// two-byte form, which is never used here.
func readExtension(value string, into map[string]uint8) {
	fields := strings.Fields(value)
	if len(fields) < 2 {
		return
	}
	head, _, _ := strings.Cut(fields[0], "/")
	if id, err := strconv.ParseUint(head, 10, 8); err == nil && id >= 1 && id <= 14 {
		into[fields[1]] = uint8(id)
	}
}
