package suite

import (
	"slices"
	"strconv"
	"strings"
)

// Load is one way of using a server, and the figures that matter then.
type Load struct {
	Name    string
	args    []string // of platform bench
	figures []figure
}

func (l Load) matches(only string) bool { return strings.Contains(l.Name, only) }

// Loads are those of the whole benchmark, or of a quick look.
func Loads(quick bool) []Load {
	if quick {
		return []Load{
			idle(40), video(50, 240), audio(1, 50), channels(5, 1, 10), joins(40, 4),
		}
	}
	return []Load{
		idle(100),
		video(100, 240), video(200, 240), video(300, 240),
		audio(1, 200), audio(5, 100),
		channels(20, 1, 10),
		joins(60, 4), joins(100, 50),
	}
}

// video is one publisher of VP8 at a rate of packets per second.
func video(viewers, rate int) Load {
	return Load{
		Name:    "video 1:" + strconv.Itoa(viewers) + ", " + strconv.Itoa(viewers*rate) + " packets/s",
		args:    args("viewers", viewers, "rate", rate, "joining", 25),
		figures: slices.Concat(forwarding, []figure{memoryViewer}),
	}
}

// audio is speakers of Opus in one channel.
func audio(speakers, viewers int) Load {
	return Load{
		Name:    "audio " + strconv.Itoa(speakers) + ":" + strconv.Itoa(viewers) + ", " + strconv.Itoa(50*speakers*viewers) + " packets/s",
		args:    append(args("publishers", speakers, "viewers", viewers, "joining", 25), "-audio"),
		figures: forwarding,
	}
}

// channels is many channels of publishers and viewers of VP8.
func channels(n, publishers, viewers int) Load {
	return Load{
		Name: strconv.Itoa(n) + " channels of video " + strconv.Itoa(publishers) + ":" + strconv.Itoa(viewers) + ", " +
			strconv.Itoa(n*publishers*viewers*240) + " packets/s",
		args:    args("channels", n, "publishers", publishers, "viewers", viewers, "joining", 25),
		figures: forwarding,
	}
}

// idle is viewers of a channel in which nobody publishes.
func idle(viewers int) Load {
	return Load{
		Name:    strconv.Itoa(viewers) + " idle viewers",
		args:    args("publishers", 0, "viewers", viewers, "joining", 25),
		figures: []figure{joinCPU, idleCPU, memoryViewer},
	}
}

// joins is viewers of a running video, so many at once.
func joins(viewers, atOnce int) Load {
	return Load{
		Name:    "joins, " + strconv.Itoa(atOnce) + " at once",
		args:    append(args("viewers", viewers, "joining", atOnce, "full", 0), "-warmup", "0s", "-duration", "100ms"),
		figures: []figure{joinP50, joinP99},
	}
}

// args are flags with numbers.
func args(pairs ...any) (all []string) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, "-"+pairs[i].(string), strconv.Itoa(pairs[i+1].(int)))
	}
	return all
}
