package sfu

import (
	"errors"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// What a tenant's server decides about a channel's spotlight: who is in focus, and how
// many may be. It holds until the channel is empty.

var (
	// ErrAllFixed: every place in the spotlight is somebody's who stays there.
	ErrAllFixed = errors.New("every place in the spotlight is fixed: take one out of focus first")
	// ErrBadNumber: so many cannot be in focus.
	ErrBadNumber = errors.New("spotlight_number must be 1 to 8")
)

// pin brings a speaker into focus; fixed: it stays there whoever speaks. It takes the
// place of who is not fixed there, and has been silent longest. It returns who has
// changed, to be read before the next look, or ErrAllFixed.
func (s *spotlight) pin(v *speaker, fixed bool, now time.Time) ([]*speaker, error) {
	s.changed = s.changed[:0]
	if !v.focused {
		if s.places() <= 0 {
			other := s.loosest()
			if other == nil {
				return nil, ErrAllFixed
			}
			s.focus(other, false, now)
		}
		s.focus(v, true, now)
		v.spoke = now // it is not taken for one who has been silent for long
	}
	if v.fixed != fixed {
		v.fixed = fixed
		s.note(v)
	}
	s.listen(now)
	return s.changed, nil
}

// unpin takes a speaker out of focus; it comes back when it speaks anew.
func (s *spotlight) unpin(v *speaker, now time.Time) []*speaker {
	s.changed = s.changed[:0]
	v.fixed, v.since = false, now
	if v.focused {
		s.focus(v, false, now)
	}
	s.listen(now)
	return s.changed
}

// resize changes how many may be in focus. Who is too many leaves: first who is not
// fixed.
func (s *spotlight) resize(number int, now time.Time) []*speaker {
	s.changed = s.changed[:0]
	s.number = number
	for s.places() < 0 {
		v := s.loosest()
		if v == nil {
			v = s.firstFixed()
			v.fixed = false
		}
		s.focus(v, false, now)
	}
	s.listen(now)
	return s.changed
}

// loosest is who of those in focus gives up its place first: of the silent, who has
// been so longest, else who has spoken longest; nil: all are fixed.
func (s *spotlight) loosest() (found *speaker) {
	for _, v := range s.speakers {
		if v.focused && !v.fixed && (found == nil || found.speaking && !v.speaking || found.speaking == v.speaking && v.longer(found)) {
			found = v
		}
	}
	return found
}

func (s *spotlight) firstFixed() *speaker {
	for _, v := range s.speakers {
		if v.focused && v.fixed {
			return v
		}
	}
	return nil
}

// Focus brings a publisher of the spotlight into focus, fixed until Unfocus if so
// asked. The error is ErrNoSpotlight, ErrAllFixed or ErrNoChannel.
func (c *Connection) Focus(fixed bool) error {
	return c.onSpotlight(func(w *worker, v *speaker) ([]*speaker, error) { return w.spotlight.pin(v, fixed, w.now) })
}

// Unfocus takes it out of focus. The error is ErrNoSpotlight or ErrNoChannel.
func (c *Connection) Unfocus() error {
	return c.onSpotlight(func(w *worker, v *speaker) ([]*speaker, error) { return w.spotlight.unpin(v, w.now), nil })
}

func (c *Connection) onSpotlight(change func(*worker, *speaker) ([]*speaker, error)) error {
	_, err := asked(c.home(), func(w *worker) (none struct{}, err error) {
		if c.member.voice == nil {
			return none, ErrNoSpotlight
		}
		changed, err := change(w, c.member.voice)
		w.follow(changed)
		return none, err
	})
	return err
}

// SetSpotlightNumber changes how many may be in focus in a tenant's channel, 1 to 8.
// The error is ErrBadNumber, ErrNoSpotlight or ErrNoChannel.
func (s *SFU) SetSpotlightNumber(t tenant.ID, name string, number int) error {
	if number < 1 || number > tenant.MaxSpotlightNumber {
		return ErrBadNumber
	}
	s.mu.Lock()
	ch := s.channels[channelKey{t, name}]
	s.mu.Unlock()
	_, err := asked(ch, func(w *worker) (none struct{}, err error) {
		if w.spotlight.number == 0 {
			return none, ErrNoSpotlight
		}
		w.follow(w.spotlight.resize(number, w.now))
		w.lookAt = w.now // there may be room for one more
		return none, nil
	})
	return err
}
