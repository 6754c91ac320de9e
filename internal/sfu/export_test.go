package sfu

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
	"github.com/hibari/hibari/internal/tenant"
)

// Break makes a channel's worker run f, which may panic or hang.
func (s *SFU) Break(t tenant.ID, name string, f func()) bool {
	s.mu.Lock()
	ch := s.channels[channelKey{t, name}]
	s.mu.Unlock()
	return ch != nil && ch.post(func(*worker) { f() })
}

// Ruin spoils what a channel's worker knows, so that it panics when it next does
// something: "packet" takes one in, "fan-out" sends one, "tick" looks at the time.
func (s *SFU) Ruin(t tenant.ID, name, what string) bool {
	s.mu.Lock()
	ch := s.channels[channelKey{t, name}]
	s.mu.Unlock()
	return ch != nil && ch.post(func(w *worker) {
		for _, m := range w.members {
			for _, up := range m.ups {
				switch {
				case up == nil:
				case what == "packet":
					up.layers[0].history = nil
				case what == "tick":
					up.owner = nil
				}
			}
			for _, section := range m.sections {
				if section.down != nil && what == "fan-out" {
					section.down.viewer = nil
				}
			}
		}
	})
}

// ParseAnswer is parseAnswer, for its fuzz target.
func ParseAnswer(text string) error {
	_, err := parseAnswer(text)
	return err
}

// Fed is a channel whose worker the caller is, for feeding it decrypted packets by
// hand, in a time of its own. Its members count as connected, though their
// transports have no keys, unless a client is attached.
type Fed struct {
	w       *worker
	members []*member
	real    map[*member]bool // with a client
	base    *uint32          // of Truth
}

// NewFed makes a Fed of these members.
func (s *SFU) NewFed(requests ...JoinRequest) (*Fed, error) {
	ch := newChannel(s, channelKey{requests[0].Tenant, requests[0].Channel})
	f := &Fed{w: &worker{channel: ch, sfu: s, log: s.log, sender: newSender(s)}, real: map[*member]bool{}}
	f.w.now = time.Now()
	for _, r := range requests {
		if r.BundleID == "" {
			r.BundleID = r.ConnectionID
		}
		c := newConnection(s, r)
		c.enter(ch)
		if err := f.w.join(context.Background(), c); err != nil {
			return nil, err
		}
		f.members = append(f.members, c.member)
		c.member.up, c.member.answered = true, true
		c.member.minute = f.w.now.Add(time.Minute)
		for _, t := range c.member.ups {
			if t != nil {
				t.sending = true
				t.ridExt, t.repairedExt = extRID, extRepaired
			}
		}
	}
	return f, nil
}

// Attach has a client take the place of member i: accept makes its answers to
// offers. It returns when the transport is up.
func (f *Fed) Attach(i int, accept func(offer string) (string, error)) error {
	m := f.members[i]
	m.up, m.offering = false, true
	f.real[m] = true
	if err := f.answer(m, m.conn.offer.sdp, accept); err != nil {
		return err
	}
	var calls []func(*worker)
	for deadline := time.After(10 * time.Second); !m.up; {
		select {
		case <-f.w.channel.wake:
		case <-deadline:
			return ErrEnded
		}
		calls, _, _ = f.w.channel.take(calls, nil)
		for _, call := range calls {
			call(f.w)
		}
	}
	return nil
}

func (f *Fed) answer(m *member, offer string, accept func(string) (string, error)) error {
	text, err := accept(offer)
	if err != nil {
		return err
	}
	a, err := parseAnswer(text)
	if err != nil {
		return err
	}
	return f.w.answer(m, a)
}

// Renegotiate answers the offers that were made to member i, until there is none.
func (f *Fed) Renegotiate(i int, accept func(offer string) (string, error)) error {
	m := f.members[i]
	var signals []Signal
	for m.offering {
		signals, _ = m.conn.Take(signals[:0])
		for _, s := range signals {
			if s.Kind != SignalReoffer {
				continue
			}
			if err := f.answer(m, s.SDP, accept); err != nil {
				return err
			}
		}
	}
	return nil
}

// RTP feeds a packet of the first member.
func (f *Fed) RTP(data []byte) { f.From(0, data) }

// From feeds a packet of a member and does all that follows from it.
func (f *Fed) From(i int, data []byte) {
	f.Came(i, data)
	f.round()
}

// Came feeds a packet of a member, but does not work on it.
func (f *Fed) Came(i int, data []byte) { f.w.mediaArrived(f.members[i], data, f.w.now) }

