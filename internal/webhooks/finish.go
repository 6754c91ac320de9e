package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// finish records an attempt and decides what becomes of the delivery. While the
// database is away it tries again, for a result that is lost here is a duplicate
// for the receiver; it gives up when ctx ends or the lease is nearly over.
func (w *Webhooks) finish(ctx context.Context, j job, o outcome) {
	giveUp := time.After(leaseTime - 2*attemptTimeout)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := w.tryFinish(ctx, j, o)
		if err == nil || errors.Is(err, errNotOurs) {
			return
		}
		select {
		case <-time.After(wait):
			continue
		case <-giveUp:
		case <-ctx.Done():
		}
		w.log.Error("webhook attempt not recorded: it will be repeated", "delivery", j.id, "error", err)
		return
	}
}

// tryFinish is one try of finish; it is made also when ctx has ended.
func (w *Webhooks) tryFinish(ctx context.Context, j job, o outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	var verdicts []verdict
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
		if verdicts, err = w.health(ctx, tx, []ended{{j, o}}); err != nil {
			return err
		}
		return w.record(ctx, tx, j, o, verdicts[0].hold)
	})
	if err == nil {
		w.healthTold(verdicts)
		w.counters.attempted(o, !j.pulse.probe && j.attempt >= len(w.schedule))
	}
	return err
}

// errNotOurs says that the delivery was deleted, or its lease passed on.
var errNotOurs = errors.New("the delivery is no longer ours")

// record writes the attempt, moves the delivery to its next state and, if it is
// finished, lets the next of its line go. It locks deliveries of one line only,
// the head first.
func (w *Webhooks) record(ctx context.Context, tx pgx.Tx, j job, o outcome, hold time.Duration) error {
	wait, again := w.schedule.Next(j.attempt, o.retryAfter)
	if j.pulse.probe {
		wait, again = hold, true
	}
	var state string
	switch {
	case o.delivered():
		state = Delivered
	case again:
		state = Pending
	default:
		state = Dead
	}
	var key string
	var attempt int
	// A delivery made counts also when the lease was lost meanwhile.
	err := tx.QueryRow(ctx, `update delivery set state = $2, attempts = attempts + 1, lease_until = null,
			due = case when $2 = 'pending' then clock_timestamp() + $3::interval else due end,
			finished_at = case when $2 = 'pending' then null else clock_timestamp() end
		where tenant_id = $5 and delivery_id = $1 and state = 'pending' and (lease_until = $4 or $2 = 'delivered')
		returning ordering_key, attempts`, j.id, state, wait, j.lease, j.tenant).Scan(&key, &attempt)
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotOurs
	}
	if err != nil {
		return fmt.Errorf("couldn't finish delivery %s: %w", j.id, err)
	}
	if _, err := tx.Exec(ctx, `insert into delivery_attempt (tenant_id, delivery_id, attempt, at, duration_ms, status, error, response_head)
		values ($7, $1, $2, clock_timestamp() - $3 * interval '1 millisecond', $3, nullif($4, 0), $5, $6)`,
		j.id, attempt, o.took.Milliseconds(), o.status, cleanText(o.problem), o.answer, j.tenant); err != nil {
		return fmt.Errorf("couldn't record an attempt of %s: %w", j.id, err)
	}
	if state != Pending {
		// Its own statement: it must see what fan-out committed while we waited
		// for the row above.
		if _, err := tx.Exec(ctx, `update delivery set state = 'pending', due = clock_timestamp() where tenant_id = $3 and delivery_id = (
			select delivery_id from delivery where tenant_id = $3 and endpoint_id = $1 and ordering_key = $2 and state = 'waiting'
			order by event_seq limit 1)`, j.endpoint, key, j.tenant); err != nil {
			return fmt.Errorf("couldn't release what waits for %s: %w", j.id, err)
		}
	}
	return nil
}

// giveBack returns a delivery that we did not finish, so that the next process
// need not wait for its lease to end.
func (w *Webhooks) giveBack(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if _, err := w.pool.Exec(ctx, `update delivery set lease_until = null
		where tenant_id = $3 and delivery_id = $1 and lease_until = $2`, j.id, j.lease, j.tenant); err != nil {
		w.log.Warn("webhook delivery not given back: it waits for its lease", "delivery", j.id, "error", err)
	}
}
