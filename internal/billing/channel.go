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

// A channel lives on one node: media does not pass between nodes. It is free to move
// when that node has ended, or was never known; a node whose lease ran out may come
// back, so it is no reason yet.

// home is where a channel is, as somebody who comes to a node sees it; zero: it is
// not live.
type home struct {
	peer        bool   // it is a room of a peer-to-peer call
	nodeID      string // "": not known
	up, leased  bool   // that node has not ended; it has renewed its lease in time
	there, here string // public URLs, of that node and of the one that is asked
}

// refuseKind refuses a client whose kind does not go with those that are live there.
func (h home) refuseKind(live int, peer bool) error {
	switch {
	case live == 0 || h.peer == peer:
		return nil
	case h.peer:
		return tenant.Refuse(tenant.ChannelDenied, "a peer-to-peer call (Ayame) has this channel; use another")
	}
	return tenant.Refuse(tenant.ChannelDenied, "others than peer-to-peer clients (Ayame) are in this channel; use another")
}

// elsewhere says where else the channel is, or why nobody can be sent there; nil:
// it may be on this node.
func (h home) elsewhere(nodeID string) error {
	switch {
	case !h.up || h.nodeID == nodeID:
		return nil
	case !h.leased:
		return tenant.Refuse(tenant.Unavailable, "the node that has this channel does not answer; try again in a few seconds")
	case h.there == "" || h.there == h.here:
		return tenant.Refuse(tenant.Unavailable, "another node has this channel, and no URL of its own: the operator must set its HIBARI_PUBLIC_URL")
	}
	return &tenant.Elsewhere{NodeID: h.nodeID, PublicURL: h.there}
}

// How many of one tenant look at once and wait to, and for how long: a crowd of
// its clients must not take the connections that others look through.
const (
	looksAtOnce  = 2
	looksWaiting = 2000
	lookTime     = 5 * time.Second
)

// Look returns how many connections the channel of an opening has on all nodes, for
// who has to decide about it. The error is the one that Open on the node would meet
// if spending has reached its cap, the licence or the channel is full, or the channel is
// of the other kind or lives elsewhere; nothing is taken.
func (l *Ledger) Look(ctx context.Context, nodeID string, o tenant.Opening) (tenant.Counts, error) {
	leave, err := l.looking.Take(ctx, o.Tenant)
	if err != nil {
		return tenant.Counts{}, err
	}
	defer leave()
	var h home
	var c tenant.Counts
	var all, licence, perChannel int
	var capped *time.Time
	err = l.pool.QueryRow(ctx, `
		select t.connections, t.max_connections, t.max_per_channel,
			case when t.spend_capped_until > clock_timestamp() then t.spend_capped_until end,
			coalesce(h.connections, 0), coalesce(sendrecv, 0), coalesce(sendonly, 0), coalesce(recvonly, 0), coalesce(peer, false),
			coalesce(h.node_id, ''), coalesce(n.state in ('up', 'draining'), false),
			coalesce(n.lease_until > clock_timestamp(), false), coalesce(n.public_url, ''),
			coalesce((select public_url from node where node_id = $3), '')
		from tenant_live t left join channel_live h on h.tenant_id = t.tenant_id and h.channel_id = $2 left join node n using (node_id)
		where t.tenant_id = $1`,
		o.Tenant, o.Channel, nodeID).
		Scan(&all, &licence, &perChannel, &capped, &c.Connections, &c.SendRecv, &c.SendOnly, &c.RecvOnly, &h.peer, &h.nodeID, &h.up, &h.leased, &h.there, &h.here)
	if err != nil {
		return c, fmt.Errorf("couldn't look at channel %q: %w", o.Channel, err)
	}
	if capped != nil {
		return c, spendCapped(*capped)
	}
	if takesAPlace(o) && all >= licence {
		full := &admission{refused: tenantFull(all, licence)}
		if licence == 0 {
			err = explainEnd(ctx, l.pool, o.Tenant, []*admission{full})
		}
		return c, errors.Join(err, full.refused)
	}
	if err := h.refuseKind(c.Connections, o.PeerToPeer()); err != nil {
		return c, err
	}
	if refusal := refuseFull(o, c.Connections, perChannel); refusal != nil {
		return c, refusal
	}
	return c, h.elsewhere(nodeID)
}

// takesAPlace reports whether a client needs a place that is free: one that replaces
// its elders may take theirs.
func takesAPlace(o tenant.Opening) bool { return o.Duplicates != tenant.DuplicatesReplace }

// refuseFull refuses a client whose channel has as many connections as it may; nil: it
// has fewer.
func refuseFull(o tenant.Opening, live, perChannel int) *tenant.Refusal {
	switch {
	case !takesAPlace(o):
		return nil
	case live >= perChannel:
		return channelFull(o.Channel, live, perChannel)
	case o.MaxChannelConnections > 0 && live >= o.MaxChannelConnections:
		return channelFullForToken(o.Channel, live, o.MaxChannelConnections)
	}
	return nil
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
