package sfu

import (
	"errors"
	"slices"
)

// ErrBadRID: no layer has that name.
var ErrBadRID = errors.New("rid must be one of none, r0, r1, r2, auto")

// ErrNotShown: the connection is not shown anything of that sender.
var ErrNotShown = errors.New("nothing of that sender is shown")

// wish is which of a publisher's layers a viewer wants: none, one of rids, or the
// best there is (auto, which is the zero value).
type wish string

const (
	wishNone wish = "none"
	wishAuto wish = "auto"
)

// parseWish reads a wish; "" is auto.
func parseWish(rid string) (wish, error) {
	switch {
	case rid == "" || rid == string(wishAuto):
		return "", nil
	case rid == string(wishNone) || slices.Contains(rids[:], rid):
		return wish(rid), nil
	}
	return "", ErrBadRID
}

// text is the wish as clients write it.
func (q wish) text() string {
	if q == "" {
		return string(wishAuto)
	}
	return string(q)
}

// place is that of the best layer that the wish allows; negative: none.
func (q wish) place() int {
	switch q {
	case "", wishAuto:
		return len(rids) - 1
	case wishNone:
		return -1
	}
	return slices.Index(rids[:], string(q))
}

// RequestRID asks for a layer of a sender's simulcast for this connection to
// receive: at most the named one (r0, r1, r2), the best ("auto"), or nothing until
// it asks again ("none"). An empty sender means all, those to come included, and
// takes back what was asked for single ones. The error is ErrBadRID, ErrNotShown or
// ErrEnded; whether the layer has changed a SignalNotify tells later.
func (c *Connection) RequestRID(sender, rid string) error {
	q, err := parseWish(rid)
	if err != nil {
		return err
	}
	reply := make(chan error, 1)
	ch := c.home()
	if ch == nil || !ch.post(func(w *worker) { reply <- w.request(c.member, sender, q) }) {
		return ErrEnded
	}
	select {
	case err := <-reply:
		return err
	case <-c.done:
		return ErrEnded
	}
}

// request takes a viewer's wish.
func (w *worker) request(m *member, sender string, q wish) error {
	if !slices.Contains(w.members, m) {
		return ErrEnded
	}
	if sender == "" {
		m.wishForAll, m.wishes = q, nil
	} else {
		if !m.shows(sender) {
			return ErrNotShown
		}
		if m.wishes == nil {
			m.wishes = map[string]wish{}
		}
		m.wishes[sender] = q
	}
	m.allotment.asked()
	w.allot(m)
	return nil
}

// shows reports whether a viewer has a section of a sender's video.
func (m *member) shows(sender string) bool {
	return slices.ContainsFunc(m.sections, func(s *section) bool {
		return s.kind == video && s.down != nil && s.down.source != nil && s.down.source.owner.conn.ID() == sender
	})
}

// wishFor is what a viewer wants of a publisher.
func (m *member) wishFor(publisher *member) wish {
	if q, ok := m.spotlightWish(publisher); ok {
		return q
	}
	if q, ok := m.wishes[publisher.conn.ID()]; ok {
		return q
	}
	return m.wishForAll
}
