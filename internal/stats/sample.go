package stats

import (
	"math"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// SampleInterval is how often a connection is sampled.
const SampleInterval = 10 * time.Second

// Sample is what was known of a connection at one moment. Its counts are totals
// since its media was up.
type Sample struct {
	ConnectionID       string
	At                 time.Time // on the database's clock
	Connected          time.Duration
	In, Out            sfu.Flows // from the client, to the client
	RTT                time.Duration
	Bandwidth          int64 // what the client says that it can receive, in bit/s
	DataIn, DataOut    int64 // bytes of data messages
	Sent, Shown, Aimed Layers
	Client             Client

	tenant tenant.ID
	taken  time.Time // on the monotonic clock, before it has an At
}

// Layers are sfu.LayerCounts in one number: seven bits for each, none in the lowest.
type Layers int64

const layerBits = 7

func packLayers(counts sfu.LayerCounts) (l Layers) {
	for i, n := range counts {
		l |= Layers(min(max(n, 0), 1<<layerBits-1)) << (layerBits * i)
	}
	return l
}

// Counts are how many there are of each: none, r0, r1, r2. What is more than 127 is
// counted as that.
func (l Layers) Counts() (counts sfu.LayerCounts) {
	for i := range counts {
		counts[i] = int(l >> (layerBits * i) & (1<<layerBits - 1))
	}
	return counts
}

// newSample is a reading as a sample.
func newSample(r *sfu.Reading, connectionID string) Sample {
	return Sample{
		ConnectionID: connectionID, tenant: r.Tenant, taken: r.At, Connected: r.Connected,
		In: r.In, Out: r.Out, RTT: r.RTT, Bandwidth: r.Bandwidth, DataIn: r.DataIn, DataOut: r.DataOut,
		Sent: packLayers(r.Sent), Shown: packLayers(r.Shown), Aimed: packLayers(r.Target),
	}
}

// column is one figure of a sample in the database. What is zero is null there, which
// takes no room.
type column struct {
	name  string
	field func(*Sample) *int64
	unit  int64 // what one in the database is of the field's unit
	wide  bool  // a bigint; else an integer
	state bool  // no number: of several samples the newest counts, not the largest
}

// columns are all figures, in the order of statements. Migration 0038 has the same.
var columns = makeColumns()

func makeColumns() []column {
	list := []column{{name: "connected_ms", field: func(s *Sample) *int64 { return (*int64)(&s.Connected) }, unit: int64(time.Millisecond), wide: true}}
	flows := []struct {
		name string
		of   func(*Sample) *sfu.Flow
	}{
		{"in_audio", func(s *Sample) *sfu.Flow { return &s.In.Audio }},
		{"in_video", func(s *Sample) *sfu.Flow { return &s.In.Video }},
		{"out_audio", func(s *Sample) *sfu.Flow { return &s.Out.Audio }},
		{"out_video", func(s *Sample) *sfu.Flow { return &s.Out.Video }},
	}
	for _, f := range flows {
		figure := func(name string, wide bool, unit time.Duration, field func(*sfu.Flow) *int64) {
			list = append(list, column{name: f.name + "_" + name, wide: wide, unit: int64(unit), field: func(s *Sample) *int64 { return field(f.of(s)) }})
		}
		figure("bytes", true, 1, func(f *sfu.Flow) *int64 { return &f.Bytes })
		figure("packets", true, 1, func(f *sfu.Flow) *int64 { return &f.Packets })
		figure("lost", false, 1, func(f *sfu.Flow) *int64 { return &f.Lost })
		figure("expected", true, 1, func(f *sfu.Flow) *int64 { return &f.Expected })
		figure("jitter_us", false, time.Microsecond, func(f *sfu.Flow) *int64 { return (*int64)(&f.Jitter) })
		figure("resent", false, 1, func(f *sfu.Flow) *int64 { return &f.Resent })
		figure("nacks", false, 1, func(f *sfu.Flow) *int64 { return &f.NACKs })
		if f.name == "in_audio" || f.name == "out_audio" {
			continue
		}
		figure("plis", false, 1, func(f *sfu.Flow) *int64 { return &f.PLIs })
		figure("frames", false, 1, func(f *sfu.Flow) *int64 { return &f.Frames })
		if f.name == "out_video" {
			figure("firs", false, 1, func(f *sfu.Flow) *int64 { return &f.FIRs })
			figure("dropped", false, 1, func(f *sfu.Flow) *int64 { return &f.FramesDropped })
		}
	}
	return append(list, []column{
		{name: "rtt_us", field: func(s *Sample) *int64 { return (*int64)(&s.RTT) }, unit: int64(time.Microsecond)},
		{name: "bandwidth", field: func(s *Sample) *int64 { return &s.Bandwidth }, unit: 1, wide: true},
		{name: "data_in", field: func(s *Sample) *int64 { return &s.DataIn }, unit: 1, wide: true},
		{name: "data_out", field: func(s *Sample) *int64 { return &s.DataOut }, unit: 1, wide: true},
		{name: "sent_layers", field: func(s *Sample) *int64 { return (*int64)(&s.Sent) }, unit: 1, state: true},
		{name: "shown_layers", field: func(s *Sample) *int64 { return (*int64)(&s.Shown) }, unit: 1, state: true},
		{name: "aimed_layers", field: func(s *Sample) *int64 { return (*int64)(&s.Aimed) }, unit: 1, state: true},
		{name: "client_reports", field: func(s *Sample) *int64 { return &s.Client.Reports }, unit: 1},
		{name: "client_rtt_us", field: func(s *Sample) *int64 { return (*int64)(&s.Client.RTT) }, unit: int64(time.Microsecond)},
		{name: "client_available_out", field: func(s *Sample) *int64 { return &s.Client.AvailableOut }, unit: 1, wide: true},
		{name: "client_available_in", field: func(s *Sample) *int64 { return &s.Client.AvailableIn }, unit: 1, wide: true},
		{name: "client_frames_encoded", field: func(s *Sample) *int64 { return &s.Client.FramesEncoded }, unit: 1},
		{name: "client_frames_decoded", field: func(s *Sample) *int64 { return &s.Client.FramesDecoded }, unit: 1},
		{name: "client_frames_dropped", field: func(s *Sample) *int64 { return &s.Client.FramesDropped }, unit: 1},
		{name: "client_freezes", field: func(s *Sample) *int64 { return &s.Client.Freezes }, unit: 1},
		{name: "client_frozen_ms", field: func(s *Sample) *int64 { return (*int64)(&s.Client.Frozen) }, unit: int64(time.Millisecond)},
		{name: "client_audio_buffer_ms", field: func(s *Sample) *int64 { return &s.Client.AudioBuffer }, unit: 1, wide: true},
		{name: "client_audio_emitted", field: func(s *Sample) *int64 { return &s.Client.AudioEmitted }, unit: 1, wide: true},
		{name: "client_video_buffer_ms", field: func(s *Sample) *int64 { return &s.Client.VideoBuffer }, unit: 1, wide: true},
		{name: "client_video_emitted", field: func(s *Sample) *int64 { return &s.Client.VideoEmitted }, unit: 1, wide: true},
		{name: "client_concealed", field: func(s *Sample) *int64 { return &s.Client.Concealed }, unit: 1, wide: true},
		{name: "client_samples", field: func(s *Sample) *int64 { return &s.Client.Samples }, unit: 1, wide: true},
		{name: "client_audio_level", field: func(s *Sample) *int64 { return &s.Client.AudioLevel }, unit: 1},
		{name: "client_limitation", field: func(s *Sample) *int64 { return (*int64)(&s.Client.Limitation) }, unit: 1, state: true},
		{name: "client_candidate", field: func(s *Sample) *int64 { return (*int64)(&s.Client.Candidate) }, unit: 1, state: true},
	}...)
}

// stored is the figure as the database has it: within its column's range, whatever a
// client made us count.
func (c *column) stored(s *Sample) int64 {
	v := *c.field(s) / c.unit
	if !c.wide {
		v = min(max(v, math.MinInt32), math.MaxInt32)
	}
	return v
}

// load takes a figure from the database.
func (c *column) load(s *Sample, v int64) { *c.field(s) = v * c.unit }
