package sfu

import "time"

// Stage is a spotlight with speakers, in a time of its own.
type Stage struct {
	s        spotlight
	now      time.Time
	speakers []*speaker
}

// NewStage has so many places in focus and speakers.
func NewStage(places, speakers int) *Stage {
	s := &Stage{s: spotlight{number: places}, now: time.Unix(1e9, 0)}
	for range speakers {
		v := &speaker{}
		s.speakers = append(s.speakers, v)
		s.s.add(v)
	}
	return s
}

// Hear is 20 ms of everybody: levels in −dBov, negative for no packet.
func (s *Stage) Hear(levels []int) {
	for i, l := range levels {
		if l >= 0 {
			s.speakers[i].heard(uint8(l), s.now)
		}
	}
	s.now = s.now.Add(20 * time.Millisecond)
}

// Now is the stage's time since it began.
func (s *Stage) Now() time.Duration { return s.now.Sub(time.Unix(1e9, 0)) }

// Look decides, and returns who has changed.
func (s *Stage) Look() (changed []int) {
	for _, c := range s.s.look(s.now) {
		for i, v := range s.speakers {
			if v == c {
				changed = append(changed, i)
			}
		}
	}
	return changed
}

// Decide is Look without its result.
func (s *Stage) Decide() { s.s.look(s.now) }

// Focused reports whether a speaker is in focus, Audible whether it is heard.
func (s *Stage) Focused(i int) bool { return s.speakers[i].focused }

// Audible reports whether a speaker is heard.
func (s *Stage) Audible(i int) bool { return s.speakers[i].audible }

// Pin, Unpin and Resize are what a tenant's server decides.
func (s *Stage) Pin(i int, fixed bool) error {
	_, err := s.s.pin(s.speakers[i], fixed, s.now)
	return err
}

// Unpin takes a speaker out of focus.
func (s *Stage) Unpin(i int) { s.s.unpin(s.speakers[i], s.now) }

// Resize changes how many may be in focus.
func (s *Stage) Resize(places int) { s.s.resize(places, s.now) }

// Fixed reports whether a speaker stays in focus.
func (s *Stage) Fixed(i int) bool { return s.speakers[i].fixed }

// TellLevels has every member's client have agreed to tell how loud its voice is.
func (f *Fed) TellLevels() {
	for _, m := range f.members {
		if t := m.ups[audio]; t != nil {
			t.levelExt = extLevel
		}
	}
}

// Hears reports whether the voice of a member flows to member i.
func (f *Fed) Hears(i, of int) bool {
	t := f.members[of].ups[audio]
	for _, s := range f.members[i].sections {
		if s.down != nil && s.down.source == t && t != nil && s.down.bound {
			return true
		}
	}
	return false
}

// Announced reports whether the others are shown member i's voice.
func (f *Fed) Announced(i int) bool { t := f.members[i].ups[audio]; return t != nil && t.announced }

// InFocus is who the spotlight is on.
func (f *Fed) InFocus() (who []int) {
	for i, m := range f.members {
		if m.voice != nil && m.voice.focused {
			who = append(who, i)
		}
	}
	return who
}

// IsAudible reports whether the spotlight lets member i be heard.
func (f *Fed) IsAudible(i int) bool { v := f.members[i].voice; return v != nil && v.audible }

// Constants of the spotlight.
const (
	FocusDelay, FocusHold, FocusTake, FocusIdle = focusDelay, focusHold, focusTake, focusIdle
	SpotlightPause, VoiceLinger, VoicesBeside   = spotlightPause, voiceLinger, voicesBeside
)

// Heard takes one level, for the benchmark.
func (s *Stage) Heard(i int, level uint8) bool { return s.speakers[i].heard(level, s.now) }
