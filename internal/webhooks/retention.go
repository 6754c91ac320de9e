package webhooks

import (
	"context"
	"fmt"
	"time"
)

// How long what happened is kept.
const (
	attemptsKept = 14 * 24 * time.Hour
	eventsKept   = 30 * 24 * time.Hour // and their deliveries; the events themselves go by partitions, a few days later
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

// Sweep deletes attempts older than 14 days, and deliveries older than 30 days. Run
// does it every hour. Several nodes may do it at once. Events are kept a few days
// longer (migrations.KeepPartitions), so that no delivery outlives its own.
func (w *Webhooks) Sweep(ctx context.Context) error {
	if err := w.sweep(ctx, `delete from delivery_attempt where (tenant_id, delivery_id, attempt) in (
		select a.tenant_id, a.delivery_id, a.attempt from delivery_attempt a
		where a.at < statement_timestamp() - $1::interval limit $2)`, attemptsKept, sweepBatch); err != nil {
		return fmt.Errorf("couldn't delete old attempts: %w", err)
	}
	if err := w.sweep(ctx, `delete from delivery where (tenant_id, delivery_id) in (
		select tenant_id, delivery_id from delivery where created_at < statement_timestamp() - $1::interval limit $2)`, eventsKept, sweepBatch); err != nil {
		return fmt.Errorf("couldn't delete old deliveries: %w", err)
	}
	// Where the head of a line was deleted unfinished, the next takes its place.
	if _, err := w.pool.Exec(ctx, `update delivery d set state = 'pending', due = clock_timestamp()
		where d.state = 'waiting' and not exists (select from delivery earlier
			where earlier.endpoint_id = d.endpoint_id and earlier.ordering_key = d.ordering_key
				and earlier.state in ('waiting', 'pending') and earlier.event_seq < d.event_seq)`); err != nil {
		return fmt.Errorf("couldn't release stranded deliveries: %w", err)
	}
	return nil
}

// sweep repeats a deletion of at most sweepBatch rows until there is no more.
func (w *Webhooks) sweep(ctx context.Context, statement string, args ...any) error {
	for {
		tag, err := w.pool.Exec(ctx, statement, args...)
		if err != nil || tag.RowsAffected() < sweepBatch {
			return err
		}
	}
}
