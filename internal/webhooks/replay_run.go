package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// How a replay of a range goes on: in steps, each of them one transaction that queues
// a few deliveries and moves the replay's position past their events. So a crash
// neither repeats nor forgets one, and any process may take the next step.
const (
	// replayWindow is how many deliveries of an endpoint's replays are queued at once.
	// The lanes take them after whatever is live; it is well under laneRoom, so that
	// they leave room for that.
	replayWindow = 100
	// replayLook is how many events one step looks at.
	replayLook = 2000
	// replayPace is how long a replay waits between two steps when its window is full.
	replayPace = 100 * time.Millisecond
	// replayPoll is how soon a replay that another process has begun, or left, goes on.
	replayPoll = time.Second
	// replayKept is how long one that has ended can be seen.
	replayKept = 30 * 24 * time.Hour
)

// wakeReplays has the replays looked at soon. It never blocks.
func (w *Webhooks) wakeReplays() {
	select {
	case w.toReplay <- struct{}{}:
	default:
	}
}

// runReplays takes the steps of running replays until ctx ends.
func (w *Webhooks) runReplays(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-w.toReplay:
		}
		wait := replayPoll
		running, err := w.runningReplays(ctx)
		for _, r := range running {
			var more bool
			if more, err = w.stepReplay(ctx, r); err != nil {
				break
			}
			if more {
				wait = 0
			}
		}
		if wait > 0 && len(running) > 0 {
			wait = replayPace
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("webhook replays wait", "error", err)
			wait = replayPoll
		}
		next.Reset(wait)
	}
}

// replayRef names a replay.
type replayRef struct {
	tenant tenant.ID
	id     string
}

func (w *Webhooks) runningReplays(ctx context.Context) ([]replayRef, error) {
	rows, err := w.pool.Query(ctx, `select tenant_id, replay_id from webhook_replay where state = 'running' order by created_at`)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for replays: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r replayRef, err error) { return r, row.Scan(&r.tenant, &r.id) })
	if err != nil {
		return nil, fmt.Errorf("couldn't look for replays: %w", err)
	}
	return list, nil
}

// stepReplay queues the next deliveries of a replay, as many as its window has room
// for, and reports whether it can go on at once. Of two replays to one endpoint the
// older one comes first.
func (w *Webhooks) stepReplay(ctx context.Context, ref replayRef) (more bool, err error) {
	queued := 0
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		more, queued, err = stepReplay(ctx, tx, ref)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("couldn't go on with replay %s: %w", ref.id, err)
	}
	if queued > 0 {
		w.toClaim.ringFor(ref.tenant)
	}
	return more, nil
}

// standing is how far a replay is.
type standing struct {
	endpoint, status string
	to, seq          int64
	states, types    []string
	own, open        int // deliveries queued and not done: its own, and those of all replays to the endpoint
}

// standingOf reads it; locked: and keeps it as it is until the transaction ends. It is
// pgx.ErrNoRows if the replay has ended, or another process is at it.
func standingOf(ctx context.Context, tx pgx.Tx, ref replayRef, locked bool) (s standing, err error) {
	lock := ""
	if locked {
		lock = ` for update of r skip locked for key share of e`
	}
	err = tx.QueryRow(ctx, `select r.endpoint_id, e.status, r.to_seq, r.seq, r.states, r.types,
			(select count(*) from delivery d where d.tenant_id = $1 and d.replay_job = $2),
			(select count(*) from delivery d where d.tenant_id = $1 and d.endpoint_id = r.endpoint_id and d.replay_job is not null)
		from webhook_replay r join webhook_endpoint e using (tenant_id, endpoint_id)
		where r.tenant_id = $1 and r.replay_id = $2 and r.state = 'running'`+lock, ref.tenant, ref.id).
		Scan(&s.endpoint, &s.status, &s.to, &s.seq, &s.states, &s.types, &s.own, &s.open)
	return s, err
}

func stepReplay(ctx context.Context, tx pgx.Tx, ref replayRef) (more bool, queued int, err error) {
	s, err := standingOf(ctx, tx, ref, false)
	ready := s.seq >= s.to && s.own == 0 || s.seq < s.to && s.status == "enabled" && s.open <= replayWindow/2
	if err != nil || !ready {
		return false, 0, whileRunning(err)
	}
	// The cursor first, as everybody. It gives replays of one event their numbers, and
	// changing it tells the tenant's holder.
	if err := holdCursor(ctx, tx, ref.tenant); err != nil {
		return false, 0, err
	}
	if s, err = standingOf(ctx, tx, ref, true); err != nil {
		return false, 0, whileRunning(err)
	}
	room := replayWindow - s.open
	switch {
	case s.seq >= s.to && s.own == 0:
		_, err = tx.Exec(ctx, `update webhook_replay set state = 'done', finished_at = clock_timestamp() where tenant_id = $1 and replay_id = $2`, ref.tenant, ref.id)
		return false, 0, err
	case s.seq >= s.to || s.status != "enabled" || room <= 0:
		return false, 0, nil
	}
	// Position and deliveries move together. A step that fills its room ends with the
	// last event that it queued, else with the last that it looked at.
	var position int64
	err = tx.QueryRow(ctx, `
		with `+eventAt+`,
		next as (select chosen.*, ($10::text[])[row_number() over (order by seq)] as delivery_id from chosen order by seq limit $8),
		queued as (
			insert into delivery (tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, ordering_key, state, replay, replay_job)
			select $1, delivery_id, $2, event_id, seq, recorded_at, type, 'replay/' || delivery_id, 'pending', replay + 1, $9 from next
			returning event_seq)
		select count(*)::int, case when count(*) < $8 then coalesce((select max(seq) from looked), $4) else max(event_seq) end from queued`,
		ref.tenant, s.endpoint, s.seq+1, s.to, s.states, s.types, replayLook, room, ref.id, newIDs("dlv_", room)).Scan(&queued, &position)
	if err != nil {
		return false, 0, err
	}
	if _, err := tx.Exec(ctx, `update webhook_replay set seq = $3, queued = queued + $4 where tenant_id = $1 and replay_id = $2`,
		ref.tenant, ref.id, position, queued); err != nil {
		return false, 0, err
	}
	return queued < room, queued, nil
}

// whileRunning is the error of something about a replay: none if that no longer runs.
func whileRunning(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// newIDs makes n ids.
func newIDs(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = prefix + tenant.NewID()
	}
	return ids
}

// sweepReplays forgets those that ended long ago.
func (w *Webhooks) sweepReplays(ctx context.Context) error {
	if _, err := w.pool.Exec(ctx, `delete from webhook_replay where finished_at < statement_timestamp() - $1::interval`, replayKept); err != nil {
		return fmt.Errorf("couldn't delete old replays: %w", err)
	}
	return nil
}
