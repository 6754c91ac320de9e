package billing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// arrival is a connection that is entered in the ledger some time after it came.
type arrival struct {
	segment
	opening *tenant.Opening // what it brought; nil: that stands in the row of the previous one
	peer    bool
}

// arrivalOf is the arrival of an opening that was admitted at a time.
func arrivalOf(o *tenant.Opening, session string, at time.Time) *arrival {
	return &arrival{opening: o, peer: o.PeerToPeer(), segment: segment{
		tenant: o.Tenant, id: o.ConnectionID, channel: o.Channel, session: session, role: o.Role, clientID: o.ClientID,
		metadata: o.Metadata, openedAt: at}}
}

// takeLate takes places for all arrivals of the account's tenant, whether there are
// any or not: who decides that has done so. It returns the events about it.
func takeLate(ctx context.Context, tx pgx.Tx, nodeID string, account *account, all []*arrival) (events []tenant.Event, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	id := account.tenant
	channels, err := lateChannels(ctx, tx, id, all)
	if err != nil {
		return nil, err
	}
	if events, err = lateEvents(account, all, channels); err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	account.write(batch)
	for _, c := range channels {
		c.queue(batch, nodeID, id)
	}
	ids := make([]string, len(all))
	for i, a := range all {
		a.queue(batch, nodeID)
		ids[i] = a.id
	}
	batch.Queue(`
		insert into live_connection (connection_id, tenant_id, channel_id, node_id, role)
		select c.connection_id, c.tenant_id, c.channel_id, node_id, c.role from connection c join node n using (node_id)
		where c.tenant_id = $1 and c.connection_id = any($2) and n.node_id = $3 and n.state in ('up', 'draining')`, id, ids, nodeID)
	results := tx.SendBatch(ctx, batch)
	defer results.Close() // a failure has shown by then
	for range batch.Len() - 1 {
		if _, err := results.Exec(); err != nil {
			return nil, fmt.Errorf("couldn't write connections late: %w", err)
		}
	}
	tag, err := results.Exec()
	if err != nil {
		return nil, fmt.Errorf("couldn't write places late: %w", err)
	}
	if tag.RowsAffected() != int64(len(all)) {
		return nil, ErrNodeEnded
	}
	return events, results.Close()
}

// lateChannel is a channel that arrivals join.
type lateChannel struct {
	name, session string
	peer          bool
	start         *time.Time // when it starts with them; nil: it is live
	came          tenant.Counts
	counts        tenant.Counts // before they came
}

