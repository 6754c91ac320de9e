package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Open takes a licence place for o on the node, all in one transaction: the
// place in the tenant and in the channel, the connection, and the events
// channel.started (for the channel's first) and connection.connecting.
//
// A *tenant.Refusal says that there is no place (tenant_full, channel_full,
// with Current and Max), that the tenant is suspended, that the channel is of the
// other kind (channel_denied), or that o cannot be stored (bad_message). A
// *tenant.Elsewhere says on which node the channel lives, as long as that is up;
// `unavailable`, that it lives where a client cannot be sent to. A channel lives
// on the node of its first connection, until its last has ended or that node has.
// Other errors are no verdict about the client:
// ErrNodeEnded, ErrConnectionUsed, or the database could not be asked. Open
// may be called again with the same connection id, also when the answer to the
// first call was lost: the place is taken once.
func (l *Ledger) Open(ctx context.Context, nodeID string, o tenant.Opening) (tenant.Opened, error) {
	a := &admission{nodeID: nodeID, opening: o}
	if err := l.openings.take(ctx, admissionKey{o.Tenant, nodeID}, a); err != nil {
		return tenant.Opened{}, err
	}
	l.remember(o.ConnectionID, o.Tenant)
	return a.opened, nil
}

// openAlone opens one connection in a transaction of its own, or says why not.
func (l *Ledger) openAlone(ctx context.Context, _ admissionKey, a *admission) error {
	o := a.opening
	var opened tenant.Opened
	var again bool
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) (err error) {
		opened, err = l.open(ctx, tx, a.nodeID, o)
		return err
	})
	// A place may be there already: then taking a second one ran into the
	// limit, or into the connection id, and was rolled back.
	var refusal *tenant.Refusal
	if errors.As(err, &refusal) || errors.Is(err, ErrConnectionUsed) {
		var found error
		again, found = l.reopened(ctx, a.nodeID, o, &opened)
		if found != nil {
			return found
		}
	}
	if err != nil && !again {
		return fmt.Errorf("couldn't open connection %s: %w", o.ConnectionID, err)
	}
	a.opened = opened
	if !again {
		l.changed(o.Tenant)
	}
	return nil
}

// open takes the place in tx, in lock order.
func (l *Ledger) open(ctx context.Context, tx pgx.Tx, nodeID string, o tenant.Opening) (tenant.Opened, error) {
	now, maxPerChannel, err := takeTenantPlace(ctx, tx, o.Tenant)
	if err != nil {
		return tenant.Opened{}, err
	}
	opened, started, err := takeChannelPlace(ctx, tx, nodeID, o, maxPerChannel)
	if err != nil {
		return tenant.Opened{}, err
	}
	if err := insertConnection(ctx, tx, nodeID, opened.SessionID, o); err != nil {
		return tenant.Opened{}, err
	}
	c := &segment{tenant: o.Tenant, id: o.ConnectionID, channel: o.Channel, session: opened.SessionID,
		role: o.Role, clientID: o.ClientID, metadata: o.Metadata}
	connecting, err := connectionEvent(c, tenant.ConnectionConnecting, now, c.data(opened.Counts))
	if err != nil {
		return tenant.Opened{}, err
	}
	events := []tenant.Event{connecting}
	if started {
		start, err := channelEvent(o.Tenant, o.Channel, tenant.ChannelStarted, now, ChannelData{SessionID: opened.SessionID})
		if err != nil {
			return tenant.Opened{}, err
		}
		events = []tenant.Event{start, connecting}
	}
	return opened, l.outbox(ctx, tx, events...)
}

