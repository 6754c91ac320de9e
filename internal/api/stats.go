package api

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
)

// inbound is media of one kind from the client, in W3C's words of inbound-rtp.
type inbound struct {
	BitRate       *int64   `json:"bitrate,omitempty" doc:"In bit/s."`
	Bytes         int64    `json:"bytes_received" doc:"Of RTP packets with their headers, without what SRTP, UDP and IP add."`
	Packets       int64    `json:"packets_received"`
	Lost          int64    `json:"packets_lost" doc:"RFC 3550: repaired ones included; those that come twice make it less."`
	FractionLost  *float64 `json:"fraction_lost" doc:"0 to 1; null: nothing was expected."`
	Jitter        *float64 `json:"jitter_ms" doc:"RFC 3550 §6.4.1, of the source where it is largest; null: not known."`
	Resent        int64    `json:"retransmitted_packets_received"`
	NACKs         int64    `json:"nack_count" doc:"Messages to the client that ask for packets again."`
	PLIs          int64    `json:"pli_count" doc:"Messages to the client that ask for a key frame."`
	Frames        int64    `json:"frames_received" doc:"Video: of several layers, of the one with the most."`
	FramesASecond *float64 `json:"frames_per_second,omitempty"`
}

// outbound is media of one kind to the client, in W3C's words of outbound-rtp and
// remote-inbound-rtp.
type outbound struct {
	BitRate       *int64   `json:"bitrate,omitempty" doc:"In bit/s."`
	Bytes         int64    `json:"bytes_sent" doc:"Of RTP packets with their headers, without what SRTP, UDP and IP add."`
	Packets       int64    `json:"packets_sent" doc:"Resends included."`
	Lost          int64    `json:"packets_lost" doc:"By the client's receiver reports."`
	FractionLost  *float64 `json:"fraction_lost" doc:"0 to 1; null: the client reported nothing."`
	Jitter        *float64 `json:"jitter_ms" doc:"By the client's receiver reports, of the track where it is largest; null: not known."`
	Resent        int64    `json:"retransmitted_packets_sent"`
	NACKs         int64    `json:"nack_count" doc:"Messages of the client that ask for packets again."`
	PLIs          int64    `json:"pli_count" doc:"Messages of the client that ask for a key frame (PLI)."`
	FIRs          int64    `json:"fir_count" doc:"Likewise (FIR)."`
	Frames        int64    `json:"frames_sent" doc:"Video, of all that it is shown."`
	FramesDropped int64    `json:"frames_dropped" doc:"Video that was not sent to it: it waited for a key frame, or they were late."`
	FramesASecond *float64 `json:"frames_per_second,omitempty"`
}

// layerCounts says how many there are in which layer of a simulcast.
type layerCounts struct {
	None int `json:"none"`
	R0   int `json:"r0"`
	R1   int `json:"r1"`
	R2   int `json:"r2"`
}

// clientStats is what the client reported of itself (W3C webrtc-stats).
type clientStats struct {
	RTT           *float64 `json:"current_round_trip_time_ms" doc:"Of the candidate pair in use."`
	AvailableOut  *int64   `json:"available_outgoing_bitrate" doc:"In bit/s."`
	AvailableIn   *int64   `json:"available_incoming_bitrate" doc:"In bit/s."`
	FramesEncoded int64    `json:"frames_encoded"`
	FramesDecoded int64    `json:"frames_decoded"`
	FramesDropped int64    `json:"frames_dropped"`
	Freezes       int64    `json:"freeze_count"`
	Frozen        float64  `json:"total_freezes_duration_ms"`
	AudioBuffer   *float64 `json:"audio_jitter_buffer_delay_ms" doc:"How long audio waited in the jitter buffer, on average."`
	VideoBuffer   *float64 `json:"video_jitter_buffer_delay_ms" doc:"Likewise of video."`
	Concealed     *float64 `json:"concealed_fraction" doc:"The part of the audio played that was made up for what was missing, 0 to 1."`
	AudioLevel    float64  `json:"audio_level" doc:"0 to 1, of what it sends or, if it does not, of the loudest that it receives."`
	Limitation    *string  `json:"quality_limitation_reason" doc:"none, bandwidth, cpu or other; null: not told."`
	Candidate     *string  `json:"candidate" doc:"How it reaches us: host, srflx, prflx or relay, /, udp or tcp; null: not told."`
	SinceLastOne  float64  `json:"seconds" doc:"How long a time its counts are of."`
}

