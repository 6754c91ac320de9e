package billing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hibari/hibari/internal/tenant"
)

// The way in: all who wait of one tenant and node, in one transaction of a few round
// trips. It locks the tenant's row and reads all that matters; nobody can change that
// any more. So the verdict about each, one after the other, is arithmetic (desk.go),
// and what has become of it all is written at once.

// admissionsAtOnce is how many admitting transactions a process has under way, of
// different tenants. Under load more would not be done sooner: while one waits, more
// clients of its tenant come along, which cost it little. And others need the
// database, too.
const admissionsAtOnce = 8

// admission is an Open under way.
type admission struct {
	nodeID  string
	opening tenant.Opening
	opened  tenant.Opened // set when it is admitted
	refused error         // set when it is not
}

// admissionKey says who is admitted together.
type admissionKey struct {
	tenant tenant.ID
	nodeID string
}

// admit opens those of one tenant and node that may come in, and says of the others
// why not. An error is about none of them, or about one that spoils it for all. The
// transaction begins with the first batch and is committed with the last: every client
// of the tenant waits for its round trips.
func (l *Ledger) admit(ctx context.Context, key admissionKey, all []*admission) error {
	return l.admitOnce(ctx, key, all, false)
}

// admitOnce is admit, which looks first, if again is set, whether they have their places
// already.
func (l *Ledger) admitOnce(ctx context.Context, key admissionKey, all []*admission, again bool) error {
	conn, err := l.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("couldn't reach the database: %w", err)
	}
	defer conn.Release() // closes it if it is in a transaction still
	d, err := l.admitOver(ctx, conn, key, all, again)
	if conn.Conn().PgConn().TxStatus() != 'I' {
		rollBack(ctx, conn)
	}
	if err != nil {
		return err
	}
	if len(d.admitted) > 0 {
		l.forget(d.replacedIDs())
		l.changed(key.tenant)
	}
	return nil
}

// admitOver is admit on a connection, which it leaves in the transaction if nobody was
// admitted.
func (l *Ledger) admitOver(ctx context.Context, conn session, key admissionKey, all []*admission, again bool) (*desk, error) {
	d, err := openDesk(ctx, conn, key, all)
	if err != nil {
		return nil, err
	}
	if again {
		if err := d.findPlaced(ctx, conn, all); err != nil {
			return nil, err
		}
	}
	for _, a := range all {
		if err := d.decide(a); err != nil {
			return nil, err
		}
	}
	if err := d.reconsider(ctx, conn, all); err != nil {
		return nil, err
	}
	if d.account.licence == 0 {
		if err := explainEnd(ctx, conn, key.tenant, all); err != nil {
			return nil, err
		}
	}
	if len(d.admitted) == 0 {
		return d, nil
	}
	if err := d.writeReplaced(ctx, conn); err != nil {
		return nil, err
	}
	if len(d.replaced) == 0 { // else those have events whose numbers the outbox knows
		d.account.number(d.events)
	}
	batch := &pgx.Batch{}
	d.write(batch)
	if err := l.queue(batch, d.events...); err != nil {
		return nil, err
	}
	batch.Queue("commit") // not done if anything before it fails
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("couldn't write the connections: %w", err)
	}
	return d, nil
}

// session is a transaction, or a connection that is in one.
type session interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// rollbackTime is how long a rollback may take; a connection that is slower is closed.
const rollbackTime = time.Second

func rollBack(ctx context.Context, conn session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
	defer cancel()
	conn.Exec(ctx, "rollback") // if it fails, the connection is not used again
}