// takeTenantPlace takes one of the tenant's places if there is one, and with
// it the lock of its row. The limit stands in the same row, so it is read
// anew after waiting for the lock.
func takeTenantPlace(ctx context.Context, tx pgx.Tx, id tenant.ID) (now time.Time, maxPerChannel int, err error) {
	var status string
	err = tx.QueryRow(ctx, `
		update tenant_live l set connections = connections + 1
		where tenant_id = $1 and connections < max_connections
		returning clock_timestamp(), max_per_channel, (select status from tenant t where t.tenant_id = l.tenant_id)`,
		id).Scan(&now, &maxPerChannel, &status)
	if errors.Is(err, pgx.ErrNoRows) {
		return now, 0, refuseTenant(ctx, tx, id)
	}
	if err != nil {
		return now, 0, fmt.Errorf("couldn't take a place of tenant %s: %w", id, err)
	}
	if status != "active" {
		return now, 0, suspended()
	}
	return now, maxPerChannel, nil
}

// refuseTenant says why the tenant had no place.
func refuseTenant(ctx context.Context, tx pgx.Tx, id tenant.ID) error {
	var status string
	var licence Licence
	err := tx.QueryRow(ctx, `
		select status, connections, max_connections from tenant_live join tenant using (tenant_id) where tenant_id = $1`,
		id).Scan(&status, &licence.Connections, &licence.MaxConnections)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("tenant %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("couldn't read the licence of %s: %w", id, err)
	}
	if status != "active" {
		return suspended()
	}
	r := tenant.Refuse(tenant.TenantFull,
		"the licence allows %d connections at one time and %d are open: end some, or extend the licence",
		licence.MaxConnections, licence.Connections)
	r.Current, r.Max = licence.Connections, licence.MaxConnections
	return r
}

func suspended() *tenant.Refusal {
	return tenant.Refuse(tenant.TenantSuspended, "the tenant is suspended; its owner should ask the operator")
}

// insertConnection writes the connection and its place. The first insert's
// foreign key locks the node against being ended, so the second one's look at
// its state holds until the transaction ends: a dead node gets no new places.
func insertConnection(ctx context.Context, tx pgx.Tx, nodeID, session string, o tenant.Opening) error {
	var tokenHash []byte
	if o.TokenHash != [32]byte{} {
		tokenHash = o.TokenHash[:]
	}
	tag, err := tx.Exec(ctx, `
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
			token_hash, token_expires_at, signing_key_id, metadata, remote_address, user_agent)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nullif($11, ''), $12, $13, $14)
		on conflict (connection_id) do nothing`,
		o.ConnectionID, o.Tenant, o.Channel, session, nodeID, o.Role, o.ClientID, o.Protocol,
		tokenHash, timeOrNull(o.TokenExpiresAt), o.KeyID, o.Metadata,
		tenant.Printable(o.RemoteAddress, maxText), tenant.Printable(o.UserAgent, maxText))
	if unstorable(err) {
		return tenant.Refuse(tenant.BadMessage,
			"the channel, client id or token metadata has a character or number that cannot be stored: NUL, broken UTF-8 or an endless number")
	}
	if err != nil {
		return fmt.Errorf("couldn't write the connection: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrConnectionUsed
	}
	tag, err = tx.Exec(ctx, `
		insert into live_connection (connection_id, tenant_id, channel_id, node_id, role)
		select $1, $2, $3, node_id, $5 from node where node_id = $4 and state in ('up', 'draining')`,
		o.ConnectionID, o.Tenant, o.Channel, nodeID, o.Role)
	if err != nil {
		return fmt.Errorf("couldn't write the place: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNodeEnded
	}
	return nil
}

// reopened finds the place that an earlier Open of the same connection took.
func (l *Ledger) reopened(ctx context.Context, nodeID string, o tenant.Opening, opened *tenant.Opened) (bool, error) {
	c := &opened.Counts
	err := l.pool.QueryRow(ctx, `
		select h.session_id, h.connections, h.sendrecv, h.sendonly, h.recvonly
		from live_connection l join channel_live h using (tenant_id, channel_id)
		where l.connection_id = $1 and l.tenant_id = $2 and l.node_id = $3 and l.channel_id = $4 and l.role = $5`,
		o.ConnectionID, o.Tenant, nodeID, o.Channel, o.Role).
		Scan(&opened.SessionID, &c.Connections, &c.SendRecv, &c.SendOnly, &c.RecvOnly)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("couldn't look for connection %s: %w", o.ConnectionID, err)
	}
	return true, nil
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
