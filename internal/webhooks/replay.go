package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Missed is the state of an event that was never meant for an endpoint: it happened
// while that was disabled, before it was added, or under another choice of events.
const Missed = "missed"

// ReplayStates are the states of events that a replay may choose by: each event has
// one at an endpoint. Delivered: it was delivered at least once; Dead: it never was,
// and nothing of it is under way.
var ReplayStates = []string{Dead, Missed, Delivered}

// Limits of replays.
const (
	// MaxReplays is how many replays of a tenant may run at once.
	MaxReplays = 5
	// MaxPreview is how many events a preview looks at.
	MaxPreview = 100_000
	// MaxReplayList is how many replays of an endpoint are listed.
	MaxReplayList = 100
)

// ErrTooManyReplays is one more than MaxReplays.
var ErrTooManyReplays = fmt.Errorf("%d replays run already: wait for one, or cancel it", MaxReplays)

// The states of a Replay.
const (
	ReplayRunning   = "running"
	ReplayDone      = "done"
	ReplayCancelled = "cancelled"
)

// Range says which events a replay sends again.
type Range struct {
	// From and To bound when events were written, To excluded; zero: from the oldest
	// kept, or to the newest there is.
	From, To time.Time
	// FromSeq and ToSeq bound the events' numbers, both included; 0: not at all.
	FromSeq, ToSeq int64
	States         []string // of ReplayStates; none: Dead and Missed
	Types          []string // none: any; of the missed ones those that the endpoint gets
}

// Replay is a range of events on its way to one endpoint once more.
type Replay struct {
	ID         string     `json:"id"`
	EndpointID string     `json:"endpoint_id"`
	State      string     `json:"state"`
	FromSeq    int64      `json:"from_seq"`
	ToSeq      int64      `json:"to_seq"` // less than FromSeq: there is none
	States     []string   `json:"states"`
	Types      []string   `json:"types"`
	Seq        int64      `json:"seq"`    // the events up to it have been looked at
	Queued     int64      `json:"queued"` // deliveries made for it, of which
	Delivered  int64      `json:"delivered"`
	Dead       int64      `json:"dead"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at"` // nil: it runs
}

// Progress is how much of the range has been looked at, from 0 to 1.
func (r Replay) Progress() float64 {
	if r.ToSeq < r.FromSeq {
		return 1
	}
	return float64(r.Seq-r.FromSeq+1) / float64(r.ToSeq-r.FromSeq+1)
}

// Preview is what a replay would send, by state; of the first MaxPreview events of its
// range.
type Preview struct {
	FromSeq int64            `json:"from_seq"`
	ToSeq   int64            `json:"to_seq"`
	Counts  map[string]int64 `json:"counts"` // of the chosen states
	Partial bool             `json:"partial"`
}

// Total is the sum of the counts.
func (p Preview) Total() (n int64) {
	for _, count := range p.Counts {
		n += count
	}
	return n
}

// eventAt classifies the events of a range at an endpoint: $1 the tenant, $2 the
// endpoint, $3 and $4 the first and last seq, $5 the states and $6 the types chosen,
// $7 how many events are looked at.
const eventAt = `
	looked as materialized (
		select event.event_id, event.seq, event.recorded_at, event.type, event.channel_id from event
		where event.tenant_id = $1 and event.seq between $3 and $4 order by event.seq limit $7),
	made as (
		select d.event_seq, bool_or(d.state = 'delivered') as delivered, bool_or(d.state in ('waiting', 'pending')) as busy, max(d.replay) as replay
		from delivery_all d where d.tenant_id = $1 and d.endpoint_id = $2
			and d.event_seq between $3 and (select max(seq) from looked)
		group by d.event_seq),
	judged as (
		select looked.*, coalesce(made.replay, 0) as replay, case when made.event_seq is null then 'missed' when made.delivered then 'delivered'
			when made.busy then 'busy' else 'dead' end as state
		from looked left join made on made.event_seq = looked.seq),
	chosen as (
		select judged.* from judged join webhook_endpoint e on e.tenant_id = $1 and e.endpoint_id = $2
		where judged.state = any($5::text[]) and (cardinality($6::text[]) = 0 or judged.type = any($6::text[]))
			and (judged.state <> 'missed' or judged.type <> 'ping'
				and (e.channel_prefix = '' or judged.channel_id is null or starts_with(judged.channel_id, e.channel_prefix))
				and (cardinality($6::text[]) > 0 or judged.type = any(e.types) or cardinality(e.types) = 0 and judged.type <> 'connection.updated')))`

