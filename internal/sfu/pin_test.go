package sfu_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Who is fixed stays in focus whoever speaks, and there are never more in focus than
// places, whatever the server decides in whatever order.
func TestSpotlightThatTheServerDecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const speakers = 5
		places := rapid.IntRange(1, 3).Draw(t, "places")
		s := sfu.NewStage(places, speakers)
		fixed := map[int]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"speak": func(t *rapid.T) {
				levels := rapid.SliceOfN(rapid.SampledFrom([]int{loud, silence, absent}), speakers, speakers).Draw(t, "levels")
				act(s, levels, time.Duration(rapid.IntRange(1, 15).Draw(t, "s"))*time.Second, nil)
			},
			"pin": func(t *rapid.T) {
				i, fix := rapid.IntRange(0, speakers-1).Draw(t, "who"), rapid.Bool().Draw(t, "fixed")
				err := s.Pin(i, fix)
				if full := len(fixed) >= places && !s.Focused(i); full != errors.Is(err, sfu.ErrAllFixed) {
					t.Fatalf("%d fixed of %d places: %v", len(fixed), places, err)
				}
				if err == nil {
					delete(fixed, i)
					if fix {
						fixed[i] = true
					}
					if !s.Focused(i) {
						t.Fatal("it is not in focus")
					}
				}
			},
			"unpin": func(t *rapid.T) {
				i := rapid.IntRange(0, speakers-1).Draw(t, "who")
				s.Unpin(i)
				delete(fixed, i)
				if s.Focused(i) {
					t.Fatal("it is in focus")
				}
			},
			"resize": func(t *rapid.T) {
				places = rapid.IntRange(1, 4).Draw(t, "places")
				s.Resize(places)
				if len(fixed) > places {
					fixed = map[int]bool{}
					for i := range speakers {
						if s.Fixed(i) {
							fixed[i] = true
						}
					}
					if len(fixed) != places {
						t.Fatalf("%d are fixed in %d places", len(fixed), places)
					}
				}
			},
			"": func(t *rapid.T) {
				if n := len(focused(s, speakers)); n > places {
					t.Fatalf("%d are in focus of %d", n, places)
				}
				for i := range fixed {
					if !s.Focused(i) || !s.Fixed(i) {
						t.Fatalf("%d was fixed and has lost it", i)
					}
				}
			},
		})
	})
}

// The server brings publishers into focus and takes them out, and everybody in the
// spotlight is told.
func TestFocusByTheServer(t *testing.T) {
	s := newSFU(t)
	light := func(r *sfu.JoinRequest) { r.Spotlight = &sfu.Spotlight{} }
	first, second := publish(t, s, av, light), publish(t, s, av, light)
	v := view(t, s, light)
	eventually(t, "it hears of the publishers", func() bool { return len(v.Signals(sfu.SignalNotify)) > 0 })
	told := func(event string, id string, fixed bool, number int) {
		t.Helper()
		eventually(t, event+" is told", func() bool {
			for _, signal := range v.Signals(sfu.SignalNotify) {
				n := signal.Notify
				d, ok := n.Details.(*sfu.SpotlightChange)
				if ok && n.EventType == event && n.Subject.ConnectionID == id && d.Fixed == fixed && d.Number == number {
					return true
				}
			}
			return false
		})
	}
	if err := first.Connection.Focus(true); err != nil {
		t.Fatal(err)
	}
	told("spotlight.focused", first.Connection.ID(), true, 1)
	if err := second.Connection.Focus(false); !errors.Is(err, sfu.ErrAllFixed) {
		t.Fatal(err)
	}
	if err := s.SetSpotlightNumber(acme, room, 2); err != nil {
		t.Fatal(err)
	}
	if err := second.Connection.Focus(false); err != nil {
		t.Fatal(err)
	}
	told("spotlight.focused", second.Connection.ID(), false, 2)
	if err := first.Connection.Unfocus(); err != nil {
		t.Fatal(err)
	}
	told("spotlight.unfocused", first.Connection.ID(), false, 2)
	if err := v.Connection.Focus(false); !errors.Is(err, sfu.ErrNoSpotlight) {
		t.Errorf("a viewer: %v", err)
	}
	for _, n := range []int{0, tenant.MaxSpotlightNumber + 1} {
		if err := s.SetSpotlightNumber(acme, room, n); !errors.Is(err, sfu.ErrBadNumber) {
			t.Errorf("%d: %v", n, err)
		}
	}
	if err := s.SetSpotlightNumber("other", room, 2); !errors.Is(err, sfu.ErrNoChannel) {
		t.Errorf("another tenant: %v", err)
	}
}
