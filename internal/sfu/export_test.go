package sfu

import "github.com/hibari/hibari/internal/tenant"

// Break makes a channel's worker run f, which may panic or hang.
func (s *SFU) Break(t tenant.ID, name string, f func()) bool {
	s.mu.Lock()
	ch := s.channels[channelKey{t, name}]
	s.mu.Unlock()
	return ch != nil && ch.post(func(*worker) { f() })
}

// ParseAnswer is parseAnswer, for its fuzz target.
func ParseAnswer(text string) error {
	_, err := parseAnswer(text)
	return err
}