// check completes a range; a *tenant.FieldError names states, types, from or to.
func (r *Range) check() error {
	if len(r.States) == 0 {
		r.States = []string{Dead, Missed}
	}
	for _, state := range r.States {
		if !slices.Contains(ReplayStates, state) {
			return &tenant.FieldError{Field: "states", Problem: fmt.Sprintf("There is no state %q: choose of %s.", state, strings.Join(ReplayStates, ", "))}
		}
	}
	chosen, err := Choice{Types: r.Types}.checked()
	if err != nil {
		return err
	}
	r.Types = chosen.Types
	switch {
	case r.FromSeq < 0 || r.ToSeq < 0:
		return &tenant.FieldError{Field: "from_seq", Problem: "Events are numbered from 1."}
	case r.ToSeq > 0 && r.ToSeq < r.FromSeq:
		return &tenant.FieldError{Field: "to_seq", Problem: "The last event comes before the first."}
	case !r.From.IsZero() && !r.To.IsZero() && !r.To.After(r.From):
		return &tenant.FieldError{Field: "to", Problem: "The end is not after the beginning."}
	}
	return nil
}

// querier is what a range is looked up through.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// seqs returns the first and last number of a range, among the events there are.
func (r Range) seqs(ctx context.Context, db querier, t tenant.ID) (from, to int64, err error) {
	var first, last int64
	if err := db.QueryRow(ctx, `select coalesce((select seq from event where tenant_id = $1 order by seq limit 1), event_seq + 1), event_seq
		from tenant_live where tenant_id = $1`, t).Scan(&first, &last); err != nil {
		return 0, 0, err
	}
	from, to = max(first, r.FromSeq), last
	if r.ToSeq > 0 {
		to = min(to, r.ToSeq)
	}
	if !r.From.IsZero() {
		seq, err := seqAt(ctx, db, t, r.From, first, last)
		if err != nil {
			return 0, 0, err
		}
		from = max(from, seq)
	}
	if !r.To.IsZero() {
		seq, err := seqAt(ctx, db, t, r.To, first, last)
		if err != nil {
			return 0, 0, err
		}
		to = min(to, seq-1)
	}
	return from, max(to, from-1), nil
}

// seqAt finds the first event that was written at a time or after it, by halving: the
// numbers have no gaps, and grow with the time of writing.
func seqAt(ctx context.Context, db querier, t tenant.ID, at time.Time, first, last int64) (int64, error) {
	for first <= last {
		middle := first + (last-first)/2
		var written time.Time
		err := db.QueryRow(ctx, `select recorded_at from event where tenant_id = $1 and seq = $2`, t, middle).Scan(&written)
		switch {
		case errors.Is(err, pgx.ErrNoRows), err == nil && written.Before(at): // no longer kept: before anything that is
			first = middle + 1
		case err != nil:
			return 0, err
		default:
			last = middle - 1
		}
	}
	return first, nil
}

// PreviewReplay counts what a replay of the range would send. It fails as
// ReplayRange does, but for ErrDisabled and ErrTooManyReplays.
func (w *Webhooks) PreviewReplay(ctx context.Context, s tenant.Scope, endpoint string, r Range) (p Preview, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return p, err
	}
	if err := r.check(); err != nil {
		return p, err
	}
	if _, err := w.Endpoint(ctx, s, endpoint); err != nil {
		return p, err
	}
	if p.FromSeq, p.ToSeq, err = r.seqs(ctx, s.In(w.pool), t); err != nil {
		return p, fmt.Errorf("couldn't look for the range of a replay: %w", err)
	}
	p.Partial = p.ToSeq-p.FromSeq+1 > MaxPreview
	p.Counts = map[string]int64{}
	for _, state := range r.States {
		p.Counts[state] = 0
	}
	rows, err := s.In(w.pool).Query(ctx, `with `+eventAt+` select state, count(*) from chosen group by state`,
		t, endpoint, p.FromSeq, p.ToSeq, r.States, r.Types, MaxPreview)
	if err != nil {
		return p, fmt.Errorf("couldn't count for a replay: %w", err)
	}
	var state string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		p.Counts[state] = n
		return nil
	}); err != nil {
		return p, fmt.Errorf("couldn't count for a replay: %w", err)
	}
	return p, nil
}

