package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Live is one live connection as pages and APIs show it.
type Live struct {
	ConnectionID   string
	Channel        string
	SessionID      string
	NodeID         string
	Role           tenant.Role
	ClientID       string
	Protocol       string // sora, sora2015, whip, whep, ayame
	KeyID          string // the signing key of its token; "": none
	TokenHash      [32]byte
	TokenExpiresAt time.Time       // zero: never
	Metadata       json.RawMessage // the token's; nil: none
	RemoteAddress  string
	UserAgent      string
	OpenedAt       time.Time
	ConnectedAt    time.Time // zero: its media has not connected
	Seconds        int64     // full seconds since ConnectedAt, on the database's clock; of an ended one, until it ended
	Minutes        int64     // billed, so far if it is live; 0 if its media has not connected
	BytesIn        int64     // as of the last beat
	BytesOut       int64
	Profile        *tenant.Profile // how it signals; nil: from before that was kept
	Previous       string          // the connection that it continues, since its node was taken for dead; "": none
}

// History is one connection, live or ended.
type History struct {
	Live
	MeteredThrough time.Time // proven until; zero: its media has not connected
	EndedAt        time.Time // zero: live
	EndReason      string
}

// LiveQuery chooses among a tenant's live connections.
type LiveQuery struct {
	Channel   string      // "": all channels
	SessionID string      // of the channel; "": all
	ClientID  string      // "": all clients
	Role      tenant.Role // "": all roles
	After     string      // the connection id that the last page ended with; "": from the newest
	Limit     int         // at most 1000; 0: 100
}

// Channel is one live channel.
type Channel struct {
	Channel   string
	SessionID string
	StartedAt time.Time
	Counts    tenant.Counts
}

const (
	usualPage   = 100
	largestPage = 1000
)

// historyColumns are the columns that scanHistory reads, of connection as c.
const historyColumns = `c.connection_id, c.channel_id, c.session_id, c.node_id, c.role, c.client_id, c.protocol,
	coalesce(c.signing_key_id, ''), c.token_hash, c.token_expires_at, c.metadata, c.remote_address, c.user_agent,
	c.opened_at, c.connected_at, c.metered_through, c.ended_at, coalesce(c.end_reason, ''),
	c.bytes_in, c.bytes_out, coalesce(c.previous_connection_id, ''), c.profile, clock_timestamp()`

// Live returns the tenant's live connections, newest first. next continues the
// listing as LiveQuery.After, also when that connection has ended since; ""
// means that there are no more.
func (l *Ledger) Live(ctx context.Context, scope tenant.Scope, q LiveQuery) (rows []Live, next string, err error) {
	if scope.Tenant() == "" {
		return nil, "", tenant.ErrScope
	}
	limit := min(q.Limit, largestPage)
	if limit <= 0 {
		limit = usualPage
	}
	found, err := scope.In(l.pool).Query(ctx, `
		select `+historyColumns+`
		from live_connection l join connection c using (tenant_id, connection_id)
		where l.tenant_id = $1 and ($2 = '' or l.channel_id = $2)
			and ($5 = '' or c.client_id = $5) and ($6 = '' or l.role = $6) and ($7 = '' or c.session_id = $7)
			and ($3 = '' or (c.opened_at, c.connection_id) <
				(select opened_at, connection_id from connection where tenant_id = $1 and connection_id = $3))
		order by c.opened_at desc, c.connection_id desc limit $4`,
		scope.Tenant(), q.Channel, q.After, limit+1, q.ClientID, q.Role, q.SessionID)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't list the live connections: %w", err)
	}
	all, err := pgx.CollectRows(found, scanHistory)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't list the live connections: %w", err)
	}
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].ConnectionID
	}
	rows = make([]Live, len(all))
	for i, h := range all {
		rows[i] = h.Live
	}
	return rows, next, nil
}

