package suite

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
)

// Load is one way of using a server, and the figures that matter then.
type Load struct {
	Name     string   `json:"name"`
	args     []string // of platform bench
	figures  []figure
	ours     bool          // not for the yardstick, which could not bear it or has nothing to compare
	duration time.Duration // of the measurement; 0: as for all
}

func (l Load) matches(only string) bool { return strings.Contains(l.Name, only) }

// The loads that comparisons need.
var (
	small = Load{
		Name:    "video 1:4, 960 packets/s",
		args:    args("viewers", 4, "full", 0),
		figures: []figure{latencyP50, latencyP99, lost},
		ours:    true, duration: thousandTime,
	}
	thousand = megabit(1000)
	flat10   = spread(100, 10)
	flat100  = spread(10, 100)
	flat1000 = spread(1, 1000)
)

// thousandTime is how long a small channel is measured, alone and beside a large
// one: its p99 needs packets.
const thousandTime = 4 * time.Second

// Loads are those of the whole benchmark, or of a quick look.
func Loads(quick bool) []Load {
	if quick {
		return []Load{
			idle(40), video(50, 4), audio(1, 50), channels(5, 1, 10),
		}
	}
	return []Load{
		idle(100),
		video(10, usualJoining), video(100, 4), video(200, 50), video(300, usualJoining),
		audio(1, 200), audio(5, 100),
		channels(10, 10, 10), channels(100, 1, 10),
		flat10, flat100, flat1000,
		small, thousand,
	}
}

// video is one publisher of VP8, in 30 frames of 8 packets a second, whose
// viewers join so many at once.
func video(viewers, joining int) Load {
	cpu, memory := cpuPerPacket, memoryViewer
	memory.target = atMost(120)
	switch {
	case viewers*videoRate >= 60000:
		cpu.target = atMost(0.25).asRatio()
	case viewers >= 100:
		cpu.target = atMost(0.30).asRatio()
	}
	figures := forwarding(cpu)
	if viewers >= 100 { // of a few, the server's own growth would be counted
		figures = append(figures, memory)
	}
	if joining != usualJoining {
		p50, p99 := joinP50, joinP99
		p50.name += fmt.Sprintf(", %d at once", joining)
		p99.name += fmt.Sprintf(", %d at once", joining)
		p50.target = atMost(100)
		figures = append(figures, p50, p99)
	}
	return Load{
		Name:    fmt.Sprintf("video 1:%d, %d packets/s", viewers, viewers*videoRate),
		args:    args("viewers", viewers, "rate", videoRate, "fps", 30, "joining", joining),
		figures: figures,
	}
}

const (
	videoRate    = 240 // packets per second of a publisher
	usualJoining = 25  // how many clients join at once where that is not measured
)

// megabit is one publisher of 1 Mbit/s with many viewers, more than the
// yardstick bears on one core, and a small channel beside it.
func megabit(viewers int) Load {
	of := func(f figure, of func(load.Beside) float64) figure {
		f.of = func(r load.Report) float64 { return of(*r.Beside) }
		return f
	}
	none := of(lost, func(b load.Beside) float64 { return 100 * b.LostRatio })
	p50 := of(latencyP50, func(b load.Beside) float64 { return b.LatencyP50 })
	p99 := of(latencyP99, func(b load.Beside) float64 { return b.LatencyP99 })
	none.target, p99.target = atMost(0), atMost(10)
	other := latencyP99
	other.name += " of a channel 1:4 beside it"
	return Load{
		Name:    fmt.Sprintf("video 1:%d of 1 Mbit/s, %d packets/s", viewers, viewers*120),
		args:    append(args("viewers", 4, "full", 0, "beside", viewers, "joining", usualJoining), "-warmup", "2s"),
		figures: []figure{cpuPerPacket, trains, calls, p50, p99, none, serverCores, toolCores, memoryViewer, other},
		ours:    true, duration: thousandTime,
	}
}

// spread is the same number of packets to the same number of viewers in many
// channels or in few, of publishers as those of video: more than the yardstick
// bears on one core.
func spread(n, viewers int) Load {
	channels := "channels"
	if n == 1 {
		channels = "channel"
	}
	return Load{
		Name: fmt.Sprintf("%d %s of video 1:%d, %d packets/s", n, channels, viewers, n*viewers*videoRate),
		args: append(args("channels", n, "viewers", viewers, "rate", videoRate, "fps", 30, "joining", usualJoining),
			"-warmup", "5s"), // the histories are full then, and nothing grows any more
		figures: forwarding(cpuPerPacket),
		ours:    true,
	}
}

// audio is speakers of Opus in one channel.
func audio(speakers, viewers int) Load {
	cpu := cpuPerPacket
	cpu.target = atMost(0.60).asRatio()
	if speakers >= 5 {
		cpu.target = atMost(0.45).asRatio()
	}
	return Load{
		Name:    fmt.Sprintf("audio %d:%d, %d packets/s", speakers, viewers, 50*speakers*viewers),
		args:    append(args("publishers", speakers, "viewers", viewers, "joining", usualJoining), "-audio"),
		figures: forwarding(cpu),
	}
}

// Of a publisher in many channels: 12 frames of 4 packets a second, so that the
// yardstick bears a hundred of them on one core, nearly all packets of them.
const (
	modestRate   = 48
	modestFrames = 12
)

// channels is many channels of modest publishers and their viewers.
func channels(n, publishers, viewers int) Load {
	cpu := cpuPerPacket
	cpu.target = atMost(0.35).asRatio()
	return Load{
		Name: fmt.Sprintf("%d channels of video %d:%d, %d packets/s", n, publishers, viewers, n*publishers*viewers*modestRate),
		args: args("channels", n, "publishers", publishers, "viewers", viewers,
			"rate", modestRate, "fps", modestFrames, "joining", usualJoining),
		figures: forwarding(cpu),
	}
}

// idle is viewers of a channel in which nobody publishes.
func idle(viewers int) Load {
	join, rest, memory := joinCPU, idleCPU, memoryViewer
	join.target, rest.target, memory.target = atMost(1.5), atMost(50), atMost(120)
	return Load{
		Name:    strconv.Itoa(viewers) + " idle viewers",
		args:    args("publishers", 0, "viewers", viewers, "joining", usualJoining),
		figures: []figure{join, rest, memory},
	}
}

// args are flags with numbers.
func args(pairs ...any) (all []string) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, "-"+pairs[i].(string), strconv.Itoa(pairs[i+1].(int)))
	}
	return all
}
