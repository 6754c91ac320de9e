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

// desk decides about the openings of one tenant and node, from what a transaction
// has read with the tenant's row locked. It asks nobody: each verdict follows from
// what is known and from the verdicts before it, as if all had come one by one.
type desk struct {
	key      admissionKey
	account  *account
	active   bool   // the tenant is; else it is suspended
	here     string // the node's public URL
	venues   map[string]*venue
	placed   map[string]placed        // who has a place already, by connection id
	older    map[clientKey][]*segment // live connections with the client ids that must not be double
	fresh    map[clientKey]bool       // the client ids of those who were admitted here
	admitted []*admission             // in their order
	replaced []*segment               // connections whose places they took
	ends     []time.Time              // when those ended
	events   []tenant.Event
}

// clientKey is a client id in a channel.
type clientKey struct{ channel, client string }

func keyOf(o *tenant.Opening) clientKey { return clientKey{o.Channel, o.ClientID} }

// placed is a place that somebody has.
type placed struct {
	nodeID  string
	channel string
	role    tenant.Role
}

// venue is a channel that somebody wants to join.
type venue struct {
	channel liveChannel // of one that is not live only the name
	home    home
	live    bool // it has a row
	joined  bool // by somebody who was admitted here
}

func newDesk(key admissionKey) *desk {
	return &desk{key: key, venues: map[string]*venue{}, placed: map[string]placed{},
		older: map[clientKey][]*segment{}, fresh: map[clientKey]bool{}}
}

// read reads the answers to openDesk's questions.
func (d *desk) read(results pgx.BatchResults, older bool) (err error) {
	if d.account, err = scanAccount(results.QueryRow(), d.key.tenant); err != nil {
		return err
	}
	var up bool
	err = results.QueryRow().Scan(&d.account.now, &d.active, &up, &d.here)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !up {
		return ErrNodeEnded
	}
	if err != nil {
		return fmt.Errorf("couldn't read the tenant and the node: %w", err)
	}
	if err := d.readVenues(results); err != nil {
		return fmt.Errorf("couldn't read the channels: %w", err)
	}
	if !older {
		return nil
	}
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("couldn't look for the same client ids: %w", err)
	}
	segments, err := pgx.CollectRows(rows, scanSegment)
	if err != nil {
		return fmt.Errorf("couldn't look for the same client ids: %w", err)
	}
	for _, c := range segments {
		k := clientKey{c.channel, c.clientID}
		d.older[k] = append(d.older[k], c)
	}
	return nil
}

func (d *desk) readVenues(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	var name, session string
	var n tenant.Counts
	var h home
	_, err = pgx.ForEachRow(rows, []any{&name, &session, &n.Connections, &n.SendRecv, &n.SendOnly, &n.RecvOnly,
		&h.peer, &h.nodeID, &h.up, &h.leased, &h.there}, func() error {
		v := d.venues[name]
		v.channel.session, v.channel.counts, v.home, v.live = session, n, h, true
		v.home.here = d.here
		return nil
	})
	return err
}

// findPlaced finds those who have a place already: an earlier Open of theirs took it,
// and its answer was lost.
func (d *desk) findPlaced(ctx context.Context, conn session, all []*admission) error {
	ids := make([]string, len(all))
	for i, a := range all {
		ids[i] = a.opening.ConnectionID
	}
	rows, err := conn.Query(ctx, `
		select connection_id, node_id, channel_id, role from live_connection where tenant_id = $1 and connection_id = any($2)`,
		d.key.tenant, ids)
	if err != nil {
		return fmt.Errorf("couldn't look for places that are taken: %w", err)
	}
	var id string
	var p placed
	if _, err := pgx.ForEachRow(rows, []any{&id, &p.nodeID, &p.channel, &p.role}, func() error {
		d.placed[id] = p
		return nil
	}); err != nil {
		return fmt.Errorf("couldn't look for places that are taken: %w", err)
	}
	return nil
}