// lateChannels reads the channels of arrivals, by name.
func lateChannels(ctx context.Context, tx pgx.Tx, id tenant.ID, all []*arrival) (map[string]*lateChannel, error) {
	channels := map[string]*lateChannel{}
	var names []string
	for _, a := range all {
		c := channels[a.channel]
		if c == nil {
			c = &lateChannel{name: a.channel, session: tenant.NewID(), peer: a.peer, start: &a.openedAt}
			channels[a.channel] = c
			names = append(names, a.channel)
		}
		if err := count(&c.came, a.role, 1); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	rows, err := tx.Query(ctx, `
		select channel_id, session_id, connections, sendrecv, sendonly, recvonly from channel_live
		where tenant_id = $1 and channel_id = any($2)`, id, names)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the channels: %w", err)
	}
	var name, session string
	var n tenant.Counts
	_, err = pgx.ForEachRow(rows, []any{&name, &session, &n.Connections, &n.SendRecv, &n.SendOnly, &n.RecvOnly}, func() error {
		c := channels[name]
		c.session, c.start, c.counts = session, nil, n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the channels: %w", err)
	}
	return channels, nil
}

// queue has the channel's row written. The tenant's row is locked, so the order of
// channels is nobody's concern.
func (c *lateChannel) queue(batch *pgx.Batch, nodeID string, id tenant.ID) {
	if c.start != nil {
		batch.Queue(`insert into channel_session (session_id, tenant_id, channel_id, started_at) values ($1, $2, $3, $4)`,
			c.session, id, c.name, c.start)
	}
	batch.Queue(`
		insert into channel_live as h (tenant_id, channel_id, session_id, connections, sendrecv, sendonly, recvonly, node_id, peer)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		on conflict (tenant_id, channel_id) do update set node_id = excluded.node_id,
			connections = h.connections + excluded.connections, sendrecv = h.sendrecv + excluded.sendrecv,
			sendonly = h.sendonly + excluded.sendonly, recvonly = h.recvonly + excluded.recvonly`,
		id, c.name, c.session, c.came.Connections, c.came.SendRecv, c.came.SendOnly, c.came.RecvOnly, nodeID, c.peer)
}

// queue has the connection's row written.
func (a *arrival) queue(batch *pgx.Batch, nodeID string) {
	if a.opening == nil {
		batch.Queue(`
			insert into connection (connection_id, previous_connection_id, tenant_id, channel_id, session_id, node_id, role, client_id,
				protocol, token_hash, token_expires_at, signing_key_id, metadata, remote_address, user_agent, profile,
				opened_at, connected_at, metered_through)
			select $1, c.connection_id, c.tenant_id, c.channel_id, $4, $5, c.role, c.client_id,
				c.protocol, c.token_hash, c.token_expires_at, c.signing_key_id, c.metadata, c.remote_address, c.user_agent, c.profile, $6, $7, $8
			from connection c where c.tenant_id = $2 and c.connection_id = $3`,
			a.id, a.tenant, a.previous, a.session, nodeID, a.openedAt, a.connectedAt, a.meteredThrough)
		return
	}
	o := a.opening
	var hash []byte
	if o.TokenHash != [32]byte{} {
		hash = o.TokenHash[:]
	}
	batch.Queue(`
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
			token_hash, token_expires_at, signing_key_id, metadata, remote_address, user_agent,
			opened_at, connected_at, metered_through, profile)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nullif($11, ''), $12, $13, $14, $15, $16, $17, $18)`,
		o.ConnectionID, o.Tenant, o.Channel, a.session, nodeID, o.Role, o.ClientID, o.Protocol,
		hash, timeOrNull(o.TokenExpiresAt), o.KeyID, o.Metadata,
		tenant.Printable(o.RemoteAddress, maxText), tenant.Printable(o.UserAgent, maxText),
		a.openedAt, a.connectedAt, a.meteredThrough, profileJSON(o))
}

// lateEvents takes the arrivals into the account and makes the events about them, as
// if they had come one by one.
func lateEvents(account *account, all []*arrival, channels map[string]*lateChannel) (events []tenant.Event, err error) {
	add := func(e tenant.Event, failed error) {
		events = append(events, e)
		if err == nil {
			err = failed
		}
	}
	for _, a := range all {
		channel := channels[a.channel]
		if channel.start != nil && channel.counts.Connections == 0 {
			add(channelEvent(a.tenant, a.channel, tenant.ChannelStarted, *channel.start, ChannelData{SessionID: channel.session}))
		}
		if failed := count(&channel.counts, a.role, 1); failed != nil {
			return nil, failed
		}
		a.session = channel.session
		a.tell(channel.counts, add)
		if failed := account.take(); failed != nil {
			return nil, failed
		}
		events = append(events, account.tell()...)
	}
	return events, err
}

// tell makes the events of an arrival.
func (a *arrival) tell(counts tenant.Counts, add func(tenant.Event, error)) {
	c := &a.segment
	data := c.data(counts)
	add(connectionEvent(c, tenant.ConnectionConnecting, c.openedAt, data))
	if c.connectedAt != nil {
		add(connectionEvent(c, tenant.ConnectionCreated, *c.connectedAt, data))
	}
}

// service is a connection that came and went without the ledger.
type service struct {
	*arrival
	at     time.Time // when it ended, by the node's clock
	ending tenant.Ending
}

// queueServed has the ended connection's row written. It takes no place.
func (s *service) queueServed(batch *pgx.Batch, nodeID string, counts tenant.Counts, add func(tenant.Event, error)) {
	s.arrival.queue(batch, nodeID)
	ended := s.end(s.at, s.ending)
	s.bytesIn, s.bytesOut = s.ending.BytesIn, s.ending.BytesOut
	s.tell(counts, add)
	reason := tenant.Printable(s.ending.Reason, maxText)
	if s.connectedAt == nil {
		add(connectionEvent(&s.segment, tenant.ConnectionRejected, ended, RejectedData{ConnectionData: s.data(counts), Reason: reason}))
	} else {
		duration := ended.Sub(*s.connectedAt)
		s.meteredThrough = &ended
		add(connectionEvent(&s.segment, tenant.ConnectionDestroyed, ended, DestroyedData{
			ConnectionData: s.data(counts), Reason: reason,
			DurationSeconds: int64(duration / time.Second), Minutes: minutesOf(duration), BytesIn: s.bytesIn, BytesOut: s.bytesOut}))
	}
	batch.Queue(`
		update connection set ended_at = $2, end_reason = $3, metered_through = $4, bytes_in = $5, bytes_out = $6
		where connection_id = $1`, s.id, ended, reason, s.meteredThrough, s.bytesIn, s.bytesOut)
}

// writeServed writes what came and went, in a session that is over perhaps, and
// returns the events about it. The tenant's row is locked.
func writeServed(ctx context.Context, tx pgx.Tx, nodeID string, all []*service) (events []tenant.Event, err error) {
	batch := &pgx.Batch{}
	for _, s := range all {
		counts, failed := channelCounts(ctx, tx, s.tenant, s.channel)
		if failed != nil {
			return nil, failed
		}
		s.queueServed(batch, nodeID, counts, func(e tenant.Event, failed error) {
			events = append(events, e)
			if err == nil {
				err = failed
			}
		})
	}
	if err != nil {
		return nil, err
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("couldn't write what was served: %w", err)
	}
	return events, nil
}

// overUse is the event that tells a tenant that it has more connections than its
// licence allows.
func overUse(a *account) (tenant.Event, error) {
	return channelEvent(a.tenant, "", tenant.LicenceThreshold, a.now, ThresholdData{
		Threshold: 100, Connections: a.connections, MaxConnections: a.licence, Over: a.connections - a.licence})
}
