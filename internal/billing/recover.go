package billing

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How the steps are written that a process owed the database when it was killed.

// life is what a spool says about one connection.
type life struct {
	tenant    tenant.ID
	id        string
	opened    *owed // nil: the ledger has had it from the start
	connected *owed
	ended     *owed
}

// lastAlive is when a process is known to have been alive at last, as owed has it.
type lastAlive struct {
	at time.Time
	up time.Duration
}

// lives reads a spool: the connections in the order in which they are first named,
// and when the process was alive at last. A line that was not written to its end ends
// nothing but itself.
func lives(from io.Reader) (all []*life, alive lastAlive, err error) {
	byID := map[string]*life{}
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return all, alive, nil
		}
		if err != nil {
			return nil, alive, err
		}
		var step owed
		if json.Unmarshal(line, &step) != nil {
			continue
		}
		if step.Up > alive.up || step.Up == alive.up && step.At.After(alive.at) {
			alive = lastAlive{step.At, step.Up}
		}
		if step.Connection == "" {
			continue
		}
		l := byID[step.Connection]
		if l == nil {
			l = &life{tenant: step.Tenant, id: step.Connection}
			byID[step.Connection] = l
			all = append(all, l)
		}
		switch {
		case step.Step == "opened" && step.Opening != nil && l.opened == nil:
			if string(step.Opening.Metadata) == "null" {
				step.Opening.Metadata = nil
			}
			l.opened = &step
		case step.Step == "connected" && l.connected == nil:
			l.connected = &step
		case step.Step == "ended" && step.Ending != nil && l.ended == nil:
			if string(step.Ending.Said) == "null" {
				step.Ending.Said = nil
			}
			l.ended = &step
		}
	}
}

// Recover writes what the process before this one owed the database: call it before
// the node of that process is ended. Each connection is written once, whatever was
// written already: those that the ledger has take the steps that they have not taken;
// those that it has never had came and went without it, and ended, if nobody knows
// better, when that process was alive at last. How many connections it was about is
// returned; an error is a database that does not take them now: nothing is forgotten.
func (l *Ledger) Recover(ctx context.Context, s *Spool) (int, error) {
	s.writing.Lock()
	_, err := s.file.Seek(0, io.SeekStart)
	var all []*life
	var alive lastAlive
	if err == nil {
		all, alive, err = lives(s.file)
	}
	s.writing.Unlock()
	if err != nil {
		return 0, fmt.Errorf("couldn't read what the ledger is owed: %w", err)
	}
	byTenant := map[tenant.ID][]*life{}
	var tenants []tenant.ID
	for _, one := range all {
		if byTenant[one.tenant] == nil {
			tenants = append(tenants, one.tenant)
		}
		byTenant[one.tenant] = append(byTenant[one.tenant], one)
	}
	for _, id := range tenants {
		for rest := byTenant[id]; len(rest) > 0; {
			some := rest[:min(len(rest), replayAtOnce)]
			rest = rest[len(some):]
			if err := l.recoverSome(ctx, id, some, alive); err != nil {
				return 0, err
			}
		}
	}
	s.clear()
	s.sync()
	if len(all) > 0 {
		l.log.Warn("wrote what the process before owed the database", "connections", len(all))
	}
	return len(all), nil
}

// recoverSome writes some of a tenant's lives together or, if that fails, one by one;
// one that the database can't take is given up.
func (l *Ledger) recoverSome(ctx context.Context, id tenant.ID, some []*life, alive lastAlive) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error { return l.recoverIn(ctx, tx, id, some, alive) })
	switch {
	case err == nil:
		l.changed(id)
		return nil
	case ctx.Err() != nil || tenant.DatabaseAway(err):
		return fmt.Errorf("couldn't write what the ledger is owed: %w", err)
	case len(some) == 1:
		l.log.Error("the ledger can't take what the process before owed it of a connection", "tenant", id, "connection", some[0].id, "error", err)
		return nil
	}
	for i := range some {
		if err := l.recoverSome(ctx, id, some[i:i+1], alive); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) recoverIn(ctx context.Context, tx pgx.Tx, id tenant.ID, some []*life, alive lastAlive) error {
	now, err := lockTenant(ctx, tx, id)
	if err != nil {
		return err
	}
	asked := time.Now()
	ago := func(at time.Time) time.Duration { return max(0, asked.Round(0).Sub(at)) } // both by the machine's clock
	var arrivals []*arrival
	for _, one := range some {
		if one.opened != nil {
			arrivals = append(arrivals, arrivalOf(one.opened.Opening, one.opened.Session, since(now, asked, ago(one.opened.At))))
		}
	}
	fresh, err := notEntered(ctx, tx, id, arrivals)
	if err != nil {
		return err
	}
	unknown := map[string]*arrival{}
	for _, a := range fresh {
		unknown[a.id] = a
	}
	var starts []*start
	var ends []*end
	served := map[string][]*service{} // by the node that had them
	for _, one := range some {
		a := unknown[one.id]
		if a != nil {
			node := one.opened.Node
			served[node] = append(served[node], one.served(a, alive, func(at time.Time) time.Time { return since(now, asked, ago(at)) }))
			continue
		}
		if one.connected != nil {
			starts = append(starts, &start{connectionID: one.id, asked: asked, ago: ago(one.connected.At)})
		}
		if one.ended != nil {
			ending := *one.ended.Ending
			ending.Ago = ago(one.ended.At)
			ends = append(ends, &end{one.id, asked, ending})
		}
	}
	if len(starts) > 0 {
		if _, err := l.connectIn(ctx, tx, id, starts); err != nil {
			return err
		}
	}
	for node, list := range served {
		events, err := writeServed(ctx, tx, node, list)
		if err != nil {
			return err
		}
		if err := l.outbox(ctx, tx, events...); err != nil {
			return err
		}
	}
	if len(ends) > 0 {
		_, err = l.closeIn(ctx, tx, id, ends)
	}
	return err
}

// served is the life of a connection that the ledger never had.
func (one *life) served(a *arrival, alive lastAlive, moment func(time.Time) time.Time) *service {
	last := alive.at
	ending := tenant.Ending{Reason: tenant.EndNodeLost}
	if one.ended != nil {
		last, ending = one.ended.At, *one.ended.Ending
	}
	switch {
	case one.connected != nil:
		a.connect(moment(one.connected.At), 0)
		if one.ended == nil {
			ending.Duration = max(0, alive.up-one.connected.Up) // whatever was done to the clock meanwhile
		}
	case ending.Duration > 0: // nobody said that its media was up
		a.connect(moment(last.Add(-ending.Duration)), 0)
	}
	return &service{a, moment(last), ending}
}
