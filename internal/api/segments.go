package api

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// segmentItem is one connection as it is billed.
type segmentItem struct {
	ConnectionID   string      `json:"connection_id"`
	Channel        string      `json:"channel_id"`
	SessionID      string      `json:"session_id" doc:"The channel's session."`
	ClientID       string      `json:"client_id" doc:"The tenant's own name of the client."`
	Role           tenant.Role `json:"role" enum:"sendonly,recvonly,sendrecv"`
	Protocol       string      `json:"protocol" example:"sora"`
	ConnectedAt    time.Time   `json:"connected_at" doc:"When its media connected, by the database's clock: billable time begins."`
	MeteredThrough time.Time   `json:"metered_through" doc:"Proven until: so far it is billed. Of one that has ended its end."`
	EndedAt        *time.Time  `json:"ended_at" doc:"null: live."`
	EndReason      *string     `json:"end_reason"`
	SegmentUse
	Total SegmentUse `json:"total" doc:"The whole connection, also what of it lies outside the time asked for."`
}

// SegmentUse is the use of a segment in some time.
type SegmentUse struct {
	Minutes       int64 `json:"minutes" doc:"Minutes that started in this time: each started minute of the connection, at least one."`
	Seconds       int64 `json:"seconds" doc:"Full seconds."`
	BilledSeconds int64 `json:"billed_seconds" doc:"By the plan's rule of billable time."`
	BytesIn       int64 `json:"bytes_in" doc:"Received from the client."`
	BytesOut      int64 `json:"bytes_out" doc:"Sent to the client."`
}

func showSegmentUse(u rating.Usage) SegmentUse {
	return SegmentUse{u.Minutes, u.Seconds, u.BilledSeconds, u.BytesIn, u.BytesOut}
}

func showSegment(r billing.SegmentRow) segmentItem {
	return segmentItem{
		ConnectionID: r.ConnectionID, Channel: r.Channel, SessionID: r.SessionID, ClientID: r.ClientID, Role: r.Role, Protocol: r.Protocol,
		ConnectedAt: r.ConnectedAt.UTC(), MeteredThrough: r.MeteredThrough.UTC(), EndedAt: timeOrNull(r.EndedAt), EndReason: textOrNull(r.EndReason),
		SegmentUse: showSegmentUse(r.Share), Total: showSegmentUse(r.Whole),
	}
}

// segmentPage is a page of segments.
type segmentPage struct {
	Items    []segmentItem `json:"items"`
	Next     *string       `json:"next" doc:"The cursor of the next page; null: this is the last."`
	From     time.Time     `json:"from" doc:"What was asked for, in the tenant's time zone."`
	To       time.Time     `json:"to"`
	TimeZone string        `json:"time_zone" example:"Asia/Tokyo"`
}

// segmentInput says which segments.
type segmentInput struct {
	Span
	Paging
	Wanted
	Channel string `query:"channel_id" maxLength:"510" doc:"Only those of this channel."`
	Role    string `query:"role" enum:"sendonly,recvonly,sendrecv" doc:"Only those of this role."`
}

func (a *API) listSegments(ctx context.Context, scope tenant.Scope, in *segmentInput) (out exported[segmentPage], err error) {
	if err := checkText("channel_id", in.Channel); err != nil {
		return out, err
	}
	zone, err := a.zone(ctx, scope)
	if err != nil {
		return out, err
	}
	q := billing.SegmentQuery{Channel: scope.ChannelName(in.Channel), Role: tenant.Role(in.Role), Limit: in.Limit}
	now, err := in.after(&q)
	if err != nil {
		return out, err
	}
	if q.From, q.To, err = in.period(zone, now); err != nil {
		return out, err
	}
	out.page = func(ctx context.Context) (p segmentPage, err error) {
		rows, next, err := a.Ledger.Segments(ctx, scope, q)
		if err != nil {
			return p, err
		}
		p = segmentPage{Items: []segmentItem{}, From: q.From, To: q.To, TimeZone: zone.String()}
		for _, row := range rows {
			p.Items = append(p.Items, showSegment(row))
		}
		if next != nil {
			p.Next = new(newCursor("segments", strconv.FormatInt(now.UnixMicro(), 10),
				strconv.FormatInt(next.ConnectedAt.UnixMicro(), 10), next.ConnectionID))
		}
		return p, nil
	}
	out.name = fmt.Sprintf("hibari-segments-%s", q.From.Format(time.DateOnly))
	out.rows = func(ctx context.Context) iter.Seq2[record, error] {
		return func(yield func(record, error) bool) {
			for row, err := range a.Ledger.EachSegment(ctx, scope, q) {
				if !yield(record{showSegment(row), row.Cells()}, err) {
					return
				}
			}
		}
	}
	return out, nil
}

// after reads the cursor into q. It returns what is now for all pages: that of the first.
func (in *segmentInput) after(q *billing.SegmentQuery) (now time.Time, err error) {
	position, err := readCursor("segments", in.Cursor, 3)
	if err != nil {
		return now, err
	}
	if position == nil {
		return time.Now(), nil
	}
	first, err := strconv.ParseInt(position[0], 10, 64)
	if err != nil || first < 0 || first > lastMicro {
		return now, errCursor
	}
	connected, err := strconv.ParseInt(position[1], 10, 64)
	if err != nil || connected < 0 || connected > lastMicro {
		return now, errCursor
	}
	q.After = billing.SegmentPlace{ConnectedAt: time.UnixMicro(connected), ConnectionID: position[2]}
	return time.UnixMicro(first), nil
}

// lastMicro is about the year 2112, in microseconds: a cursor of ours is earlier.
const lastMicro = 1 << 52
