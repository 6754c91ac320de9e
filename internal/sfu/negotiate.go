package sfu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// Negotiation. The server offers, the client answers; never are two offers
// outstanding. What changes meanwhile only marks the member as stale, and the
// next offer shows it all:
//
//	change → stale → negotiate → arrange → offer → answer → bindReady
//	                     ↑                            │
//	                     └────────── stale? ──────────┘

// firstOffer lays out a new member's sections: uploads first, then what there is
// to see.
func (w *worker) firstOffer(m *member) {
	r := m.request()
	var offer firstOffer
	for k := range kinds {
		if !r.Role.Sends() || !m.wish(k).Enabled {
			continue
		}
		s := &section{
			mid: m.nextMID(), kind: k, upload: true,
			formats: uploadFormats(k, m.wish(k), r.AnyCodec), wish: m.wish(k),
		}
		m.sections = append(m.sections, s)
		m.ups[k] = newTrack(m, k)
		if k == video && r.Simulcast != nil {
			m.ups[k] = newSimulcast(m, r.Simulcast)
			s.layers = m.ups[k].layers
		}
		if k == audio {
			offer.midAudio = s.mid
		} else {
			offer.midVideo = s.mid
		}
	}
	if m.conn.data != nil {
		m.sections = append(m.sections, &section{mid: m.nextMID(), data: true})
	}
	if r.Slots {
		w.addDefaults(m)
	} else {
		w.arrange(m)
	}
	if len(m.sections) == 0 {
		w.addDefaults(m)
	}
	offer.sdp = w.offer(m)
	m.conn.setOffer(offer)
}

// addDefaults adds one download section per kind that belongs to no publisher:
// a slot, or a dummy so that a client in an empty channel can connect at all.
func (w *worker) addDefaults(m *member) {
	for k := range kinds {
		lonely := k == video && len(m.sections) == 0 // asked for neither: there must be a section
		if !m.wants(k) && !lonely {
			continue
		}
		s := &section{mid: m.nextMID(), kind: k, formats: allFormats(k)}
		s.down = newDownTrack(m, s, nil)
		m.sections = append(m.sections, s)
	}
}

// offer writes the next offer and notes that it is outstanding.
func (w *worker) offer(m *member) string {
	m.version++
	m.offering = true
	m.stale = false
	m.offerAt = w.now
	return offerText{
		sessionID:   m.sdpID,
		version:     m.version,
		ufrag:       m.peer().Ufrag(),
		pwd:         m.peer().Pwd(),
		fingerprint: m.peer().Fingerprint(),
		candidates:  w.sfu.cfg.Transport.Candidates(),
		feedback:    w.sfu.cfg.ViewerFeedback,
		sections:    m.sections,
	}.String()
}

// negotiate sends a new offer if one is needed and none is outstanding. Before
// the client is connected there is nothing that it could use the news for, and
// while its data channels open it could lose the answer on one that is not.
func (w *worker) negotiate(m *member) {
	if !m.stale || m.offering || !m.answered || !m.up || m.opening {
		return
	}
	m.stale = false
	if w.arrange(m) {
		w.signal(m, Signal{Kind: SignalReoffer, SDP: w.offer(m)})
	}
}

// arrange gives every announced track of the others a section and empties those
// whose track has gone. It reports whether anything changed.
func (w *worker) arrange(m *member) bool {
	if !m.request().Role.Receives() || m.request().Slots {
		return false
	}
	changed := false
	shown := map[*track]bool{}
	for _, s := range m.sections {
		if s.down == nil || s.down.isDefault {
			continue
		}
		if t := s.down.source; t.announced && w.isShown(m, t) {
			shown[t] = true
			continue
		}
		s.down.unbind()
		s.down, s.vacant = nil, false
		changed = true
	}
	for _, other := range w.members {
		for _, t := range other.ups {
			if t != nil && t.announced && !shown[t] && w.isShown(m, t) {
				s := m.freeSection(t.kind)
				s.down = newDownTrack(m, s, t)
				changed = true
			}
		}
	}
	return changed
}

// isShown reports whether a member is to see a track at all.
func (w *worker) isShown(m *member, t *track) bool { return w.isOffered(m, t) && m.allows(t) }

// isOffered reports whether a member would see a track if it had no filters.
func (w *worker) isOffered(m *member, t *track) bool {
	return t.owner != m && m.wants(t.kind) && !m.sameBundle(t.owner) && slices.Contains(w.members, t.owner)
}

