package sfu_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

func TestSlotsShowTheOldestPublisherWithoutReoffers(t *testing.T) {
	s := newSFU(t)
	var mu sync.Mutex
	var packets []sfutest.Packet
	v := join(t, s, request(tenant.RecvOnly, withSlots), sfutest.Options{OnPacket: func(p sfutest.Packet) {
		mu.Lock()
		packets = append(packets, p)
		mu.Unlock()
	}})
	connected(t, v)

	first := publish(t, s, av)
	more(t, v, "default", "video")
	second := publish(t, s, av)
	watcher := view(t, s)
	flows(t, watcher, second.Connection.ID())
	if err := first.Leave(tenant.EndClient); err != nil {
		t.Fatal(err)
	}
	more(t, v, "default", "video") // the second now
	more(t, v, "default", "audio")
	if err := second.Leave(tenant.EndClient); err != nil {
		t.Fatal(err)
	}
	third := publish(t, s, av)
	more(t, v, "default", "video")
	more(t, v, "default", "audio")
	if n := len(v.Signals(sfu.SignalReoffer)); n != 0 {
		t.Errorf("%d re-offers, want none", n)
	}
	_ = third

	mu.Lock()
	defer mu.Unlock()
	var last *sfutest.Packet
	switches := 0
	for i := range packets {
		p := &packets[i]
		if p.Kind != "video" {
			continue
		}
		if last != nil {
			if p.RTP.SequenceNumber != last.RTP.SequenceNumber+1 {
				t.Fatalf("number %d after %d", p.RTP.SequenceNumber, last.RTP.SequenceNumber)
			}
			if d := int32(p.RTP.Timestamp - last.RTP.Timestamp); d < 0 || d > 90_000*10 {
				t.Fatalf("timestamp moved by %d", d)
			}
			if p.RTP.SSRC != last.RTP.SSRC {
				t.Fatal("the slot's SSRC changed")
			}
			if p.Key && p.Frame < last.Frame {
				switches++
			}
		} else if !p.Key {
			t.Error("video does not begin with a key frame")
		}
		if last != nil && p.Frame != last.Frame && p.Frame != last.Frame+1 && !p.Key {
			t.Errorf("frame %d after %d without a key frame", p.Frame, last.Frame)
		}
		last = p
	}
	if switches == 0 {
		t.Error("the slot never changed its publisher")
	}
}

func TestKeyFrameRequestsAreThinned(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, av)
	v := view(t, s)
	flows(t, v, p.Connection.ID())
	before, began := p.Sent().KeyRequests, time.Now()
	for range 40 {
		if err := v.AskKeyFrame(); err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		sfutest.Eventually(time.Second, func() bool { return time.Since(asked) > 40*time.Millisecond })
	}
	took := time.Since(began)
	got := p.Sent().KeyRequests - before
	if most := int64(took/(500*time.Millisecond)) + 1; got < 2 || got > most {
		t.Errorf("%d requests reached the publisher in %v, want 2 to %d", got, took, most)
	}
}

func TestLateViewerStartsWithAKeyFrame(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, av)
	flows(t, view(t, s), p.Connection.ID())
	asked, keys := p.Sent().KeyRequests, p.Sent().KeyFrames
	late := view(t, s)
	flows(t, late, p.Connection.ID())
	if got := late.Stream(p.Connection.ID(), "video"); !got.FirstIsKey {
		t.Errorf("the late viewer began in mid-picture: %+v", got)
	}
	if p.Sent().KeyRequests == asked || p.Sent().KeyFrames == keys {
		t.Error("the publisher was not asked for a key frame")
	}
}

// everyNth loses each nth datagram of a payload type.
// A publisher that sends no second key frame can only be watched from its
// first.
func TestViewerCatchesUpFromTheLastKeyFrame(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, sfutest.Media{Video: "VP8", Deaf: true, FrameRate: 10})
	late := view(t, s)
	stream := p.Connection.ID()
	eventually(t, "the late viewer sees frames", func() bool { return late.Stream(stream, "video").Frames > 10 })
	if got := late.Stream(stream, "video"); !got.FirstIsKey || got.Lost != 0 {
		t.Errorf("the late viewer did not begin whole at the key frame: %+v", got)
	}
	if keys := p.Sent().KeyFrames; keys != 1 {
		t.Fatalf("the publisher sent %d key frames, want 1", keys)
	}
}

