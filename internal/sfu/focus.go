package sfu

import (
	"errors"
	"slices"
)

// The spotlight of a channel: publishers who asked for it are its speakers, and
// viewers who asked for it are sent the voices of those who are heard only, and the
// pictures of those in focus in one layer, of the others in another. For viewers
// who did not ask for it, and of publishers who did not, everything is as usual.

// ErrNoSpotlight: the connection did not ask for the spotlight.
var ErrNoSpotlight = errors.New("this connection has no spotlight")

// The layers of those in focus and of the others, unless asked otherwise.
const usualFocusRID, usualUnfocusRID = "r1", "r0"

// Spotlight is how a connection takes part in its channel's spotlight. Empty
// fields are the defaults.
type Spotlight struct {
	// Number is how many are in focus, 1 to 8; 0: 1. That of the channel's first
	// connection counts.
	Number int
	// FocusRID and UnfocusRID are the layers that it wants of those in focus and
	// of the others: none, r0, r1, r2; "": r1 and r0. With none it is sent no
	// video of them.
	FocusRID, UnfocusRID string
}

// SpotlightChange is the Details of spotlight.focused and spotlight.unfocused: the
// subject has come into focus, or lost it.
type SpotlightChange struct {
	Number int  // how many may be in focus
	Fixed  bool // it stays in focus whoever speaks
}

// ridPair is the layers that a viewer wants of a publisher.
type ridPair struct{ focus, unfocus wish }

// parseRIDs reads a pair; what is "" is taken from before.
func parseRIDs(focus, unfocus string, before ridPair) (ridPair, error) {
	var err error
	if focus != "" {
		if before.focus, err = parseWish(focus); err != nil {
			return before, err
		}
	}
	if unfocus != "" {
		if before.unfocus, err = parseWish(unfocus); err != nil {
			return before, err
		}
	}
	return before, nil
}

// stage has a new member take part in the spotlight, if it asked for that.
func (w *worker) stage(m *member) {
	r := m.request().Spotlight
	if r == nil {
		return
	}
	m.spot = r.rids()
	if w.spotlight.number == 0 {
		w.spotlight.number = max(r.Number, usualSpotlight)
	}
	if m.ups[audio] != nil {
		m.voice = &speaker{member: m}
		w.spotlight.add(m.voice)
	}
}

// rids is the pair that a connection begins with.
func (s *Spotlight) rids() ridPair {
	usual := ridPair{usualFocusRID, usualUnfocusRID}
	pair, err := parseRIDs(s.FocusRID, s.UnfocusRID, usual)
	if err != nil {
		return usual // doors let no others in
	}
	return pair
}

// unstage takes a member that leaves out of the spotlight.
func (w *worker) unstage(m *member) {
	if m.voice != nil {
		w.spotlight.drop(m.voice)
	}
	if !slices.ContainsFunc(w.members, (*member).inSpotlight) {
		w.spotlight.number = 0
	}
	for _, o := range w.members {
		delete(o.spotOf, m.conn.ID())
	}
}

// inSpotlight reports whether a member takes part.
func (m *member) inSpotlight() bool { return m.request().Spotlight != nil }

// spoke takes the loudness of a packet of a voice. The spotlight is looked after
// at once when somebody begins to speak.
func (w *worker) spoke(v *speaker, level uint8, known bool) {
	switch {
	case known && v.heard(level, w.now):
	case !known && !v.deaf:
		v.deaf = true // there is no telling: it is always heard, and never in focus
	default:
		return
	}
	w.lookAt = w.now
}

// checkSpotlight looks after the spotlight now and then, and does what follows.
func (w *worker) checkSpotlight() {
	if len(w.spotlight.speakers) == 0 || w.now.Before(w.lookAt) {
		return
	}
	w.lookAt = w.now.Add(spotlightPause)
	w.follow(w.spotlight.look(w.now))
}

// follow does what follows from a change of the spotlight.
func (w *worker) follow(changed []*speaker) {
	if len(changed) == 0 {
		return
	}
	moved := false
	for _, v := range changed {
		if v.focused != v.told || v.fixed != v.toldFixed {
			moved = moved || v.focused != v.told
			v.told, v.toldFixed = v.focused, v.fixed
			w.tellFocus(v)
		}
	}
	for _, m := range w.members {
		if m.inSpotlight() && m.request().Role.Receives() {
			w.light(m, moved)
		}
	}
}

