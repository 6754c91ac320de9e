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

// The way in for those who come when there is room: all who wait of one tenant
// and node, in one transaction of a few round trips. Who cannot be admitted so
// is for open, which knows the reasons.

// errNotAll says that some of the openings did not get what they came for.
var errNotAll = errors.New("not every opening can be admitted")

// admission is an Open under way.
type admission struct {
	nodeID  string
	opening tenant.Opening
	opened  tenant.Opened // set when it is made
}

// admissionKey says who is admitted together.
type admissionKey struct {
	tenant tenant.ID
	nodeID string
}

// admit opens all of one tenant and node, or none.
func (l *Ledger) admit(ctx context.Context, key admissionKey, all []*admission) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		channels, err := channelsOf(all)
		if err != nil {
			return err
		}
		now, err := takePlaces(ctx, tx, key, all, channels)
		if err != nil {
			return err
		}
		events, err := admitted(all, channels, now)
		if err != nil {
			return err
		}
		return l.outbox(ctx, tx, events...)
	})
	if err != nil {
		return err
	}
	l.changed(key.tenant)
	return nil
}

// joined is a channel that connections are about to join.
type joined struct {
	name    string
	peer    bool          // it is, or becomes, a room of a peer-to-peer call
	session string        // to start, if there is none; then the channel's
	started bool          // it had none
	came    tenant.Counts // how many come
	counts  tenant.Counts // the channel's: with all of them, then as they come
}

// channelsOf counts who comes to which channel, by name.
func channelsOf(all []*admission) ([]*joined, error) {
	var channels []*joined
	for _, a := range all {
		i, found := slices.BinarySearchFunc(channels, a.opening.Channel, func(c *joined, name string) int { return strings.Compare(c.name, name) })
		if !found {
			channels = slices.Insert(channels, i, &joined{name: a.opening.Channel, peer: a.opening.PeerToPeer(), session: tenant.NewID()})
		}
		if channels[i].peer != a.opening.PeerToPeer() {
			return nil, errNotAll
		}
		if err := count(&channels[i].came, a.opening.Role, 1); err != nil {
			return nil, err
		}
	}
	return channels, nil
}

// takePlaces takes the places in the tenant and in the channels, and writes the
// connections, in lock order: the statements are those of open, for many.
func takePlaces(ctx context.Context, tx pgx.Tx, key admissionKey, all []*admission, channels []*joined) (now time.Time, err error) {
	id, nodeID := key.tenant, key.nodeID
	batch := &pgx.Batch{}
	batch.Queue(`
		update tenant_live l set connections = connections + $2
		where tenant_id = $1 and connections + $2 <= max_connections
			and exists (select from tenant t where t.tenant_id = l.tenant_id and t.status = 'active')
		returning clock_timestamp()`, id, len(all))
	c := columnsOfChannels(channels)
	batch.Queue(`
		with came as (
			select * from unnest($2::text[], $3::text[], $4::int[], $5::int[], $6::int[], $7::int[], $9::bool[])
				as c (channel_id, session_id, connections, sendrecv, sendonly, recvonly, peer)
			where connections <= (select max_per_channel from tenant_live where tenant_id = $1)
		), started as (
			insert into channel_session (session_id, tenant_id, channel_id)
			select session_id, $1, channel_id from came
			where not exists (select from channel_live h where h.tenant_id = $1 and h.channel_id = came.channel_id)
		)
		insert into channel_live as h (tenant_id, channel_id, session_id, connections, sendrecv, sendonly, recvonly, node_id, peer)
		select $1, channel_id, session_id, connections, sendrecv, sendonly, recvonly, $8, peer from came order by channel_id
		on conflict (tenant_id, channel_id) do update set node_id = excluded.node_id,
			connections = h.connections + excluded.connections, sendrecv = h.sendrecv + excluded.sendrecv,
			sendonly = h.sendonly + excluded.sendonly, recvonly = h.recvonly + excluded.recvonly
		where h.connections + excluded.connections <= (select max_per_channel from tenant_live where tenant_id = $1)
			and `+mayJoin+`
		returning channel_id, session_id, connections, sendrecv, sendonly, recvonly`,
		id, c.names, c.sessions, c.all, c.sendrecv, c.sendonly, c.recvonly, nodeID, c.peer)
	o := columnsOfOpenings(all)
	batch.Queue(`
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
			token_hash, token_expires_at, signing_key_id, metadata, remote_address, user_agent)
		select o.connection_id, $1, o.channel_id, h.session_id, $2, o.role, o.client_id, o.protocol,
			o.token_hash, o.token_expires_at, nullif(o.signing_key_id, ''), o.metadata::jsonb, o.remote_address, o.user_agent
		from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::timestamptz[], $10::text[],
				$11::text[], $12::text[], $13::text[])
			as o (connection_id, channel_id, role, client_id, protocol, token_hash, token_expires_at, signing_key_id,
				metadata, remote_address, user_agent)
			join channel_live h on h.tenant_id = $1 and h.channel_id = o.channel_id
		on conflict (connection_id) do nothing`,
		id, nodeID, o.ids, o.channels, o.roles, o.clients, o.protocols, o.hashes, o.expiries, o.keys, o.metadata, o.addresses, o.agents)
	batch.Queue(`
		insert into live_connection (connection_id, tenant_id, channel_id, node_id, role)
		select o.connection_id, $1, o.channel_id, node_id, o.role
		from node, unnest($3::text[], $4::text[], $5::text[]) as o (connection_id, channel_id, role)
		where node_id = $2 and state in ('up', 'draining')`,
		id, nodeID, o.ids, o.channels, o.roles)

	results := tx.SendBatch(ctx, batch)
	defer results.Close() // a failure has shown by then
	if err := results.QueryRow().Scan(&now); err != nil {
		return now, fmt.Errorf("couldn't take places of tenant %s: %w", id, err)
	}
	if err := readChannels(results, channels); err != nil {
		return now, err
	}
	for range 2 {
		tag, err := results.Exec()
		if err != nil {
			return now, fmt.Errorf("couldn't write the connections: %w", err)
		}
		if tag.RowsAffected() != int64(len(all)) {
			return now, errNotAll
		}
	}
	return now, results.Close()
}

