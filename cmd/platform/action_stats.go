package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
)

// Actions about statistics: our own counters of each live connection, at most ten
// seconds old, and what its client last said of itself.

// whose says which connection statistics are of.
type whose struct {
	ChannelID    string      `json:"channel_id"`
	SessionID    string      `json:"session_id"`
	ClientID     string      `json:"client_id"`
	ConnectionID string      `json:"connection_id"`
	Role         tenant.Role `json:"role"`
	Timestamp    *time.Time  `json:"timestamp"` // of the figures; null: there are none yet
}

func whoseOf(w stats.Who, at time.Time) whose {
	shown := whose{w.Channel, w.SessionID, w.ClientID, w.ConnectionID, w.Role, nil}
	if !at.IsZero() {
		shown.Timestamp = new(at.UTC())
	}
	return shown
}

// connectionStats are a connection's figures since its media connected. Received is
// from the client, sent to it.
type connectionStats struct {
	whose
	RTP struct {
		Received    int64 `json:"total_received_packets"`
		ReceivedLen int64 `json:"total_received_bytes"`
		ReceiveLost int64 `json:"total_received_packets_lost"` // RFC 3550 §6.4.1
		Sent        int64 `json:"total_sent_packets"`
		SentLen     int64 `json:"total_sent_bytes"`
		SendLost    int64 `json:"total_sent_packets_lost"` // as the client reports
		Resent      int64 `json:"total_retransmitted_packets"`
	} `json:"rtp"`
	RTCP struct {
		ReceivedNACK int64 `json:"total_received_rtcp_nack"`
		ReceivedPLI  int64 `json:"total_received_rtcp_pli"`
		ReceivedFIR  int64 `json:"total_received_rtcp_fir"`
		SentNACK     int64 `json:"total_sent_rtcp_nack"`
		SentPLI      int64 `json:"total_sent_rtcp_pli"`
		SentFIR      int64 `json:"total_sent_rtcp_fir"`
		RTT          int64 `json:"round_trip_time_msec"` // 0: not known
	} `json:"rtcp"`
	SCTP struct {
		ReceivedLen int64 `json:"total_received_bytes"`
		SentLen     int64 `json:"total_sent_bytes"`
	} `json:"sctp"` // messages on data channels
}

func showStats(l stats.Latest) connectionStats {
	s := connectionStats{whose: whoseOf(l.Who, l.At)}
	t := &l.Totals
	for _, f := range []sfu.Flow{t.In.Audio, t.In.Video} {
		s.RTP.Received += f.Packets
		s.RTP.ReceivedLen += f.Bytes
		s.RTP.ReceiveLost += f.Lost
		s.RTCP.SentNACK += f.NACKs
		s.RTCP.SentPLI += f.PLIs
		s.RTCP.SentFIR += f.FIRs
	}
	for _, f := range []sfu.Flow{t.Out.Audio, t.Out.Video} {
		s.RTP.Sent += f.Packets
		s.RTP.SentLen += f.Bytes
		s.RTP.SendLost += f.Lost
		s.RTP.Resent += f.Resent
		s.RTCP.ReceivedNACK += f.NACKs
		s.RTCP.ReceivedPLI += f.PLIs
		s.RTCP.ReceivedFIR += f.FIRs
	}
	s.RTCP.RTT = t.RTT.Milliseconds()
	s.SCTP.ReceivedLen, s.SCTP.SentLen = t.DataIn, t.DataOut
	return s
}

// eachPage collects all pages of a list.
func eachPage[R, T any](ask func(stats.Query) ([]R, string, error), q stats.Query, show func(R) T) ([]T, error) {
	list := []T{}
	for q.Limit = listPage; ; {
		page, next, err := ask(q)
		if err != nil {
			return nil, err
		}
		for _, row := range page {
			list = append(list, show(row))
		}
		if q.After = next; next == "" {
			return list, nil
		}
	}
}

// latestStats lists the figures of the connections that are meant.
func (p *platform) latestStats(ctx context.Context, scope tenant.Scope, q stats.Query) ([]connectionStats, error) {
	return eachPage(func(q stats.Query) ([]stats.Latest, string, error) { return p.stats.Latest(ctx, scope, q) }, q, showStats)
}

// getStatsConnection shows one connection's figures.
func (p *platform) getStatsConnection(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.connection() == "" {
		return nil, errNoConnectionID
	}
	list, err := p.latestStats(ctx, scope, stats.Query{Channel: a.channel(), ConnectionID: a.connection()})
	if err == nil && len(list) != 1 {
		err = tenant.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// getStatsClient lists those of a client, which may be in a channel more than once.
func (p *platform) getStatsClient(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.ClientID == "" || a.channel() == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give channel_id and client_id")
	}
	list, err := p.latestStats(ctx, scope, stats.Query{Channel: a.channel(), ClientID: a.ClientID})
	if err == nil && len(list) == 0 {
		err = tenant.ErrNotFound
	}
	return list, err
}

// listStats lists those of all live connections.
func (p *platform) listStats(ctx context.Context, scope tenant.Scope, _ actionRequest) (any, error) {
	return p.latestStats(ctx, scope, stats.Query{})
}

// clientStats are what a client said of itself.
type clientStats struct {
	whose
	Stats json.RawMessage `json:"stats"` // W3C's RTCStats, as they came
}

// reportedStats lists what the clients that are meant have said of themselves.
func (p *platform) reportedStats(ctx context.Context, scope tenant.Scope, q stats.Query) ([]clientStats, error) {
	return eachPage(func(q stats.Query) ([]stats.Report, string, error) { return p.stats.Reports(ctx, scope, q) }, q,
		func(r stats.Report) clientStats { return clientStats{whoseOf(r.Who, r.At), r.Stats} })
}

func (p *platform) listRTCStats(ctx context.Context, scope tenant.Scope, _ actionRequest) (any, error) {
	return p.reportedStats(ctx, scope, stats.Query{})
}

func (p *platform) listChannelRTCStats(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if err := a.needsChannel(); err != nil {
		return nil, err
	}
	return p.reportedStats(ctx, scope, stats.Query{Channel: a.channel()})
}

// getRTCStats shows what one client said. One that has said nothing yet, or cannot, is
// not found.
func (p *platform) getRTCStats(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.connection() == "" {
		return nil, errNoConnectionID
	}
	list, err := p.reportedStats(ctx, scope, stats.Query{Channel: a.channel(), ConnectionID: a.connection()})
	if err == nil && len(list) != 1 {
		err = tenant.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}
