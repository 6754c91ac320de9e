package sfu

import (
	"strconv"
	"strings"

	"github.com/hibari/hibari/internal/sfu/codec"
	"github.com/hibari/hibari/internal/sfu/transport"
)

// answerText is everything that an answer is written from.
type answerText struct {
	sessionID   uint64
	version     int
	ufrag, pwd  string
	fingerprint string
	candidates  []string
	feedback    bool // viewers are granted transport-wide congestion control
	offer       *Offer
	plan        []mirrored // one for each offered section
	sections    []*section // likewise
}

// String writes the answer (RFC 8829, RFC 8839, RFC 9143): every section of the
// offer in its order and by its name.
func (a answerText) String() string {
	var b strings.Builder
	b.Grow(512 + 1000*len(a.plan))
	line(&b, "v=0")
	line(&b, "o=- ", strconv.FormatUint(a.sessionID, 10), " ", strconv.Itoa(a.version), " IN IP4 0.0.0.0")
	line(&b, "s=-")
	line(&b, "t=0 0")
	if a.offer.bundled {
		b.WriteString("a=group:BUNDLE")
		for i := range a.plan {
			if a.plan[i].use != unused {
				b.WriteString(" " + a.plan[i].mid)
			}
		}
		line(&b)
	}
	line(&b, "a=ice-lite")
	line(&b, "a=ice-options:trickle")
	if a.offer.mixed {
		line(&b, "a=extmap-allow-mixed")
	}
	line(&b, "a=msid-semantic: WMS *")
	line(&b, "a=fingerprint:", a.fingerprint)
	candidates := true // the bundle's first section has them
	for i := range a.plan {
		m := &a.plan[i]
		if m.use == unused {
			line(&b, "m=", m.media, " 0 ", m.proto, " ", strings.Join(m.offeredSection.formats, " "))
			line(&b, "c=IN IP4 0.0.0.0")
			line(&b, "a=mid:", m.mid)
			line(&b, "a=inactive")
			continue
		}
		a.section(&b, m, a.sections[i], candidates)
		candidates = false
	}
	return b.String()
}

func (a answerText) section(b *strings.Builder, m *mirrored, s *section, candidates bool) {
	b.WriteString("m=" + m.media + " 9 " + m.proto)
	for _, c := range m.codecs {
		b.WriteString(" " + strconv.Itoa(int(c.pt)))
		if c.rtx != 0 {
			b.WriteString(" " + strconv.Itoa(int(c.rtx)))
		}
	}
	line(b)
	line(b, "c=IN IP4 0.0.0.0")
	if m.use == uploads && s.wish.BitRate > 0 {
		line(b, "b=TIAS:", strconv.Itoa(s.wish.BitRate*1000))
	}
	if a.offer.setup == transport.Passive {
		line(b, "a=setup:active")
	} else {
		line(b, "a=setup:passive")
	}
	line(b, "a=mid:", m.mid)
	line(b, "a=ice-ufrag:", a.ufrag)
	line(b, "a=ice-pwd:", a.pwd)
	line(b, "a=rtcp-mux")
	if m.muxOnly {
		line(b, "a=rtcp-mux-only")
	}
	if m.rsize {
		line(b, "a=rtcp-rsize")
	}
	for i := range m.codecs {
		a.codec(b, m, s, &m.codecs[i])
	}
	for _, uri := range m.wanted(a.feedback) {
		line(b, "a=extmap:", strconv.Itoa(int(m.extensions[uri])), " ", uri)
	}
	switch m.use {
	case uploads:
		line(b, "a=recvonly")
		if m.simulcast() != nil {
			for _, name := range m.named {
				line(b, "a=rid:", name, " recv")
			}
			line(b, "a=simulcast:recv ", strings.Join(m.named, ";"))
		}
	case shows:
		line(b, "a=sendonly")
		writeSource(b, s)
	default:
		line(b, "a=inactive")
	}
	if candidates {
		for _, c := range a.candidates {
			line(b, "a=candidate:", c)
		}
		line(b, "a=end-of-candidates")
	}
}

func (a answerText) codec(b *strings.Builder, m *mirrored, s *section, c *offeredCodec) {
	pt := strconv.Itoa(int(c.pt))
	line(b, "a=rtpmap:", pt, " ", c.name)
	if fmtp := c.answered(s, m.use); fmtp != "" {
		line(b, "a=fmtp:", pt, " ", fmtp)
	}
	for _, f := range c.feedback {
		if f != "transport-cc" || m.use == uploads || a.feedback {
			line(b, "a=rtcp-fb:", pt, " ", f)
		}
	}
	if c.rtx != 0 {
		rtx := strconv.Itoa(int(c.rtx))
		line(b, "a=rtpmap:", rtx, " rtx/90000")
		line(b, "a=fmtp:", rtx, " apt=", pt)
	}
}

// answered is the fmtp of the answer. What tells variants of a codec apart is
// echoed (RFC 6184 §8.2.2); of audio we say what we want, as in our offers.
func (c *offeredCodec) answered(s *section, u use) string {
	var names []string
	switch formats[c.format].codec {
	case codec.Opus:
		return withParams(formats[c.format].fmtp, s.wish, audio)
	case codec.H264:
		names = []string{"level-asymmetry-allowed", "packetization-mode", "profile-level-id"}
	case codec.VP9:
		names = []string{"profile-id"}
	case codec.AV1:
		names = []string{"level-idx", "profile", "tier"}
	}
	var list []string
	for _, name := range names {
		if value := param(c.fmtp, name); plainParam(value) {
			list = append(list, name+"="+value)
		}
	}
	return strings.Join(list, ";")
}
