package webhooks

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBreakerModel walks the breaker through results at random times and holds it
// against a model that remembers everything.
func TestBreakerModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := breaker{state: Closed}
		now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
		var began, latest time.Time // of the failures since the last success, as they really were
		late := b                   // an earlier state, which stragglers were claimed in
		for range rapid.IntRange(1, 60).Draw(t, "results") {
			now = now.Add(time.Duration(rapid.Int64Range(1, int64(60*time.Hour)).Draw(t, "later") >> rapid.IntRange(0, 40).Draw(t, "soon")))
			spread := rapid.Float64Range(0, 1).Draw(t, "spread")
			r := trial{
				ok:      rapid.IntRange(0, 9).Draw(t, "of ten") == 0,
				epoch:   b.epoch,
				probe:   b.state == Open && !now.Before(b.until),
				tripped: rapid.Bool().Draw(t, "tripped"),
			}
			if rapid.IntRange(0, 3).Draw(t, "straggler") == 0 {
				r.epoch, r.probe = late.epoch, late.state == Open
			}
			r.gone = !r.ok && rapid.IntRange(0, 40).Draw(t, "gone") == 0
			current := r.epoch == b.epoch
			before := b
			var c consequence
			b, c = b.after(r, now, spread)

			if (b.state == Closed) != b.until.IsZero() || (b.state == Closed) != b.openedAt.IsZero() || b.state == Closed && b.probes != 0 {
				t.Fatalf("a state that cannot be: %+v", b)
			}
			if b.state != before.state && b.epoch == before.epoch {
				t.Fatalf("%s to %s within an epoch", before.state, b.state)
			}
			if !c.changed && (b.state != before.state || b.epoch != before.epoch || !b.until.Equal(before.until) || !b.failingSince.Equal(before.failingSince)) {
				t.Fatalf("changed and not written: %+v, %+v", before, b)
			}
			if r.ok {
				began, latest = time.Time{}, time.Time{}
				if wantClosed := before.state == Closed || r.probe && current; wantClosed != (b.state == Closed) || c.disable != "" || !b.failingSince.IsZero() {
					t.Fatalf("after a success (probe %v, current %v): %+v, %+v", r.probe, current, b, c)
				}
				continue
			}
			// Between the two the row cannot tell: it knows the latest failure to the hour.
			certain := latest.IsZero() || now.Sub(latest) > quietAfter || now.Sub(latest) <= quietAfter-failureNoted
			if began.IsZero() || now.Sub(latest) > quietAfter {
				began = now
			} else if !certain {
				began = b.failingSince
			}
			latest = now
			wantDisabled := ""
			switch {
			case r.gone:
				wantDisabled = DisabledGone
			case now.Sub(began) >= DisableAfter:
				wantDisabled = DisabledFailing
			}
			if !b.failingSince.Equal(began) || c.disable != wantDisabled {
				t.Fatalf("failing since %v and disable %q; want %v, %q", b.failingSince, c.disable, began, wantDisabled)
			}
			switch {
			case c.disable != "":
				if b.state != Closed {
					t.Fatalf("disabled and %s", b.state)
				}
				b.failingSince, b.failedAt, began, latest = time.Time{}, time.Time{}, time.Time{}, time.Time{} // enabled by hand
			case before.state == Closed:
				if wantOpen := r.tripped && current; wantOpen != (b.state == Open) {
					t.Fatalf("tripped %v, current %v: %+v", r.tripped, current, b)
				}
			case r.probe && current:
				if b.state != Open || b.probes != before.probes+1 || !b.openedAt.Equal(before.openedAt) {
					t.Fatalf("after a failed probe: %+v", b)
				}
			default:
				if b.state != Open || !b.until.Equal(before.until) {
					t.Fatalf("a straggler moved the breaker: %+v to %+v", before, b)
				}
			}
			if moved := b.state == Open && b.epoch != before.epoch; moved {
				step := min(30*time.Second<<min(b.probes, 10), time.Hour)
				if wait := b.until.Sub(now); wait < step*8/10 || wait > step*12/10 {
					t.Fatalf("probe %d after %v, want %v within a fifth", b.probes, wait, step)
				}
			}
			if r.probe && c.disable == "" && b.state == Open && now.Add(c.hold).Before(b.until) {
				t.Fatalf("the probe's delivery is due after %v, before the next probe at %v", c.hold, b.until)
			}
			if rapid.Bool().Draw(t, "remember") {
				late = b
			}
		}
	})
}