type directionIn struct {
	Audio maybe[inbound] `json:"audio" doc:"null: there was none."`
	Video maybe[inbound] `json:"video" doc:"null: there was none."`
}

type directionOut struct {
	Audio maybe[outbound] `json:"audio" doc:"null: there was none."`
	Video maybe[outbound] `json:"video" doc:"null: there was none."`
}

// connectionStats are a connection's figures: of an interval, or in all.
type connectionStats struct {
	At        time.Time          `json:"at" doc:"The end of the interval."`
	Seconds   float64            `json:"seconds" doc:"Its length."`
	In        directionIn        `json:"inbound" doc:"From the client."`
	Out       directionOut       `json:"outbound" doc:"To the client."`
	RTT       *float64           `json:"round_trip_time_ms" doc:"By the client's receiver reports, smoothed; null: it is sent nothing, or has not told."`
	Bandwidth *int64             `json:"receiver_estimated_bitrate" doc:"What it says that it can receive, in bit/s (REMB); null: it says nothing."`
	DataIn    int64              `json:"data_bytes_received" doc:"Of data channels."`
	DataOut   int64              `json:"data_bytes_sent"`
	Sent      maybe[layerCounts] `json:"layers_sent" doc:"Which layers of its simulcast the client sends; null: it sends none."`
	Shown     maybe[layerCounts] `json:"layers_received" doc:"Of how many publishers it gets which layer; null: of none that send several."`
	Aimed     maybe[layerCounts] `json:"layers_target" doc:"And which it is to get."`
	Client    maybe[clientStats] `json:"client" doc:"What the client reported of itself in the interval; null: nothing."`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func millisecondsOrNull(d time.Duration) *float64 {
	if d <= 0 {
		return nil
	}
	return new(milliseconds(d))
}

func numberOrNull(n int64) *int64 {
	if n <= 0 {
		return nil
	}
	return &n
}

func lossOrNull(f sfu.Flow) *float64 {
	if loss, ok := stats.Loss(f); ok {
		return &loss
	}
	return nil
}

func showInbound(f sfu.Flow, span time.Duration) *inbound {
	if f.Packets == 0 && f.Expected == 0 {
		return nil
	}
	i := &inbound{
		Bytes: f.Bytes, Packets: f.Packets, Lost: f.Lost, FractionLost: lossOrNull(f), Jitter: millisecondsOrNull(f.Jitter),
		Resent: f.Resent, NACKs: f.NACKs, PLIs: f.PLIs, Frames: f.Frames,
	}
	if span > 0 {
		i.BitRate = new(int64(stats.Rate(f.Bytes, span)))
		if f.Frames > 0 {
			i.FramesASecond = new(float64(f.Frames) / span.Seconds())
		}
	}
	return i
}

func showOutbound(f sfu.Flow, span time.Duration) *outbound {
	if f.Packets == 0 && f.Expected == 0 && f.FramesDropped == 0 {
		return nil
	}
	o := &outbound{
		Bytes: f.Bytes, Packets: f.Packets, Lost: f.Lost, FractionLost: lossOrNull(f), Jitter: millisecondsOrNull(f.Jitter),
		Resent: f.Resent, NACKs: f.NACKs, PLIs: f.PLIs, FIRs: f.FIRs, Frames: f.Frames, FramesDropped: f.FramesDropped,
	}
	if span > 0 {
		o.BitRate = new(int64(stats.Rate(f.Bytes, span)))
		if f.Frames > 0 {
			o.FramesASecond = new(float64(f.Frames) / span.Seconds())
		}
	}
	return o
}

func showLayers(l stats.Layers) (m maybe[layerCounts]) {
	if c := l.Counts(); l != 0 {
		m.value = &layerCounts{c[0], c[1], c[2], c[3]}
	}
	return m
}

func showClient(c *stats.ClientInterval) *clientStats {
	if c == nil {
		return nil
	}
	s := &clientStats{
		RTT: millisecondsOrNull(c.RTT), AvailableOut: numberOrNull(c.AvailableOut), AvailableIn: numberOrNull(c.AvailableIn),
		FramesEncoded: c.FramesEncoded, FramesDecoded: c.FramesDecoded, FramesDropped: c.FramesDropped,
		Freezes: c.Freezes, Frozen: milliseconds(c.Frozen), AudioLevel: float64(c.AudioLevel) / 1e6,
		Limitation: textOrNull(c.Limitation.String()), Candidate: textOrNull(c.Candidate.String()), SinceLastOne: c.Span.Seconds(),
	}
	if d, ok := c.BufferDelay(false); ok {
		s.AudioBuffer = new(milliseconds(d))
	}
	if d, ok := c.BufferDelay(true); ok {
		s.VideoBuffer = new(milliseconds(d))
	}
	if c.Samples > 0 {
		s.Concealed = new(min(1, float64(c.Concealed)/float64(c.Samples)))
	}
	return s
}

func showInterval(i stats.Interval) connectionStats {
	return connectionStats{
		At: i.At.UTC(), Seconds: i.Span.Seconds(),
		In:  directionIn{maybe[inbound]{showInbound(i.In.Audio, i.Span)}, maybe[inbound]{showInbound(i.In.Video, i.Span)}},
		Out: directionOut{maybe[outbound]{showOutbound(i.Out.Audio, i.Span)}, maybe[outbound]{showOutbound(i.Out.Video, i.Span)}},
		RTT: millisecondsOrNull(i.RTT), Bandwidth: numberOrNull(i.Bandwidth), DataIn: i.DataIn, DataOut: i.DataOut,
		Sent: showLayers(i.Sent), Shown: showLayers(i.Shown), Aimed: showLayers(i.Aimed), Client: maybe[clientStats]{showClient(i.Client)},
	}
}

// showTotals is a sample as the one interval since the connection's media was up.
func showTotals(s stats.Sample) connectionStats {
	i := stats.Interval{
		At: s.At, Span: s.Connected, In: s.In, Out: s.Out, RTT: s.RTT, Bandwidth: s.Bandwidth,
		DataIn: s.DataIn, DataOut: s.DataOut, Sent: s.Sent, Shown: s.Shown, Aimed: s.Aimed,
	}
	return showInterval(i)
}

// statsRange is what time of a connection is asked for.
type statsRange struct {
	Paging
	ID   string    `path:"connection_id" maxLength:"64" example:"9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	From time.Time `query:"from" doc:"RFC 3339. Absent: ten minutes before to; at most 24 hours ago."`
	To   time.Time `query:"to" doc:"RFC 3339. Absent: now."`
	Step int       `query:"step" minimum:"10" maximum:"3600" multipleOf:"10" default:"10" doc:"How many seconds an item is of: a multiple of 10."`
}

// statsSeries is a connection over time.
type statsSeries struct {
	Items       []connectionStats `json:"items" doc:"Oldest first; where something is missing, there is a gap."`
	Next        *string           `json:"next" doc:"The cursor of the next page; null: this is the last."`
	DataThrough *time.Time        `json:"data_through" doc:"Everything up to here is there; null: the connection has no sample yet. The first comes within ten seconds of its media."`
}

func (a *API) getConnectionStats(ctx context.Context, scope tenant.Scope, in *statsRange) (answer statsSeries, err error) {
	position, err := readCursor("connection-stats", in.Cursor, 1)
	if err != nil {
		return answer, err
	}
	if _, err := a.Ledger.Connection(ctx, scope, in.ID); err != nil {
		return answer, err
	}
	now := time.Now()
	to := in.To
	if to.IsZero() {
		to = now.Add(time.Minute) // the database's clock may be ahead
	}
	from := in.From
	if from.IsZero() {
		from = to.Add(-10 * time.Minute)
	}
	if from.After(to) {
		return answer, invalid("query", "from", "It is after to.")
	}
	if oldest := now.Add(-stats.Kept); from.Before(oldest) {
		from = oldest
	}
	if position != nil {
		micros, err := strconv.ParseInt(position[0], 10, 64)
		if err != nil {
			return answer, errCursor
		}
		from = time.UnixMicro(micros + 1)
	}
	q := stats.SeriesQuery{ConnectionID: in.ID, From: from, To: to, Limit: in.Limit}
	if in.Step > 10 {
		q.Step = time.Duration(in.Step) * time.Second
	}
	series, err := a.Stats.Series(ctx, scope, q)
	if err != nil {
		return answer, err
	}
	answer.Items = []connectionStats{}
	for _, i := range series.Intervals {
		answer.Items = append(answer.Items, showInterval(i))
	}
	answer.DataThrough = timeOrNull(series.DataThrough)
	if n := len(series.Intervals); series.More && n > 0 {
		answer.Next = new(newCursor("connection-stats", strconv.FormatInt(series.Intervals[n-1].At.UnixMicro(), 10)))
	}
	return answer, nil
}

// latestStats is the newest of one live connection.
type latestStats struct {
	ConnectionID string                 `json:"connection_id"`
	ClientID     string                 `json:"client_id"`
	Role         tenant.Role            `json:"role" enum:"sendonly,recvonly,sendrecv"`
	ConnectedAt  *time.Time             `json:"connected_at" doc:"null: its media has not connected."`
	Last         maybe[connectionStats] `json:"last" doc:"Its last ten seconds; null: there is no sample yet, or none of the last minute."`
	Totals       maybe[connectionStats] `json:"totals" doc:"Since its media connected."`
}

func showLatest(l stats.Latest) latestStats {
	s := latestStats{ConnectionID: l.ConnectionID, ClientID: l.ClientID, Role: l.Role, ConnectedAt: timeOrNull(l.ConnectedAt)}
	if l.Last != nil {
		s.Last.value = new(showInterval(*l.Last))
	}
	if !l.At.IsZero() {
		s.Totals.value = new(showTotals(l.Totals))
	}
	return s
}

func (a *API) listChannelStats(ctx context.Context, scope tenant.Scope, in *struct {
	Paging
	Channel string `path:"channel" maxLength:"510" example:"hello" doc:"The channel's name, percent-encoded as a path segment: / is %2F."`
}) (p page[latestStats], err error) {
	after, err := in.after("channel-stats")
	if err != nil {
		return p, err
	}
	if checkText("channel", in.Channel) != nil {
		return p, tenant.ErrNotFound
	}
	rows, next, err := a.Stats.Latest(ctx, scope, stats.Query{Channel: scope.ChannelName(in.Channel), After: after, Limit: in.Limit})
	if err == nil && len(rows) == 0 && after == "" {
		err = tenant.ErrNotFound
	}
	if err != nil {
		return p, err
	}
	p = pageOf(rows, in.Limit, showLatest, nil)
	if next != "" {
		p.Next = new(newCursor("channel-stats", next))
	}
	return p, nil
}

// clientReport is what a live connection's client last said of itself.
type clientReport struct {
	ConnectionID string          `json:"connection_id"`
	At           *time.Time      `json:"at" doc:"When it came; null: it has said nothing yet, or not for five minutes."`
	Stats        json.RawMessage `json:"stats" doc:"Its list of RTCStats (W3C webrtc-stats), as it came."`
}

func (a *API) getClientReport(ctx context.Context, scope tenant.Scope, in *ConnectionInput) (r clientReport, err error) {
	r = clientReport{ConnectionID: in.ID, Stats: json.RawMessage("[]")}
	said, _, err := a.Stats.Reports(ctx, scope, stats.Query{ConnectionID: in.ID})
	if err == nil && len(said) > 0 {
		r.At, r.Stats = timeOrNull(said[0].At), said[0].Stats
	}
	return r, err
}
