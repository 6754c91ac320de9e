package billing

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/tenant"
)

// How clients are admitted while the database is away: to what is live here, within
// what was last known.

// errOutOfReach refuses a client whose channel is not live here, or whose tenant is
// not known.
var errOutOfReach = tenant.Refuse(tenant.Unavailable, "the platform's database is out of reach; try again in a few seconds")

// errAnew refuses a client while this node's connections are entered anew.
var errAnew = tenant.Refuse(tenant.Unavailable, "this node was out of the database's reach and is taking its place again; try again in a few seconds")

// opensAtMost is how often one Open asks a database that answers and yet fails.
const opensAtMost = 3

// Open takes a licence place on this node, as Ledger.Open does, or in the book.
func (b *Book) Open(ctx context.Context, o tenant.Opening) (tenant.Opened, error) {
	asked := time.Now()
	tried := 0 // how often the ledger was asked: it may have taken a place
	for {
		up, idle := b.way(o.Tenant)
		switch {
		case up == nil:
			return b.admit(o, asked, tried > 0)
		case idle != nil:
			patience := time.NewTimer(drainPatience)
			select {
			case <-idle:
			case <-up.Done():
			case <-ctx.Done():
			case <-patience.C:
				return b.admit(o, asked, tried > 0)
			}
			patience.Stop()
			if ctx.Err() != nil {
				return tenant.Opened{}, ctx.Err()
			}
			continue
		}
		nodeID := b.node.ID()
		direct, cancel := while(ctx, up)
		opened, err := b.ledger.Open(direct, nodeID, o)
		cancel()
		tried++
		switch {
		case err == nil:
			return b.opened(nodeID, o, opened, asked), nil
		case errors.Is(err, ErrNodeEnded):
			if b.Stir(); b.node.ID() == nodeID || tried > opensAtMost {
				return tenant.Opened{}, errAnew
			}
		case ctx.Err() != nil:
			return tenant.Opened{}, err
		case up.Err() != nil: // it went away meanwhile
		case !tenant.DatabaseAway(err) || tried >= opensAtMost:
			return tenant.Opened{}, err
		default:
			b.ask()
		}
	}
}

// way says how a tenant's opening is made: nil for up while the database is away;
// idle, if its journal has to be written first.
func (b *Book) way(id tenant.ID) (up context.Context, idle <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return nil, nil
	}
	p := b.pages[id]
	if p.direct() {
		return b.up, nil
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	return b.up, p.idle
}

// opened enters a connection that the ledger has admitted.
func (b *Book) opened(nodeID string, o tenant.Opening, opened tenant.Opened, asked time.Time) tenant.Opened {
	b.mu.Lock()
	defer b.mu.Unlock()
	opened = b.replaced(opened)
	if b.members[o.ConnectionID] != nil {
		return opened
	}
	p := b.page(o.Tenant)
	b.enroll(newMember(p, o, opened.SessionID, nodeID, asked), &o)
	if nodeID != b.seen || nodeID != b.node.ID() { // it was ended with all that was there
		p.stale = true
	}
	if !p.known || p.stale {
		b.Stir()
	}
	return opened
}

// replaced strikes those off whose places the opening took, and names them as the
// media plane does; mu is held.
func (b *Book) replaced(opened tenant.Opened) tenant.Opened {
	for i, id := range opened.Replaced {
		m := b.aliases[id]
		if m == nil {
			m = b.members[id]
		}
		if m != nil {
			opened.Replaced[i] = m.id
			b.leave(m)
		}
	}
	return opened
}

func newMember(p *page, o tenant.Opening, session, nodeID string, asked time.Time) *member {
	return &member{page: p, id: o.ConnectionID, ledgerID: o.ConnectionID, channel: o.Channel, session: session,
		role: o.Role, clientID: o.ClientID, nodeID: nodeID, asked: asked}
}

// admit admits a client from the book. tried: the ledger may have admitted it
// already, so that it must be told should the client be refused.
func (b *Book) admit(o tenant.Opening, asked time.Time, tried bool) (tenant.Opened, error) {
	defer b.spool.flush() // before the client is told
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pages[o.Tenant]
	if m := b.members[o.ConnectionID]; m != nil {
		return tenant.Opened{SessionID: m.session, Counts: p.channels[m.channel].counts}, nil
	}
	replaced, refusal := b.judge(p, o)
	if refusal != nil {
		if refusal.Code == tenant.Unavailable {
			b.stats.TurnedAway++
		}
		if tried {
			b.note(b.page(o.Tenant), &entry{step: stepEnded, id: o.ConnectionID, asked: asked, ending: tenant.Ending{Reason: tenant.EndFailed}})
		}
		return tenant.Opened{}, refusal
	}
	session := p.channels[o.Channel].session
	var opened tenant.Opened
	for _, m := range replaced {
		opened.Replaced = append(opened.Replaced, m.id)
		b.leave(m)
		var lasted time.Duration
		if !m.up.IsZero() {
			lasted = time.Since(m.up)
		}
		b.note(p, &entry{step: stepEnded, member: m, asked: asked, ending: tenant.Ending{Reason: tenant.EndReplaced, Duration: lasted}})
		m.settled = true
	}
	m := newMember(p, o, session, "", time.Now())
	m.opening = &o
	b.enroll(m, &o)
	b.note(p, &entry{step: stepOpened, member: m, asked: m.asked})
	b.stats.Admitted++
	opened.SessionID, opened.Counts = session, p.channels[o.Channel].counts
	return opened, nil
}

