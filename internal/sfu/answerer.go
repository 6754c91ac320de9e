package sfu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// The server as answerer (WHIP, WHEP): the client's offer decides about sections,
// their names, payload types and extension ids; the one answer mirrors it, and
// nothing is negotiated afterwards.

// mirrored is what becomes of one section of a client's offer.
type mirrored struct {
	*offeredSection
	use    use
	codecs []offeredCodec // answered, in order
}

// use is what a mirrored section is for.
type use uint8

const (
	unused  use = iota // refused
	idle               // agreed on, inactive
	uploads            // the client publishes in it
	shows              // a slot
)

// plan decides what becomes of each section. A publisher's media is all taken or
// the offer as a whole is not (RFC 9725 §4.4.3): half a session would mislead.
func (o *Offer) plan(wishAudio, wishVideo MediaWish) ([]mirrored, error) {
	wishes := [kinds]MediaWish{audio: wishAudio, video: wishVideo}
	var seen [kinds]bool
	plan := make([]mirrored, len(o.sections))
	for i := range o.sections {
		s := &o.sections[i]
		m := &plan[i]
		m.offeredSection = s
		switch {
		case s.refused || !s.ours:
			continue
		case !s.flows(o.role) || !wishes[s.kind].Enabled:
			m.idle()
			continue
		case len(s.codecs) == 0:
			return nil, unusable("no codec of section %s (%s) is known here: want %s", s.mid, s.kind, knownCodecs(s.kind))
		case seen[s.kind] && o.role.Sends():
			return nil, unusable("there are two sources of %s: want one at most", s.kind)
		case seen[s.kind]:
			m.idle()
			continue
		}
		seen[s.kind] = true
		if !o.role.Sends() {
			m.use, m.codecs = shows, s.playable()
			continue
		}
		c, ok := s.choose(wishes[s.kind].Codec)
		if !ok {
			return nil, unusable("section %s lacks %s, the only codec that this client may send", s.mid, strings.ToUpper(wishes[s.kind].Codec))
		}
		m.use, m.codecs = uploads, []offeredCodec{c}
	}
	if !slices.Contains(seen[:], true) {
		return nil, unusable("there is no audio or video that the client would %s", verb(o.role))
	}
	_, err := payloadsOf(plan)
	return plan, err
}

// idle makes a section inactive or, if there is no codec to name, refuses it.
func (m *mirrored) idle() {
	if len(m.offeredSection.codecs) > 0 {
		m.use, m.codecs = idle, m.offeredSection.codecs[:1]
	}
}

func verb(r tenant.Role) string {
	if r.Sends() {
		return "send"
	}
	return "receive"
}

// knownCodecs names the codecs of a kind for a developer.
func knownCodecs(k kind) string {
	var names []string
	for _, id := range allFormats(k) {
		names = append(names, formats[id].codec)
	}
	return strings.Join(names, ", ") + " (H264 with packetization-mode=1; VP9 and AV1 with profile 0)"
}

// choose picks the payload type that a publisher is to use: of the client's first
// codec, or of the one it must send.
func (s *offeredSection) choose(codec string) (offeredCodec, bool) {
	id := s.codecs[0].format
	if codec != "" {
		var ok bool
		if id, ok = formatOf(codec); !ok {
			return offeredCodec{}, false
		}
	}
	return s.best(id)
}

// best is the payload type that serves best for a codec.
func (s *offeredSection) best(id formatID) (best offeredCodec, ok bool) {
	for _, c := range s.codecs {
		if c.format == id && (!ok || c.rank() < best.rank()) {
			best, ok = c, true
		}
	}
	return best, ok
}

// playable is one payload type of each codec, in the client's order: a slot may
// show any of them.
func (s *offeredSection) playable() []offeredCodec {
	var list []offeredCodec
	for _, c := range s.codecs {
		if !slices.ContainsFunc(list, func(o offeredCodec) bool { return o.format == c.format }) {
			c, _ = s.best(c.format)
			list = append(list, c)
		}
	}
	return list
}

// payloadsOf is the table of what the client will send. In a bundle a payload
// type means one thing.
func payloadsOf(plan []mirrored) (*payloadTable, error) {
	table := &payloadTable{}
	for _, m := range plan {
		if m.use != uploads {
			continue
		}
		for _, c := range m.codecs {
			for _, pt := range []uint8{c.pt, c.rtx} {
				if pt == 0 {
					continue
				}
				if table[pt].known {
					return nil, unusable("payload type %d stands for two things in one bundle", pt)
				}
				table[pt] = payload{format: c.format, known: true, rtx: pt == c.rtx}
			}
		}
	}
	return table, nil
}

// agreed is the section as an answer to an offer of ours would have it.
func (m *mirrored) agreed(feedback bool) answerSection {
	a := answerSection{sends: m.use == uploads, receives: m.use == shows, layers: m.simulcast(), extensions: map[string]uint8{}}
	for _, c := range m.codecs {
		a.formats[c.format] = answerFormat{pt: c.pt, rtx: c.rtx}
	}
	for _, uri := range m.wanted(feedback) {
		a.extensions[uri] = m.extensions[uri]
	}
	return a
}

// simulcast are the layers that are taken, the lowest first; nil: there is one.
func (m *mirrored) simulcast() []string {
	if m.use == uploads {
		return m.layers
	}
	return nil
}

// wanted are the header extensions of the section that are answered.
func (m *mirrored) wanted(feedback bool) []string {
	var uris []string
	for _, e := range []struct {
		uri  string
		used bool
	}{
		{uriLevel, m.kind == audio},
		{uriTime, m.kind == video && m.use == shows},
		{uriTransport, m.use == uploads || feedback},
		{uriMID, true},
		{uriRID, m.simulcast() != nil},
		{uriRepaired, m.simulcast() != nil},
	} {
		if e.used && m.extensions[e.uri] != 0 {
			uris = append(uris, e.uri)
		}
	}
	return uris
}

// acceptOffer takes a client's offer as a new member's sections, and writes the
// answer.
func (w *worker) acceptOffer(m *member) error {
	r, o := m.request(), m.offered
	m.offered = nil
	plan, err := o.plan(r.Audio, r.Video)
	if err != nil {
		return err
	}
	if m.payloads, err = payloadsOf(plan); err != nil {
		return err
	}
	if err := m.peer().SetRemote(o.ufrag, o.pwd, o.fingerprint, o.setup); err != nil {
		return fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	feedback := w.sfu.cfg.ViewerFeedback
	for i := range plan {
		p := &plan[i]
		s := &section{mid: p.mid, kind: p.kind, upload: p.use == uploads, rejected: p.use == unused, wish: m.wish(p.kind)}
		switch p.use {
		case uploads:
			if layers := p.simulcast(); layers != nil {
				m.ups[p.kind] = newOffered(m, layers)
			} else {
				m.ups[p.kind] = newTrack(m, p.kind)
			}
		case shows:
			s.down = newDownTrack(m, s, nil)
		}
		m.sections = append(m.sections, s)
		w.agree(m, s, p.agreed(feedback))
	}
	m.version++
	m.answered = true
	m.conn.setOffer(firstOffer{sdp: answerText{
		sessionID:   m.sdpID,
		version:     m.version,
		ufrag:       m.peer().Ufrag(),
		pwd:         m.peer().Pwd(),
		fingerprint: m.peer().Fingerprint(),
		candidates:  w.sfu.cfg.Transport.Candidates(),
		feedback:    feedback,
		offer:       o,
		plan:        plan,
		sections:    m.sections,
	}.String()})
	w.fillSlots(m)
	return nil
}
