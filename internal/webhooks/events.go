package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

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
