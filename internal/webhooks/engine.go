package webhooks

import (
	"context"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// lookOften is how soon the holder of a tenant notices what another process has
	// written, and how precise the times of retries are.
	lookOften = 50 * time.Millisecond
	// lookSome is how soon a retry that has become due of a tenant that nobody holds is
	// noticed.
	lookSome = 250 * time.Millisecond
	// lookAll is how soon somebody notices the events of a process that died before it
	// told anybody, and the tenants that a node held that died.
	lookAll = time.Second
	// turnTenants is how many tenants one transaction of fan-out is about.
	turnTenants = 32
	// lastWords is how long attempts in flight may go on after Run was told to stop.
	lastWords = 3 * time.Second
)

// engine is what moves deliveries between the database and the lanes. Its goroutine
// alone writes about the tenants that this node holds: results first, since they make
// room, then new events, then what has become due. What arrives while it writes is
// written together in its next round.
type engine struct {
	*Webhooks

	// Owned by runEngine.
	woken     map[tenant.ID]bool      // tenants to be looked at; true: endpoints or deliveries were changed by hand
	locked    []tenant.ID             // tenants whose cursor somebody had locked: looked at with the next tick
	none      map[tenant.ID]time.Time // tenants without endpoints or of other nodes, until when we believe it
	stuck     map[tenant.ID]time.Time // tenants whose rows cannot be written, until when they are let be
	renewed   time.Time
	looked    struct{ held, due, all, idle time.Time }
	away      bool // the database was, when last asked
	pause     time.Duration
	resume    time.Time // nothing is asked before
	mistrust  bool      // what we hold has to be proven first
	attempts  context.Context
	attending sync.WaitGroup // the attempts
}

// runEngine runs until ctx ends, then lets the attempts in flight finish and gives
// the tenants back.
func (w *Webhooks) runEngine(ctx context.Context) {
	attempts, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	e := &engine{Webhooks: w, woken: map[tenant.ID]bool{}, none: map[tenant.ID]time.Time{}, stuck: map[tenant.ID]time.Time{}, attempts: attempts}
	e.inherit(ctx)
	tick := time.NewTicker(lookOften)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			e.end(abort)
			return
		case <-w.toFanOut.rung:
		case <-w.toClaim.rung:
		case <-w.results.rung:
		case <-tick.C:
			e.forget(time.Now())
		}
		e.round(ctx)
	}
}

// round does what there is to do once.
func (e *engine) round(ctx context.Context) {
	for _, t := range e.toFanOut.take() {
		e.woken[t] = e.woken[t] || false
	}
	for _, t := range e.toClaim.take() {
		e.woken[t] = true
		delete(e.none, t)
	}
	now := time.Now()
	if now.Before(e.resume) {
		return
	}
	// A statement that is interrupted may have done its work: what has begun ends, and
	// no later than a lease.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdTime/2)
	defer cancel()
	err := e.record(ctx)
	for _, step := range []func(context.Context, time.Time) error{e.renew, e.look, e.fanOut, e.refill, e.release} {
		if err == nil {
			err = step(ctx, now)
		}
	}
	e.settle(err, now)
	e.dispatch()
}

// forget lets go of what was to be believed for a time.
func (e *engine) forget(now time.Time) {
	for _, t := range e.locked {
		e.woken[t] = e.woken[t] || false
	}
	e.locked = e.locked[:0]
	for _, times := range []map[tenant.ID]time.Time{e.none, e.stuck} {
		for t, until := range times {
			if !now.Before(until) {
				delete(times, t)
			}
		}
	}
}

// settle notes whether the database answered, and says so when that changes.
func (e *engine) settle(err error, now time.Time) {
	if err != nil {
		if !e.away {
			e.log.Warn("webhook deliveries wait", "error", err)
		}
		e.away, e.mistrust = true, true
		e.pause = min(max(2*e.pause, lookOften), lookAll)
		e.resume = now.Add(e.pause)
		return
	}
	if e.away {
		e.log.Info("webhook deliveries go on")
	}
	e.away, e.pause = false, 0
}

// dispatch begins an attempt for every slot that there is and can be used.
func (e *engine) dispatch() {
	for {
		j, ok := e.lanes.next(time.Now())
		if !ok {
			return
		}
		e.attending.Go(func() { e.runAttempts(e.attempts, j) })
	}
}

// end is the last of runEngine: no attempt begins, those in flight have lastWords,
// results are written, and others may take the tenants at once.
func (e *engine) end(abort context.CancelFunc) {
	e.lanes.stop()
	ended := make(chan struct{})
	go func() {
		e.attending.Wait()
		close(ended)
	}()
	defer time.AfterFunc(lastWords, abort).Stop()
	<-ended
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	for e.results.len() > 0 {
		if err := e.record(ctx); err != nil {
			if ctx.Err() != nil {
				e.log.Error("webhook attempts not recorded: they will be repeated", "attempts", e.results.len(), "error", err)
				return
			}
			time.Sleep(lookOften)
		}
	}
	if err := e.letGo(ctx, e.lanes.tenants()); err != nil {
		e.log.Warn("webhook deliveries not given back: they wait until this node is taken for dead", "error", err)
	}
}
