package ui

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/stats"
)

// From when on a connection is not good any more (docs/statistics.md): the part of
// the packets that are lost, the round trip, the jitter, the standing picture.
const (
	fairLoss, poorLoss     = 0.01, 0.05
	fairTrip, poorTrip     = 200 * time.Millisecond, 400 * time.Millisecond
	fairJitter, poorJitter = 30 * time.Millisecond, 60 * time.Millisecond
	fairFrozen, poorFrozen = 0.05, 0.20 // the part of the time that its picture stood still, as it told
)

// quality is how a connection does, in a word; "": nothing is known of it.
type quality string

const (
	good quality = "good"
	fair quality = "fair"
	poor quality = "poor"
)

// kind is the badge's.
func (q quality) kind() string {
	return map[quality]string{good: "good", fair: "warn", poor: "bad"}[q]
}

// condition is some intervals in a few figures.
type condition struct {
	span       time.Duration
	loss       float64
	lossKnown  bool
	trip       time.Duration // the newest; 0: not known
	jitter     time.Duration // the largest of the newest; 0: not known
	in, out    float64       // bit/s
	dropped    int64         // frames that were not sent to it
	freezes    int64         // that the client told of
	frozen     time.Duration
	told       time.Duration // the time that it told this of
	limitation string        // the client's; "": none
}

// conditionOf sums intervals up, the oldest first.
func conditionOf(intervals []stats.Interval) (g condition) {
	var in, out int64
	flows := stats.Interval{}
	for _, i := range intervals {
		g.span += i.Span
		in += i.In.Audio.Bytes + i.In.Video.Bytes
		out += i.Out.Audio.Bytes + i.Out.Video.Bytes
		flows.In.Audio.Lost += i.In.Audio.Lost + i.In.Video.Lost + i.Out.Audio.Lost + i.Out.Video.Lost
		flows.In.Audio.Expected += i.In.Audio.Expected + i.In.Video.Expected + i.Out.Audio.Expected + i.Out.Video.Expected
		if trip := tripOf(i); trip > 0 {
			g.trip = trip
		}
		g.jitter = max(i.In.Audio.Jitter, i.In.Video.Jitter, i.Out.Audio.Jitter, i.Out.Video.Jitter)
		g.dropped += i.Out.Video.FramesDropped
		if c := i.Client; c != nil {
			g.freezes += c.Freezes
			g.frozen += c.Frozen
			g.told += c.Span
			g.limitation = c.Limitation.String()
		}
	}
	g.in, g.out = stats.Rate(in, g.span), stats.Rate(out, g.span)
	g.loss, g.lossKnown = stats.Loss(flows.In.Audio)
	return g
}

// tripOf is the round trip: by RTCP or, of who is sent nothing, by the client's own.
func tripOf(i stats.Interval) time.Duration {
	if i.RTT > 0 || i.Client == nil {
		return i.RTT
	}
	return i.Client.RTT
}

// quality judges.
func (g condition) quality() quality {
	switch {
	case g.span == 0 || !g.lossKnown && g.trip == 0 && g.jitter == 0:
		return ""
	case g.loss >= poorLoss || g.trip >= poorTrip || g.jitter >= poorJitter || g.standing() >= poorFrozen:
		return poor
	case g.loss >= fairLoss || g.trip >= fairTrip || g.jitter >= fairJitter || g.standing() >= fairFrozen:
		return fair
	}
	return good
}

// standing is the part of the time that its picture stood still.
func (g condition) standing() float64 {
	if g.told <= 0 {
		return 0
	}
	return float64(g.frozen) / float64(g.told)
}

// figures are what the word stands for, in words.
func (g condition) figures() string {
	var list []string
	if g.lossKnown {
		list = append(list, "loss "+percent(g.loss))
	}
	if g.trip > 0 {
		list = append(list, "round trip "+millis(g.trip))
	}
	if g.jitter > 0 {
		list = append(list, "jitter "+millis(g.jitter))
	}
	return strings.Join(list, ", ")
}

// sentence says how a connection did in the time of the condition.
func (g condition) sentence() string {
	text := "Nothing is known of the way yet"
	if figures := g.figures(); figures != "" {
		text = strings.ToUpper(figures[:1]) + figures[1:]
	}
	text += " over the last " + roughly(g.span) + "; "
	text += "receives from it " + bitRate(g.in) + ", sends to it " + bitRate(g.out) + "."
	if g.dropped > 0 {
		text += " " + plural(g.dropped, "frame was", "frames were") + " not sent to it."
	}
	if g.freezes > 0 {
		text += fmt.Sprintf(" Its picture froze %s, for %.1f s in all.", plural(g.freezes, "time", "times"), g.frozen.Seconds())
	}
	if g.limitation == "cpu" || g.limitation == "bandwidth" {
		text += " It sends less than it could, for want of " + map[string]string{"cpu": "processor time", "bandwidth": "bandwidth"}[g.limitation] + "."
	}
	return text
}

// roughly is a time in whole minutes or seconds.
func roughly(d time.Duration) string {
	if d < 90*time.Second {
		return plural(int64(d.Round(time.Second)/time.Second), "second", "seconds")
	}
	return plural(int64(d.Round(time.Minute)/time.Minute), "minute", "minutes")
}

func percent(part float64) string {
	if part > 0 && part < 0.001 {
		return "under 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", 100*part)
}

func millis(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
}

// bitRate writes bit/s in the unit that leaves at most four digits.
func bitRate(v float64) string {
	switch {
	case v < 999.5:
		return fmt.Sprintf("%.0f bit/s", v)
	case v < 999_500:
		return fmt.Sprintf("%.0f kbit/s", v/1e3)
	case v < 999_500_000:
		return fmt.Sprintf("%.2f Mbit/s", v/1e6)
	}
	return fmt.Sprintf("%.2f Gbit/s", v/1e9)
}

// qualitiesEvery is how often a stream reads statistics anew: nodes write theirs
// every 2 s, a connection's each 10 s.
const qualitiesEvery = 5 * time.Second

// qualities judges live connections by their last ten seconds, for the visit.
func (c *Console) qualities(ctx context.Context, v *visit, ids []string) error {
	if c.Stats == nil || v.live && v.qualities != nil && v.now.Sub(v.qualitiesAt) < qualitiesEvery {
		return nil
	}
	newest, err := c.Stats.Newest(ctx, v.login.Scope, ids)
	if err != nil {
		return err
	}
	v.qualities, v.qualitiesAt = map[string]condition{}, v.now
	for id, interval := range newest {
		v.qualities[id] = conditionOf([]stats.Interval{interval})
	}
	return nil
}
