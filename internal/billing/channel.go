package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// takeChannelPlace takes a place in the channel, which it starts if nobody is
// there. The tenant's row is locked, so the channel's cannot change meanwhile.
func takeChannelPlace(ctx context.Context, tx pgx.Tx, o tenant.Opening, limit int) (opened tenant.Opened, started bool, err error) {
	var first tenant.Counts
	if err := count(&first, o.Role, 1); err != nil {
		return opened, false, err
	}
	session := tenant.NewID()
	c := &opened.Counts
	err = tx.QueryRow(ctx, `
		with started as (
			insert into channel_session (session_id, tenant_id, channel_id)
			select $3, $1, $2 where $7 > 0
				and not exists (select from channel_live where tenant_id = $1 and channel_id = $2)
		)
		insert into channel_live as l (tenant_id, channel_id, session_id, connections, sendrecv, sendonly, recvonly)
		select $1, $2, $3, 1, $4, $5, $6 where $7 > 0
		on conflict (tenant_id, channel_id) do update set
			connections = l.connections + 1, sendrecv = l.sendrecv + $4, sendonly = l.sendonly + $5, recvonly = l.recvonly + $6
		where l.connections < $7
		returning session_id, connections, sendrecv, sendonly, recvonly`,
		o.Tenant, o.Channel, session, first.SendRecv, first.SendOnly, first.RecvOnly, limit).
		Scan(&opened.SessionID, &c.Connections, &c.SendRecv, &c.SendOnly, &c.RecvOnly)
	if errors.Is(err, pgx.ErrNoRows) {
		return opened, false, refuseChannel(ctx, tx, o, limit)
	}
	if err != nil {
		return opened, false, fmt.Errorf("couldn't take a place in channel %q: %w", o.Channel, err)
	}
	return opened, opened.SessionID == session, nil
}

// refuseChannel says how full the channel is.
func refuseChannel(ctx context.Context, tx pgx.Tx, o tenant.Opening, limit int) error {
	counts, err := channelCounts(ctx, tx, o.Tenant, o.Channel)
	if err != nil {
		return err
	}
	r := tenant.Refuse(tenant.ChannelFull,
		"a channel may have %d connections and %q has %d: use another channel, or ask for a larger limit",
		limit, o.Channel, counts.Connections)
	r.Current, r.Max = counts.Connections, limit
	return r
}

// channelCounts reads how many connections a channel has; none if it is not live.
func channelCounts(ctx context.Context, tx pgx.Tx, id tenant.ID, channel string) (c tenant.Counts, err error) {
	err = tx.QueryRow(ctx, `
		select connections, sendrecv, sendonly, recvonly from channel_live where tenant_id = $1 and channel_id = $2`,
		id, channel).Scan(&c.Connections, &c.SendRecv, &c.SendOnly, &c.RecvOnly)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return c, fmt.Errorf("couldn't count channel %q: %w", channel, err)
	}
	return c, nil
}

// liveChannel is a channel_live row while connections leave it.
type liveChannel struct {
	name      string
	session   string
	startedAt time.Time
	counts    tenant.Counts
	leftAt    *time.Time // the latest end of those that have left; nil: nobody has
}

// leave notes that a connection ended at a time. Ends may be told late and in
// any order.
func (c *liveChannel) leave(at time.Time) {
	if c.leftAt == nil || c.leftAt.Before(at) {
		c.leftAt = &at
	}
}

// liveChannels reads the channels of the connections. The tenant's row is
// locked, so they cannot change.
func liveChannels(ctx context.Context, tx pgx.Tx, id tenant.ID, live []*segment) (map[string]*liveChannel, error) {
	names := make([]string, len(live))
	for i, c := range live {
		names[i] = c.channel
	}
	rows, err := tx.Query(ctx, `
		select l.channel_id, session_id, s.started_at, connections, sendrecv, sendonly, recvonly, left_at
		from channel_live l join channel_session s using (tenant_id, session_id)
		where tenant_id = $1 and l.channel_id = any($2)`, id, names)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the channels: %w", err)
	}
	channels := make(map[string]*liveChannel)
	var c liveChannel
	_, err = pgx.ForEachRow(rows, []any{&c.name, &c.session, &c.startedAt,
		&c.counts.Connections, &c.counts.SendRecv, &c.counts.SendOnly, &c.counts.RecvOnly, &c.leftAt}, func() error {
		row := c
		channels[c.name] = &row
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the channels: %w", err)
	}
	for _, name := range names {
		if channels[name] == nil {
			return nil, fmt.Errorf("channel %q of tenant %s has connections but no row", name, id)
		}
	}
	return channels, nil
}

// leaveChannels writes what is left in the channels and ends the empty ones:
// when the last of their connections ended, which may have been a while ago.
func leaveChannels(ctx context.Context, tx pgx.Tx, id tenant.ID, channels map[string]*liveChannel) ([]tenant.Event, error) {
	sorted := make([]*liveChannel, 0, len(channels))
	for _, c := range channels {
		sorted = append(sorted, c)
	}
	slices.SortFunc(sorted, func(a, b *liveChannel) int { return strings.Compare(a.name, b.name) })
	var events []tenant.Event
	for _, c := range sorted {
		if c.counts.Connections > 0 {
			if _, err := tx.Exec(ctx, `
				update channel_live set connections = $3, sendrecv = $4, sendonly = $5, recvonly = $6, left_at = $7
				where tenant_id = $1 and channel_id = $2`, id, c.name,
				c.counts.Connections, c.counts.SendRecv, c.counts.SendOnly, c.counts.RecvOnly, c.leftAt); err != nil {
				return nil, fmt.Errorf("couldn't leave channel %q: %w", c.name, err)
			}
			continue
		}
		if _, err := tx.Exec(ctx, `delete from channel_live where tenant_id = $1 and channel_id = $2`, id, c.name); err != nil {
			return nil, fmt.Errorf("couldn't end channel %q: %w", c.name, err)
		}
		var endedAt time.Time
		if err := tx.QueryRow(ctx, `
			update channel_session set ended_at = greatest(started_at, $3) where tenant_id = $1 and session_id = $2
			returning ended_at`, id, c.session, c.leftAt).Scan(&endedAt); err != nil {
			return nil, fmt.Errorf("couldn't end the session of channel %q: %w", c.name, err)
		}
		ended, err := channelEvent(id, c.name, tenant.ChannelEnded, endedAt,
			ChannelData{SessionID: c.session, DurationSeconds: int64(endedAt.Sub(c.startedAt) / time.Second)})
		if err != nil {
			return nil, err
		}
		events = append(events, ended)
	}
	return events, nil
}
