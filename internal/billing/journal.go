package billing

import (
	"context"
	"errors"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// What is kept of the steps in a connection's life while the database is away.

// step is what an entry is about.
type step int

const (
	stepOpened step = iota
	stepConnected
	stepEnded
)

// entry is one step that the ledger has not taken yet. Static, but for what its
// member is.
type entry struct {
	step   step
	member *member // nil: of an Open that gave no answer
	id     string  // the connection's, if there is no member
	asked  time.Time
	ago    time.Duration // before asked
	ending tenant.Ending
}

// errAway says that the database is away and that the book does not know the
// connection.
var errAway = errors.New("the database does not answer")

// note enters a step in the page's journal; mu is held. Who calls it calls b.spool.flush
// when mu is free, before anybody is told.
func (b *Book) note(p *page, e *entry) {
	b.spool.add(b.owed(p, e))
	p.journal = append(p.journal, e)
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	if e.step == stepOpened {
		b.stats.Owed++
	}
}

// owed is a step for the spool; mu is held.
func (b *Book) owed(p *page, e *entry) owed {
	step := owed{At: e.asked.Round(0), Up: e.asked.Sub(processBegan), Tenant: p.tenant, Connection: e.id}
	m := e.member
	if m != nil {
		step.Connection = m.ledgerID
	}
	switch e.step {
	case stepOpened:
		step.Step, step.Node, step.Session, step.Opening = "opened", b.node.ID(), m.session, m.opening
	case stepConnected:
		step.Step = "connected"
		began := e.asked.Add(-e.ago)
		if m != nil && m.began.After(began) {
			began = m.began
		}
		step.At, step.Up = began.Round(0), began.Sub(processBegan)
	case stepEnded:
		ending := e.ending
		if m != nil {
			ending = m.ending(ending)
		}
		step.Step, step.Ending = "ended", &ending
		step.At = step.At.Add(-ending.Ago)
	}
	return step
}

// allWritten empties the spool if no journal has anything; mu is held.
func (b *Book) allWritten() {
	for _, p := range b.pages {
		if len(p.journal) > 0 {
			return
		}
	}
	b.spool.clear()
}

// Connected records that the connection's media connected ago before now, as
// Ledger.Connected does, or keeps it for later.
func (b *Book) Connected(ctx context.Context, connectionID string, ago time.Duration) error {
	asked := time.Now()
	up, m, err := b.connected(connectionID, asked, ago)
	if up == nil || err != nil {
		return err
	}
	direct, cancel := while(ctx, up)
	defer cancel()
	if err = b.ledger.Connected(direct, b.ledgerID(m, connectionID), b.sinceEntered(m, ago)); err == nil || up.Err() == nil {
		return err
	}
	if up, _, again := b.connected(connectionID, asked, ago); up == nil {
		return again
	}
	return err // it is back already; the door tries again
}

// connected notes when media came up. It returns the time for which the database
// is there, if the ledger is to be told now.
func (b *Book) connected(connectionID string, asked time.Time, ago time.Duration) (up context.Context, m *member, err error) {
	defer b.spool.flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	m = b.members[connectionID]
	if m == nil {
		if b.away {
			return nil, nil, errAway
		}
		return b.up, nil, nil
	}
	m.up = asked.Add(-ago)
	if m.settled {
		return nil, m, nil
	}
	if b.away || !m.page.direct() {
		b.note(m.page, &entry{step: stepConnected, member: m, asked: asked, ago: ago})
		return nil, m, nil
	}
	return b.up, m, nil
}

// Close frees the connection's place, as Ledger.Close does, or keeps how it ended
// for later; its place in the book is free at once.
func (b *Book) Close(ctx context.Context, connectionID string, e tenant.Ending) error {
	asked := time.Now()
	up, m, err := b.ended(connectionID, asked, e)
	if up == nil || err != nil {
		return err
	}
	direct, cancel := while(ctx, up)
	defer cancel()
	ending := b.endingOf(m, e)
	ending.Ago += time.Since(asked)
	err = b.ledger.Close(direct, b.ledgerID(m, connectionID), ending)
	if err == nil || errors.Is(err, ErrNotFound) {
		b.settle(m)
		return err
	}
	if up.Err() == nil {
		return err
	}
	if up, _, again := b.ended(connectionID, asked, e); up == nil {
		return again
	}
	return err
}

// ended notes that a connection has ended, as connected does.
func (b *Book) ended(connectionID string, asked time.Time, e tenant.Ending) (up context.Context, m *member, err error) {
	defer b.spool.flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	m = b.members[connectionID]
	if m == nil {
		if b.away {
			return nil, nil, errAway
		}
		return b.up, nil, nil
	}
	b.leave(m)
	if m.settled {
		b.forget(m)
		return nil, m, nil
	}
	if b.away || !m.page.direct() {
		b.note(m.page, &entry{step: stepEnded, member: m, asked: asked, ending: e})
		m.settled = true // a second Close adds nothing
		return nil, m, nil
	}
	return b.up, m, nil
}

// Abandon frees the place that an Open without an answer may have taken.
func (b *Book) Abandon(ctx context.Context, o tenant.Opening, e tenant.Ending) error {
	asked := time.Now()
	up := b.abandoned(o, asked, e)
	if up == nil {
		return nil
	}
	direct, cancel := while(ctx, up)
	defer cancel()
	err := b.ledger.Abandon(direct, o, e)
	if err != nil && up.Err() != nil && b.abandoned(o, asked, e) == nil {
		return nil
	}
	return err
}

func (b *Book) abandoned(o tenant.Opening, asked time.Time, e tenant.Ending) (up context.Context) {
	defer b.spool.flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.away && b.pages[o.Tenant].direct() {
		return b.up
	}
	b.note(b.page(o.Tenant), &entry{step: stepEnded, id: o.ConnectionID, asked: asked, ending: e})
	return nil
}

// Reject writes that a client was refused; while the database is away it is
// counted and no more.
func (b *Book) Reject(ctx context.Context, o tenant.Opening, r *tenant.Refusal) error {
	b.mu.Lock()
	up, away := b.up, b.away
	b.mu.Unlock()
	if !away {
		direct, cancel := while(ctx, up)
		defer cancel()
		err := b.ledger.Reject(direct, o, r)
		if err == nil || up.Err() == nil {
			return err
		}
	}
	b.ledger.rejectsDropped.Add(1)
	return nil
}

// Beat tells the ledger how far the media plane's connections have come, as
// Ledger.Beat does. While the database is away it does nothing: the next beat
// makes up for it.
func (b *Book) Beat(ctx context.Context, marks []Mark) error {
	b.mu.Lock()
	up := b.up
	if b.away {
		if b.spool != nil && b.spool.used() { // whoever recovers it knows until when media was there
			b.spool.add(owed{Step: "alive", At: time.Now().Round(0), Up: time.Since(processBegan)})
		}
		b.mu.Unlock()
		b.spool.flush()
		return nil
	}
	entered := make([]Mark, 0, len(marks))
	for _, mark := range marks {
		m := b.members[mark.ConnectionID]
		if m == nil {
			continue // it is coming or going
		}
		mark.ConnectionID = m.ledgerID
		mark.Connected = max(0, mark.Connected-m.before())
		mark.BytesIn, mark.BytesOut = max(0, mark.BytesIn-m.bytesIn), max(0, mark.BytesOut-m.bytesOut)
		entered = append(entered, mark)
	}
	b.mu.Unlock()
	direct, cancel := while(ctx, up)
	defer cancel()
	err := b.ledger.Beat(direct, b.node.ID(), entered)
	if up.Err() != nil {
		return nil
	}
	return err
}

// while returns a context that ends with ctx, and when the database goes away.
func while(ctx, up context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(up, cancel)
	return ctx, func() { stop(); cancel() }
}

// ledgerID is the id by which the ledger knows a connection of the media plane.
func (b *Book) ledgerID(m *member, connectionID string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m == nil {
		return connectionID
	}
	return m.ledgerID
}

// sinceEntered is since when media is up as far as the ledger's entry goes.
func (b *Book) sinceEntered(m *member, ago time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m == nil || m.began.IsZero() {
		return ago
	}
	return min(ago, time.Since(m.began))
}

// endingOf is member.ending for who does not hold mu.
func (b *Book) endingOf(m *member, e tenant.Ending) tenant.Ending {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m == nil {
		return e
	}
	return m.ending(e)
}

// settle notes that the ledger knows of a connection's end.
func (b *Book) settle(m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m != nil {
		b.forget(m)
	}
}
