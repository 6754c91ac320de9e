package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// announceable reports whether a publisher has tracks that the others should
// learn of now. The first track waits a moment for the second.
func (w *worker) announceable(m *member) bool {
	ready, missing := false, false
	var since time.Time
	for _, t := range m.ups {
		switch {
		case t == nil || !t.sending:
		case !t.live():
			missing = true
		case !t.announced:
			ready = true
			if at := t.liveAt(); since.IsZero() || at.Before(since) {
				since = at
			}
		}
	}
	return ready && (!missing || w.now.Sub(since) >= announcePatience)
}

// announce shows a publisher's live tracks to the others.
func (w *worker) announce(m *member) {
	for _, t := range m.ups {
		if t != nil && t.sending && t.live() {
			t.announced = true
		}
	}
	w.rearrange()
}

// withdraw takes a track from the others.
func (w *worker) withdraw(t *track) {
	t.announced = false
	for _, l := range t.layers {
		l.live = false
	}
	w.rearrange()
}

// rearrange brings every viewer up to date: slots at once, the others by a new
// offer.
func (w *worker) rearrange() {
	for _, m := range w.members {
		m.untold = true
		switch {
		case !m.request().Role.Receives():
		case m.request().Slots:
			w.fillSlots(m)
			w.bindReady(m)
		default:
			m.stale = true
			w.negotiate(m)
		}
	}
}

// fillSlots points each slot at the oldest publisher of its kind.
func (w *worker) fillSlots(m *member) {
	for _, s := range m.sections {
		if s.down == nil || !s.down.isDefault {
			continue
		}
		if t := w.oldest(m, s.kind); t != s.down.source {
			s.down.unbind()
			s.down.source = t
		}
	}
}

// oldest is the announced track of a kind that has been in the channel longest.
func (w *worker) oldest(viewer *member, k kind) *track {
	for _, m := range w.members {
		if t := m.ups[k]; t != nil && t.announced && w.isShown(viewer, t) {
			return t
		}
	}
	return nil
}

// The notifications: who came and who left, to those whose transport is up.

// notifyCreated tells everybody, the newcomer first, that it is there.
func (w *worker) notifyCreated(m *member) {
	others := make([]*Other, 0, len(w.members))
	for _, o := range w.members {
		if o != m && o.up && m.hearsOf(o) {
			others = append(others, o.conn.other.Load())
		}
	}
	n := w.notice(m, "connection.created")
	self := *n
	self.Others, self.Memo = others, nil
	w.signal(m, Signal{Kind: SignalNotify, Notify: &self})
	w.notify(m, n, false)
}

// notifyOthers tells everybody else about a connection.
func (w *worker) notifyOthers(m *member, event string) { w.notify(m, w.notice(m, event), false) }

// notifyAll tells everybody, the connection included.
func (w *worker) notifyAll(m *member, event string) { w.notify(m, w.notice(m, event), true) }

// notify tells all who are told of a member something about it.
func (w *worker) notify(m *member, n *Notify, itself bool) {
	for _, o := range w.members {
		if o.hearsOf(m) && (itself || o != m) {
			w.signal(o, Signal{Kind: SignalNotify, Notify: n})
		}
	}
}

// hearsOf reports whether a member is told of another, or of itself: who is of
// one bundle is not, nor is one that wants no notifications.
func (m *member) hearsOf(o *member) bool {
	return m.up && !m.request().NoNotify && (m == o || !m.sameBundle(o))
}

func (w *worker) notice(m *member, event string) *Notify {
	return &Notify{EventType: event, Timestamp: time.Now(), Subject: m.conn.Info(), Counts: w.counts(), Memo: new(Memo)}
}

// counts says how many connected connections there are, by role.
func (w *worker) counts() tenant.Counts {
	var c tenant.Counts
	for _, m := range w.members {
		if !m.up {
			continue
		}
		c.Connections++
		switch m.request().Role {
		case tenant.SendOnly:
			c.SendOnly++
		case tenant.RecvOnly:
			c.RecvOnly++
		case tenant.SendRecv:
			c.SendRecv++
		}
	}
	return c
}
