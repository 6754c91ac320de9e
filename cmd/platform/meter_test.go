package main

import (
	"slices"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/sfu"
)

// Whatever the ticks are like, each minute of each connection is marked within
// the tick that follows it, and between the minutes nothing is.
func TestMarksAreMadeOnceAMinute(t *testing.T) {
	start := map[string]time.Duration{"a": 0, "b": 20 * time.Second, "c": 59*time.Second + 999*time.Millisecond}
	told := map[string]int{}
	var now time.Duration
	for i := range 400 {
		since := time.Duration(1+i%7) * 333 * time.Millisecond // a slow database makes ticks late
		now += since
		var live []sfu.ConnectionInfo
		for id, from := range start {
			live = append(live, sfu.ConnectionInfo{ConnectionID: id, Connected: now - from})
		}
		for _, mark := range marks(live, since, false) {
			told[mark.ConnectionID]++
			if late := mark.Connected % time.Minute; late >= since {
				t.Fatalf("%s was marked %s after its minute, in a tick of %s", mark.ConnectionID, late, since)
			}
		}
		for id, from := range start {
			if want := int(max(0, now-from) / time.Minute); told[id] != want {
				t.Fatalf("%s was marked %d times in %s, want %d", id, told[id], now-from, want)
			}
		}
	}
}

func TestMarksOfAllAreOfThoseWithMedia(t *testing.T) {
	got := marks([]sfu.ConnectionInfo{
		{ConnectionID: "joining"},
		{ConnectionID: "young", Connected: time.Millisecond, BytesIn: 1, BytesOut: 2},
		{ConnectionID: "old", Connected: time.Hour + time.Second},
	}, time.Second, true)
	want := []billing.Mark{{ConnectionID: "young", Connected: time.Millisecond, BytesIn: 1, BytesOut: 2}, {ConnectionID: "old", Connected: time.Hour + time.Second}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
