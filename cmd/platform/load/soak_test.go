package load

import (
	"strings"
	"testing"
)

// A soak fails for what grows, what is lost and what is dropped without a good
// reason, and only for that.
func TestSoakJudges(t *testing.T) {
	steady := func(n float64) (all []float64) {
		for i := range 30 {
			all = append(all, n+float64(i%5)*n/20) // a garbage collector's saw
		}
		return all
	}
	growing := func(n float64) (all []float64) {
		for i, v := range steady(n) {
			all = append(all, v*(1+float64(i)/30))
		}
		return all
	}
	for name, one := range map[string]struct {
		log    soakLog
		report Report
		want   string // of the only failure; "": none
	}{
		"healthy": {
			soakLog{heap: steady(40), goroutines: steady(500)},
			Report{PacketsExpected: 1000, Dropped: map[string]float64{"awaiting_key_frame": 12, "no_peer": 3}}, "",
		},
		"leaking memory": {soakLog{heap: growing(40), goroutines: steady(500)}, Report{}, "MB of heap grew"},
		"leaking goroutines": {
			soakLog{heap: steady(40), goroutines: growing(500)}, Report{}, "goroutines grew",
		},
		"losing":    {soakLog{heap: steady(40), goroutines: steady(500)}, Report{PacketsLost: 1, PacketsExpected: 1000}, "lost 1 packets of 1000"},
		"repeating": {soakLog{heap: steady(40), goroutines: steady(500)}, Report{PacketsTwice: 2}, "2 packets came twice"},
		"dropping": {
			soakLog{heap: steady(40), goroutines: steady(500)}, Report{Dropped: map[string]float64{"socket_full": 7}}, "dropped 7 packets: socket full",
		},
	} {
		got := one.log.judge(one.report)
		if one.want == "" && len(got) != 0 || one.want != "" && (len(got) != 1 || !strings.Contains(got[0], one.want)) {
			t.Errorf("%s: failures %q, want %q", name, got, one.want)
		}
	}
}
