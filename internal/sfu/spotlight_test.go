package sfu_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
)

const (
	loud    = 30  // −30 dBov: speech
	silence = 127 // −127 dBov
	absent  = -1  // nothing is sent
)

// act plays what everybody says for a while, and calls see after each look.
func act(s *sfu.Stage, levels []int, d time.Duration, see func(changed []int)) {
	for end := s.Now() + d; s.Now() < end; {
		s.Hear(levels)
		if s.Now()%sfu.SpotlightPause == 0 {
			changed := s.Look()
			if see != nil {
				see(changed)
			}
		}
	}
}

func focused(s *sfu.Stage, n int) (who []int) {
	for i := range n {
		if s.Focused(i) {
			who = append(who, i)
		}
	}
	return who
}

func TestSpotlightFollowsWhoSpeaks(t *testing.T) {
	s := sfu.NewStage(1, 3)
	expect := func(when string, want ...int) {
		t.Helper()
		if got := focused(s, 3); !slices.Equal(got, want) {
			t.Errorf("%s: %v in focus, want %v", when, got, want)
		}
	}
	act(s, []int{silence, silence, absent}, time.Second, nil)
	expect("all silent")

	began, heardAfter := s.Now(), time.Duration(-1)
	act(s, []int{silence, loud, absent}, 300*time.Millisecond, func([]int) {
		if s.Audible(1) && heardAfter < 0 {
			heardAfter = s.Now() - began
		}
	})
	if heardAfter < 0 || heardAfter > 100*time.Millisecond {
		t.Errorf("a speaker is heard after %s", heardAfter)
	}
	expect("a short word")
	act(s, []int{silence, loud, absent}, 500*time.Millisecond, nil)
	expect("speaking on", 1)

	act(s, []int{loud, loud, absent}, time.Second, nil)
	expect("an interjection", 1)
	if !s.Audible(0) {
		t.Error("the interjection is not heard")
	}
	act(s, []int{loud, loud, absent}, sfu.FocusTake, nil)
	expect("the other one speaks on and on", 0)
	act(s, []int{loud, loud, absent}, 10*time.Second, nil)
	expect("both at once", 0) // and not to and fro

	act(s, []int{silence, silence, silence}, time.Second, nil)
	act(s, []int{silence, silence, loud}, time.Second, nil)
	expect("a third one", 2)
	act(s, []int{silence, silence, absent}, sfu.FocusIdle-time.Second, nil)
	expect("a long pause", 2)
	if s.Audible(0) || s.Audible(1) || !s.Audible(2) {
		t.Error("it is not only who is in focus that is heard")
	}
	act(s, []int{silence, silence, absent}, 2*time.Second, nil)
	expect("a longer pause")
	if s.Audible(2) {
		t.Error("who lost the focus by silence is heard on")
	}
}

// Pauses between words and sentences take nobody's voice or focus.
func TestSpotlightBearsPauses(t *testing.T) {
	s := sfu.NewStage(1, 2)
	for i := range 40 {
		act(s, []int{loud, silence}, 300*time.Millisecond, nil)
		act(s, []int{silence, silence}, 200*time.Millisecond, func([]int) {
			if i > 0 && !s.Audible(0) {
				t.Fatal("cut between two words")
			}
			if i > 2 && !s.Focused(0) {
				t.Fatal("out of focus between two words")
			}
		})
	}
}

// Short words with longer pauses between them are speech, too; single ones, far
// apart, are not.
func TestSpotlightKnowsShortWords(t *testing.T) {
	for _, test := range []struct {
		pause time.Duration
		want  bool
	}{{400 * time.Millisecond, true}, {1500 * time.Millisecond, false}} {
		s := sfu.NewStage(1, 1)
		for range 8 {
			act(s, []int{45}, 100*time.Millisecond, nil) // just loud enough
			act(s, []int{silence}, test.pause, nil)
		}
		if s.Focused(0) != test.want {
			t.Errorf("words every %s: in focus is %v", test.pause, s.Focused(0))
		}
	}
}

