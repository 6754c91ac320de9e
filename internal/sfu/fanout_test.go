package sfu_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// vp8Key is the beginning of a key frame.
var vp8Key = []byte{0x10, 0x00, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00}

const (
	ptOpus = 109
	ptVP8  = 96
)

// media is a publisher's packets, for a Fed.
type media struct {
	t   testing.TB
	seq uint16
}

// video is one packet of a frame, the whole of it if last; each frame is a key
// frame.
func (m *media) video(first, last bool, size int) []byte {
	m.seq++
	payload := make([]byte, size)
	if first {
		copy(payload, vp8Key)
	}
	return m.packet(ptVP8, uint32(m.seq)*10, 7, last, payload)
}

// frame is n packets.
func (m *media) frame(n, size int) (packets [][]byte) {
	for i := range n {
		packets = append(packets, m.video(i == 0, i == n-1, size))
	}
	return packets
}

func (m *media) audio(size int) []byte {
	m.seq++
	return m.packet(ptOpus, uint32(m.seq)*960, 9, false, make([]byte, size))
}

func (m *media) packet(pt uint8, ts, ssrc uint32, marker bool, payload []byte) []byte {
	b, err := (&rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: m.seq, Timestamp: ts, SSRC: ssrc, Marker: marker},
		Payload: payload,
	}).Marshal()
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// fed is a channel of publishers and viewers, none of them with a client.
func fed(t testing.TB, s *sfu.SFU, publishers, viewers int, tune ...func(*sfu.JoinRequest)) *sfu.Fed {
	t.Helper()
	var requests []sfu.JoinRequest
	for range publishers {
		requests = append(requests, request(tenant.SendOnly, tune...))
	}
	for range viewers {
		requests = append(requests, request(tenant.RecvOnly, tune...))
	}
	f, err := s.NewFed(requests...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// begun feeds both kinds until all viewers are bound.
func begun(f *sfu.Fed, video, audio *media) {
	for range 3 {
		f.RTP(audio.audio(80))
		f.RTP(video.video(true, true, 100))
	}
}

// A frame for many viewers leaves in stretches, and audio that comes meanwhile
// does not wait for the rest of it.
func TestAudioOvertakesVideo(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // no helpers
	f := fed(t, newSFU(t), 1, 600)
	video, audio := &media{t: t}, &media{t: t}
	begun(f, video, audio)

	for _, p := range video.frame(3, 900) {
		f.Came(0, p)
	}
	f.Release()
	_, whole := f.Left()
	f.Step()
	if _, left := f.Left(); whole != 600 || left <= 500 || left == 600 {
		t.Fatalf("after a stretch %d of %d viewers are left", left, whole)
	}
	f.Came(0, audio.audio(80))
	f.Release()
	_, before := f.Left()
	for {
		voices, left := f.Left()
		if voices == 0 {
			break
		}
		if left != before {
			t.Fatalf("video went on while %d viewers still waited for audio", voices)
		}
		f.Step()
	}
	for steps := 0; ; steps++ {
		if _, left := f.Left(); left == 0 {
			break
		}
		if steps > 600 {
			t.Fatal("the frame never ends")
		}
		f.Step()
	}
}

// Video that is too late is dropped whole for those it has not reached; audio is
// not, and new clients can be told.
func TestOverloadDropsVideoByFrame(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := newSFU(t)
	f := fed(t, s, 1, 600)
	video, audio := &media{t: t}, &media{t: t}
	begun(f, video, audio)
	if s.Overloaded() {
		t.Fatal("overloaded at rest")
	}
	for _, p := range video.frame(3, 900) {
		f.Came(0, p)
	}
	f.Release()
	f.Step()
	_, left := f.Left()
	f.Pass(150 * time.Millisecond)
	f.Came(0, audio.audio(80))
	f.Release()
	for voices := 1; voices > 0; voices, _ = f.Left() {
		f.Step()
	}
	f.Step()
	if got := f.Dropped("overload"); got != int64(3*left) {
		t.Errorf("%d packets dropped, want the 3 of each of the %d viewers left", got, left)
	}
	if _, left := f.Left(); left != 0 {
		t.Errorf("%d viewers are still to be sent the frame", left)
	}
	if s.Overloaded() || s.Stats().FramesShed != 1 {
		t.Errorf("after one late frame, overloaded: %v, frames shed: %d", s.Overloaded(), s.Stats().FramesShed)
	}
	// Those wait for a key frame, which costs more than other frames and is asked
	// for seldom; the others go on.
	asked := f.KeyRequests()
	for range 20 {
		f.Pass(100 * time.Millisecond)
		f.Round()
	}
	if got := f.KeyRequests() - asked; got != 1 {
		t.Errorf("%d key frames asked for within 2 s of an overload, want 1", got)
	}
	awaiting := f.Awaiting()
	video.seq++
	f.RTP(video.packet(ptVP8, 99, 7, true, []byte{0x10, 0x01, 0x00}))
	if got := f.Awaiting() - awaiting; got != int64(left) {
		t.Errorf("%d viewers wait for a key frame, want %d", got, left)
	}
	// Who is late again, a second and more after that, has too much to do.
	for _, p := range video.frame(3, 900) {
		f.Came(0, p)
	}
	f.Release()
	f.Step()
	f.Pass(150 * time.Millisecond)
	f.Step()
	if !s.Overloaded() || s.Stats().FramesShed != 2 {
		t.Errorf("overloaded: %v, frames shed: %d", s.Overloaded(), s.Stats().FramesShed)
	}
}

// With processors to spare a large frame is shared, and each viewer is served
// once.
func TestCrewSharesLargeFrames(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	s := newSFU(t)
	f := fed(t, s, 1, 600)
	video := &media{t: t}
	begun(f, video, &media{t: t})
	const packets, frames = 4, 50
	// Without keys each packet is dropped: by the worker or, counted apart, by a
	// helper.
	own, crew := f.Dropped("seal_failed"), s.Stats().Drops["seal_failed"]
	for range frames {
		for _, p := range video.frame(packets, 900) {
			f.Came(0, p)
		}
		f.Release()
		for _, left := f.Left(); left > 0; _, left = f.Left() {
			f.Step()
		}
	}
	eventually(t, "each packet is counted once", func() bool {
		return f.Dropped("seal_failed")-own+s.Stats().Drops["seal_failed"]-crew == 600*packets*frames
	})
	if s.Stats().Drops["seal_failed"] == crew {
		t.Error("no helper took part")
	}
}

// What breaks in a helper breaks the channel whose frame it was.
func TestHelpersPanicIsTheWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	s := newSFU(t)
	f := fed(t, s, 1, 600)
	video := &media{t: t}
	begun(f, video, &media{t: t})
	for i := 1; i <= 600; i += 7 {
		f.Spoil(i)
	}
	defer func() {
		if recover() == nil {
			t.Error("the worker went on")
		}
		other := fed(t, s, 1, 600) // the crew still works
		begun(other, &media{t: t}, &media{t: t})
	}()
	for _, p := range video.frame(4, 900) {
		f.Came(0, p)
	}
	f.Release()
	for range 600 {
		f.Step()
	}
}

// attach gives a member of a Fed a client.
func attach(t testing.TB, f *sfu.Fed, i int, o sfutest.Options) *sfutest.Client {
	t.Helper()
	c, err := sfutest.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := f.Attach(i, c.Accept); err != nil {
		t.Fatal(err)
	}
	return c
}

// What several speakers say at about the same time leaves as one train, if there
// are many listeners.
func TestVoicesShareATrain(t *testing.T) {
	const speakers = 5
	for _, listeners := range []int{1, 40} {
		f := fed(t, newSFU(t), speakers, listeners)
		c := attach(t, f, speakers, sfutest.Options{}) // one of them is real
		voices := make([]media, speakers)
		say := func() {
			for i := range voices {
				m := &voices[i]
				m.t, m.seq = t, m.seq+1
				f.Came(i, m.packet(ptOpus, uint32(m.seq)*960, uint32(100+i), false, make([]byte, 60+4*i)))
				f.Pass(time.Millisecond)
				f.Round()
			}
			f.Pass(time.Millisecond)
			f.Round()
		}
		for range 3 { // announced after a while: the publishers send no video
			say()
			f.Wait(time.Second)
			if err := f.Renegotiate(speakers, c.Accept); err != nil {
				t.Fatal(err)
			}
		}
		packets, trains := f.Sent()
		const times = 10
		for range times {
			say()
		}
		more, moreTrains := f.Sent()
		want := int64(times)
		if listeners == 1 {
			want *= speakers
		}
		if more-packets != speakers*times || moreTrains-trains < want || moreTrains-trains > want+4 { // reports are trains of their own
			t.Errorf("%d packets of %d speakers to %d listeners left in %d trains, want %d in %d",
				more-packets, speakers, listeners, moreTrains-trains, speakers*times, want)
		}
	}
}

// One speaker alone does not wait for others.
func TestOneVoiceDoesNotWait(t *testing.T) {
	f := fed(t, newSFU(t), 1, 3)
	video, audio := &media{t: t}, &media{t: t}
	begun(f, video, audio)
	f.Came(0, audio.audio(80))
	f.Release()
	if voices, _ := f.Left(); voices != 3 {
		t.Errorf("%d viewers are being sent what came, want 3", voices)
	}
}

// A key frame whose first packet was lost and came late is begun with all that
// has passed since then: a viewer need not ask for each packet of it.
func TestLateKeyFrameIsSentWhole(t *testing.T) {
	f := fed(t, newSFU(t), 1, 1)
	c := attach(t, f, 1, sfutest.Options{})
	audio := &media{t: t}
	video := &media{t: t, seq: 100}
	delta := func() []byte {
		video.seq++
		return video.packet(ptVP8, uint32(video.seq)*10, 7, true, []byte{0x10, 0x01, 0x00})
	}
	for range 4 {
		f.RTP(audio.audio(80))
		f.RTP(delta())
		if err := f.Renegotiate(1, c.Accept); err != nil {
			t.Fatal(err)
		}
	}
	frame := video.frame(3, 500)
	sent, _ := f.Sent()
	for _, b := range [][]byte{frame[1], frame[2], delta()} {
		f.RTP(b)
	}
	if got, _ := f.Sent(); got != sent {
		t.Fatalf("%d packets were sent of a key frame without its beginning", got-sent)
	}
	f.RTP(frame[0])
	f.RTP(delta())
	if got, _ := f.Sent(); got-sent != 5 {
		t.Errorf("%d packets were sent, want 3 of the key frame and 2 since", got-sent)
	}

	// The same in one batch.
	f.Rejoin(1)
	frame = video.frame(3, 500)
	for _, b := range [][]byte{frame[1], frame[2], frame[0]} {
		f.Came(0, b)
	}
	sent, _ = f.Sent()
	f.Pass(3 * time.Millisecond)
	f.Round()
	if got, _ := f.Sent(); got-sent < 3 {
		t.Errorf("%d packets were sent, want 3 of the key frame", got-sent)
	}
}

// Retransmissions under an SSRC of their own are not among what sender reports
// count for the track.
func TestSenderReportsCountNoRetransmissions(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, av)
	v := join(t, s, request(tenant.RecvOnly), sfutest.Options{Drop: everyNth(5, 96)})
	connected(t, v)
	eventually(t, "packets are sent again", func() bool { return s.Stats().Resent > 100 })
	// A report tells of what was sent until then, so of less than the numbers that
	// have come by the time it is looked at.
	report := v.SenderReport(p.Connection.ID(), "video")
	if report == nil {
		t.Fatal("no sender report")
	}
	stream := v.Stream(p.Connection.ID(), "video")
	if most := uint32(stream.Packets + stream.Lost); report.PacketCount > most {
		t.Errorf("the report counts %d packets, of which %d were sent at most", report.PacketCount, most)
	}
}
