package sfu

import (
	"cmp"
	"slices"

	"github.com/hibari/hibari/internal/tenant"
)

// filters decide what a receiver is shown of whom (Sora's forwarding filters),
// the one that goes first first. They say nothing about messages.
type filters []tenant.ForwardingFilter

// usualPriority is that of a filter that names none.
const usualPriority = 32767

// newFilters puts filters in order; those of one priority keep theirs.
func newFilters(list []tenant.ForwardingFilter) filters {
	priority := func(f tenant.ForwardingFilter) int {
		if f.Priority == nil {
			return usualPriority
		}
		return *f.Priority
	}
	return slices.SortedStableFunc(slices.Values(list), func(a, b tenant.ForwardingFilter) int {
		return cmp.Compare(priority(a), priority(b))
	})
}

// allow reports whether media of a kind of a publisher may be shown. The first
// filter that meets it decides. What none meets is for the last to decide, as the
// opposite of its action: `allow` alone shows nothing else, `block` alone all else.
func (f filters) allow(connectionID, clientID, kind string) bool {
	for i := range f {
		if meets(f[i].Rules, connectionID, clientID, kind) {
			return f[i].Action == tenant.FilterAllow
		}
	}
	return len(f) == 0 || f[len(f)-1].Action != tenant.FilterAllow
}

// meets reports whether all rules of any list hold.
func meets(lists [][]tenant.FilterRule, connectionID, clientID, kind string) bool {
	return slices.ContainsFunc(lists, func(rules []tenant.FilterRule) bool {
		return !slices.ContainsFunc(rules, func(r tenant.FilterRule) bool {
			value := kind
			switch r.Field {
			case "connection_id":
				value = connectionID
			case "client_id":
				value = clientID
			}
			return slices.Contains(r.Values, value) != (r.Operator == "is_in")
		})
	})
}

// verdict is what a member's filters say of a track. It is asked for often, and
// what it goes by never changes.
type verdict struct{ allowed, told bool }

// allows reports whether a member's filters let it see a track.
func (m *member) allows(t *track) bool {
	if len(m.filters) == 0 {
		return true
	}
	v, ok := m.verdicts[t]
	if !ok {
		r := t.owner.request()
		v.allowed = m.filters.allow(r.ConnectionID, r.ClientID, t.kind.String())
		if m.verdicts == nil {
			m.verdicts = map[*track]verdict{}
		}
		m.verdicts[t] = v
	}
	return v.allowed
}

// forget drops what was said of the tracks of a member that leaves.
func (w *worker) forget(m *member) {
	for _, o := range w.members {
		for _, t := range m.ups {
			delete(o.verdicts, t)
		}
	}
}

// blockedAtOnce is how much a member is told at once of what its filters keep from
// it: a full channel is more than its door could leave unread.
const blockedAtOnce = 32

// tellBlocked tells a member which announced tracks its filters keep from it, once
// for each. It reports whether there is more to tell.
func (w *worker) tellBlocked(m *member) bool {
	m.untold = false
	if len(m.filters) == 0 || !m.hearsOf(m) {
		return false
	}
	told := 0
	for _, o := range w.members {
		for _, t := range o.ups {
			if t == nil || !t.announced || !w.isOffered(m, t) || m.allows(t) || m.verdicts[t].told {
				continue
			}
			if told++; told > blockedAtOnce {
				m.untold = true
				return true
			}
			m.verdicts[t] = verdict{told: true}
			n := w.notice(o, "forwarding.blocked")
			n.Details = &Forwarding{Kind: t.kind.String(), Source: o.conn.ID(), Destination: m.conn.ID()}
			n.Memo = nil
			w.signal(m, Signal{Kind: SignalNotify, Notify: n})
		}
	}
	return false
}
