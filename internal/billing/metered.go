package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Metered is all that a connection's use follows from: the segment of time that is
// billed, and its bytes.
type Metered struct {
	ConnectedAt time.Time
	End         time.Time // of a live one what it has been metered through
	Rule        rating.Rule
	bytes       byteLine
}

// Share returns what of the connection belongs to the time from ≤ t < to. Shares of
// adjoining times add up exactly.
func (m *Metered) Share(from, to time.Time) rating.Usage {
	if !from.Before(to) {
		return rating.Usage{}
	}
	u := rating.Usage{
		Seconds:       Seconds(m.ConnectedAt, m.End, from, to),
		Minutes:       Minutes(m.ConnectedAt, m.End, from, to),
		BilledSeconds: m.Rule.BilledSeconds(m.ConnectedAt, m.End, from, to),
	}
	if !m.ConnectedAt.Before(from) && m.ConnectedAt.Before(to) {
		u.Connections = 1
	}
	u.BytesIn, u.BytesOut = m.bytes.share(from, to)
	return u
}

// meteredColumns are the columns that a meteredScan reads, of connection as c and its marks
// as m.
const meteredColumns = `c.connected_at, coalesce(c.ended_at, c.metered_through, c.connected_at), c.bytes_in, c.bytes_out,
	coalesce(m.increment_s, c.increment_s), coalesce(m.minimum_s, c.minimum_s), m.at, m.bytes_in, m.bytes_out`

// meteredMarks joins the marks of connection c; the condition %s may leave those of
// earlier times out, of which nothing can be asked then.
const meteredMarks = `
	left join lateral (
		select array_agg(k.at order by k.at) as at, array_agg(k.bytes_in order by k.at) as bytes_in, array_agg(k.bytes_out order by k.at) as bytes_out,
			min(k.increment_s) as increment_s, min(k.minimum_s) as minimum_s
		from connection_mark k where k.tenant_id = c.tenant_id and k.connection_id = c.connection_id %s
	) m on true`

// meteredScan takes one row of them.
type meteredScan struct {
	connectedAt, end   time.Time
	in, out            int64
	increment, minimum *int64
	at                 []time.Time
	marksIn, marksOut  []int64
}

// columns are where its columns are scanned to.
func (s *meteredScan) columns() []any {
	return []any{&s.connectedAt, &s.end, &s.in, &s.out, &s.increment, &s.minimum, &s.at, &s.marksIn, &s.marksOut}
}

// metered is what the row says. Connections of which nothing is rolled up yet have the
// rule that is in force when they connected.
func (s *meteredScan) metered(rules ruleTimes) *Metered {
	m := &Metered{ConnectedAt: s.connectedAt, End: s.end, bytes: byteLine{{at: s.connectedAt}}}
	for i := range s.at {
		m.bytes = append(m.bytes, bytePoint{s.at[i], s.marksIn[i], s.marksOut[i]})
	}
	m.bytes = append(m.bytes, bytePoint{s.end, s.in, s.out})
	if s.increment != nil && s.minimum != nil {
		m.Rule = rating.Rule{IncrementSeconds: *s.increment, MinimumSeconds: *s.minimum, Scope: rating.ConnectionScope}
	} else {
		m.Rule = rules.at(s.connectedAt)
	}
	return m
}

// Metered returns what the use of connections follows from, by their ids; those that are
// not the tenant's, or whose media never connected, are left out. db is a transaction or
// what a scope may see.
func (l *Ledger) Metered(ctx context.Context, db querier, id tenant.ID, connectionIDs []string) (map[string]*Metered, error) {
	rules, err := l.rules(ctx, db, id)
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, `
		select c.connection_id, `+meteredColumns+` from connection c `+fmt.Sprintf(meteredMarks, "")+`
		where c.tenant_id = $1 and c.connection_id = any($2) and c.connected_at is not null`, id, connectionIDs)
	if err != nil {
		return nil, fmt.Errorf("couldn't read connections of tenant %s: %w", id, err)
	}
	all := map[string]*Metered{}
	var connectionID string
	var s meteredScan
	_, err = pgx.ForEachRow(rows, append([]any{&connectionID}, s.columns()...), func() error {
		all[connectionID] = s.metered(rules)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read connections of tenant %s: %w", id, err)
	}
	return all, nil
}
