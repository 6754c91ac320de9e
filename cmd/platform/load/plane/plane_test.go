package plane_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/hibari/hibari/cmd/platform/load/plane"
)

// What is measured was really forwarded, and costs something.
func TestMeasures(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // only Linux says what a process has used
	}
	for name, measure := range map[string]func() (plane.Result, error){
		"channels": func() (plane.Result, error) {
			return plane.Run(t.Context(), plane.Config{Channels: 3, Viewers: 4, Duration: 300 * time.Millisecond})
		},
		"kernel": func() (plane.Result, error) { return plane.Kernel(t.Context(), 100*time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := measure()
			if err != nil {
				t.Fatal(err)
			}
			if r.Cores != runtime.GOMAXPROCS(0) || r.Packets < 100 || r.CPU <= 0 || r.PerSecond <= 0 || r.PerCPUSecond <= 0 || r.TrainLength < 1 {
				t.Errorf("measured %+v", r)
			}
		})
	}
}
