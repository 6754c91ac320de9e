package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How the book knows whether the database is there: it asks, each second while it
// has anybody to admit to, by a small write on a connection of its own. A database
// that is full of work answers that; one that is down, frozen, or whose disk has
// stopped does not.

// Run keeps watch over the database and the node, and has journals written, until
// ctx ends.
func (b *Book) Run(ctx context.Context) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.wake:
		}
		b.spool.sync()
		b.compareIncarnation()
		if b.watched() && b.ask() {
			continue
		}
		b.startDrains()
	}
}

// watched reports whether the book has a use for the database just now.
func (b *Book) watched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.away || len(b.pages) > 0
}

// ask asks the database, once for all who want to know, and reports whether it is
// away.
func (b *Book) ask() (away bool) {
	answer, _, _ := b.asking.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		ids := b.toRead()
		read, err := b.probe(ctx, ids)
		away, back := b.judged(read, err)
		if back {
			b.ledger.pool.Reset() // its connections are those from before
		}
		return away, nil
	})
	return answer.(bool)
}

// toRead returns the tenants whose licences should be read now.
func (b *Book) toRead() (ids []tenant.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := time.Since(b.standing) >= standingInterval
	for id, p := range b.pages {
		if all || !p.known || len(ids) == 0 { // one at least: tables can hang alone
			ids = append(ids, id)
		}
	}
	if all {
		b.standing = time.Now()
	}
	return ids
}

// standing is what a tenant may and has, as the database says.
type standing struct {
	Tenant                        tenant.ID
	Active                        bool
	MaxConnections, MaxPerChannel int
	CappedFor                     *time.Duration // spending has reached its cap, for so long; nil: it has not
	Elsewhere                     int
}

// probe writes something and reads the tenants' licences.
func (b *Book) probe(ctx context.Context, ids []tenant.ID) ([]standing, error) {
	node := b.node.ID()
	batch := &pgx.Batch{}
	batch.Queue(`update node set name = name where node_id = $1`, node)
	if len(ids) > 0 {
		batch.Queue(`
			select l.tenant_id, t.status = 'active', l.max_connections, l.max_per_channel, l.spend_capped_until - clock_timestamp(),
				case when exists (select from node n where n.node_id <> $1 and n.state in ('up', 'draining'))
					then (select count(*) from live_connection c where c.tenant_id = l.tenant_id and c.node_id <> $1) else 0 end
			from tenant_live l join tenant t using (tenant_id) where l.tenant_id = any($2)`, node, ids)
	}
	results := b.asks.SendBatch(ctx, batch)
	defer results.Close() // a failure has shown by then
	if _, err := results.Exec(); err != nil {
		return nil, fmt.Errorf("couldn't write to the database: %w", err)
	}
	var read []standing
	if len(ids) > 0 {
		rows, err := results.Query()
		if err != nil {
			return nil, fmt.Errorf("couldn't read the licences: %w", err)
		}
		if read, err = pgx.CollectRows(rows, pgx.RowToStructByPos[standing]); err != nil {
			return nil, fmt.Errorf("couldn't read the licences: %w", err)
		}
	}
	return read, results.Close()
}

// judged takes the answer to a probe and reports whether the database is away, and
// whether it was and is no more.
func (b *Book) judged(read []standing, err error) (away, back bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil { // also one that answers, and that cannot be written to
		b.standing = time.Time{}
		if !b.away {
			b.away, b.awayFrom = true, time.Now()
			b.down()
			b.log.Error("the database does not answer: clients are admitted to live channels only, and what happens is kept to be written later", "error", err)
		}
		return true, false
	}
	for _, s := range read {
		if p := b.pages[s.Tenant]; p != nil {
			p.known, p.active = true, s.Active
			p.maxConnections, p.maxPerChannel, p.elsewhere = s.MaxConnections, s.MaxPerChannel, s.Elsewhere
			p.cappedUntil = time.Time{}
			if s.CappedFor != nil {
				p.cappedUntil = time.Now().Add(*s.CappedFor)
			}
		}
	}
	if back = b.away; back {
		b.away = false
		b.up, b.down = context.WithCancel(context.Background())
		b.log.Warn("the database answers again", "away", time.Since(b.awayFrom).Round(time.Second), "owed", b.stats.Owed)
	}
	return false, back
}

// compareIncarnation marks the pages when the node has a new id: the ledger has
// ended what was live under the old one.
func (b *Book) compareIncarnation() {
	id := b.node.ID()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == id {
		return
	}
	b.seen = id
	for _, p := range b.pages {
		p.stale = true
	}
}

// startDrains has the pages written that need it.
func (b *Book) startDrains() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return
	}
	for _, p := range b.pages {
		if !p.busy && !p.direct() {
			p.busy = true
			go b.drain(p)
		}
	}
}
