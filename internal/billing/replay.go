package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How journals are written when the database is back.

// drain writes a page's journal, and first of all enters its connections anew if
// the node was taken for dead.
func (b *Book) drain(p *page) {
	b.drains <- struct{}{}
	defer func() { <-b.drains }()
	for b.drainSome(p) {
	}
}

// drainSome writes some of the journal. It returns false when there is nothing left
// or it cannot go on now; then the page is not busy any more.
func (b *Book) drainSome(p *page) (more bool) {
	nodeID := b.node.ID()
	b.mu.Lock()
	if b.away || nodeID != b.seen {
		p.busy = false
		b.mu.Unlock()
		b.Stir() // it may be back already
		return false
	}
	up := b.up
	if p.stale {
		b.mu.Unlock()
		return b.enterAnew(up, nodeID, p)
	}
	if len(p.journal) == 0 {
		p.busy = false
		if p.idle != nil {
			close(p.idle)
			p.idle = nil
		}
		if p.over = 0; p.ids == 0 && b.pages[p.tenant] == p {
			delete(b.pages, p.tenant)
		}
		b.mu.Unlock()
		return false
	}
	some := p.journal[:min(len(p.journal), replayAtOnce):min(len(p.journal), replayAtOnce)]
	told := p.over
	runs := b.runs(some)
	b.mu.Unlock()

	over, err := b.write(up, nodeID, p.tenant, runs, told)
	if err != nil && len(some) > 1 && !b.postponed(up, err) {
		some = some[:1] // one of them cannot be written: which?
		b.mu.Lock()
		runs = b.runs(some)
		b.mu.Unlock()
		over, err = b.write(up, nodeID, p.tenant, runs, told)
	}
	switch {
	case err == nil:
	case b.postponed(up, err):
		if tenant.DatabaseAway(err) && up.Err() == nil {
			b.ask()
		}
		b.mu.Lock()
		p.busy = false
		b.mu.Unlock()
		return false
	case unstorable(err) && b.withoutMetadata(some[0]):
		return true
	default:
		b.drop(some[0], err)
	}
	b.written(p, nodeID, some, over)
	return true
}

// postponed reports whether what failed can succeed later.
func (b *Book) postponed(up context.Context, err error) bool {
	return up.Err() != nil || tenant.DatabaseAway(err) || errors.Is(err, ErrNodeEnded) || errors.Is(err, context.DeadlineExceeded)
}

// withoutMetadata has an opening written without its metadata, which jsonb cannot
// hold.
func (b *Book) withoutMetadata(e *entry) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.step != stepOpened || e.member.opening.Metadata == nil {
		return false
	}
	o := *e.member.opening
	o.Metadata = nil
	e.member.opening = &o
	return true
}

// drop gives an entry up that the ledger cannot take.
func (b *Book) drop(e *entry, err error) {
	b.log.Error("the ledger can't take an entry that was kept while the database was away", "connection", e.id, "error", err)
	b.mu.Lock()
	b.stats.Dropped++
	end := b.endMedia
	b.mu.Unlock()
	if e.step == stepOpened { // it cannot be counted, so it cannot stay
		end(e.member.page.tenant, e.member.id, tenant.EndFailed)
	}
}

// written strikes entries off that the ledger has.
func (b *Book) written(p *page, nodeID string, some []*entry, over int) {
	defer b.spool.flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	p.journal = p.journal[len(some):]
	if len(p.journal) == 0 {
		p.journal = nil
	}
	for _, e := range some {
		switch {
		case e.step == stepOpened:
			b.stats.Owed--
			e.member.opening, e.member.nodeID = nil, nodeID
		case e.step == stepEnded && e.member != nil:
			b.forget(e.member)
		}
	}
	if over > p.over {
		b.stats.OverUse += int64(over - p.over)
		p.over = over
	}
	b.allWritten()
}

// run is consecutive entries of one step, with the ids that the ledger knows.
type run struct {
	step   step
	opens  []*arrival // openedAt is not set yet
	asked  []time.Time
	starts []*start
	ends   []*end
}

