package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// MaxEvents is the most events that one call of Events returns.
const MaxEvents = 1000

// FromNow, as a position, means after the last event there is.
const FromNow int64 = -1

// errAfter is what is wrong with an `after` that is no seq.
var errAfter = errors.New("after must be the seq of an event: a whole number from 0")

// ParseAfter reads the `after` of the stream and of the events list. Empty text
// is FromNow.
func ParseAfter(text string) (int64, error) {
	if text == "" {
		return FromNow, nil
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, errAfter
		}
	}
	seq, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errAfter
	}
	return seq, nil
}

// eventColumns are what scanEvent reads, of a table or alias `event`.
const eventColumns = `event.event_id, event.type, event.occurred_at, event.tenant_id, event.seq,
	coalesce(event.channel_id, ''), coalesce(event.connection_id, ''), coalesce(event.connection_seq, 0), event.data`

// eventFields are where eventColumns go.
func eventFields(e *tenant.Event) []any {
	return []any{&e.ID, &e.Type, &e.Timestamp, &e.Tenant, &e.Seq, &e.Channel, &e.ConnectionID, &e.ConnectionSeq, &e.Data}
}

// envelope is an event as webhooks, streams and the REST API carry it. Made
// from the row, it has the same bytes on every attempt and on every node.
func envelope(e tenant.Event) ([]byte, error) {
	e.Timestamp = e.Timestamp.UTC()
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("couldn't write event %s as JSON: %w", e.ID, err)
	}
	return body, nil
}

// Events returns up to limit events of the scope's tenant with a seq greater
// than after, in order. A limit of 0 or beyond MaxEvents means MaxEvents.
func (w *Webhooks) Events(ctx context.Context, s tenant.Scope, after int64, limit int) ([]tenant.Event, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > MaxEvents {
		limit = MaxEvents
	}
	rows, err := s.In(w.pool).Query(ctx, `select `+eventColumns+` from event
		where tenant_id = $1 and seq > $2 order by seq limit $3`, t, after, limit)
	return collectEvents(rows, err)
}

// MaxLooked is how many events one call of FindEvents looks at, whatever its filter
// lets through: a rare event among millions is found call by call.
const MaxLooked = 10_000

// FindEvents is Events with a filter. Looked is the seq up to which it has looked:
// that of the last event returned if there are as many as limit, else further.
func (w *Webhooks) FindEvents(ctx context.Context, s tenant.Scope, f Filter, after int64, limit int) (events []tenant.Event, looked int64, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, 0, err
	}
	if limit <= 0 || limit > MaxEvents {
		limit = MaxEvents
	}
	last, err := w.LastSeq(ctx, s) // first: what is written meanwhile is the next call's
	if err != nil {
		return nil, 0, err
	}
	looked = max(after, min(after+MaxLooked, last))
	types := append([]string{}, f.Types...)
	rows, err := s.In(w.pool).Query(ctx, `select `+eventColumns+` from event
		where tenant_id = $1 and seq > $2 and seq <= $4
			and (cardinality($5::text[]) = 0 or type = any($5)) and ($6 = '' or channel_id = $6) and ($7 = '' or connection_id = $7)
		order by seq limit $3`, t, after, limit, looked, types, f.Channel, f.Connection)
	if events, err = collectEvents(rows, err); err != nil {
		return nil, 0, err
	}
	if len(events) == limit {
		looked = events[limit-1].Seq
	}
	return events, looked, nil
}

