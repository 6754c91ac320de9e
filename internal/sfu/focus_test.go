package sfu_test

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// actor is a publisher of three layers with a voice as loud as the test says.
type actor struct {
	*sfutest.Session
	level atomic.Int64 // in −dBov
}

func (a *actor) speak()  { a.level.Store(loud) }
func (a *actor) silent() { a.level.Store(silence) }

func withSpotlight(l sfu.Spotlight) func(*sfu.JoinRequest) {
	return func(r *sfu.JoinRequest) { r.Spotlight = &l }
}

// enter joins as an actor, which is silent at first.
func enter(t *testing.T, s *sfu.SFU, tune ...func(*sfu.JoinRequest)) *actor {
	t.Helper()
	a := &actor{}
	a.silent()
	m := threeLayers
	m.Level = func() uint8 { return uint8(a.level.Load()) }
	a.Session = publish(t, s, m, append([]func(*sfu.JoinRequest){withSimulcast(sfu.Simulcast{Off: [3]bool{2: true}}), withSpotlight(sfu.Spotlight{})}, tune...)...)
	a.PauseLayer(2, true)
	return a
}

// focusNews is what a client was told of the spotlight, in order.
func focusNews(s *sfutest.Session) (news []string) {
	for _, signal := range s.Signals(sfu.SignalNotify) {
		if d, ok := signal.Notify.Details.(*sfu.SpotlightChange); ok && d.Number == 1 && !d.Fixed {
			news = append(news, signal.Notify.EventType+" "+signal.Notify.Subject.ConnectionID)
		}
	}
	return news
}

// The whole of it, with real clients: who speaks is heard and seen in the better
// layer, who does not is seen in the lower one and not heard, and everybody is told.
func TestSpotlightOfRealClients(t *testing.T) {
	s := newSFU(t)
	a, b := enter(t, s), enter(t, s)
	ids := []string{a.Connection.ID(), b.Connection.ID()}
	var newest [2]atomic.Int64 // layer of the newest packet of each
	v := join(t, s, request(tenant.RecvOnly, withSpotlight(sfu.Spotlight{})), sfutest.Options{Decode: true, OnPacket: func(p sfutest.Packet) {
		for i, id := range ids {
			if p.Stream == id && p.Kind == "video" {
				newest[i].Store(int64(sfutest.LayerOf(p, threeLayers.Layers, threeLayers.PayloadSize)))
			}
		}
	}})
	connected(t, v)
	plain := view(t, s)
	sees := func(what string, first, second int64) {
		t.Helper()
		eventually(t, what, func() bool { return newest[0].Load() == first && newest[1].Load() == second })
	}
	voices := func() [2]int64 { return [2]int64{v.Stream(ids[0], "audio").Packets, v.Stream(ids[1], "audio").Packets} }

	eventually(t, "pictures of both", func() bool {
		return v.Stream(ids[0], "video").Frames > 10 && v.Stream(ids[1], "video").Frames > 10
	})
	sees("both small while nobody speaks", 0, 0)
	if got := voices(); got != [2]int64{} {
		t.Errorf("heard %v while nobody spoke", got)
	}
	flows(t, plain, ids[0]) // who did not ask for it hears all

	a.speak()
	sees("the speaker large", 1, 0)
	more(t, v, ids[0], "audio")
	a.silent()
	b.speak()
	sees("the other speaker large", 0, 1)
	more(t, v, ids[1], "audio")
	eventually(t, "the first voice ends", func() bool {
		before := voices()[0]
		more(t, v, ids[1], "audio")
		return voices()[0] == before
	})
	want := []string{"spotlight.focused " + ids[0], "spotlight.unfocused " + ids[0], "spotlight.focused " + ids[1]}
	for _, who := range []*sfutest.Session{v, a.Session, b.Session} {
		eventually(t, "the news", func() bool { return len(focusNews(who)) == len(want) })
		for i, n := range focusNews(who) {
			if n != want[i] {
				t.Errorf("told %v, want %v", focusNews(who), want)
				break
			}
		}
	}
	if n := focusNews(plain); len(n) != 0 {
		t.Errorf("who did not ask was told %v", n)
	}
	for _, id := range ids {
		whole(t, v.Stream(id, "video"))
	}

	// A newcomer is told who is in focus, and sees it so.
	late := view(t, s, withSpotlight(sfu.Spotlight{}))
	eventually(t, "the newcomer's news", func() bool {
		n := focusNews(late)
		return len(n) == 1 && n[0] == want[2]
	})
	more(t, late, ids[1], "audio")
}