// runs turns entries into runs; mu is held.
func (b *Book) runs(entries []*entry) (runs []*run) {
	var last *run
	for _, e := range entries {
		if last == nil || last.step != e.step {
			last = &run{step: e.step}
			runs = append(runs, last)
		}
		id := e.id
		if e.member != nil {
			id = e.member.ledgerID
		}
		switch e.step {
		case stepOpened:
			last.opens = append(last.opens, arrivalOf(e.member.opening, e.member.session, time.Time{}))
			last.asked = append(last.asked, e.asked)
		case stepConnected:
			ago := e.ago
			if began := e.member.began; !began.IsZero() {
				ago = max(0, min(ago, e.asked.Sub(began)))
			}
			last.starts = append(last.starts, &start{connectionID: id, asked: e.asked, ago: ago})
		case stepEnded:
			ending := e.ending
			if e.member != nil {
				ending = e.member.ending(ending)
			}
			last.ends = append(last.ends, &end{id, e.asked, ending})
		}
	}
	return runs
}

// write writes runs in one transaction, in their order. over is by how many
// connections the tenant came to exceed its licence, told what it knows of already.
func (b *Book) write(up context.Context, nodeID string, id tenant.ID, runs []*run, told int) (over int, err error) {
	ctx, cancel := context.WithTimeout(up, replayTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, b.ledger.pool, func(tx pgx.Tx) error {
		over = told
		for _, r := range runs {
			if err := b.ledger.writeRun(ctx, tx, nodeID, id, r, &over); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return told, fmt.Errorf("couldn't write what happened while the database was away: %w", err)
	}
	if over > told {
		b.log.Error("a tenant had more connections than its licence allows while the database was away", "tenant", id, "over", over)
	}
	for _, r := range runs {
		for _, a := range r.opens {
			b.ledger.remember(a.id, id)
		}
	}
	b.ledger.changed(id)
	return over, nil
}

// writeRun writes one run.
func (l *Ledger) writeRun(ctx context.Context, tx pgx.Tx, nodeID string, id tenant.ID, r *run, over *int) error {
	switch r.step {
	case stepConnected:
		_, err := l.connectIn(ctx, tx, id, r.starts)
		return err
	case stepEnded:
		_, err := l.closeIn(ctx, tx, id, r.ends)
		return err
	}
	account, err := lockAccount(ctx, tx, id)
	if err != nil {
		return err
	}
	for i, a := range r.opens {
		a.openedAt = since(account.now, r.asked[i], 0)
	}
	fresh, err := notEntered(ctx, tx, id, r.opens)
	if err != nil {
		return err
	}
	events, err := takeLate(ctx, tx, nodeID, account, fresh)
	if err != nil || len(fresh) == 0 {
		return err
	}
	if more := account.connections - account.licence; more > *over {
		*over = more
		e, err := overUse(account)
		if err != nil {
			return err
		}
		events = append(events, e)
	}
	return l.outbox(ctx, tx, events...)
}

// notEntered returns those that have no row: an Open that gave no answer may have
// written one, and an earlier try to write late.
func notEntered(ctx context.Context, tx pgx.Tx, id tenant.ID, all []*arrival) (fresh []*arrival, err error) {
	ids := make([]string, len(all))
	for i, a := range all {
		ids[i] = a.id
	}
	rows, err := tx.Query(ctx, `select connection_id from connection where tenant_id = $1 and connection_id = any($2)`, id, ids)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for connections: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("couldn't look for connections: %w", err)
	}
	entered := make(map[string]bool, len(found))
	for _, id := range found {
		entered[id] = true
	}
	for _, a := range all {
		if !entered[a.id] {
			fresh = append(fresh, a)
		}
	}
	return fresh, nil
}

// Flush writes what the book owes, as far as the database takes it until ctx ends:
// before the process ends. The rest is the next process's to write, if there is a spool.
func (b *Book) Flush(ctx context.Context) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		b.compareIncarnation()
		owed, atRest := b.owes()
		if atRest {
			return nil
		}
		if !b.ask() {
			b.startDrains()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d steps in connections' lives could not be written while the database was away; %s", owed, b.fate())
		case <-poll.C:
		}
	}
}

// fate is what becomes of the steps that are owed when the process ends.
func (b *Book) fate() string {
	if b.spool == nil {
		return "they are lost"
	}
	return "the next start on this data directory writes them"
}

// owes returns how many entries are not written, and whether nothing else is to be
// done either.
func (b *Book) owes() (entries int, atRest bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	atRest = true
	for _, p := range b.pages {
		entries += len(p.journal)
		atRest = atRest && p.direct()
	}
	return entries, atRest
}