// judge says whether a client may have a place, as the ledger would if nothing has
// changed since it was last read, and whose place it takes; mu is held.
func (b *Book) judge(p *page, o tenant.Opening) (replaced []*member, refusal *tenant.Refusal) {
	switch {
	case p == nil || !p.known || p.channels[o.Channel] == nil || b.stats.Owed >= owedMost:
		return nil, errOutOfReach
	case p.stale:
		return nil, errAnew
	case !p.active:
		return nil, suspended()
	case p.capped():
		return nil, spendCapped(p.cappedUntil)
	case !storable(o):
		return nil, errUnstorable
	}
	r := p.channels[o.Channel]
	if err := count(new(tenant.Counts), o.Role, 1); err != nil {
		return nil, tenant.Refuse(tenant.BadMessage, "%s", err)
	}
	if watched(&o) {
		for m := range r.members {
			if m.clientID == o.ClientID {
				replaced = append(replaced, m)
			}
		}
	}
	double := len(replaced) > 0 && o.Duplicates == tenant.DuplicatesRefuse
	if double {
		replaced = nil
	}
	if now := p.here + p.elsewhere - len(replaced); now >= p.maxConnections {
		return nil, tenantFull(now, p.maxConnections)
	}
	if refusal := tenant.AsRefusal(home{peer: r.peer}.refuseKind(r.counts.Connections, o.PeerToPeer())); refusal != nil {
		return nil, refusal
	}
	now := r.counts.Connections - len(replaced)
	switch {
	case now >= p.maxPerChannel:
		return nil, channelFull(o.Channel, now, p.maxPerChannel)
	case o.MaxChannelConnections > 0 && now >= o.MaxChannelConnections:
		return nil, channelFullForToken(o.Channel, now, o.MaxChannelConnections)
	case double:
		return nil, duplicate(&o)
	}
	return replaced, nil
}

// storable reports whether Postgres can keep what the client brought.
func storable(o tenant.Opening) bool {
	for _, s := range []string{o.Channel, o.ClientID, o.Protocol, o.KeyID, string(o.Metadata)} {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return false
		}
	}
	// What jsonb cannot hold is left out when it is written late.
	return o.Metadata == nil || json.Valid(o.Metadata)
}

// Look returns how many connections the channel of an opening has, as Ledger.Look
// does, or as the book knows it.
func (b *Book) Look(ctx context.Context, o tenant.Opening) (tenant.Counts, error) {
	b.mu.Lock()
	up, away := b.up, b.away
	b.mu.Unlock()
	if !away {
		direct, cancel := while(ctx, up)
		defer cancel()
		counts, err := b.ledger.Look(direct, b.node.ID(), o)
		if err == nil || up.Err() == nil && (ctx.Err() != nil || !tenant.DatabaseAway(err) || !b.ask()) {
			return counts, err
		}
	}
	return b.lookHere(o)
}

// lookHere is Look for a database that is away.
func (b *Book) lookHere(o tenant.Opening) (tenant.Counts, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pages[o.Tenant]
	if p == nil || p.channels[o.Channel] == nil {
		b.stats.TurnedAway++
		return tenant.Counts{}, errOutOfReach
	}
	r := p.channels[o.Channel]
	if p.known && p.capped() {
		return r.counts, spendCapped(p.cappedUntil)
	}
	if now := p.here + p.elsewhere; p.known && takesAPlace(o) && now >= p.maxConnections {
		return r.counts, tenantFull(now, p.maxConnections)
	}
	if err := (home{peer: r.peer}).refuseKind(r.counts.Connections, o.PeerToPeer()); err != nil {
		return r.counts, err
	}
	if refusal := refuseFull(o, r.counts.Connections, p.maxPerChannel); p.known && refusal != nil {
		return r.counts, refusal
	}
	return r.counts, nil
}

// errUnstorable refuses what Postgres cannot keep.
var errUnstorable = tenant.Refuse(tenant.BadMessage, "the channel, client id or token metadata has a character that cannot be stored: NUL or broken UTF-8")
