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
	rules, err := l.rules(ctx, scope.In(l.pool), scope.Tenant())
	if err != nil {
		return nil, nil, err
	}
	// Those that were there at its start are as many as were connected at one time, and
	// are found by their end; the others by when they connected.
	if q.After.ConnectedAt.Before(q.From) {
		if rows, err = l.segments(ctx, scope, q, rules, segmentsBefore, limit+1); err != nil {
			return nil, nil, err
		}
	}
	if left := limit + 1 - len(rows); left > 0 {
		if q.After.ConnectedAt.Before(q.From) {
			q.After = SegmentPlace{ConnectedAt: q.From}
		}
		more, err := l.segments(ctx, scope, q, rules, segmentsWithin, left)
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

func (l *Ledger) segments(ctx context.Context, scope tenant.Scope, q SegmentQuery, rules ruleTimes, which string, limit int) ([]SegmentRow, error) {
	found, err := scope.In(l.pool).Query(ctx, `
		select c.connection_id, c.channel_id, c.session_id, c.client_id, c.role, c.protocol, c.ended_at, coalesce(c.end_reason, ''), `+meteredColumns+`
		from (
			select * from connection c
			where tenant_id = $1 and `+which+` and ($4 = '' or channel_id = $4) and ($5 = '' or role = $5)
			order by c.connected_at, c.connection_id limit $8
		) c `+fmt.Sprintf(meteredMarks, "")+`
		order by c.connected_at, c.connection_id`,
		scope.Tenant(), q.From, q.To, q.Channel, q.Role, q.After.ConnectedAt, q.After.ConnectionID, limit)
	if err != nil {
		return nil, fmt.Errorf("couldn't list the segments of %s: %w", scope.Tenant(), err)
	}
	rows, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (s SegmentRow, err error) {
		var ended *time.Time
		var scan meteredScan
		if err := row.Scan(append([]any{&s.ConnectionID, &s.Channel, &s.SessionID, &s.ClientID, &s.Role, &s.Protocol, &ended, &s.EndReason},
			scan.columns()...)...); err != nil {
			return s, err
		}
		m := scan.metered(rules)
		s.ConnectedAt, s.MeteredThrough, s.EndedAt = m.ConnectedAt, m.End, timeOrZero(ended)
		s.Whole = m.Share(m.ConnectedAt, m.End.Add(time.Second)) // its last bytes belong to the time from its end on
		s.Share = m.Share(q.From, q.To)
		return s, nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't list the segments of %s: %w", scope.Tenant(), err)
	}
	return rows, nil
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