// freeSection is a vacant download section, or a new one.
func (m *member) freeSection(k kind) *section {
	for _, s := range m.sections {
		if s.vacant && s.kind == k && !s.rejected {
			s.vacant = false
			return s
		}
	}
	s := &section{mid: m.nextMID(), kind: k, formats: allFormats(k)}
	m.sections = append(m.sections, s)
	return s
}

// answer takes the client's answer to the outstanding offer.
func (w *worker) answer(m *member, a *answer) error {
	if !slices.Contains(w.members, m) {
		return ErrEnded
	}
	if !m.offering {
		return ErrNoOffer
	}
	for _, s := range m.sections {
		if _, ok := a.sections[s.mid]; !ok && !s.rejected {
			return fmt.Errorf("%w: it lacks mid %s of the offer", ErrBadAnswer, s.mid)
		}
	}
	if err := m.hasCodec(a); err != nil {
		return err
	}
	carried, err := w.agreeData(m, a)
	if err != nil {
		return err
	}
	if err := m.peer().SetRemote(a.ufrag, a.pwd, a.fingerprint, a.setup); err != nil {
		return fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	if !m.answered {
		m.conn.forgetOffer()
	}
	if !m.answered && m.conn.data != nil && !carried {
		w.signal(m, Signal{Kind: SignalDataRefused})
	}
	m.offering, m.answered = false, true
	for _, s := range m.sections {
		w.agree(m, s, a.sections[s.mid])
	}
	if m.request().Slots {
		w.fillSlots(m)
	}
	w.bindReady(m)
	w.negotiate(m)
	return nil
}

// hasCodec refuses the first answer of a publisher that can do nothing here,
// because it has none of the codecs: without that it would stay, and nobody would
// know why there is no picture.
func (m *member) hasCodec(a *answer) error {
	if m.answered || m.request().Role != tenant.SendOnly {
		return nil
	}
	var offered []string
	for _, s := range m.sections {
		switch {
		case s.data && slices.ContainsFunc(m.request().DataChannels, func(c DataChannel) bool { return messaging(c.Label) }):
			return nil // it may be there to talk
		case !s.upload:
		case !a.sections[s.mid].rejected:
			return nil
		default:
			for _, id := range s.formats {
				offered = append(offered, formats[id].codec)
			}
		}
	}
	if len(offered) == 0 {
		return nil
	}
	return fmt.Errorf("%w: the client has no codec of the offer (%s); ask for another", ErrBadAnswer, strings.Join(offered, ", "))
}

// agreeData has the transport carry data if the client's first answer takes the
// data channels, and reports whether it does.
func (w *worker) agreeData(m *member, a *answer) (bool, error) {
	for _, s := range m.sections {
		said := a.sections[s.mid]
		if !s.data || said.rejected || m.answered {
			continue
		}
		if said.sctpPort != transport.SCTPPort {
			return false, fmt.Errorf("%w: sctp-port must be %d, not %d", ErrBadAnswer, transport.SCTPPort, said.sctpPort)
		}
		m.conn.data.carry(said.maxMessage)
		m.opening = true
		return true, nil
	}
	return false, nil
}

// dataOpened notes that a member's data channels are open, or never will be.
func (w *worker) dataOpened(m *member) {
	if m.opening && slices.Contains(w.members, m) {
		m.opening = false
		w.negotiate(m)
	}
}

// agree notes what the client said to one section.
func (w *worker) agree(m *member, s *section, a answerSection) {
	s.rejected = s.rejected || a.rejected
	switch {
	case s.data:
	case s.upload:
		t := m.ups[s.kind]
		t.agreed(a)
		if id := a.extensions[uriTransport]; id != 0 {
			m.transportExt = id
		}
		if !t.sending && t.announced {
			w.withdraw(t)
		}
	case s.down == nil:
		s.vacant = true
	default:
		s.down.agreed(a)
	}
}

// bindReady starts the flow to all of a member's sections that are agreed on,
// and asks the publishers for a picture to start with.
func (w *worker) bindReady(m *member) {
	if !m.up {
		return
	}
	for _, s := range m.sections {
		if d := s.down; d != nil && d.source != nil && d.ready && !d.bound && m.gets(d.source) {
			d.bind()
			if d.layer != nil {
				w.askKeyFrame(d.layer)
			} else {
				w.allot(m)
			}
		}
	}
}

// checkAnswers ends connections that take too long.
func (w *worker) checkAnswers(m *member) {
	waited := w.now.Sub(m.offerAt)
	switch {
	case !m.up && waited > w.sfu.cfg.SetupTimeout:
		w.condemn(m, tenant.EndSetupTimeout)
	case m.up && m.offering && waited > w.sfu.cfg.AnswerTimeout:
		w.condemn(m, tenant.EndProtocol)
	}
}
