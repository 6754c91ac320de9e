package sfu

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

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

// Fed is a channel's worker with a publisher and a viewer, whose transports
// have no keys, for feeding it decrypted packets by hand.
type Fed struct {
	w       *worker
	members [2]*member
}

// NewFed makes a Fed. Nothing runs it but the caller.
func (s *SFU) NewFed(publisher, viewer JoinRequest) (*Fed, error) {
	ch := newChannel(s, channelKey{publisher.Tenant, publisher.Channel})
	f := &Fed{w: &worker{channel: ch, sfu: s, log: s.log, sender: newSender(s)}}
	f.w.now = time.Now()
	for i, r := range []JoinRequest{publisher, viewer} {
		c := newConnection(s, r)
		c.enter(ch)
		if err := f.w.join(context.Background(), c); err != nil {
			return nil, err
		}
		f.members[i] = c.member
		c.member.up, c.member.answered = true, true
		c.member.minute = f.w.now.Add(time.Minute)
		for _, t := range c.member.ups {
			if t != nil {
				t.sending = true
			}
		}
	}
	return f, nil
}

// RTP feeds a packet of the publisher.
func (f *Fed) RTP(data []byte) {
	f.w.mediaArrived(f.members[0], data, f.w.now)
	f.round()
}

// RTCP feeds a packet of both.
func (f *Fed) RTCP(data []byte) {
	for _, m := range f.members {
		f.w.feedbackArrived(m, data, f.w.now)
	}
	f.round()
}

// Wait lets time pass in the worker's clock, in rounds of a second.
func (f *Fed) Wait(d time.Duration) {
	for range int(d / time.Second) {
		f.w.now = f.w.now.Add(time.Second)
		f.round()
	}
}

// Viewer is the viewer's connection.
func (f *Fed) Viewer() *Connection { return f.members[1].conn }

// Awaiting is how many packets were kept from the viewer so far because it waits
// for a key frame.
func (f *Fed) Awaiting() int64 { return f.w.round.drops[dropAwaitingKeyFrame] }

// round ends a round, a moment later.
func (f *Fed) round() {
	f.w.now = f.w.now.Add(20 * time.Millisecond)
	for _, m := range f.members {
		for _, s := range m.sections {
			if d := s.down; d != nil && d.source != nil && !d.bound {
				d.agreed(answerSection{receives: true, formats: [formatCount]answerFormat{{109, 0}, {96, 97}, {98, 99}, {102, 0}, {100, 101}}})
				d.bind()
			}
		}
		m.offerAt, m.offering = f.w.now, false
	}
	f.w.release()
	f.w.tick()
	for first := true; first || f.w.sending(); first = false {
		f.w.step()
	}
	f.w.bury()
}

// Close frees the transports.
func (f *Fed) Close() { f.w.removeAll("") }