// Channels returns the tenant's live channels by name.
func (l *Ledger) Channels(ctx context.Context, scope tenant.Scope) ([]Channel, error) {
	if scope.Tenant() == "" {
		return nil, tenant.ErrScope
	}
	rows, err := scope.In(l.pool).Query(ctx, `
		select l.channel_id, session_id, s.started_at, connections, sendrecv, sendonly, recvonly
		from channel_live l join channel_session s using (tenant_id, session_id)
		where tenant_id = $1 order by l.channel_id`, scope.Tenant())
	if err != nil {
		return nil, fmt.Errorf("couldn't list the live channels: %w", err)
	}
	channels, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Channel, err error) {
		err = row.Scan(&c.Channel, &c.SessionID, &c.StartedAt,
			&c.Counts.Connections, &c.Counts.SendRecv, &c.Counts.SendOnly, &c.Counts.RecvOnly)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't list the live channels: %w", err)
	}
	return channels, nil
}

// Connection returns one of the tenant's connections, live or ended.
func (l *Ledger) Connection(ctx context.Context, scope tenant.Scope, connectionID string) (History, error) {
	if scope.Tenant() == "" {
		return History{}, tenant.ErrScope
	}
	rows, err := scope.In(l.pool).Query(ctx, `
		select `+historyColumns+` from connection c where tenant_id = $1 and connection_id = $2`,
		scope.Tenant(), connectionID)
	if err != nil {
		return History{}, fmt.Errorf("couldn't read connection %s: %w", connectionID, err)
	}
	h, err := pgx.CollectExactlyOneRow(rows, scanHistory)
	if errors.Is(err, pgx.ErrNoRows) {
		return History{}, ErrNotFound
	}
	if err != nil {
		return History{}, fmt.Errorf("couldn't read connection %s: %w", connectionID, err)
	}
	return h, nil
}

// Current returns one of the tenant's connections, or the one that continues it if
// its node was taken for dead and came back: the one that whoever knows an earlier id
// means.
func (l *Ledger) Current(ctx context.Context, scope tenant.Scope, connectionID string) (History, error) {
	if scope.Tenant() == "" {
		return History{}, tenant.ErrScope
	}
	var last string
	err := scope.In(l.pool).QueryRow(ctx, `
		with recursive same as (
			select connection_id, 0 as nth from connection where tenant_id = $1 and connection_id = $2
			union all
			select c.connection_id, nth + 1 from connection c join same on c.previous_connection_id = same.connection_id where c.tenant_id = $1
		)
		select connection_id from same order by nth desc limit 1`, scope.Tenant(), connectionID).Scan(&last)
	if errors.Is(err, pgx.ErrNoRows) {
		return History{}, ErrNotFound
	}
	if err != nil {
		return History{}, fmt.Errorf("couldn't read connection %s: %w", connectionID, err)
	}
	return l.Connection(ctx, scope, last)
}

func scanHistory(row pgx.CollectableRow) (h History, err error) {
	var hash []byte
	var expires, connected, metered, ended *time.Time
	var now time.Time
	if err := row.Scan(&h.ConnectionID, &h.Channel, &h.SessionID, &h.NodeID, &h.Role, &h.ClientID, &h.Protocol,
		&h.KeyID, &hash, &expires, &h.Metadata, &h.RemoteAddress, &h.UserAgent,
		&h.OpenedAt, &connected, &metered, &ended, &h.EndReason,
		&h.BytesIn, &h.BytesOut, &h.Previous, &h.Profile, &now); err != nil {
		return h, err
	}
	copy(h.TokenHash[:], hash)
	h.TokenExpiresAt, h.ConnectedAt = timeOrZero(expires), timeOrZero(connected)
	h.MeteredThrough, h.EndedAt = timeOrZero(metered), timeOrZero(ended)
	if connected == nil {
		return h, nil
	}
	if ended != nil {
		now = *ended
	}
	h.Seconds = max(0, int64(now.Sub(*connected)/time.Second))
	h.Minutes = minutesOf(metered.Sub(*connected)) // an ended one is metered through its end
	return h, nil
}

func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
