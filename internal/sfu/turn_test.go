package sfu_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
)

// encoder is a publisher of three layers, fed to a channel by hand.
type encoder struct {
	f      *sfu.Fed
	layers [3]*sfutest.Script
}

func newEncoder(f *sfu.Fed, codec string) *encoder {
	e := &encoder{f: f}
	for i := range e.layers {
		e.layers[i] = &sfutest.Script{
			Codec: codec, RID: fmt.Sprintf("r%d", i), SSRC: 100 + uint32(i), Seq: uint16(rand.Uint32()), Timestamp: rand.Uint32(),
			Picture: rand.IntN(1 << 15), PacketsPerFrame: 2 + i, PayloadSize: 60,
		}
	}
	return e
}

func marshal(t rapid.TB, p *rtp.Packet) []byte {
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame sends a frame in all layers.
func (e *encoder) frame(t rapid.TB, key bool) {
	for _, l := range e.layers {
		for _, p := range l.Frame(key) {
			e.f.Came(0, marshal(t, p))
		}
	}
}

// reports sends a sender report for every layer: their clocks are of one time.
func (e *encoder) reports(t rapid.TB, at time.Time) {
	for _, l := range e.layers {
		b, err := (&rtcp.SenderReport{SSRC: l.SSRC, NTPTime: sfu.ToNTP(at), RTPTime: l.Timestamp}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		e.f.Feedback(0, b)
	}
}

// fedLayers is a channel of a publisher of three layers and clients that watch.
func fedLayers(t *testing.T, codec string, options ...sfutest.Options) (*sfu.Fed, *encoder, []*sfutest.Client) {
	t.Helper()
	return fedWatched(t, codec, 0, options...)
}

// fedWatched has further viewers, who are nobody in particular.
func fedWatched(t *testing.T, codec string, more int, options ...sfutest.Options) (*sfu.Fed, *encoder, []*sfutest.Client) {
	t.Helper()
	f := fed(t, newSFU(t, patient), 1, len(options)+more, withVideo(codec), withSimulcast(sfu.Simulcast{}), func(r *sfu.JoinRequest) { r.Audio.Enabled = false })
	var clients []*sfutest.Client
	for i, o := range options {
		clients = append(clients, attach(t, f, 1+i, o))
	}
	e := newEncoder(f, codec)
	for range 3 {
		e.frame(t, true)
		f.Round()
		f.Wait(time.Second)
		for i, c := range clients {
			if err := f.Renegotiate(1+i, c.Accept); err != nil {
				t.Fatal(err)
			}
		}
	}
	return f, e, clients
}

// TestTurningAtRandom has viewers turn from layer to layer while packets come late,
// in any order and more than once, and viewers ask again for what they have or have
// not got. No number may be sealed with two contents, and no decoder may find time
// or pictures that go back, or stand still until it asks for a key frame. Rough
// ones also have layers pause and viewers watch nothing, which looks like that.
func TestTurningAtRandom(t *testing.T) {
	for _, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		t.Run(codec, func(t *testing.T) { turnAtRandom(t, codec, false) })
		t.Run(codec+" rough", func(t *testing.T) { turnAtRandom(t, codec, true) })
	}
}

func turnAtRandom(t *testing.T, codec string, rough bool) {
	wanted := []string{"r0", "r1", "r2", "auto"}
	if rough {
		wanted = append(wanted, "none")
	}
	taps := [2]*wiretap{newWiretap(), newWiretap()}
	more := 3 // in the quiet run every layer is watched all the time: nobody sends again what was not kept
	if rough {
		more = 0
	}
	f, e, clients := fedWatched(t, codec, more,
		sfutest.Options{Drop: taps[0].see, Decode: true}, sfutest.Options{Drop: taps[1].see, Decode: true, NoRTX: true})
	for i := range more {
		if err := f.Want(3+i, fmt.Sprintf("r%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	e.frame(t, true)
	f.Round()
	var late [][]byte
	paused := [3]bool{}
	rapid.Check(t, func(t *rapid.T) {
		lateness := rapid.IntRange(0, 4).Draw(t, "lateness")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 13).Draw(t, "event") {
			case 0, 1, 2, 3, 4: // a frame in every layer, some of it late; what was late before comes now
				was := late
				late = nil
				for i, l := range e.layers {
					if paused[i] {
						l.Skip()
						continue
					}
					for _, p := range l.Frame(rapid.IntRange(0, 5).Draw(t, "key") == 0) {
						b := marshal(t, p)
						if rapid.IntRange(0, 11).Draw(t, "late") < lateness {
							late = append(late, b)
							continue
						}
						f.Came(0, b)
					}
				}
				for _, b := range was {
					f.Came(0, b)
					if rapid.IntRange(0, 5).Draw(t, "again") == 0 {
						f.Came(0, b)
					}
				}
				f.Pass(33 * time.Millisecond)
				f.Round()
			case 5, 6:
				viewer := rapid.IntRange(1, 2).Draw(t, "viewer")
				if err := f.Want(viewer, rapid.SampledFrom(wanted).Draw(t, "rid")); err != nil {
					t.Fatal(err)
				}
			case 7:
				f.Release()
			case 8:
				f.Step()
			case 9:
				f.Pass(time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond)
				f.Round()
			case 10:
				i := rapid.IntRange(0, 2).Draw(t, "layer")
				paused[i] = rough && !paused[i]
			case 11:
				e.reports(t, time.Now())
			case 12, 13:
				viewer := 1 // a client with RTX may get a repair before what was sent before it
				if rough {
					viewer = rapid.IntRange(0, 1).Draw(t, "viewer")
				}
				_, ssrc, newest, _ := taps[viewer].state()
				b, err := (&rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: []rtcp.NackPair{{
					PacketID:    newest - rapid.Uint16Range(0, 16).Draw(t, "back"),
					LostPackets: 0xffff,
				}}}).Marshal()
				if err != nil {
					t.Fatal(err)
				}
				f.Feedback(1+viewer, b)
			}
		}
		f.Round()
		sent, _ := f.Sent()
		if !sfutest.Eventually(5*time.Second, func() bool {
			a, _, _, _ := taps[0].state()
			b, _, _, _ := taps[1].state()
			return a+b == sent
		}) {
			t.Fatal("not everything came")
		}
		for _, tap := range taps {
			if _, _, _, fault := tap.state(); fault != nil {
				t.Fatal(fault)
			}
		}
		watching := f.Watched(0)
		if n := watching[0] + watching[1] + watching[2]; n > 4+more {
			t.Fatalf("two viewers are among those of the layers %v times", watching)
		}
	})
	for i, c := range clients {
		for _, s := range c.Streams() {
			d := s.Decoded
			if d.Frames < 100 || d.KeysAsked != 0 && !rough || d.TimeFaults != 0 || d.PictureFaults != 0 || s.Backwards != 0 || s.Corrupt != 0 {
				t.Errorf("viewer %d: %+v", i, s)
			}
		}
	}
}

// A switch costs no time: the layers of one picture have one timestamp, whatever
// came when.
func TestTurnsKeepTimeExactly(t *testing.T) {
	f, e, _ := fedLayers(t, "VP8", sfutest.Options{})
	e.reports(t, time.Now())
	for i := range 60 {
		if i%4 == 0 {
			if err := f.Want(1, []string{"r2", "r0", "r1"}[i/4%3]); err != nil {
				t.Fatal(err)
			}
		}
		f.Pass(time.Duration(rand.IntN(60)) * time.Millisecond) // the network's
		e.frame(t, i%4 == 2)
		f.Round()
		if want := f.Truth(1, 0); i > 8 && (want > 10 || want < -10) {
			t.Fatalf("frame %d: the viewer's clock is off by %d ticks", i, want)
		}
	}
}

// Layers that nobody gets cost nothing: no copies, no requests.
func TestUnwatchedLayersAreLeftAlone(t *testing.T) {
	f, e, _ := fedLayers(t, "VP8", sfutest.Options{})
	if err := f.Want(1, "r1"); err != nil {
		t.Fatal(err)
	}
	e.frame(t, true)
	f.Round()
	if got := f.Watched(0); !slices.Equal(got, []int{0, 1, 0}) {
		t.Fatalf("the layers go to %v viewers", got)
	}
	asked, before := f.KeyRequests(), f.Dropped("unwatched")
	for range 5 {
		e.layers[0].Seq += 3 // lost
		e.layers[2].Seq += 3
		e.frame(t, false)
		f.Round()
		f.Wait(time.Second)
	}
	if n := f.KeyRequests() - asked; n != 0 {
		t.Errorf("%d key frames were asked for", n)
	}
	if n := f.Dropped("unwatched") - before; n != 5*(2+4) {
		t.Errorf("%d packets were left alone, want 30", n)
	}
	if f.Missing(0) {
		t.Error("packets are asked for that nobody gets")
	}
}

// A packet is of the layer that it names, or of the one that its SSRC has named
// before; what names none of those that were agreed on is dropped, and counted.
func TestPacketsFindTheirLayer(t *testing.T) {
	f, e, clients := fedLayers(t, "VP8", sfutest.Options{Decode: true})
	if err := f.Want(1, "r1"); err != nil {
		t.Fatal(err)
	}
	plain := func(p *rtp.Packet) []byte {
		p.Header.Extension, p.Header.Extensions = false, nil
		return marshal(t, p)
	}
	sent, _ := f.Sent()
	came := func(want int64, what string) {
		t.Helper()
		f.Pass(3 * time.Millisecond)
		f.Round()
		got, _ := f.Sent()
		if got-sent != want {
			t.Errorf("%s: %d packets were sent, want %d", what, got-sent, want)
		}
		sent = got
	}
	e.frame(t, true)
	came(3, "a frame in all layers")
	e.layers[0].Skip()
	for _, p := range e.layers[1].Frame(false) {
		f.Came(0, plain(p))
	}
	came(3, "one whose layer is known by its SSRC")

	// Lost, and sent again under an SSRC that names its layer once.
	lost := e.layers[1].Frame(false)
	f.Came(0, marshal(t, lost[2]))
	came(1, "what was not lost")
	f.Came(0, repairOf(t, lost[0], "r1"))
	f.Came(0, plain(sfutest.Repair(lost[1], 900, 2)))
	came(2, "what was sent again")

	// The client begins a layer anew.
	e.layers[1].SSRC, e.layers[1].Seq = 555, 7
	e.frame(t, true)
	came(3, "another source of the layer")

	drops := f.Dropped("unknown_layer")
	stranger := *e.layers[1]
	stranger.RID, stranger.SSRC = "r7", 777
	for _, p := range stranger.Frame(true) {
		f.Came(0, marshal(t, p))
	}
	stranger.SSRC = 778
	for _, p := range stranger.Frame(true) {
		f.Came(0, plain(p))
	}
	came(0, "strangers")
	if n := f.Dropped("unknown_layer") - drops; n != 6 {
		t.Errorf("%d packets were of no layer, want 6", n)
	}
	eventually(t, "all is decoded", func() bool {
		for _, s := range clients[0].Streams() {
			return s.Decoded.Frames >= 4 && s.Decoded.TimeFaults+s.Decoded.PictureFaults == 0
		}
		return false
	})
}

// repairOf is a retransmission that names its layer as browsers do.
func repairOf(t *testing.T, p *rtp.Packet, rid string) []byte {
	again := sfutest.Repair(p, 900, 1)
	again.Header.Extension, again.Header.Extensions = false, nil
	if err := again.SetExtension(6, []byte(rid)); err != nil {
		t.Fatal(err)
	}
	return marshal(t, again)
}

// Helpers turn viewers, too, when there are many.
func TestTurningAMultitude(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	const viewers = 700
	f, e, _ := fedWatched(t, "VP8", viewers)
	for turn, rid := range []string{"r0", "r2", "r1", "none", "r2"} {
		for i := range viewers {
			if err := f.Want(1+i, rid); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			e.frame(t, true)
			f.Pass(3 * time.Millisecond)
			f.Round()
		}
		want := []int{0, 0, 0}
		if rid != "none" {
			want[rid[1]-'0'] = viewers
		}
		if got := f.Watched(0); !slices.Equal(got, want) {
			t.Errorf("turn %d: the layers go to %v viewers, want %v", turn, got, want)
		}
	}
}