// Hear works on what the clients have sent.
func (f *Fed) Hear() {
	calls, inbox, _ := f.w.channel.take(nil, nil)
	for _, call := range calls {
		call(f.w)
	}
	for i := range inbox {
		f.w.arrived(&inbox[i])
	}
}

// Resent is how many packets the worker itself sent again.
func (f *Fed) Resent() int64 { return f.w.round.resent }

// RTCP feeds a packet of all.
func (f *Fed) RTCP(data []byte) {
	for _, m := range f.members {
		f.w.feedbackArrived(m, data, f.w.now)
	}
	f.round()
}

// Feedback feeds RTCP of one member and does nothing else.
func (f *Fed) Feedback(i int, data []byte) { f.w.feedbackArrived(f.members[i], data, f.w.now) }

// Want has a member ask for a layer of all publishers.
func (f *Fed) Want(i int, rid string) error {
	q, err := parseWish(rid)
	if err != nil {
		return err
	}
	return f.w.request(f.members[i], "", q)
}

// Gets is the layer that a member gets of video, by name; "": none.
func (f *Fed) Gets(i int) string {
	for _, s := range f.members[i].sections {
		if d := s.down; d != nil && d.kind == video && d.layer != nil && !d.waiting {
			return d.layer.rid
		}
	}
	return ""
}

// Watched is how many viewers a publisher's layers go to.
func (f *Fed) Watched(i int) (viewers []int) {
	for _, l := range f.members[i].ups[video].layers {
		viewers = append(viewers, len(l.viewers))
	}
	return viewers
}

// Truth is by how many ticks the clock that a member is shown of a publisher's video
// differs from what it was when this was first asked.
func (f *Fed) Truth(i, publisher int) int32 {
	for _, s := range f.members[i].sections {
		d := s.down
		if d == nil || d.kind != video || d.layer == nil || d.waiting || d.source.owner != f.members[publisher] {
			continue
		}
		base := d.numbers.Timestamp(0) - d.layer.clock.offset
		if f.base == nil {
			f.base = &base
		}
		return int32(base - *f.base)
	}
	return 0
}

// Missing reports whether packets of a publisher are waited for.
func (f *Fed) Missing(i int) bool {
	for l := range f.members[i].layers() {
		if l.gaps.Open() {
			return true
		}
	}
	return false
}

// Rejoin has a member begin anew with all that it is shown.
func (f *Fed) Rejoin(i int) {
	for _, s := range f.members[i].sections {
		if d := s.down; d != nil && d.bound {
			d.unbind()
			d.bind()
			f.w.allot(f.members[i])
		}
	}
}

// Wait lets time pass in the worker's clock, in rounds of a second.
func (f *Fed) Wait(d time.Duration) {
	for range int(d / time.Second) {
		f.w.now = f.w.now.Add(time.Second)
		f.round()
	}
}

// Pass lets time pass without a round.
func (f *Fed) Pass(d time.Duration) { f.w.now = f.w.now.Add(d) }

// Release puts on its way what need not be held any longer.
func (f *Fed) Release() { f.w.release() }

// Step sends one stretch.
func (f *Fed) Step() { f.w.step() }

// Left is how many viewers the frames on their way have still to reach.
func (f *Fed) Left() (voices, videos int) {
	for _, v := range f.w.frames {
		videos += len(v.viewers) - v.next
	}
	return len(f.w.voices.viewers) - f.w.voices.next, videos
}

// Spoil breaks what is known of a member, so that sending to it panics.
func (f *Fed) Spoil(i int) {
	for _, s := range f.members[i].sections {
		if s.down != nil {
			s.down.viewer = nil
		}
	}
}

// Read is what the counters of a member say now.
func (f *Fed) Read(i int) Reading {
	m := f.members[i]
	if m.conn.connectedAt.Load() == nil {
		m.conn.connectedAt.Store(&f.w.now)
	}
	m.publish(f.w.now)
	r, _ := m.conn.Reading()
	return r
}

// Viewer is the second member's connection.
func (f *Fed) Viewer() *Connection { return f.members[1].conn }

// Awaiting is how many packets were kept from viewers so far because they wait
// for a key frame.
func (f *Fed) Awaiting() int64 { return f.w.round.drops[dropAwaitingKeyFrame] }

// Dropped is how many packets the worker itself dropped for that reason.
func (f *Fed) Dropped(reason DropReason) int64 {
	for i, name := range dropNames {
		if name == reason {
			return f.w.round.drops[i]
		}
	}
	panic("no such reason: " + reason)
}