// A crowd that makes noise is not all heard, but who speaks is.
func TestSpotlightLimitsVoices(t *testing.T) {
	s := sfu.NewStage(2, 20)
	levels := slices.Repeat([]int{loud}, 20)
	act(s, levels, 5*time.Second, func([]int) {
		voices := 0
		for i := range 20 {
			if s.Audible(i) {
				voices++
			}
		}
		if voices > 2*2+sfu.VoicesBeside {
			t.Fatalf("%d voices are heard", voices)
		}
	})
	if n := len(focused(s, 20)); n != 2 {
		t.Errorf("%d are in focus, want 2", n)
	}
}

// Whatever everybody says: never more in focus than there are places, nobody who
// is in focus is not heard, nobody leaves too soon, nobody comes or stays by
// silence, and who speaks on for long is heard and in focus if places are free.
func TestSpotlightHoldsItsPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		places, n := rapid.IntRange(1, 4).Draw(rt, "places"), rapid.IntRange(1, 6).Draw(rt, "speakers")
		s := sfu.NewStage(places, n)
		in, since := make([]bool, n), make([]time.Duration, n)
		spoke, began := make([]time.Duration, n), make([]time.Duration, n)
		ever := make([]bool, n)
		for range rapid.IntRange(1, 25).Draw(rt, "scenes") {
			levels := rapid.SliceOfN(rapid.SampledFrom([]int{absent, silence, 70, 45, loud, 10, 128 + loud}), n, n).Draw(rt, "levels")
			length := time.Duration(rapid.IntRange(1, 80).Draw(rt, "length")) * 50 * time.Millisecond
			for i, l := range levels {
				switch speaks := l >= 0 && l&127 <= 45; {
				case !speaks:
					began[i] = -1
				case began[i] < 0:
					began[i] = s.Now()
					fallthrough
				default:
					spoke[i], ever[i] = s.Now(), true
				}
			}
			act(s, levels, length, func(changed []int) {
				now, count := s.Now(), 0
				for i := range n {
					speaks := levels[i] >= 0 && levels[i]&127 <= 45
					if speaks {
						spoke[i], ever[i] = now, true
					}
					was := in[i]
					in[i] = s.Focused(i)
					if was != in[i] && !slices.Contains(changed, i) {
						rt.Fatalf("the change of %d is not told", i)
					}
					switch {
					case in[i] && !was:
						if !ever[i] {
							rt.Fatalf("%d came into focus by silence", i)
						}
						since[i] = now
					case was && !in[i] && now-since[i] < sfu.FocusHold:
						rt.Fatalf("%d was in focus for %s only", i, now-since[i])
					}
					if in[i] {
						count++
						if !s.Audible(i) {
							rt.Fatalf("%d is in focus and not heard", i)
						}
						if now-spoke[i] > sfu.FocusIdle+3*time.Second {
							rt.Fatalf("%d is in focus after %s of silence", i, now-spoke[i])
						}
					}
					if speaks && began[i] >= 0 && now-began[i] > sfu.FocusDelay+400*time.Millisecond && !in[i] && len(focused(s, n)) < places {
						rt.Fatalf("%d speaks for %s and is not in focus", i, now-began[i])
					}
				}
				if count > places {
					rt.Fatalf("%d in %d places", count, places)
				}
			})
		}
	})
}

// Nothing of it allocates, not even when the focus changes.
func TestSpotlightDoesNotAllocate(t *testing.T) {
	s := sfu.NewStage(1, 3)
	turns := [][]int{{loud, silence, silence}, {silence, loud, absent}}
	act(s, turns[0], 3*time.Second, nil)
	act(s, turns[1], 3*time.Second, nil)
	i := 0
	if n := testing.AllocsPerRun(20, func() {
		for end := s.Now() + 3*time.Second; s.Now() < end; {
			s.Hear(turns[i%2])
			if s.Now()%sfu.SpotlightPause == 0 {
				s.Decide()
			}
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations in 3 s of speech", n)
	}
	if got := focused(s, 3); len(got) != 1 {
		t.Errorf("%v in focus", got)
	}
}

func BenchmarkSpotlightHeard(b *testing.B) {
	s := sfu.NewStage(1, 1)
	b.ReportAllocs()
	for i := range b.N {
		s.Heard(0, uint8(i))
	}
}
