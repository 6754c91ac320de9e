package signaling

import (
	"strings"

	"github.com/hibari/hibari/internal/sfu"
)

// The content types of WHIP and WHEP.
const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag" // RFC 8840 §9
)

// fragment is what matters of a client's SDP fragment. Its candidates do not: an
// ICE-lite server learns the client's addresses from its checks.
type fragment struct {
	ufrag, pwd string // both or neither
}

// parseFragment reads an SDP fragment (RFC 8840 §9.2): lines of m= and a=. Every
// error is a *tenant.Refusal, bad_message.
func parseFragment(text string) (f fragment, err error) {
	once := func(name string, into *string, value string) {
		if value == "" || *into != "" && *into != value {
			err = bad("the fragment's a=%s is empty, or there are two", name)
		}
		*into = value
	}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		switch {
		case line == "", strings.HasPrefix(line, "m="):
		case strings.HasPrefix(line, "a="):
			name, value, _ := strings.Cut(line[len("a="):], ":")
			switch name {
			case "ice-ufrag":
				once(name, &f.ufrag, value)
			case "ice-pwd":
				once(name, &f.pwd, value)
			}
		default:
			return fragment{}, bad("the fragment has a line that begins with neither a= nor m= (RFC 8840 §9)")
		}
	}
	switch {
	case err != nil:
		return fragment{}, err
	case strings.TrimSpace(text) == "":
		return fragment{}, bad("the fragment is empty")
	case (f.ufrag == "") != (f.pwd == ""):
		return fragment{}, bad("the fragment has one of a=ice-ufrag and a=ice-pwd: want both or neither")
	}
	return f, nil
}

// restarted is the fragment that answers an ICE restart (RFC 9725 §4.3.3).
func restarted(ice sfu.ICE, media, mid string) string {
	var b strings.Builder
	for _, line := range []string{
		"a=ice-lite", "a=ice-options:trickle", "m=" + media + " 9 UDP/TLS/RTP/SAVPF 0", "a=mid:" + mid,
		"a=ice-ufrag:" + ice.Ufrag, "a=ice-pwd:" + ice.Pwd,
	} {
		b.WriteString(line + "\r\n")
	}
	for _, c := range ice.Candidates {
		b.WriteString("a=candidate:" + c + "\r\n")
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String()
}