// reconsider finds those of the refused who want a place that they have.
func (d *desk) reconsider(ctx context.Context, conn session, all []*admission) error {
	var refused []*admission
	for _, a := range all {
		if a.refused != nil {
			refused = append(refused, a)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	if err := d.findPlaced(ctx, conn, refused); err != nil {
		return err
	}
	for _, a := range refused {
		d.recognise(a)
	}
	return nil
}

// recognise answers one who has a place as its first Open was answered.
func (d *desk) recognise(a *admission) bool {
	o := &a.opening
	p, taken := d.placed[o.ConnectionID]
	switch {
	case !taken:
		return false
	case p != placed{d.key.nodeID, o.Channel, o.Role}:
		a.refused = ErrConnectionUsed
	default:
		v := d.venues[o.Channel]
		a.opened, a.refused = tenant.Opened{SessionID: v.channel.session, Counts: v.channel.counts}, nil
	}
	return true
}

// errAlone says that an opening cannot be decided about together with those before it.
var errAlone = errors.New("an opening replaces one that comes with it")

// decide admits an opening or says why not.
func (d *desk) decide(a *admission) error {
	o, v := &a.opening, d.venues[a.opening.Channel]
	a.opened, a.refused = tenant.Opened{}, nil
	if d.recognise(a) {
		return nil
	}
	older, fresh := d.older[keyOf(o)], d.fresh[keyOf(o)]
	switch o.Duplicates {
	case tenant.DuplicatesReplace:
		if fresh {
			return errAlone
		}
	case tenant.DuplicatesRefuse:
		fresh = fresh || len(older) > 0
		older = nil
	default:
		older, fresh = nil, false
	}
	if a.refused = d.refuse(o, v, len(older), fresh); a.refused != nil {
		return nil
	}
	return d.enter(a, v, older)
}

// refuse says why an opening finds no place, that of so many older ones included;
// nil: it finds one. double: its client id is there and must not be twice.
func (d *desk) refuse(o *tenant.Opening, v *venue, older int, double bool) error {
	if !d.active {
		return suspended()
	}
	if err := d.account.refuseCapped(); err != nil {
		return err
	}
	h, live := v.home, v.channel.counts.Connections
	if older > 0 { // they are where the channel is
		if err := h.elsewhere(d.key.nodeID); err != nil {
			return err
		}
	}
	if n := d.account.connections - older; n >= d.account.licence {
		return tenantFull(n, d.account.licence)
	}
	if err := h.refuseKind(live, o.PeerToPeer()); err != nil {
		return err
	}
	if n := live - older; n >= d.account.perChannel {
		return channelFull(o.Channel, n, d.account.perChannel)
	} else if m := o.MaxChannelConnections; m > 0 && n >= m {
		return channelFullForToken(o.Channel, n, m)
	}
	if err := h.elsewhere(d.key.nodeID); err != nil {
		return err
	}
	if double {
		return duplicate(o)
	}
	return nil
}

// enter takes the places for an opening that finds them, after the older ones that
// it replaces have left.
func (d *desk) enter(a *admission, v *venue, older []*segment) error {
	o, now := &a.opening, d.account.now
	if v.channel.session == "" { // nobody is there: the channel starts
		v.channel.session, v.home = tenant.NewID(), home{peer: o.PeerToPeer(), here: d.here}
		start, err := channelEvent(o.Tenant, o.Channel, tenant.ChannelStarted, now, ChannelData{SessionID: v.channel.session})
		if err != nil {
			return err
		}
		d.events = append(d.events, start)
	}
	if err := d.replace(a, v, older); err != nil {
		return err
	}
	v.home.nodeID, v.home.up, v.home.leased, v.joined = d.key.nodeID, true, true, true
	if err := count(&v.channel.counts, o.Role, 1); err != nil {
		return err
	}
	c := &segment{tenant: o.Tenant, id: o.ConnectionID, channel: o.Channel, session: v.channel.session,
		role: o.Role, clientID: o.ClientID, metadata: o.Metadata}
	connecting, err := connectionEvent(c, tenant.ConnectionConnecting, now, c.data(v.channel.counts))
	if err != nil {
		return err
	}
	connecting.ConnectionSeq = 1
	if err := d.account.take(); err != nil {
		return err
	}
	d.events = append(append(d.events, connecting), d.account.tell()...)
	d.placed[o.ConnectionID] = placed{d.key.nodeID, o.Channel, o.Role}
	d.fresh[keyOf(o)] = true
	a.opened.SessionID, a.opened.Counts = v.channel.session, v.channel.counts
	d.admitted = append(d.admitted, a)
	return nil
}

// replace ends older connections with the same client id and frees their places.
func (d *desk) replace(a *admission, v *venue, older []*segment) error {
	if len(older) == 0 {
		return nil
	}
	for _, c := range older {
		events, at, err := endSegment(c, d.account.now, tenant.Ending{Reason: tenant.EndReplaced, Duration: c.provable(d.account.now)}, &v.channel)
		if err != nil {
			return err
		}
		d.events = append(d.events, events...)
		d.replaced, d.ends = append(d.replaced, c), append(d.ends, at)
		a.opened.Replaced = append(a.opened.Replaced, c.id)
	}
	d.account.free(len(older))
	delete(d.older, keyOf(&a.opening))
	return nil
}

// replacedIDs are those whose places were taken over.
func (d *desk) replacedIDs() []string {
	ids := make([]string, len(d.replaced))
	for i, c := range d.replaced {
		ids[i] = c.id
	}
	return ids
}

// channelColumns are the channels that somebody joined, turned on their side as
// unnest takes them: those that start or those that were live.
type channelColumns struct {
	names, sessions                   []string
	all, sendrecv, sendonly, recvonly []int
	peer                              []bool
	left                              []*time.Time
}

func (d *desk) channelColumns(start bool) (c channelColumns) {
	for _, v := range d.venues {
		if !v.joined || v.live == start {
			continue
		}
		n := v.channel.counts
		c.names, c.sessions = append(c.names, v.channel.name), append(c.sessions, v.channel.session)
		c.all, c.sendrecv = append(c.all, n.Connections), append(c.sendrecv, n.SendRecv)
		c.sendonly, c.recvonly = append(c.sendonly, n.SendOnly), append(c.recvonly, n.RecvOnly)
		c.peer, c.left = append(c.peer, v.home.peer), append(c.left, v.channel.leftAt)
	}
	return c
}

// profileJSON is how an opening's connection signals, as it is kept.
func profileJSON(o *tenant.Opening) string {
	text, _ := json.Marshal(o.Profile) // texts, numbers and booleans: it cannot fail
	return string(text)
}

// openingColumns are the admitted turned on their side.
type openingColumns struct {
	ids, channels, sessions, roles, clients, protocols, keys, addresses, agents, profiles []string
	hashes                                                                                [][]byte
	expiries                                                                              []*time.Time
	metadata                                                                              []*string
}

func (d *desk) openingColumns() (c openingColumns) {
	for _, a := range d.admitted {
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
		c.sessions = append(c.sessions, a.opened.SessionID)
		c.roles = append(c.roles, string(o.Role))
		c.clients = append(c.clients, o.ClientID)
		c.protocols = append(c.protocols, o.Protocol)
		c.hashes = append(c.hashes, hash)
		c.expiries = append(c.expiries, timeOrNull(o.TokenExpiresAt))
		c.keys = append(c.keys, o.KeyID)
		c.metadata = append(c.metadata, metadata)
		c.addresses = append(c.addresses, tenant.Printable(o.RemoteAddress, maxText))
		c.agents = append(c.agents, tenant.Printable(o.UserAgent, maxText))
		c.profiles = append(c.profiles, profileJSON(o))
	}
	return c
}
