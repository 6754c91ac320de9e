package sfu

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/hibari/hibari/internal/sfu/codec"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// Errors of a client's offer.
var (
	// ErrBadOffer: the text is no SDP offer of a WebRTC client.
	ErrBadOffer = errors.New("offer cannot be read")
	// ErrUnusableOffer: the offer is understood, but there is no answer to it that
	// would serve the client; the wrapping error says what is missing.
	ErrUnusableOffer = errors.New("offer cannot be used")
)

// MaxOffer is the longest offer of a client that is read, in bytes: a browser
// that offers all its codecs for one audio and one video sends some 8 kB.
const MaxOffer = 64 << 10

// maxMID is the longest name of a section: what the header extension of one byte
// carries (RFC 8285 §4.2).
const maxMID = 16

// Offer is what matters of a client's offer (RFC 8829), for connections whose
// client offers and where the server answers once (WHIP, WHEP). It is not
// changed after ParseOffer and may be shared.
type Offer struct {
	role                    tenant.Role
	ufrag, pwd, fingerprint string
	setup                   transport.Setup // the client's part, as our answer leaves it
	mixed                   bool            // a=extmap-allow-mixed
	bundled                 bool            // there is a group; else there is only one section
	sections                []offeredSection
}

// offeredSection is one m-section of a client's offer.
type offeredSection struct {
	mid            string
	media, proto   string   // as they stand in the m-line
	formats        []string // likewise
	kind           kind     // of audio and video alone
	ours           bool     // it is audio or video over SRTP
	refused        bool     // the client refused it itself: port 0
	sends          bool     // the client would
	receives       bool
	muxOnly, rsize bool
	codecs         []offeredCodec // those that we know, in the client's order
	extensions     map[string]uint8
	layers         []string // of simulcast, the lowest quality first; none: there is one
	named          []string // the same in the client's order
}

// offeredCodec is one payload type that a client offers.
type offeredCodec struct {
	format   formatID
	pt, rtx  uint8
	name     string // as the client writes it: "H264/90000"
	fmtp     string
	feedback []string // of those that we use
}

// ParseOffer reads the offer of a publisher (tenant.SendOnly) or a viewer
// (tenant.RecvOnly) and makes sure that it can be answered. The error wraps
// ErrBadOffer or ErrUnusableOffer.
func ParseOffer(text string, role tenant.Role) (*Offer, error) {
	if len(text) > MaxOffer {
		return nil, fmt.Errorf("%w: %d bytes are too many", ErrBadOffer, len(text))
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	if len(d.MediaDescriptions) == 0 {
		return nil, fmt.Errorf("%w: no m-section", ErrBadOffer)
	}
	o := &Offer{role: role}
	_, o.mixed = d.Attribute("extmap-allow-mixed")
	bundle := bundleOf(&d)
	o.bundled = bundle != nil
	live := 0
	for _, m := range d.MediaDescriptions {
		s, err := o.readSection(&d, m)
		if err != nil {
			return nil, err
		}
		if !s.refused {
			live++
			if bundle != nil && !slices.Contains(bundle, s.mid) || bundle == nil && live > 1 {
				return nil, unusable("section %s is not in the BUNDLE group: everything has to go over one transport (RFC 9143)", s.mid)
			}
			o.readTransport(&d, m)
		}
		o.sections = append(o.sections, s)
	}
	if live == 0 {
		return nil, unusable("there is no section for media")
	}
	if err := transport.CheckRemote(o.ufrag, o.pwd, o.fingerprint, o.setup); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	if _, err := o.plan(MediaWish{Enabled: true}, MediaWish{Enabled: true}); err != nil {
		return nil, err
	}
	return o, nil
}

// unusable is an ErrUnusableOffer with its reason.
func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnusableOffer, fmt.Errorf(format, args...))
}

// bundleOf is the first BUNDLE group; nil: there is none.
func bundleOf(d *sdp.SessionDescription) []string {
	for _, a := range d.Attributes {
		if words := strings.Fields(a.Value); a.Key == "group" && len(words) > 0 && words[0] == "BUNDLE" {
			return words
		}
	}
	return nil
}

// readTransport takes the transport of the first section that has one: a bundle
// has one for all (RFC 9143 §7.2).
func (o *Offer) readTransport(d *sdp.SessionDescription, m *sdp.MediaDescription) {
	if o.ufrag != "" {
		return
	}
	o.ufrag = either(m, d, "ice-ufrag")
	o.pwd = either(m, d, "ice-pwd")
	o.fingerprint = either(m, d, "fingerprint")
	o.setup = transport.Active
	if either(m, d, "setup") == "passive" {
		o.setup = transport.Passive
	}
}

func (o *Offer) readSection(d *sdp.SessionDescription, m *sdp.MediaDescription) (s offeredSection, err error) {
	name := m.MediaName
	s.media, s.proto, s.formats = name.Media, strings.Join(name.Protos, "/"), name.Formats
	s.mid, _ = m.Attribute("mid")
	if !isMID(s.mid) {
		return s, fmt.Errorf("%w: section %d has no usable mid: want 1 to %d letters and digits", ErrBadOffer, len(o.sections), maxMID)
	}
	if slices.ContainsFunc(o.sections, func(other offeredSection) bool { return other.mid == s.mid }) {
		return s, fmt.Errorf("%w: mid %s twice", ErrBadOffer, s.mid)
	}
	_, bundleOnly := m.Attribute("bundle-only")
	s.refused = name.Port.Value == 0 && !bundleOnly
	switch s.media {
	case "audio":
		s.kind, s.ours = audio, true
	case "video":
		s.kind, s.ours = video, true
	}
	s.ours = s.ours && (s.proto == "UDP/TLS/RTP/SAVPF" || s.proto == "UDP/TLS/RTP/SAVP" ||
		s.proto == "TCP/TLS/RTP/SAVPF" || s.proto == "RTP/SAVPF")
	if s.refused || !s.ours {
		return s, nil
	}
	s.readDirection(d, m)
	_, muxed := m.Attribute("rtcp-mux")
	_, s.muxOnly = m.Attribute("rtcp-mux-only")
	_, s.rsize = m.Attribute("rtcp-rsize")
	if !muxed && !s.muxOnly && !bundleOnly {
		return s, unusable("section %s lacks a=rtcp-mux: there is one port for RTP and RTCP", s.mid)
	}
	s.extensions = map[string]uint8{}
	for _, a := range m.Attributes {
		if a.Key == "extmap" {
			readExtension(a.Value, s.extensions)
		}
	}
	if simulcast, ok := m.Attribute("simulcast"); ok && s.kind == video {
		s.readOffered(simulcast)
	}
	s.readCodecs(m)
	return s, nil
}

