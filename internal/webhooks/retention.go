package webhooks

import (
	"context"
	"fmt"
	"time"
)

// How long what happened is kept. What is finished, and the attempts, go by
// partitions (migrations.KeepPartitions); so do events, a few days after their
// deliveries.
const (
	attemptsKept = 14 * 24 * time.Hour // as migration 0032 says
	eventsKept   = 30 * 24 * time.Hour // and their deliveries
	sweepEvery   = time.Hour
	sweepBatch   = 1000 // rows in one statement, so that none holds locks for long
)

// runRetention deletes what is too old: after a minute, then every hour.
func (w *Webhooks) runRetention(ctx context.Context) {
	next := time.NewTimer(time.Minute)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if err := w.Sweep(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("webhook retention waits", "error", err)
		}
		next.Reset(sweepEvery)
	}
}

// Sweep deletes deliveries that are unfinished and whose events are 30 days old: those
// of endpoints that have been disabled for so long; and replays that ended 30 days ago.
// Run does it every hour. Several
// nodes may do it at once.
func (w *Webhooks) Sweep(ctx context.Context) error {
	for {
		tag, err := w.pool.Exec(ctx, `delete from delivery d using (
				select tenant_id, delivery_id from delivery where event_at < statement_timestamp() - $1::interval
				limit $2 for update skip locked) old
			where d.tenant_id = old.tenant_id and d.delivery_id = old.delivery_id`, eventsKept, sweepBatch)
		if err != nil {
			return fmt.Errorf("couldn't delete old deliveries: %w", err)
		}
		if tag.RowsAffected() < sweepBatch {
			break
		}
	}
	// Where the head of a line was deleted, the next takes its place.
	if _, err := w.pool.Exec(ctx, `
		with free as (update delivery d set state = 'pending', due = clock_timestamp()
			where d.state = 'waiting' and not exists (select from delivery earlier
				where earlier.endpoint_id = d.endpoint_id and earlier.ordering_key = d.ordering_key and earlier.event_seq < d.event_seq)
			returning tenant_id)
		update webhook_cursor c set next_due = clock_timestamp() where tenant_id in (select tenant_id from free)`); err != nil {
		return fmt.Errorf("couldn't release stranded deliveries: %w", err)
	}
	return w.sweepReplays(ctx)
}