// light has a viewer get what it is to get by the spotlight of now; not moved: only
// voices may have changed.
func (w *worker) light(m *member, moved bool) {
	for _, s := range m.sections {
		if d := s.down; d != nil && d.bound && !m.gets(d.source) {
			d.unbind()
		}
	}
	w.bindReady(m)
	if moved {
		w.allot(m)
	}
}

// gets reports whether anything of a track is sent to a viewer now. Which layer it
// is of a track that has several, the allotment decides.
func (m *member) gets(t *track) bool {
	if !m.inSpotlight() || !t.owner.inSpotlight() {
		return true
	}
	if v := t.owner.voice; t.kind == audio && v != nil {
		return v.audible
	}
	q, _ := m.spotlightWish(t.owner)
	return t.kind == audio || t.simulcast() || q != wishNone
}

// tellFocus tells everybody in the spotlight who has come into focus or lost it.
func (w *worker) tellFocus(v *speaker) {
	n := w.focusNotice(v)
	for _, m := range w.members {
		if m.inSpotlight() && m.hearsOf(v.member) {
			w.signal(m, Signal{Kind: SignalNotify, Notify: n})
		}
	}
}

// tellFocused tells a newcomer who is in focus already.
func (w *worker) tellFocused(m *member) {
	if !m.inSpotlight() {
		return
	}
	for _, v := range w.spotlight.speakers {
		if v.focused && v.member != m && m.hearsOf(v.member) {
			w.signal(m, Signal{Kind: SignalNotify, Notify: w.focusNotice(v)})
		}
	}
}

func (w *worker) focusNotice(v *speaker) *Notify {
	event := "spotlight.unfocused"
	if v.focused {
		event = "spotlight.focused"
	}
	n := w.notice(v.member, event)
	n.Details = &SpotlightChange{Number: w.spotlight.number, Fixed: v.fixed}
	return n
}

// spotlightWish is what a viewer wants of a publisher by the spotlight; false: that
// does not say.
func (m *member) spotlightWish(publisher *member) (wish, bool) {
	if !m.inSpotlight() || !publisher.inSpotlight() {
		return "", false
	}
	rids, ok := m.spotOf[publisher.conn.ID()]
	if !ok {
		rids = m.spot
	}
	if publisher.voice != nil && publisher.voice.focused {
		return rids.focus, true
	}
	return rids.unfocus, true
}

// RequestSpotlightRID asks for other layers of a sender: of one in focus, and of
// one that is not (none, r0, r1, r2; "": as before). An empty sender means all, and
// takes back what was asked for single ones. The error is ErrNoSpotlight, ErrBadRID,
// ErrNotShown or ErrEnded.
func (c *Connection) RequestSpotlightRID(sender, focus, unfocus string) error {
	return c.askSpotlight(sender, func(m *member) error {
		before, ok := m.spotOf[sender]
		if !ok {
			before = m.spot
		}
		rids, err := parseRIDs(focus, unfocus, before)
		if err != nil {
			return err
		}
		if sender == "" {
			m.spot, m.spotOf = rids, nil
			return nil
		}
		if m.spotOf == nil {
			m.spotOf = map[string]ridPair{}
		}
		m.spotOf[sender] = rids
		return nil
	})
}

// ResetSpotlightRID takes back what RequestSpotlightRID asked for of a sender; of
// all, to what the connection began with, if sender is empty. The error is
// ErrNoSpotlight, ErrNotShown or ErrEnded.
func (c *Connection) ResetSpotlightRID(sender string) error {
	return c.askSpotlight(sender, func(m *member) error {
		if sender != "" {
			delete(m.spotOf, sender)
			return nil
		}
		m.spot, m.spotOf = m.request().Spotlight.rids(), nil
		return nil
	})
}

// askSpotlight has the worker change what a connection wants of the spotlight.
func (c *Connection) askSpotlight(sender string, change func(*member) error) error {
	if c.request.Spotlight == nil {
		return ErrNoSpotlight
	}
	reply := make(chan error, 1)
	ch := c.home()
	if ch == nil || !ch.post(func(w *worker) {
		m := c.member
		if sender != "" && !m.shows(sender) {
			reply <- ErrNotShown
			return
		}
		err := change(m)
		if err == nil {
			m.allotment.asked()
			w.light(m, true)
		}
		reply <- err
	}) {
		return ErrEnded
	}
	select {
	case err := <-reply:
		return err
	case <-c.done:
		return ErrEnded
	}
}