// Viewers choose the layers of those in focus and of the others, for all or one.
func TestSpotlightLayers(t *testing.T) {
	s := newSFU(t)
	a, b := enter(t, s), enter(t, s)
	ids := []string{a.Connection.ID(), b.Connection.ID()}
	var newest, count [2]atomic.Int64
	v := join(t, s, request(tenant.RecvOnly, withSpotlight(sfu.Spotlight{UnfocusRID: "none", FocusRID: "r0"})), sfutest.Options{Decode: true, OnPacket: func(p sfutest.Packet) {
		for i, id := range ids {
			if p.Stream == id && p.Kind == "video" {
				count[i].Add(1)
				newest[i].Store(int64(sfutest.LayerOf(p, threeLayers.Layers, threeLayers.PayloadSize)))
			}
		}
	}})
	connected(t, v)
	a.speak()
	eventually(t, "the speaker in the layer asked for", func() bool { return count[0].Load() > 20 && newest[0].Load() == 0 })
	if n := count[1].Load(); n != 0 {
		t.Errorf("%d packets of a picture out of focus that was not wanted", n)
	}

	ask := func(sender, focus, unfocus string, want error) {
		t.Helper()
		if err := v.Connection.RequestSpotlightRID(sender, focus, unfocus); !errors.Is(err, want) {
			t.Errorf("asking for %q/%q of %q: %v, want %v", focus, unfocus, sender, err, want)
		}
	}
	ask("", "r9", "r0", sfu.ErrBadRID)
	ask("nobody", "r1", "r0", sfu.ErrNotShown)
	ask(ids[1], "r1", "r1", nil)
	eventually(t, "the other one, too, and larger", func() bool { return count[1].Load() > 20 && newest[1].Load() == 1 && newest[0].Load() == 0 })
	ask("", "r1", "r0", nil)
	eventually(t, "all as asked for all", func() bool { return newest[0].Load() == 1 && newest[1].Load() == 0 })
	if err := v.Connection.ResetSpotlightRID(""); err != nil {
		t.Error(err)
	}
	eventually(t, "as at first", func() bool {
		before := count[1].Load()
		more(t, v, ids[0], "video")
		return newest[0].Load() == 0 && count[1].Load() == before
	})
	if err := view(t, s).Connection.RequestSpotlightRID("", "r1", "r0"); !errors.Is(err, sfu.ErrNoSpotlight) {
		t.Errorf("without a spotlight: %v", err)
	}
}

// voiceOf is a packet of Opus that says how loud it is, in −dBov.
func voiceOf(member int, seq uint16, level uint8) []byte {
	b := []byte{0x90, 109, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0, byte(member + 1), 0xbe, 0xde, 0, 1, 0x10, level, 0, 0, 1, 2, 3}
	binary.BigEndian.PutUint32(b[4:], uint32(seq)*960)
	return b
}

// Whoever speaks, comes and goes: a voice flows to who asked for the spotlight when
// it is heard there, to everybody else always, and never to its own bundle.
func TestSpotlightGatesVoices(t *testing.T) {
	s := newSFU(t)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 5).Draw(rt, "members")
		requests := make([]sfu.JoinRequest, n)
		for i := range requests {
			r := request(rapid.SampledFrom([]tenant.Role{tenant.SendRecv, tenant.SendRecv, tenant.RecvOnly}).Draw(rt, "role"))
			r.Video.Enabled = false
			if rapid.IntRange(0, 3).Draw(rt, "spotlight") > 0 {
				r.Spotlight = &sfu.Spotlight{Number: rapid.IntRange(0, 2).Draw(rt, "number")}
			}
			requests[i] = r
		}
		f, err := s.NewFed(requests...)
		if err != nil {
			rt.Fatal(err)
		}
		defer f.Close()
		f.TellLevels()
		seqs, gone := make([]uint16, n), make([]bool, n)
		for range rapid.IntRange(1, 12).Draw(rt, "scenes") {
			if i := rapid.IntRange(0, 4*n).Draw(rt, "leaves"); i < n && !gone[i] {
				gone[i] = true
				f.Remove(i, tenant.EndAPI)
			}
			levels := rapid.SliceOfN(rapid.SampledFrom([]int{absent, silence, loud}), n, n).Draw(rt, "levels")
			for range rapid.IntRange(1, 40).Draw(rt, "packets") {
				for i, l := range levels {
					if l >= 0 && !gone[i] && requests[i].Role.Sends() {
						seqs[i]++
						f.Came(i, voiceOf(i, seqs[i], uint8(l)))
					}
				}
				f.Pass(20 * time.Millisecond)
				f.Round()
			}
			f.Pass(time.Second)
			f.Round()
			f.Round()
			for i := range n {
				for j := range n {
					if i == j || gone[i] || gone[j] || !requests[i].Role.Receives() || !f.Announced(j) {
						continue
					}
					want := requests[i].Spotlight == nil || requests[j].Spotlight == nil || f.IsAudible(j)
					if got := f.Hears(i, j); got != want {
						rt.Fatalf("the voice of %d flows to %d: %v, want %v", j, i, got, want)
					}
				}
			}
			for _, i := range f.InFocus() {
				if !gone[i] && (requests[i].Spotlight == nil || !f.IsAudible(i)) {
					rt.Fatalf("%d is in focus", i)
				}
			}
		}
	})
}

// A voice that does not tell how loud it is is heard, for there is no telling.
func TestSpotlightWithoutLevels(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, av, withSpotlight(sfu.Spotlight{}))
	v := view(t, s, withSpotlight(sfu.Spotlight{}))
	flows(t, v, p.Connection.ID())
	if n := focusNews(v); len(n) != 0 {
		t.Errorf("told %v", n)
	}
	// One of a single layer is not sent to who wants nothing of those out of focus.
	none := view(t, s, withSpotlight(sfu.Spotlight{UnfocusRID: "none"}))
	more(t, none, p.Connection.ID(), "audio")
	if n := none.Stream(p.Connection.ID(), "video").Packets; n != 0 {
		t.Errorf("%d packets of a picture that was not wanted", n)
	}
}
