package sfu

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// offerText is everything that an offer is written from.
type offerText struct {
	sessionID   uint64
	version     int
	ufrag, pwd  string
	fingerprint string
	candidates  []string
	feedback    bool // viewers are offered transport-wide congestion control
	sections    []*section
}

// String writes the offer (RFC 8829, RFC 8839, RFC 9143).
func (o offerText) String() string {
	var b strings.Builder
	b.Grow(512 + 1400*len(o.sections))
	line(&b, "v=0")
	line(&b, "o=- ", strconv.FormatUint(o.sessionID, 10), " ", strconv.Itoa(o.version), " IN IP4 0.0.0.0")
	line(&b, "s=-")
	line(&b, "t=0 0")
	b.WriteString("a=group:BUNDLE")
	for _, s := range o.sections {
		if !s.rejected {
			b.WriteString(" " + s.mid)
		}
	}
	line(&b)
	line(&b, "a=ice-lite")
	line(&b, "a=extmap-allow-mixed")
	line(&b, "a=msid-semantic: WMS *")
	line(&b, "a=fingerprint:", o.fingerprint)

	// Candidates belong to the bundle's first section; the second has them too
	// for clients that refuse the first.
	withCandidates := 2
	for _, s := range o.sections {
		if s.rejected && s.data {
			line(&b, "m=application 0 UDP/DTLS/SCTP webrtc-datachannel")
			line(&b, "c=IN IP4 0.0.0.0")
			line(&b, "a=mid:", s.mid)
			continue
		}
		if s.rejected {
			line(&b, "m=", s.kind.String(), " 0 UDP/TLS/RTP/SAVPF 0")
			line(&b, "c=IN IP4 0.0.0.0")
			line(&b, "a=mid:", s.mid)
			line(&b, "a=inactive")
			continue
		}
		o.section(&b, s, withCandidates > 0)
		withCandidates--
	}
	return b.String()
}

func (o offerText) section(b *strings.Builder, s *section, candidates bool) {
	if s.data {
		o.data(b, s)
	} else {
		o.media(b, s)
	}
	if candidates {
		for _, c := range o.candidates {
			line(b, "a=candidate:", c)
		}
		line(b, "a=end-of-candidates")
	}
}