// A publisher that changes its codec under one SSRC must not have the old
// codec's packets sent as the new one's: its viewers wait for a key frame.
func TestNewCodecStartsAnew(t *testing.T) {
	s := newSFU(t)
	video := func(r *sfu.JoinRequest) { r.Audio, r.BundleID = sfu.MediaWish{}, r.ConnectionID }
	fed, err := s.NewFed(request(tenant.SendOnly, video), request(tenant.RecvOnly, video))
	if err != nil {
		t.Fatal(err)
	}
	defer fed.Close()
	send := func(pt uint8, seq uint16, marker bool, payload ...byte) {
		b, err := (&rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: seq, Timestamp: uint32(seq), SSRC: 7, Marker: marker},
			Payload: payload,
		}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		fed.RTP(b)
	}
	const vp8, vp9 = 96, 98
	key := []byte{0x10, 0x00, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00}
	for seq := range uint16(4) { // announced and bound on the way
		send(vp8, seq, true, key...)
	}
	if got := fed.Awaiting(); got != 0 {
		t.Fatalf("the viewer waited with %d packets of the first codec", got)
	}
	send(vp9, 4, true, 0xc8, 1, 2, 3) // inter-picture predicted: no key frame
	if got := fed.Awaiting(); got != 1 {
		t.Errorf("%d packets waited for a key frame of the new codec, want 1", got)
	}
}

// A frame is a train: its packets leave together though they came one by one.
func TestFramesLeaveAsTrains(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, sfutest.Media{Video: "VP8", PacketsPerFrame: 8})
	v := view(t, s)
	eventually(t, "frames flow", func() bool { return v.Stream(p.Connection.ID(), "video").Frames > 60 })
	stats := s.Stats()
	if mean := float64(stats.Forwarded) / float64(stats.Trains); mean < 3 {
		t.Errorf("%d packets left in %d trains, %.1f each; want most of a frame's 8", stats.Forwarded, stats.Trains, mean)
	}
}

func everyNth(n int64, payloadType uint8) func([]byte) bool {
	var count atomic.Int64
	return func(datagram []byte) bool {
		return sfutest.IsRTP(datagram, payloadType) && count.Add(1)%n == 0
	}
}

func TestLossToTheViewerIsRepaired(t *testing.T) {
	for name, noRTX := range map[string]bool{"with RTX": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			s := newSFU(t)
			p := publish(t, s, av)
			// Plain repeats are under the same payload type, so only a few are
			// lost at all.
			v := join(t, s, request(tenant.RecvOnly), sfutest.Options{NoRTX: noRTX, Drop: everyNth(11, 96)})
			connected(t, v)
			repaired(t, s, v, p.Connection.ID())
			if s.Stats().Resent == 0 {
				t.Error("nothing was sent again")
			}
		})
	}
}

func TestLossFromThePublisherIsRepaired(t *testing.T) {
	s := newSFU(t)
	o := publishing(av)
	o.DropSent = everyNth(11, 96)
	p := join(t, s, request(tenant.SendOnly), o)
	connected(t, p)
	v := view(t, s)
	repaired(t, s, v, p.Connection.ID())
}

// repaired waits for 200 frames of which nothing but the newest is missing.
func repaired(t *testing.T, s *sfu.SFU, v *sfutest.Session, stream string) {
	t.Helper()
	eventually(t, "video without holes", func() bool {
		got := v.Stream(stream, "video")
		return got.Packets > 300 && got.Lost <= 1
	})
	t.Logf("%+v; %+v", v.Stream(stream, "video"), s.Stats())
}

func TestSenderReportsKeepPictureAndSoundTogether(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, av)
	var mu sync.Mutex
	newest := map[string]sfutest.Packet{}
	v := join(t, s, request(tenant.RecvOnly), sfutest.Options{OnPacket: func(p sfutest.Packet) {
		mu.Lock()
		newest[p.Kind] = p
		mu.Unlock()
	}})
	connected(t, v)
	flows(t, v, p.Connection.ID())
	for _, kind := range []string{"audio", "video"} {
		report := v.SenderReport(p.Connection.ID(), kind)
		if report == nil {
			t.Fatalf("no sender report for %s", kind)
		}
		mu.Lock()
		packet := newest[kind]
		mu.Unlock()
		clock := map[string]float64{"audio": 48000, "video": 90000}[kind]
		ahead := float64(int32(packet.RTP.Timestamp-report.RTPTime)) / clock
		said := ntpTime(report.NTPTime).Add(time.Duration(ahead * float64(time.Second)))
		if off := said.Sub(packet.SentAt); off < -80*time.Millisecond || off > 80*time.Millisecond {
			t.Errorf("%s: by its report the packet was made %v off the truth", kind, off)
		}
	}
}

// ntpTime reads a 64-bit NTP timestamp.
func ntpTime(n uint64) time.Time {
	const epoch = 2_208_988_800
	return time.Unix(int64(n>>32)-epoch, int64((n&0xffffffff)*1_000_000_000>>32))
}