// openDesk begins the transaction, locks the tenant's row and reads what the openings
// depend on.
func openDesk(ctx context.Context, conn session, key admissionKey, all []*admission) (*desk, error) {
	d := newDesk(key)
	var names, olderChannels, olderClients []string
	for _, a := range all {
		o := &a.opening
		if d.venues[o.Channel] == nil {
			d.venues[o.Channel] = &venue{channel: liveChannel{name: o.Channel}}
			names = append(names, o.Channel)
		}
		k := keyOf(o)
		if _, asked := d.older[k]; watched(o) && !asked {
			d.older[k] = nil
			olderChannels, olderClients = append(olderChannels, k.channel), append(olderClients, k.client)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(lockAccountRow, key.tenant)
	// The node cannot be ended while somebody is being admitted to it: who ends one
	// takes its row for update. And what a suspension or the clock says is read when
	// the tenant's row is locked, not before.
	batch.Queue(`
		select clock_timestamp(), t.status = 'active', n.state in ('up', 'draining'), n.public_url
		from tenant t, node n where t.tenant_id = $1 and n.node_id = $2 for key share of n`, key.tenant, key.nodeID)
	batch.Queue(`
		select h.channel_id, h.session_id, h.connections, h.sendrecv, h.sendonly, h.recvonly, h.peer, coalesce(h.node_id, ''),
			coalesce(n.state in ('up', 'draining'), false), coalesce(n.lease_until > clock_timestamp(), false), coalesce(n.public_url, '')
		from channel_live h left join node n using (node_id) where h.tenant_id = $1 and h.channel_id = any($2)`, key.tenant, names)
	if len(olderClients) > 0 {
		batch.Queue(`
			select `+segmentColumns+`
			from live_connection l join connection c using (tenant_id, connection_id)
				join unnest($2::text[], $3::text[]) as o (channel_id, client_id) on l.channel_id = o.channel_id and c.client_id = o.client_id
			where l.tenant_id = $1 order by c.connection_id for no key update of c`, key.tenant, olderChannels, olderClients)
	}
	results := conn.SendBatch(ctx, batch)
	defer results.Close() // a failure has shown by then
	if _, err := results.Exec(); err != nil {
		return nil, fmt.Errorf("couldn't begin an admission: %w", err)
	}
	if err := d.read(results, len(olderClients) > 0); err != nil {
		return nil, err
	}
	return d, results.Close()
}

// write queues the writing of the places and the connections.
func (d *desk) write(batch *pgx.Batch) {
	id := d.key.tenant
	d.account.write(batch)
	if c := d.channelColumns(true); len(c.names) > 0 {
		batch.Queue(`
			insert into channel_session (session_id, tenant_id, channel_id)
			select session_id, $1, channel_id from unnest($2::text[], $3::text[]) as c (channel_id, session_id)`,
			id, c.names, c.sessions)
		batch.Queue(`
			insert into channel_live (tenant_id, channel_id, session_id, node_id, connections, sendrecv, sendonly, recvonly, peer)
			select $1, c.channel_id, c.session_id, $2, c.connections, c.sendrecv, c.sendonly, c.recvonly, c.peer
			from unnest($3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::int[], $9::bool[])
				as c (channel_id, session_id, connections, sendrecv, sendonly, recvonly, peer)`,
			id, d.key.nodeID, c.names, c.sessions, c.all, c.sendrecv, c.sendonly, c.recvonly, c.peer)
	}
	if c := d.channelColumns(false); len(c.names) > 0 {
		batch.Queue(`
			update channel_live h set node_id = $2, connections = c.connections,
				sendrecv = c.sendrecv, sendonly = c.sendonly, recvonly = c.recvonly, left_at = greatest(h.left_at, c.left_at)
			from unnest($3::text[], $4::int[], $5::int[], $6::int[], $7::int[], $8::timestamptz[])
				as c (channel_id, connections, sendrecv, sendonly, recvonly, left_at)
			where h.tenant_id = $1 and h.channel_id = c.channel_id`,
			id, d.key.nodeID, c.names, c.all, c.sendrecv, c.sendonly, c.recvonly, c.left)
	}
	// Their first event is written with them: event_count 1.
	o := d.openingColumns()
	batch.Queue(`
		with opened as (
			insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
				token_hash, token_expires_at, signing_key_id, metadata, remote_address, user_agent, profile, event_count)
			select connection_id, $1, channel_id, session_id, $2, role, client_id, protocol,
				token_hash, token_expires_at, nullif(signing_key_id, ''), metadata::jsonb, remote_address, user_agent, profile::jsonb, 1
			from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::timestamptz[], $11::text[],
					$12::text[], $13::text[], $14::text[], $15::text[])
				as o (connection_id, channel_id, session_id, role, client_id, protocol, token_hash, token_expires_at, signing_key_id,
					metadata, remote_address, user_agent, profile)
			returning connection_id, channel_id, role
		)
		insert into live_connection (connection_id, tenant_id, channel_id, node_id, role)
		select connection_id, $1, channel_id, $2, role from opened`,
		id, d.key.nodeID, o.ids, o.channels, o.sessions, o.roles, o.clients, o.protocols, o.hashes, o.expiries, o.keys,
		o.metadata, o.addresses, o.agents, o.profiles)
}

// writeReplaced ends the connections whose places others have taken over.
func (d *desk) writeReplaced(ctx context.Context, conn session) error {
	if len(d.replaced) == 0 {
		return nil
	}
	tag, err := conn.Exec(ctx, `delete from live_connection where tenant_id = $1 and connection_id = any($2)`, d.key.tenant, d.replacedIDs())
	if err != nil {
		return fmt.Errorf("couldn't take places over: %w", err)
	}
	if tag.RowsAffected() != int64(len(d.replaced)) {
		return fmt.Errorf("took over %d places of %d although tenant %s was locked", tag.RowsAffected(), len(d.replaced), d.key.tenant)
	}
	return writeEnds(ctx, conn, d.replaced, d.ends, slices.Repeat([]string{tenant.EndReplaced}, len(d.replaced)))
}