func TestProbesBecomeRarer(t *testing.T) {
	for failed, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		if got := probeWait(failed, 0, 0.5); got != want {
			t.Errorf("after %d failed probes: %v, want %v", failed, got, want)
		}
	}
	if got := probeWait(1000, 0, 0.5); got != time.Hour {
		t.Errorf("after a thousand: %v", got)
	}
	if got := probeWait(0, 45*time.Second, 0.5); got != 45*time.Second {
		t.Errorf("Retry-After of 45 s: %v", got)
	}
	if got := probeWait(0, time.Hour, 0.5); got != time.Minute {
		t.Errorf("Retry-After of an hour: %v", got)
	}
}

func TestStrain(t *testing.T) {
	type step struct {
		after    time.Duration
		delivery string
		ok       bool
	}
	fail := func(after time.Duration, delivery string) step { return step{after, delivery, false} }
	many := func(n int, every time.Duration, rate int) (steps []step) { // one in rate succeeds; 0: none
		for i := range n {
			steps = append(steps, step{every, fmt.Sprint(i), rate > 0 && i%rate == rate-1})
		}
		return steps
	}
	for name, c := range map[string]struct {
		steps []step
		want  int // trips with this step, from 1; 0: never
	}{
		"five in a row":              {[]step{fail(0, "a"), fail(3*time.Second, "b"), fail(3*time.Second, "c"), fail(3*time.Second, "d"), fail(3*time.Second, "e")}, 5},
		"a moment's trouble":         {many(100, 90*time.Millisecond, 0), 0},
		"one event it won't have":    {[]step{fail(0, "a"), fail(5*time.Second, "a"), fail(30*time.Second, "a"), fail(2*time.Minute, "a"), fail(10*time.Minute, "a"), fail(time.Hour, "a")}, 0},
		"two of them":                {[]step{fail(0, "a"), fail(5*time.Second, "b"), fail(30*time.Second, "a"), fail(2*time.Minute, "b"), fail(10*time.Minute, "a"), fail(time.Hour, "b")}, 0},
		"one success in four":        {many(200, time.Second, 4), 0},
		"one success in five":        {many(200, time.Second, 5), 21},
		"a success ends a row":       {[]step{fail(0, "a"), fail(20*time.Second, "b"), fail(0, "c"), fail(0, "d"), {0, "e", true}, fail(0, "f"), fail(0, "g")}, 0},
		"what was long ago is gone":  {append(many(15, time.Second, 5), append([]step{{10 * time.Minute, "x", true}}, many(4, 4*time.Second, 5)...)...), 0},
		"seldom, but always":         {[]step{fail(0, "a"), fail(time.Hour, "b"), fail(time.Hour, "c"), fail(time.Hour, "d"), fail(time.Hour, "e")}, 5},
		"a flood with few successes": {many(2000, 10*time.Millisecond, 50), 1001},
	} {
		t.Run(name, func(t *testing.T) {
			var s strain
			now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
			got := 0
			for i, step := range c.steps {
				now = now.Add(step.after)
				if s.add(7, step.delivery, step.ok, now) && got == 0 {
					got = i + 1
				}
			}
			if got != c.want {
				t.Errorf("trips with step %d, want %d", got, c.want)
			}
			if s.add(8, "new", false, now) {
				t.Error("trips with the first failure after the breaker has moved")
			}
		})
	}
}
