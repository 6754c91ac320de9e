package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How a node that was taken for dead takes its place again. The ledger has ended its
// connections as node_lost, at their last proven second, and others may have taken
// their places. Those that are still live here are entered anew, the oldest first,
// as long as there are places: a new connection each, which names the one that it
// continues and costs from now. The newest, for which there is none, and those whose
// channel has begun on another node meanwhile, are ended.

// readmission is a connection that is to be entered anew, or for the first time.
type readmission struct {
	member  *member
	id      string          // to enter it as
	before  string          // what the ledger has it as; "": not at all
	opening *tenant.Opening // if it has not
	peer    bool
	channel string
	role    tenant.Role
	session string
	asked   time.Time // when it came
	up      time.Time // zero: its media has not connected
	ended   *end      // it has ended, and the ledger has never had it; nil: it is live

	began             time.Time // when it was entered; zero: there was no place
	bytesIn, bytesOut int64     // of what the ledger had it as
}

// enterAnew enters the page's connections anew. It returns true if the page can go on.
func (b *Book) enterAnew(up context.Context, nodeID string, p *page) (more bool) {
	all, snapshot := b.toReadmit(p, nodeID)
	ctx, cancel := context.WithTimeout(up, replayTimeout)
	defer cancel()
	err := b.ledger.readmit(ctx, nodeID, p.tenant, all)
	if err != nil {
		b.log.Error("couldn't enter the node's connections anew; it is tried again", "tenant", p.tenant, "error", err)
		b.mu.Lock()
		p.busy = false
		if errors.Is(err, ErrNodeEnded) {
			for _, r := range all {
				r.member.nextID = ""
			}
		}
		b.mu.Unlock()
		return false
	}
	for _, m := range b.readmitted(p, nodeID, all, snapshot) {
		b.endMedia(p.tenant, m.id, tenant.EndNoPlace)
	}
	b.ledger.changed(p.tenant)
	return true
}

// toReadmit lists the page's connections that the ledger does not have as live, the
// oldest first, and how long the journal is that they make needless.
func (b *Book) toReadmit(p *page, nodeID string) (all []*readmission, snapshot int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended := map[*member]*entry{}
	for _, e := range p.journal {
		if e.step == stepEnded && e.member != nil {
			ended[e.member] = e
		}
	}
	listed := map[*member]bool{}
	add := func(m *member) {
		if listed[m] || m.opening == nil && (m.over || m.nodeID == nodeID) {
			return
		}
		listed[m] = true
		r := &readmission{member: m, id: m.id, opening: m.opening, channel: m.channel, role: m.role, session: m.session, asked: m.asked, up: m.up}
		if m.opening == nil {
			if m.nextID == "" {
				m.nextID = tenant.NewID()
			}
			r.id, r.before = m.nextID, m.ledgerID
		} else if e := ended[m]; e != nil {
			r.ended = &end{m.id, e.asked, e.ending}
		}
		if c := p.channels[m.channel]; c != nil {
			r.peer = c.peer
		}
		all = append(all, r)
	}
	for _, e := range p.journal {
		if e.member != nil {
			add(e.member)
		}
	}
	for _, c := range p.channels {
		for m := range c.members {
			add(m)
		}
	}
	slices.SortFunc(all, func(a, b *readmission) int { return a.asked.Compare(b.asked) })
	return all, len(p.journal)
}

// readmitted takes what has become of the connections and returns those for which
// there was no place.
func (b *Book) readmitted(p *page, nodeID string, all []*readmission, snapshot int) (unfit []*member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := make([]*entry, 0, len(p.journal))
	for i, e := range p.journal {
		switch {
		case i >= snapshot || e.member == nil: // an Open without an answer may be of this incarnation
			kept = append(kept, e)
		case e.step == stepEnded:
			b.forget(e.member)
		}
	}
	p.journal = kept
	b.allWritten()
	for _, r := range all {
		m := r.member
		if m.opening != nil {
			b.stats.Owed--
		}
		m.nextID, m.nodeID, m.opening = "", nodeID, nil
		switch {
		case r.ended != nil:
		case r.began.IsZero():
			b.stats.Unfit++
			b.leave(m)
			m.settled = true
			unfit = append(unfit, m)
		default:
			b.ledger.remember(r.id, p.tenant)
			if r.before == "" {
				continue
			}
			b.stats.Readmitted++
			if b.aliases[m.ledgerID] == m {
				delete(b.aliases, m.ledgerID)
			}
			m.ledgerID = r.id
			b.aliases[r.id] = m
			m.began, m.bytesIn, m.bytesOut = r.began, m.bytesIn+r.bytesIn, m.bytesOut+r.bytesOut
		}
	}
	p.stale = nodeID != b.seen
	for _, c := range p.channels {
		for m := range c.members {
			p.stale = p.stale || m.opening == nil && m.nodeID != b.seen
		}
	}
	if len(all) > 0 {
		b.log.Warn("entered the node's connections anew", "tenant", p.tenant, "connections", len(all)-len(unfit), "ended", len(unfit))
	}
	return unfit
}