// readChannels reads what the channels have become.
func readChannels(results pgx.BatchResults, channels []*joined) error {
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("couldn't take places in channels: %w", err)
	}
	byName := make(map[string]*joined, len(channels))
	for _, c := range channels {
		byName[c.name] = c
	}
	var name, session string
	var n tenant.Counts
	read := 0
	_, err = pgx.ForEachRow(rows, []any{&name, &session, &n.Connections, &n.SendRecv, &n.SendOnly, &n.RecvOnly}, func() error {
		c := byName[name]
		if c == nil {
			return errNotAll
		}
		c.started = c.session == session
		c.session, c.counts = session, n
		read++
		return nil
	})
	if err != nil {
		return fmt.Errorf("couldn't take places in channels: %w", err)
	}
	if read != len(channels) {
		return errNotAll
	}
	return nil
}

// admitted says what each of them opened, as if they had come one by one, and
// makes the events about that.
func admitted(all []*admission, channels []*joined, now time.Time) ([]tenant.Event, error) {
	byName := make(map[string]*joined, len(channels))
	for _, c := range channels {
		byName[c.name] = c
		c.counts = before(c.counts, c.came)
	}
	events := make([]tenant.Event, 0, len(all)+len(channels))
	for _, a := range all {
		o, channel := &a.opening, byName[a.opening.Channel]
		if err := count(&channel.counts, o.Role, 1); err != nil {
			return nil, err
		}
		a.opened = tenant.Opened{SessionID: channel.session, Counts: channel.counts}
		if channel.started {
			channel.started = false
			start, err := channelEvent(o.Tenant, o.Channel, tenant.ChannelStarted, now, ChannelData{SessionID: channel.session})
			if err != nil {
				return nil, err
			}
			events = append(events, start)
		}
		c := &segment{tenant: o.Tenant, id: o.ConnectionID, channel: o.Channel, session: channel.session,
			role: o.Role, clientID: o.ClientID, metadata: o.Metadata}
		connecting, err := connectionEvent(c, tenant.ConnectionConnecting, now, c.data(channel.counts))
		if err != nil {
			return nil, err
		}
		events = append(events, connecting)
	}
	return events, nil
}

// before is what a channel had before some came.
func before(all, came tenant.Counts) tenant.Counts {
	return tenant.Counts{
		Connections: all.Connections - came.Connections, SendRecv: all.SendRecv - came.SendRecv,
		SendOnly: all.SendOnly - came.SendOnly, RecvOnly: all.RecvOnly - came.RecvOnly,
	}
}

// channelColumns are channels turned on their side, as unnest takes them.
type channelColumns struct {
	names, sessions                   []string
	all, sendrecv, sendonly, recvonly []int
	peer                              []bool
}

func columnsOfChannels(channels []*joined) (c channelColumns) {
	for _, channel := range channels {
		c.names = append(c.names, channel.name)
		c.sessions = append(c.sessions, channel.session)
		c.all = append(c.all, channel.came.Connections)
		c.sendrecv = append(c.sendrecv, channel.came.SendRecv)
		c.sendonly = append(c.sendonly, channel.came.SendOnly)
		c.recvonly = append(c.recvonly, channel.came.RecvOnly)
		c.peer = append(c.peer, channel.peer)
	}
	return c
}

// openingColumns are openings turned on their side.
type openingColumns struct {
	ids, channels, roles, clients, protocols, keys, addresses, agents []string
	hashes                                                            [][]byte
	expiries                                                          []*time.Time
	metadata                                                          []*string
}

func columnsOfOpenings(all []*admission) (c openingColumns) {
	for _, a := range all {
		o := &a.opening
		var hash []byte
		if o.TokenHash != [32]byte{} {
			hash = o.TokenHash[:]
		}
		var metadata *string
		if o.Metadata != nil {
			metadata = new(string(o.Metadata))
		}
		c.ids = append(c.ids, o.ConnectionID)
		c.channels = append(c.channels, o.Channel)
		c.roles = append(c.roles, string(o.Role))
		c.clients = append(c.clients, o.ClientID)
		c.protocols = append(c.protocols, o.Protocol)
		c.hashes = append(c.hashes, hash)
		c.expiries = append(c.expiries, timeOrNull(o.TokenExpiresAt))
		c.keys = append(c.keys, o.KeyID)
		c.metadata = append(c.metadata, metadata)
		c.addresses = append(c.addresses, tenant.Printable(o.RemoteAddress, maxText))
		c.agents = append(c.agents, tenant.Printable(o.UserAgent, maxText))
	}
	return c
}
