package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Session is one continuous life of a channel.
type Session struct {
	SessionID string
	Channel   string
	StartedAt time.Time
	EndedAt   time.Time     // zero: it is live
	Counts    tenant.Counts // of those who are in it now
}

// SessionQuery chooses among a tenant's sessions.
type SessionQuery struct {
	Channel string // those of this channel, those that have ended included; "": all that are live
	After   string // the session id that the last page ended with; "": from the newest
	Limit   int    // at most 1000; 0: 100
}

// sessionColumns are the columns that scanSession reads, of channel_session as s and
// its channel_live as l, if it is live.
const sessionColumns = `s.session_id, s.channel_id, s.started_at, s.ended_at,
	coalesce(l.connections, 0), coalesce(l.sendrecv, 0), coalesce(l.sendonly, 0), coalesce(l.recvonly, 0)`

func scanSession(row pgx.CollectableRow) (s Session, err error) {
	var ended *time.Time
	err = row.Scan(&s.SessionID, &s.Channel, &s.StartedAt, &ended,
		&s.Counts.Connections, &s.Counts.SendRecv, &s.Counts.SendOnly, &s.Counts.RecvOnly)
	s.EndedAt = timeOrZero(ended)
	return s, err
}

// Sessions returns the tenant's sessions, newest first. next continues the listing as
// SessionQuery.After; "" means that there are no more.
func (l *Ledger) Sessions(ctx context.Context, scope tenant.Scope, q SessionQuery) (list []Session, next string, err error) {
	limit := min(q.Limit, largestPage)
	if limit <= 0 {
		limit = usualPage
	}
	from := `channel_live l join channel_session s using (tenant_id, session_id)`
	if q.Channel != "" {
		from = `channel_session s left join channel_live l using (tenant_id, session_id)`
	}
	rows, err := scope.In(l.pool).Query(ctx, `
		select `+sessionColumns+` from `+from+`
		where tenant_id = $1 and ($2 = '' or s.channel_id = $2) and ($3 = '' or (s.started_at, s.session_id) <
			(select started_at, session_id from channel_session where tenant_id = $1 and session_id = $3))
		order by s.started_at desc, s.session_id desc limit $4`, scope.Tenant(), q.Channel, q.After, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't list the sessions: %w", err)
	}
	if list, err = pgx.CollectRows(rows, scanSession); err != nil {
		return nil, "", fmt.Errorf("couldn't list the sessions: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].SessionID
	}
	return list, next, nil
}

// Session returns one of the tenant's sessions, live or ended: that of the id, or if
// that is empty the live one of the channel. Of both, both must be its.
func (l *Ledger) Session(ctx context.Context, scope tenant.Scope, channel, sessionID string) (Session, error) {
	rows, err := scope.In(l.pool).Query(ctx, `
		select `+sessionColumns+` from channel_session s left join channel_live l using (tenant_id, session_id)
		where tenant_id = $1 and ($2 = '' or s.channel_id = $2) and ($3 = '' and l.session_id is not null or session_id = $3)
		limit 1`, scope.Tenant(), channel, sessionID)
	if err != nil {
		return Session{}, fmt.Errorf("couldn't read a session: %w", err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, scanSession)
	if errors.Is(err, pgx.ErrNoRows) || channel == "" && sessionID == "" {
		return Session{}, ErrNotFound
	}
	if err != nil {
		return Session{}, fmt.Errorf("couldn't read a session: %w", err)
	}
	return s, nil
}
