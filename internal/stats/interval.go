package stats

import (
	"time"

	"github.com/hibari/hibari/internal/sfu"
)

// Interval is what happened on a connection between two samples. Its flows' counts
// are those of the interval; jitter, round trip and the like are as at its end.
type Interval struct {
	At                 time.Time     // its end, on the database's clock
	Span               time.Duration // its length, on the node's monotonic clock
	In, Out            sfu.Flows
	RTT                time.Duration // 0: not known
	Bandwidth          int64         // in bit/s; 0: the client says nothing
	DataIn, DataOut    int64         // bytes
	Sent, Shown, Aimed Layers
	Client             *ClientInterval // nil: the client did not report in it
}

// ClientInterval is what a client reported in an interval: of its counts, what came
// since its report before, or since it began.
type ClientInterval struct {
	Client
	Span time.Duration // since the report before, to the accuracy of an interval; 0: that is not known, and nothing counted
}

// firstSpan is how long after its beginning a connection's first sample comes at
// most. One that is later has lost those before it, or continues another.
const firstSpan = 2 * SampleInterval

// intervals are what lies between samples in order of time, of one each step; 0: as they
// were taken.
func intervals(samples []Sample, step time.Duration) (list []Interval) {
	longest := 2*step + gap
	var told Sample // the newest with a client's report
	for i := range samples {
		s := &samples[i]
		before := Sample{}
		switch {
		case i > 0:
			before = samples[i-1]
		case s.Connected > step+firstSpan:
			if s.Client.Reports > 0 {
				told = *s
			}
			continue // it is where the next one begins
		}
		span := s.Connected - before.Connected
		if span <= 0 || i > 0 && s.At.Sub(before.At) > longest {
			continue
		}
		n := Interval{
			At: s.At, Span: span, RTT: s.RTT, Bandwidth: s.Bandwidth, Sent: s.Sent, Shown: s.Shown, Aimed: s.Aimed,
			In:     sfu.Flows{Audio: less(s.In.Audio, before.In.Audio), Video: less(s.In.Video, before.In.Video)},
			Out:    sfu.Flows{Audio: less(s.Out.Audio, before.Out.Audio), Video: less(s.Out.Video, before.Out.Video)},
			DataIn: grown(s.DataIn, before.DataIn), DataOut: grown(s.DataOut, before.DataOut),
		}
		if s.Client.Reports > 0 {
			if told.Client.Reports == 0 && s.Client.Reports > 1 {
				told = *s // the report before is not known
			}
			n.Client = s.Client.since(told.Client, s.Connected-told.Connected)
			told = *s
		}
		list = append(list, n)
	}
	return list
}

// less is what came to a flow since it was before. Lost may fall.
func less(f, before sfu.Flow) sfu.Flow {
	return sfu.Flow{
		Bytes: grown(f.Bytes, before.Bytes), Packets: grown(f.Packets, before.Packets),
		Lost: f.Lost - before.Lost, Expected: grown(f.Expected, before.Expected),
		Resent: grown(f.Resent, before.Resent), NACKs: grown(f.NACKs, before.NACKs),
		PLIs: grown(f.PLIs, before.PLIs), FIRs: grown(f.FIRs, before.FIRs),
		Frames: grown(f.Frames, before.Frames), FramesDropped: grown(f.FramesDropped, before.FramesDropped),
		Jitter: f.Jitter,
	}
}

func grown(n, before int64) int64 { return max(0, n-before) }

// since is what a client reported after the report before.
func (c Client) since(before Client, span time.Duration) *ClientInterval {
	c.FramesEncoded = grown(c.FramesEncoded, before.FramesEncoded)
	c.FramesDecoded = grown(c.FramesDecoded, before.FramesDecoded)
	c.FramesDropped = grown(c.FramesDropped, before.FramesDropped)
	c.Freezes = grown(c.Freezes, before.Freezes)
	c.Frozen = max(0, c.Frozen-before.Frozen)
	c.AudioBuffer, c.AudioEmitted = grown(c.AudioBuffer, before.AudioBuffer), grown(c.AudioEmitted, before.AudioEmitted)
	c.VideoBuffer, c.VideoEmitted = grown(c.VideoBuffer, before.VideoBuffer), grown(c.VideoEmitted, before.VideoEmitted)
	c.Concealed, c.Samples = grown(c.Concealed, before.Concealed), grown(c.Samples, before.Samples)
	return &ClientInterval{Client: c, Span: span}
}

// Loss is the part of a flow's packets that were lost, 0 to 1; false if none were
// expected.
func Loss(flows ...sfu.Flow) (float64, bool) {
	var lost, expected int64
	for _, f := range flows {
		lost += f.Lost
		expected += f.Expected
	}
	if expected <= 0 {
		return 0, false
	}
	return min(max(float64(lost)/float64(expected), 0), 1), true
}

// Rate is bytes in a time as bit/s.
func Rate(bytes int64, span time.Duration) float64 {
	if span <= 0 {
		return 0
	}
	return float64(bytes) * 8 / span.Seconds()
}

// BufferDelay is how long packets of a kind waited in the client's jitter buffer on
// average; false if nothing was played.
func (c *ClientInterval) BufferDelay(video bool) (time.Duration, bool) {
	total, emitted := c.AudioBuffer, c.AudioEmitted
	if video {
		total, emitted = c.VideoBuffer, c.VideoEmitted
	}
	if emitted <= 0 {
		return 0, false
	}
	return time.Duration(float64(total) / float64(emitted) * float64(time.Millisecond)), true
}