// Sent is how many packets the worker itself sent, and in how many trains.
func (f *Fed) Sent() (packets, trains int64) { return f.w.round.forwarded, f.w.round.trains }

// KeyRequests is how many key frames the worker asked for.
func (f *Fed) KeyRequests() int64 { return f.w.round.keyRequests }

// round is a Round a moment later.
func (f *Fed) round() {
	f.w.now = f.w.now.Add(20 * time.Millisecond)
	f.Round()
}

// Round does what the worker does in a round, until nothing is on its way.
func (f *Fed) Round() {
	f.bindAll()
	f.w.release()
	f.w.tick()
	f.w.step()
	for f.w.sending() {
		f.w.step()
	}
	f.w.checkTurning()
	f.w.bury()
}

// bindAll has every member without a client agree to all that it is offered.
func (f *Fed) bindAll() {
	for _, m := range f.members {
		if f.real[m] {
			continue
		}
		for _, s := range m.sections {
			if d := s.down; d != nil && d.source != nil && !d.bound {
				d.agreed(answerSection{receives: true, formats: [formatCount]answerFormat{{109, 0}, {96, 97}, {98, 99}, {102, 0}, {100, 101}}})
				if m.gets(d.source) {
					d.bind()
					f.w.allot(m)
				}
			}
		}
		m.offerAt, m.offering = f.w.now, false
		f.w.negotiate(m)
	}
}

// Close frees the transports.
func (f *Fed) Close() { f.w.removeAll("") }

// Leave leaves a signal for the connection's door, as its worker does; false: the
// door has left too many unread.
func (c *Connection) Leave(s Signal) bool { return c.signal(s) }

// SignalLimit is how many signals a door may leave unread.
const SignalLimit = signalLimit

// SSRC is the source that a member is shown of a kind first, as if packets of it
// had been sent.
func (f *Fed) SSRC(i int, kind string) uint32 {
	for _, s := range f.members[i].sections {
		if d := s.down; d != nil && d.bound && s.kind.String() == kind {
			d.packets = max(d.packets, 1)
			return d.ssrc
		}
	}
	panic("no " + kind)
}

// SendTime is a time since the process started as abs-send-time writes it.
func SendTime(since time.Duration) uint32 { return sendTime(began.Add(since)) }

// Receipt is the receiver's side of one source.
type Receipt struct {
	r      receipt
	unwrap packet.Unwrap
	clock  uint32
}

// NewReceipt begins a source with an RTP clock of that rate.
func NewReceipt(clock uint32) *Receipt { return &Receipt{clock: clock} }

// Saw notes a packet.
func (r *Receipt) Saw(seq uint16, ts uint32, at time.Time) {
	r.r.saw(r.unwrap.Next(seq), ts, at, r.clock)
}

// Reported notes a sender report.
func (r *Receipt) Reported(ntp uint64, rtp uint32, at time.Time) {
	r.r.report, r.r.reported = senderReport{ntp: ntp, rtp: rtp, came: at}, true
}

// Block is the reception report for now.
func (r *Receipt) Block(ssrc uint32, now time.Time) packet.ReportBlock { return r.r.block(ssrc, now) }

// ToNTP is toNTP.
func ToNTP(t time.Time) uint64 { return toNTP(t) }

// FromNTP is fromNTP.
func FromNTP(n uint64) time.Time { return fromNTP(n) }

// AnswerText is the answer to an offer, written without a connection.
func (o *Offer) AnswerText(videoCodec string) (string, error) {
	plan, err := o.plan(MediaWish{Enabled: true}, MediaWish{Enabled: true, Codec: videoCodec})
	if err != nil {
		return "", err
	}
	m := &member{conn: &Connection{}}
	for i := range plan {
		s := &section{mid: plan[i].mid, kind: plan[i].kind}
		s.down = newDownTrack(m, s, nil)
		m.sections = append(m.sections, s)
	}
	return answerText{fingerprint: o.fingerprint, ufrag: o.ufrag, pwd: o.pwd, offer: o, plan: plan, sections: m.sections}.String(), nil
}

// Inflate is inflate.
func Inflate(deflated []byte, most int) ([]byte, error) { return inflate(deflated, most) }

// Layers are those of the offer's simulcast, the lowest quality first.
func (o *Offer) Layers() []string {
	for _, s := range o.sections {
		if s.layers != nil {
			return s.layers
		}
	}
	return nil
}