// ReplayRange sends the events of a range to an endpoint once more, as replays of
// theirs: with the webhook-id of the event, outside the order of connections, after
// whatever is live. It returns at once; Replays tells how it goes. A *tenant.FieldError
// names what is wrong with the range; ErrNotFound, ErrDisabled, ErrTooManyReplays.
func (w *Webhooks) ReplayRange(ctx context.Context, s tenant.Scope, endpoint string, r Range) (made Replay, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return made, err
	}
	if err := r.check(); err != nil {
		return made, err
	}
	id := "rpl_" + tenant.NewID()
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := mustBeEnabled(ctx, tx, t, endpoint); err != nil {
			return err
		}
		from, to, err := r.seqs(ctx, tx, t)
		if err != nil {
			return err
		}
		var running int
		if err := tx.QueryRow(ctx, `select count(*) from webhook_replay where tenant_id = $1 and state = 'running'`, t).Scan(&running); err != nil {
			return err
		}
		if running >= MaxReplays {
			return ErrTooManyReplays
		}
		if _, err := tx.Exec(ctx, `insert into webhook_replay (tenant_id, replay_id, endpoint_id, from_seq, to_seq, states, types, seq, actor)
			values ($1, $2, $3, $4::bigint, $5, $6, $7, $4::bigint - 1, $8)`, t, id, endpoint, from, to, r.States, r.Types, s.Actor()); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.replayed", endpoint, map[string]any{
			"replay_id": id, "from_seq": from, "to_seq": to, "states": r.States, "types": r.Types})
	})
	if err != nil {
		return made, fmt.Errorf("couldn't start a replay: %w", err)
	}
	w.wakeReplays()
	return w.FindReplay(ctx, s, id)
}

const replayColumns = `r.replay_id, r.endpoint_id, r.state, r.from_seq, r.to_seq, r.states, r.types, r.seq, r.queued,
	(select count(*) from delivery_done d where d.tenant_id = r.tenant_id and d.replay_job = r.replay_id and d.state = 'delivered'),
	(select count(*) from delivery_done d where d.tenant_id = r.tenant_id and d.replay_job = r.replay_id and d.state = 'dead'),
	r.created_at, r.finished_at`

// FindReplay returns one replay of the tenant, or ErrNotFound.
func (w *Webhooks) FindReplay(ctx context.Context, s tenant.Scope, id string) (Replay, error) {
	t, err := tenantOf(s)
	if err != nil {
		return Replay{}, err
	}
	rows, err := s.In(w.pool).Query(ctx, `select `+replayColumns+` from webhook_replay r where r.tenant_id = $1 and r.replay_id = $2`, t, id)
	if err != nil {
		return Replay{}, fmt.Errorf("couldn't read a replay: %w", err)
	}
	return found(pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Replay]))
}

// Replays lists the replays to an endpoint, newest first: at most limit, and at most
// MaxReplayList. They are kept for 30 days.
func (w *Webhooks) Replays(ctx context.Context, s tenant.Scope, endpoint string, limit int) ([]Replay, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	rows, err := s.In(w.pool).Query(ctx, `select `+replayColumns+` from webhook_replay r
		where r.tenant_id = $1 and r.endpoint_id = $2 order by r.created_at desc, r.replay_id desc limit $3`, t, endpoint, min(limit, MaxReplayList))
	if err != nil {
		return nil, fmt.Errorf("couldn't list replays: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Replay])
	if err != nil {
		return nil, fmt.Errorf("couldn't list replays: %w", err)
	}
	return list, nil
}

// CancelReplay ends a replay: what it has queued is not sent, but for what a node has
// in its hands already, replayWindow at most. Cancelling
// one that has ended changes nothing. ErrNotFound.
func (w *Webhooks) CancelReplay(ctx context.Context, s tenant.Scope, id string) (Replay, error) {
	t, err := tenantOf(s)
	if err != nil {
		return Replay{}, err
	}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := holdCursor(ctx, tx, t); err != nil {
			return err
		}
		var endpoint, state string
		err := tx.QueryRow(ctx, `select endpoint_id, state from webhook_replay where tenant_id = $1 and replay_id = $2 for update`, t, id).Scan(&endpoint, &state)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil || state != ReplayRunning {
			return err
		}
		if _, err := tx.Exec(ctx, `update webhook_replay set state = 'cancelled', finished_at = clock_timestamp() where tenant_id = $1 and replay_id = $2`, t, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from delivery where tenant_id = $1 and replay_job = $2`, t, id); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.replay_cancelled", endpoint, map[string]any{"replay_id": id})
	})
	if err != nil {
		return Replay{}, fmt.Errorf("couldn't cancel a replay: %w", err)
	}
	return w.FindReplay(ctx, s, id)
}