// RecentEvents returns up to limit events before a seq, newest first. Looked is the
// seq down to which it has looked: what is before it is for another call; 1 if
// nothing is.
func (w *Webhooks) RecentEvents(ctx context.Context, s tenant.Scope, f Filter, before int64, limit int) (events []tenant.Event, looked int64, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, 0, err
	}
	if limit <= 0 || limit > MaxEvents {
		limit = MaxEvents
	}
	looked = max(1, before-MaxLooked)
	rows, err := s.In(w.pool).Query(ctx, `select `+eventColumns+` from event
		where tenant_id = $1 and seq < $2 and seq >= $4
			and (cardinality($5::text[]) = 0 or type = any($5)) and ($6 = '' or channel_id = $6) and ($7 = '' or connection_id = $7)
		order by seq desc limit $3`, t, before, limit, looked, append([]string{}, f.Types...), f.Channel, f.Connection)
	if events, err = collectEvents(rows, err); err != nil {
		return nil, 0, err
	}
	if len(events) == limit {
		return events, events[limit-1].Seq, nil
	}
	// What is older than the oldest that is kept is not there to be looked at.
	if oldest, err := w.Events(ctx, s, 0, 1); err != nil || len(oldest) == 0 || oldest[0].Seq >= looked {
		return events, 1, err
	}
	return events, looked, nil
}

// read returns the next events after a position of a feed, at most feedPage.
func (w *Webhooks) read(ctx context.Context, s tenant.Scope, after int64) ([]tenant.Event, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	select {
	case w.readers <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-w.readers }()
	// What is served is younger than that, so old partitions need not be looked at.
	rows, err := s.In(w.pool).Query(ctx, `select `+eventColumns+` from event
		where tenant_id = $1 and seq > $2 and recorded_at > statement_timestamp() - $4::interval
		order by seq limit $3`, t, after, feedPage, 2*streamKept)
	return collectEvents(rows, err)
}

func collectEvents(rows pgx.Rows, err error) ([]tenant.Event, error) {
	if err != nil {
		return nil, fmt.Errorf("couldn't read events: %w", err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e tenant.Event, err error) {
		err = row.Scan(eventFields(&e)...)
		e.Timestamp = e.Timestamp.UTC()
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read events: %w", err)
	}
	return events, nil
}

// streamKept is how far back a stream goes; what is older is for /v1/events.
const streamKept = 24 * time.Hour

// servedMemory is how long the answer of firstServed is good enough: a stream may
// go so much further back than it must.
const servedMemory = time.Minute

// firstServed returns the seq of the first event that streams serve: the first
// that was recorded within streamKept, or the next one to come.
func (w *Webhooks) firstServed(ctx context.Context, s tenant.Scope, last int64) (int64, error) {
	t := w.tails.of(s.Tenant())
	if t != nil {
		t.mu.Lock()
		seq, age := t.served, time.Since(t.servedAt)
		t.mu.Unlock()
		if age < servedMemory {
			return seq, nil
		}
	}
	seq, err := w.searchServed(ctx, s, last)
	if err == nil && t != nil {
		t.mu.Lock()
		t.served, t.servedAt = seq, time.Now()
		t.mu.Unlock()
	}
	return seq, err
}

// searchServed looks for what firstServed returns, by halves, since what is recorded
// later has a greater seq.
func (w *Webhooks) searchServed(ctx context.Context, s tenant.Scope, last int64) (seq int64, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return 0, err
	}
	err = s.In(w.pool).QueryRow(ctx, `
		with recursive search (low, high) as (
			select 1::bigint, $2::bigint + 1
			union all
			select case when young then low else middle + 1 end, case when young then middle else high end
			from (select low, high, (low + high) / 2 as middle, exists (
					select from event where tenant_id = $1 and seq = (low + high) / 2
						and recorded_at > statement_timestamp() - $3::interval) as young
				from search where low < high) as probe)
		select max(low) from search`, t, last, streamKept).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("couldn't look for the oldest event: %w", err)
	}
	return seq, nil
}

// LastSeq returns the seq of the tenant's latest event, 0 before the first.
func (w *Webhooks) LastSeq(ctx context.Context, s tenant.Scope) (int64, error) {
	t, err := tenantOf(s)
	if err != nil {
		return 0, err
	}
	var seq int64
	err = s.In(w.pool).QueryRow(ctx, `select event_seq from tenant_live where tenant_id = $1`, t).Scan(&seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("couldn't read the last event number: %w", err)
	}
	return seq, nil
}