// data writes the section of the data channels (RFC 8841).
func (o offerText) data(b *strings.Builder, s *section) {
	line(b, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel")
	line(b, "c=IN IP4 0.0.0.0")
	o.transport(b, s)
	line(b, "a=sctp-port:", strconv.Itoa(transport.SCTPPort))
	line(b, "a=max-message-size:", strconv.Itoa(transport.MaxDataMessage))
}

// transport writes what every section says of the one transport.
func (o offerText) transport(b *strings.Builder, s *section) {
	line(b, "a=setup:actpass")
	line(b, "a=mid:", s.mid)
	line(b, "a=ice-ufrag:", o.ufrag)
	line(b, "a=ice-pwd:", o.pwd)
}

// media writes a section of audio or video.
func (o offerText) media(b *strings.Builder, s *section) {
	b.WriteString("m=" + s.kind.String() + " 9 UDP/TLS/RTP/SAVPF")
	for _, id := range s.formats {
		b.WriteString(" " + strconv.Itoa(int(formats[id].pt)))
		if rtx := formats[id].rtx; rtx != 0 {
			b.WriteString(" " + strconv.Itoa(int(rtx)))
		}
	}
	line(b)
	line(b, "c=IN IP4 0.0.0.0")
	if s.upload && s.wish.BitRate > 0 {
		line(b, "b=TIAS:", strconv.Itoa(s.wish.BitRate*1000))
	}
	o.transport(b, s)
	line(b, "a=rtcp-mux")
	line(b, "a=rtcp-rsize")
	for _, id := range s.formats {
		writeFormat(b, s, formats[id], s.upload || o.feedback)
	}
	if s.kind == audio {
		line(b, "a=extmap:", strconv.Itoa(extLevel), " ", uriLevel)
	}
	if !s.upload && s.kind == video {
		line(b, "a=extmap:", strconv.Itoa(extTime), " ", uriTime)
	}
	if s.upload || o.feedback {
		line(b, "a=extmap:", strconv.Itoa(extTransport), " ", uriTransport)
	}
	line(b, "a=extmap:", strconv.Itoa(extMID), " ", uriMID)
	if len(s.layers) > 0 {
		line(b, "a=extmap:", strconv.Itoa(extRID), " ", uriRID)
		line(b, "a=extmap:", strconv.Itoa(extRepaired), " ", uriRepaired)
	}
	switch {
	case s.upload:
		line(b, "a=recvonly")
		writeLayers(b, s.layers)
	case s.down == nil:
		line(b, "a=inactive")
	default:
		line(b, "a=sendonly")
		writeSource(b, s)
	}
}

func writeFormat(b *strings.Builder, s *section, f format, feedback bool) {
	pt := strconv.Itoa(int(f.pt))
	line(b, "a=rtpmap:", pt, " ", f.rtpmap)
	fmtp := f.fmtp
	if s.upload {
		fmtp = withParams(f.fmtp, s.wish, f.kind)
	}
	if fmtp != "" {
		line(b, "a=fmtp:", pt, " ", fmtp)
	}
	if feedback {
		line(b, "a=rtcp-fb:", pt, " transport-cc")
	}
	if f.kind == video {
		for _, feedback := range []string{"goog-remb", "ccm fir", "nack", "nack pli"} {
			line(b, "a=rtcp-fb:", pt, " ", feedback)
		}
	}
	if f.rtx != 0 {
		rtx := strconv.Itoa(int(f.rtx))
		line(b, "a=rtpmap:", rtx, " rtx/90000")
		line(b, "a=fmtp:", rtx, " apt=", pt)
	}
}

// writeLayers asks for layers (RFC 8851, RFC 8853).
func writeLayers(b *strings.Builder, layers []*layer) {
	if len(layers) == 0 {
		return
	}
	names := make([]string, len(layers))
	for i, l := range layers {
		line(b, "a=rid:", l.wire, " recv")
		names[i] = l.wire
		if l.off {
			names[i] = "~" + l.wire
		}
	}
	line(b, "a=simulcast:recv ", strings.Join(names, ";"))
}

// writeSource names what a download section shows: the publisher's connection
// as the stream, and the SSRCs that are ours.
func writeSource(b *strings.Builder, s *section) {
	d := s.down
	line(b, "a=msid:", d.stream, " ", d.track)
	ssrc := strconv.FormatUint(uint64(d.ssrc), 10)
	if d.rtxSSRC != 0 {
		rtx := strconv.FormatUint(uint64(d.rtxSSRC), 10)
		line(b, "a=ssrc-group:FID ", ssrc, " ", rtx)
		line(b, "a=ssrc:", ssrc, " cname:", d.stream)
		line(b, "a=ssrc:", rtx, " cname:", d.stream)
		return
	}
	line(b, "a=ssrc:", ssrc, " cname:", d.stream)
}

// withParams is a codec's fmtp with what the client asked for put over it and,
// for audio, its bit rate. Parameters that could break the line are left out.
func withParams(fmtp string, wish MediaWish, k kind) string {
	params := map[string]string{}
	var order []string
	set := func(name, value string) {
		if _, ok := params[name]; !ok {
			order = append(order, name)
		}
		params[name] = value
	}
	for part := range strings.SplitSeq(fmtp, ";") {
		if name, value, ok := strings.Cut(part, "="); ok {
			set(name, value)
		}
	}
	if k == audio && wish.BitRate > 0 {
		set("maxaveragebitrate", strconv.Itoa(wish.BitRate*1000))
	}
	for _, name := range slices.Sorted(maps.Keys(wish.Params)) {
		if value := wish.Params[name]; plainParam(name) && plainParam(value) {
			set(name, value)
		}
	}
	for i, name := range order {
		order[i] = name + "=" + params[name]
	}
	return strings.Join(order, ";")
}

// plainParam reports whether s may stand in an fmtp line.
func plainParam(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func line(b *strings.Builder, parts ...string) {
	for _, p := range parts {
		b.WriteString(p)
	}
	b.WriteString("\r\n")
}