// isMID reports whether a section may be called so: a token (RFC 5888 §4) that a
// header extension has room for.
func isMID(mid string) bool {
	for _, r := range mid {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]", r) {
			return false
		}
	}
	return mid != "" && len(mid) <= maxMID
}

func (s *offeredSection) readDirection(d *sdp.SessionDescription, m *sdp.MediaDescription) {
	direction := "sendrecv"
	for _, attributes := range [][]sdp.Attribute{d.Attributes, m.Attributes} {
		for _, a := range attributes {
			switch a.Key {
			case "sendrecv", "sendonly", "recvonly", "inactive":
				direction = a.Key
			}
		}
	}
	s.sends = direction == "sendrecv" || direction == "sendonly"
	s.receives = direction == "sendrecv" || direction == "recvonly"
}

// readCodecs notes the payload types of codecs that can be forwarded.
func (s *offeredSection) readCodecs(m *sdp.MediaDescription) {
	names, fmtps, feedback := map[uint8]string{}, map[uint8]string{}, map[uint8][]string{}
	for _, a := range m.Attributes {
		pt, rest, ok := cutPayloadType(a.Value)
		switch {
		case !ok:
		case a.Key == "rtpmap":
			names[pt] = rest
		case a.Key == "fmtp":
			fmtps[pt] = rest
		case a.Key == "rtcp-fb" && slices.Contains(usedFeedback, rest):
			feedback[pt] = append(feedback[pt], rest)
		}
	}
	for _, text := range s.formats {
		n, err := strconv.ParseUint(text, 10, 7)
		pt := uint8(n)
		// With RTCP on the same port, 64 to 95 cannot be told from it (RFC 5761 §4).
		if err != nil || pt >= 64 && pt <= 95 {
			continue
		}
		id, ok := formatOffered(names[pt], s.kind)
		if !ok || !sameProfile(id, fmtps[pt]) || slices.ContainsFunc(s.codecs, func(c offeredCodec) bool { return c.pt == pt }) {
			continue
		}
		s.codecs = append(s.codecs, offeredCodec{format: id, pt: pt, name: names[pt], fmtp: fmtps[pt], feedback: feedback[pt]})
	}
	for pt, name := range names {
		apt, err := strconv.ParseUint(param(fmtps[pt], "apt"), 10, 7)
		if err != nil || !strings.EqualFold(name, "rtx/90000") || pt >= 64 && pt <= 95 ||
			!slices.Contains(s.formats, strconv.Itoa(int(pt))) {
			continue
		}
		for i := range s.codecs {
			if c := &s.codecs[i]; c.pt == uint8(apt) && c.pt != pt {
				c.rtx = pt
			}
		}
	}
}

// usedFeedback are the RTCP messages that we send or understand.
var usedFeedback = []string{"transport-cc", "ccm fir", "nack", "nack pli"}

// formatOffered finds the format that an rtpmap names, "H264/90000" say.
func formatOffered(rtpmap string, k kind) (formatID, bool) {
	name, clock, _ := strings.Cut(rtpmap, "/")
	id, ok := formatOf(name)
	if !ok || formats[id].kind != k {
		return 0, false
	}
	want := strconv.Itoa(int(k.clock()))
	if k == audio {
		return id, clock == want+"/2"
	}
	return id, clock == want
}

// rank says how well a payload type serves for its codec, the least the best: of
// H264, constrained baseline is what every client can be shown.
func (c *offeredCodec) rank() int {
	profile := strings.ToLower(param(c.fmtp, "profile-level-id"))
	switch {
	case formats[c.format].codec != codec.H264, strings.HasPrefix(profile, "42e0"):
		return 0
	case strings.HasPrefix(profile, "42"):
		return 1
	}
	return 2
}

// Audio reports whether the client is to be sent audio, or sends it, by its role.
func (o *Offer) Audio() bool { return o.has(audio) }

// Video is likewise.
func (o *Offer) Video() bool { return o.has(video) }

func (o *Offer) has(k kind) bool {
	return slices.ContainsFunc(o.sections, func(s offeredSection) bool { return s.kind == k && s.flows(o.role) })
}

// flows reports whether media can flow through the section in the direction of a
// client's role.
func (s *offeredSection) flows(role tenant.Role) bool {
	return s.ours && !s.refused && (role.Sends() && s.sends || role.Receives() && s.receives)
}

// Credentials are the client's, of its first ICE session.
func (o *Offer) Credentials() (ufrag, pwd string) { return o.ufrag, o.pwd }

// Transport names the section of media whose transport is the whole bundle's:
// "audio" or "video", and its mid.
func (o *Offer) Transport() (media, mid string) {
	for _, s := range o.sections {
		if s.ours && !s.refused {
			return s.media, s.mid
		}
	}
	return "", ""
}
