package billing

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// SegmentRow is one connection whose media connected: what usage and bills are sums of.
type SegmentRow struct {
	ConnectionID   string
	Channel        string
	SessionID      string
	ClientID       string
	Role           tenant.Role
	Protocol       string
	ConnectedAt    time.Time
	MeteredThrough time.Time // proven until; of an ended one its end
	EndedAt        time.Time // zero: live
	EndReason      string
	Whole          rating.Usage // all of it, so far if it is live
	Share          rating.Usage // what of it belongs to the time asked for
}

// SegmentQuery chooses among the segments of a tenant that have any use in
// From ≤ t < To.
type SegmentQuery struct {
	From, To time.Time
	Channel  string      // "": all channels
	Role     tenant.Role // "": all roles
	After    SegmentPlace
	Limit    int // at most 1000; 0: 100
}

// SegmentPlace is where a segment stands in the list: after those that connected before
// it. The zero place is before all.
type SegmentPlace struct {
	ConnectedAt  time.Time
	ConnectionID string
}

// segmentTime is how long the read of one page of segments may take.
const segmentTime = 10 * time.Second

// Segments returns a page of the tenant's segments, in the order in which they
// connected. next continues the listing as SegmentQuery.After; nil: there are no more.
// The shares of all pages are the usage of the time, by every column. A live segment is
// as of the moment its page is read, an ended one never changes.
func (l *Ledger) Segments(ctx context.Context, scope tenant.Scope, q SegmentQuery) (rows []SegmentRow, next *SegmentPlace, err error) {
	if scope.Tenant() == "" {
		return nil, nil, tenant.ErrScope
	}
	if !q.From.Before(q.To) || q.To.Sub(q.From) > LongestUsage {
		return nil, nil, ErrUsageQuery
	}
	limit := min(q.Limit, largestPage)
	if limit <= 0 {
		limit = usualPage
	}
	ctx, cancel := context.WithTimeout(ctx, segmentTime)
	defer cancel()
	// Those that were there at its start are as many as were connected at one time, and
	// are found by their end; the others by when they connected.
	if q.After.ConnectedAt.Before(q.From) {
		if rows, err = l.segments(ctx, scope, q, segmentsBefore, limit+1); err != nil {
			return nil, nil, err
		}
	}
	if left := limit + 1 - len(rows); left > 0 {
		if q.After.ConnectedAt.Before(q.From) {
			q.After = SegmentPlace{ConnectedAt: q.From}
		}
		more, err := l.segments(ctx, scope, q, segmentsWithin, left)
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, more...)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		next = &SegmentPlace{last.ConnectedAt, last.ConnectionID}
	}
	return rows, next, nil
}

// Of a connection that was there before the time, what was metered at its very start is
// within it.
const (
	segmentsBefore = `c.connected_at < $2 and c.connected_at < $3
		and (c.ended_at >= $2 or c.ended_at is null and c.metered_through >= $2)
		and (c.connected_at, c.connection_id) > ($6, $7)`
	segmentsWithin = `c.connected_at >= $6 and c.connected_at >= $2 and c.connected_at < $3
		and (c.connected_at > $6 or c.connection_id > $7)` // so that each page begins in the index where the last one ended
)

func (l *Ledger) segments(ctx context.Context, scope tenant.Scope, q SegmentQuery, which string, limit int) ([]SegmentRow, error) {
	found, err := scope.In(l.pool).Query(ctx, `
		select c.connection_id, c.channel_id, c.session_id, c.client_id, c.role, c.protocol, c.connected_at,
			coalesce(c.ended_at, c.metered_through), c.ended_at, coalesce(c.end_reason, ''), c.bytes_in, c.bytes_out,
			coalesce(c.increment_s, m.increment_s, $9), coalesce(c.minimum_s, m.minimum_s, $10), m.at, m.bytes_in, m.bytes_out
		from (
			select * from connection c
			where tenant_id = $1 and `+which+` and ($4 = '' or channel_id = $4) and ($5 = '' or role = $5)
			order by c.connected_at, c.connection_id limit $8
		) c left join lateral (
			select array_agg(at order by at) as at, array_agg(bytes_in order by at) as bytes_in, array_agg(bytes_out order by at) as bytes_out,
				min(increment_s) as increment_s, min(minimum_s) as minimum_s
			from connection_mark k where k.tenant_id = c.tenant_id and k.connection_id = c.connection_id
		) m on true
		order by c.connected_at, c.connection_id`,
		scope.Tenant(), q.From, q.To, q.Channel, q.Role, q.After.ConnectedAt, q.After.ConnectionID, limit,
		rating.StandardMinute.IncrementSeconds, rating.StandardMinute.MinimumSeconds)
	if err != nil {
		return nil, fmt.Errorf("couldn't list the segments of %s: %w", scope.Tenant(), err)
	}
	rows, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (SegmentRow, error) { return scanSegmentRow(row, q.From, q.To) })
	if err != nil {
		return nil, fmt.Errorf("couldn't list the segments of %s: %w", scope.Tenant(), err)
	}
	return rows, nil
}

func scanSegmentRow(row pgx.CollectableRow, from, to time.Time) (s SegmentRow, err error) {
	var ended *time.Time
	var in, out int64
	var rule rating.Rule
	var marks []time.Time
	var marksIn, marksOut []int64
	if err := row.Scan(&s.ConnectionID, &s.Channel, &s.SessionID, &s.ClientID, &s.Role, &s.Protocol, &s.ConnectedAt,
		&s.MeteredThrough, &ended, &s.EndReason, &in, &out, &rule.IncrementSeconds, &rule.MinimumSeconds, &marks, &marksIn, &marksOut); err != nil {
		return s, err
	}
	s.EndedAt = timeOrZero(ended)
	line := byteLine{{at: s.ConnectedAt}}
	for i, at := range marks {
		line = append(line, bytePoint{at, marksIn[i], marksOut[i]})
	}
	line = append(line, bytePoint{s.MeteredThrough, in, out})
	share := func(from, to time.Time) (u rating.Usage) {
		u.Seconds = Seconds(s.ConnectedAt, s.MeteredThrough, from, to)
		u.Minutes = Minutes(s.ConnectedAt, s.MeteredThrough, from, to)
		u.BilledSeconds = rule.BilledSeconds(s.ConnectedAt, s.MeteredThrough, from, to)
		if !s.ConnectedAt.Before(from) && s.ConnectedAt.Before(to) {
			u.Connections = 1
		}
		u.BytesIn, u.BytesOut = line.share(from, to)
		return u
	}
	s.Whole = share(s.ConnectedAt, s.MeteredThrough.Add(time.Second)) // its last bytes belong to the time from its end on
	s.Share = share(from, to)
	return s, nil
}

// EachSegment returns all of them, however many, a page at a time: neither the database
// nor memory holds more meanwhile. Limit is not looked at. An error is the last thing
// that it yields.
func (l *Ledger) EachSegment(ctx context.Context, scope tenant.Scope, q SegmentQuery) iter.Seq2[SegmentRow, error] {
	return func(yield func(SegmentRow, error) bool) {
		q.Limit = largestPage
		for {
			rows, next, err := l.Segments(ctx, scope, q)
			if err != nil {
				yield(SegmentRow{}, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			q.After = *next
		}
	}
}
