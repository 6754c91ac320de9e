package suite

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
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
		Name:    "video 1:4",
		args:    args("viewers", 4, "full", 0),
		figures: []figure{latencyP50, latencyP99, lost},
		ours:    true, duration: fairness,
	}
	smallBeside = Load{
		Name:    "video 1:4 beside 1:1000",
		args:    args("viewers", 4, "full", 0, "beside", 1000, "joining", 25),
		figures: []figure{latencyP50, latencyP99, lost, toolCores},
		ours:    true, duration: fairness,
	}
	flat10   = channels(100, 1, 10)
	flat100  = channels(10, 1, 100).onlyOurs()
	flat1000 = channels(1, 1, 1000).onlyOurs()
)

// fairness is how long the small channel is measured: its p99 needs packets.
const fairness = 3 * time.Second

// Loads are those of the whole benchmark, or of a quick look.
func Loads(quick bool) []Load {
	if quick {
		return []Load{
			idle(40), video(50, 240, 30), audio(1, 50), channels(5, 1, 10), joins(40, 4),
		}
	}
	return []Load{
		idle(100),
		video(10, 240, 30), video(100, 240, 30), video(200, 240, 30), video(300, 240, 30),
		megabit(1000),
		audio(1, 200), audio(5, 100),
		flat10, flat100, flat1000,
		channels(10, 10, 10),
		small, smallBeside,
		joins(60, 4), joins(100, 50),
	}
}

// video is one publisher of VP8 at a rate of packets per second.
func video(viewers, rate, fps int) Load {
	cpu := cpuPerPacket
	switch {
	case viewers*rate >= 60000:
		cpu.target = atMost(0.25).asRatio()
	case viewers >= 100:
		cpu.target = atMost(0.30).asRatio()
	}
	memory := memoryViewer
	memory.target = atMost(120)
	return Load{
		Name:    fmt.Sprintf("video 1:%d, %d packets/s", viewers, viewers*rate),
		args:    args("viewers", viewers, "rate", rate, "fps", fps, "joining", 25),
		figures: slices.Concat(forwarding(cpu), []figure{memory}),
	}
}

// megabit is one publisher of 1 Mbit/s, in 25 frames of 5 packets a second. The
// yardstick does not bear many viewers of it on one core.
func megabit(viewers int) Load {
	l := video(viewers, 125, 25).onlyOurs()
	l.Name = fmt.Sprintf("video 1:%d, 1 Mbit/s, %d packets/s", viewers, viewers*125)
	p99, none := latencyP99, lost
	p99.target, none.target = atMost(10), atMost(0)
	l.figures = []figure{cpuPerPacket, serverCores, trains, calls, latencyP50, p99, none, memoryViewer, joinP50, toolCores}
	return l
}

// onlyOurs is the load without the yardstick.
func (l Load) onlyOurs() Load {
	l.ours = true
	return l
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
		args:    append(args("publishers", speakers, "viewers", viewers, "joining", 25), "-audio"),
		figures: forwarding(cpu),
	}
}

// Of a publisher in many channels: 15 frames of 4 packets a second, so that the
// yardstick bears a hundred of them on one core.
const (
	modestRate   = 60
	modestFrames = 15
)

// channels is many channels of modest publishers and their viewers.
func channels(n, publishers, viewers int) Load {
	cpu := cpuPerPacket
	cpu.target = atMost(0.35).asRatio()
	name := fmt.Sprintf("%d channels of video %d:%d, %d packets/s", n, publishers, viewers, n*publishers*viewers*modestRate)
	if n == 1 {
		name = fmt.Sprintf("1 channel of video %d:%d, %d packets/s", publishers, viewers, publishers*viewers*modestRate)
	}
	return Load{
		Name: name,
		args: args("channels", n, "publishers", publishers, "viewers", viewers,
			"rate", modestRate, "fps", modestFrames, "joining", 25),
		figures: forwarding(cpu),
	}
}

// idle is viewers of a channel in which nobody publishes.
func idle(viewers int) Load {
	join, rest, memory := joinCPU, idleCPU, memoryViewer
	join.target, rest.target, memory.target = atMost(1.5), atMost(50), atMost(120)
	return Load{
		Name:    strconv.Itoa(viewers) + " idle viewers",
		args:    args("publishers", 0, "viewers", viewers, "joining", 25),
		figures: []figure{join, rest, memory},
	}
}

// joins is viewers of a running video, so many at once.
func joins(viewers, atOnce int) Load {
	p50 := joinP50
	p50.target = atMost(100)
	return Load{
		Name:     "joins, " + strconv.Itoa(atOnce) + " at once",
		args:     append(args("viewers", viewers, "joining", atOnce, "full", 0), "-warmup", "0s"),
		figures:  []figure{p50, joinP99},
		duration: 100 * time.Millisecond,
	}
}

// args are flags with numbers.
func args(pairs ...any) (all []string) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, "-"+pairs[i].(string), strconv.Itoa(pairs[i+1].(int)))
	}
	return all
}
