package sfu

import (
	"slices"
	"time"
)

// Who of a channel's speakers is in focus (Sora's spotlight): the last few who
// spoke. Loudness is read off the packets (RFC 6464) and smoothed, up at once and
// down slowly, so that neither a pause between two words nor a click counts.
//
//	speaks            its voice is heard by all, at once
//	speaks on         it comes into focus, if a place is free: its picture is
//	                  shown in better quality
//	… and none is     it takes the place of one who is silent, or, after a while,
//	                  of who has spoken longest
//	is silent         its voice is not sent any more unless it is in focus, which
//	                  it loses after some seconds

const (
	// speechOn is how loud speech is at least, speechOff how loud it may be still
	// to count as going on. Both are in dB above the quietest that can be told,
	// −127 dBov: here −50 and −58 dBov.
	speechOn, speechOff = 127 - 50, 127 - 58
	// speechGap is how long a pause in a speech may be.
	speechGap = 500 * time.Millisecond
	// speechLost is how long nothing may come of a voice that counts as speaking:
	// silence need not be sent.
	speechLost = 300 * time.Millisecond
	// focusDelay is how long somebody must speak to come into focus.
	focusDelay = 500 * time.Millisecond
	// focusHold is how long who has come into focus stays there at least.
	focusHold = 2 * time.Second
	// focusTake is how long somebody must speak to take the place of one who
	// speaks, too.
	focusTake = 3 * time.Second
	// focusIdle is how long who is in focus may be silent.
	focusIdle = 10 * time.Second
	// voiceLinger is how long a voice is still heard after it fell silent.
	voiceLinger = 2 * time.Second
	// voicesBeside is how many are heard at once without being in focus.
	voicesBeside = 3
	// spotlightPause is how often the spotlight is looked after.
	spotlightPause = 100 * time.Millisecond

	// usualSpotlight is how many are in focus unless asked otherwise.
	usualSpotlight = 1
)

// speaker is one who may come into focus. Owned by the channel's worker.
type speaker struct {
	member *member

	loudness int32     // smoothed, in 1/256 dB
	heardAt  time.Time // the newest packet
	speaking bool
	since    time.Time // when the present speech, or the last one, began
	spoke    time.Time // when it was last speaking

	focused   bool
	focusedAt time.Time
	fixed     bool // in focus whoever speaks
	told      bool // that it is in focus
	toldFixed bool // and fixed there
	audible   bool // its voice is sent
	deaf      bool // its packets do not tell how loud they are: they are always sent
}

// heard takes the level of a packet, in −dBov, and reports whether a speech
// begins. Budget: 5 ns.
func (v *speaker) heard(level uint8, now time.Time) bool {
	loud := int32(127-level&0x7f) << 8
	if loud > v.loudness {
		v.loudness += (loud - v.loudness) / 2
	} else {
		v.loudness -= (v.loudness - loud) / 64
	}
	v.heardAt = now
	if v.speaking || v.loudness < speechOn<<8 {
		return false
	}
	v.speaking = true
	if now.Sub(v.spoke) > speechGap {
		v.since = now
	}
	v.spoke = now
	return true
}

// refresh brings up to date whether it speaks.
func (v *speaker) refresh(now time.Time) {
	switch {
	case !v.speaking:
	case now.Sub(v.heardAt) > speechLost:
		v.speaking, v.loudness = false, 0
	case v.loudness < speechOff<<8:
		v.speaking = false
	default:
		v.spoke = now
	}
}

// The tenant's server may decide otherwise (pin.go): who is fixed keeps its place.

// spotlight is who is in focus. It knows no clock. The zero value is one without
// speakers.
type spotlight struct {
	number   int        // of places
	speakers []*speaker // in the order of their coming
	changed  []*speaker // scratch: who comes or goes, into focus or earshot
}

// add takes a speaker in.
func (s *spotlight) add(v *speaker) { s.speakers = append(s.speakers, v) }

// drop takes a speaker out.
func (s *spotlight) drop(v *speaker) {
	if i := slices.Index(s.speakers, v); i >= 0 {
		s.speakers = slices.Delete(s.speakers, i, i+1)
	}
}

// look decides anew. It returns who has changed, to be read before the next look.
func (s *spotlight) look(now time.Time) []*speaker {
	s.changed = s.changed[:0]
	for _, v := range s.speakers {
		v.refresh(now)
		if v.focused && !v.fixed && now.Sub(v.spoke) >= focusIdle {
			s.focus(v, false, now)
		}
	}
	for v := s.next(now); v != nil; v = s.next(now) {
		if s.places() <= 0 {
			s.focus(s.victim(v, now), false, now)
		}
		s.focus(v, true, now)
	}
	s.listen(now)
	return s.changed
}

// focus moves a speaker into focus, or out of it.
func (s *spotlight) focus(v *speaker, in bool, now time.Time) {
	v.focused, v.focusedAt = in, now
	s.note(v)
}

func (s *spotlight) note(v *speaker) {
	if !slices.Contains(s.changed, v) {
		s.changed = append(s.changed, v)
	}
}

// places is how many are free.
func (s *spotlight) places() int {
	n := s.number
	for _, v := range s.speakers {
		if v.focused {
			n--
		}
	}
	return n
}

// next is who comes into focus next: of those that may, who has spoken longest;
// nil: nobody does.
func (s *spotlight) next(now time.Time) (found *speaker) {
	free := s.places() > 0
	for _, v := range s.speakers {
		if v.focused || !v.speaking || now.Sub(v.since) < focusDelay {
			continue
		}
		if (free || s.victim(v, now) != nil) && (found == nil || v.since.Before(found.since)) {
			found = v
		}
	}
	return found
}

// victim is whose place a speaker takes: of the silent, who has been so longest;
// else who has spoken longest; nil: nobody's yet.
func (s *spotlight) victim(taker *speaker, now time.Time) (found *speaker) {
	for _, v := range s.speakers {
		switch {
		case !v.focused || v.fixed || now.Sub(v.focusedAt) < focusHold:
		case v.speaking && (now.Sub(taker.since) < focusTake || !v.since.Before(taker.since)):
		case found == nil, found.speaking && !v.speaking,
			found.speaking == v.speaking && v.longer(found):
			found = v
		}
	}
	return found
}

// longer reports whether a speaker has been silent, or speaking, longer than
// another one that does the same.
func (v *speaker) longer(o *speaker) bool {
	if v.speaking {
		return v.since.Before(o.since)
	}
	return v.spoke.Before(o.spoke)
}

// listen decides whose voices are heard: all in focus, and a few who have just
// begun, or just ended.
func (s *spotlight) listen(now time.Time) {
	room := voicesBeside
	for _, v := range s.speakers {
		if v.audible && !v.focused && !v.deaf {
			if !v.speaking && now.Sub(v.spoke) >= voiceLinger {
				v.audible = false
				s.note(v)
				continue
			}
			room--
		}
	}
	for _, v := range s.speakers {
		if v.audible || !v.focused && !v.deaf && (!v.speaking || room <= 0) {
			continue
		}
		if !v.focused && !v.deaf {
			room--
		}
		v.audible = true
		s.note(v)
	}
}
