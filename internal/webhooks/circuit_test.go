package webhooks_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/webhooks"
)

// Whatever questions are asked and however late they end: a circuit opens after so
// many failures in a row of questions asked since it last changed, and no sooner;
// while it is open one question a second is asked; any answer closes it.
func TestCircuit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c webhooks.Circuit
		now := time.Unix(0, 0)
		turn, since := int64(0), int64(0)
		failures, open := 0, false
		lastProbe := now
		var asked []int64 // the turns of questions under way
		steps := map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond)
			},
			"a client comes": func(t *rapid.T) {
				admitted := c.Admit(now)
				want := !open || now.Sub(lastProbe) >= webhooks.CircuitProbe
				if admitted != want {
					t.Fatalf("admitted %v, want %v", admitted, want)
				}
				if admitted {
					asked = append(asked, turn)
				}
				if open && admitted {
					lastProbe = now
				}
			},
			"one ends": func(t *rapid.T) {
				if len(asked) == 0 {
					t.Skip("nobody asks")
				}
				i := rapid.IntRange(0, len(asked)-1).Draw(t, "which")
				begun, failed := asked[i], rapid.IntRange(0, 3).Draw(t, "answer") > 0
				asked = append(asked[:i], asked[i+1:]...)
				was := open
				switch {
				case !failed:
					open, failures = false, 0
				case !open && begun >= since:
					if failures++; failures == webhooks.CircuitFailures {
						open, failures, lastProbe = true, 0, now
					}
				}
				changed := c.Settle(now, begun, turn+1, failed)
				if changed != (was != open) {
					t.Fatalf("changed %v, open %v → %v", changed, was, open)
				}
				if changed {
					turn++
					since = turn
				}
			},
			"": func(t *rapid.T) {
				if c.Open() != open {
					t.Fatalf("open %v, want %v", c.Open(), open)
				}
			},
		}
		t.Repeat(steps)
	})
}