// readmit enters the connections in one transaction, and sets when each began.
func (l *Ledger) readmit(ctx context.Context, nodeID string, id tenant.ID, all []*readmission) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		account, err := lockAccount(ctx, tx, id)
		if err != nil {
			return err
		}
		now, began := account.now, time.Now()
		done, err := liveUnder(ctx, tx, nodeID, id, all)
		if err != nil {
			return err
		}
		rows, err := endedRows(ctx, tx, id, all)
		if err != nil {
			return err
		}
		place, err := readPlaces(ctx, tx, nodeID, account, all)
		if err != nil {
			return err
		}
		var arrivals []*arrival
		var served []*service
		for _, r := range all {
			r.began = time.Time{}
			if c := rows[r.before]; c != nil {
				r.bytesIn, r.bytesOut = c.bytesIn, c.bytesOut
			}
			a := r.arrival(id, now, rows)
			switch {
			case done[r.id]: // by an earlier try
				r.began = began
			case a == nil:
				return fmt.Errorf("connection %s is not in the ledger", r.before)
			case r.ended != nil:
				served = append(served, &service{a, since(now, r.ended.asked, r.ended.ending.Ago), r.ended.ending})
			case place.take(r):
				r.began = began
				arrivals = append(arrivals, a)
			case r.opening != nil:
				ending := tenant.Ending{Reason: tenant.EndNoPlace}
				if a.connectedAt != nil {
					ending.Duration = now.Sub(*a.connectedAt)
				}
				served = append(served, &service{a, now, ending})
			}
		}
		events, err := takeLate(ctx, tx, nodeID, account, arrivals)
		if err != nil {
			return err
		}
		about, err := writeServed(ctx, tx, nodeID, served)
		if err != nil {
			return err
		}
		return l.outbox(ctx, tx, append(events, about...)...)
	})
	if err != nil {
		return fmt.Errorf("couldn't enter connections anew: %w", err)
	}
	return nil
}

// arrival is what is entered: what the ledger has never had, at its true times; the
// rest from now.
func (r *readmission) arrival(id tenant.ID, now time.Time, rows map[string]*segment) *arrival {
	if r.opening != nil {
		a := arrivalOf(r.opening, r.session, since(now, r.asked, 0))
		if !r.up.IsZero() {
			a.connect(since(now, r.up, 0), 0)
			if r.ended == nil {
				a.meteredThrough = &now
			}
		}
		return a
	}
	c := rows[r.before]
	if c == nil {
		return nil
	}
	a := &arrival{peer: r.peer, segment: segment{tenant: id, previous: r.before, id: r.id, channel: r.channel, role: r.role,
		clientID: c.clientID, metadata: c.metadata, openedAt: now}}
	if !r.up.IsZero() {
		a.connect(now, 0)
	}
	return a
}

// liveUnder returns which of the connections an earlier try has entered already.
func liveUnder(ctx context.Context, tx pgx.Tx, nodeID string, id tenant.ID, all []*readmission) (map[string]bool, error) {
	ids := make([]string, len(all))
	for i, r := range all {
		ids[i] = r.id
	}
	rows, err := tx.Query(ctx, `
		select connection_id from live_connection where tenant_id = $1 and node_id = $2 and connection_id = any($3)`, id, nodeID, ids)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for connections: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("couldn't look for connections: %w", err)
	}
	done := make(map[string]bool, len(found))
	for _, id := range found {
		done[id] = true
	}
	return done, nil
}

// endedRows reads what the ledger had the connections as.
func endedRows(ctx context.Context, tx pgx.Tx, id tenant.ID, all []*readmission) (map[string]*segment, error) {
	var ids []string
	for _, r := range all {
		if r.before != "" {
			ids = append(ids, r.before)
		}
	}
	rows, err := tx.Query(ctx, `select `+segmentColumns+` from connection c where c.tenant_id = $1 and c.connection_id = any($2)`, id, ids)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the connections: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanSegment)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the connections: %w", err)
	}
	found := make(map[string]*segment, len(list))
	for _, c := range list {
		found[c.id] = c
	}
	return found, nil
}

// places are what a tenant has left for a node that comes back.
type places struct {
	nodeID   string
	left     int
	account  *account
	channels map[string]*venue
}

// readPlaces reads them.
func readPlaces(ctx context.Context, tx pgx.Tx, nodeID string, account *account, all []*readmission) (*places, error) {
	p := &places{nodeID: nodeID, left: account.licence - account.connections, account: account, channels: map[string]*venue{}}
	var names []string
	for _, r := range all {
		if p.channels[r.channel] == nil {
			p.channels[r.channel] = &venue{}
			names = append(names, r.channel)
		}
	}
	var active bool
	if err := tx.QueryRow(ctx, `select status = 'active' from tenant where tenant_id = $1`, account.tenant).Scan(&active); err != nil {
		return nil, fmt.Errorf("couldn't read tenant %s: %w", account.tenant, err)
	}
	if !active {
		p.left = 0
	}
	rows, err := tx.Query(ctx, `
		select channel_id, connections, peer, coalesce(h.node_id, ''), coalesce(n.state in ('up', 'draining'), false)
		from channel_live h left join node n using (node_id) where tenant_id = $1 and channel_id = any($2)`, account.tenant, names)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the channels: %w", err)
	}
	var name string
	var v venue
	_, err = pgx.ForEachRow(rows, []any{&name, &v.channel.counts.Connections, &v.home.peer, &v.home.nodeID, &v.home.up}, func() error {
		*p.channels[name] = v
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the channels: %w", err)
	}
	return p, nil
}

// take takes a place for the connection if there is one.
func (p *places) take(r *readmission) bool {
	v := p.channels[r.channel]
	live := v.channel.counts.Connections
	if p.left <= 0 || live >= p.account.perChannel || v.home.up && v.home.nodeID != p.nodeID ||
		v.home.refuseKind(live, r.peer) != nil {
		return false
	}
	p.left--
	v.channel.counts.Connections++
	v.home.peer = r.peer
	return true
}
