package webhooks

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// The states of a delivery.
const (
	Waiting   = "waiting"   // an earlier one of its connection comes first
	Pending   = "pending"   // due at Due
	Delivered = "delivered" // answered 2xx
	Dead      = "dead"      // every try failed
)

// DeliveryQuery selects deliveries, newest first.
type DeliveryQuery struct {
	ID         string    // "": any; else this one alone
	Endpoint   string    // "": of every endpoint
	State      string    // "": in every state
	EventSeq   int64     // of the event; 0: of any
	Type       string    // of the event; "": of any
	Channel    string    // of the event; "": of any
	Connection string    // of the event; "": of any
	Class      string    // of the latest answer: one of AnswerClasses; "": any
	From       time.Time // made no earlier; zero: from the first
	Until      time.Time // made earlier; zero: to the newest
	Before     string    // a delivery's id: only older ones; "": from the newest
	Limit      int       // 0: 50; at most MaxDeliveries
}

// AnswerClasses are what DeliveryQuery.Class may be: the first digit of a status,
// or NoAnswer where there was none.
var AnswerClasses = []string{"2xx", "3xx", "4xx", "5xx", NoAnswer}

// NoAnswer is the class of a latest attempt that nobody answered.
const NoAnswer = "none"

// MaxDeliveries is the most deliveries that one call of Deliveries returns;
// usualDeliveries is what it returns to those who name no number.
const (
	MaxDeliveries   = 500
	usualDeliveries = 50
)

// Delivery is one event on its way to one endpoint.
type Delivery struct {
	ID           string           `json:"id"`
	EndpointID   string           `json:"endpoint_id"`
	EventID      string           `json:"event_id"`
	EventType    tenant.EventType `json:"event_type"`
	EventSeq     int64            `json:"event_seq"`
	Channel      string           `json:"channel_id,omitempty"`
	ConnectionID string           `json:"connection_id,omitempty"`
	State        string           `json:"state"`
	Due          time.Time        `json:"due"` // of the next attempt, when pending
	Attempts     int              `json:"attempts"`
	CreatedAt    time.Time        `json:"created_at"`
	FinishedAt   *time.Time       `json:"finished_at"`           // nil: not delivered and not dead yet
	Replay       int              `json:"replay"`                // 0: the first delivery; n: the n-th replay by hand
	LastStatus   int              `json:"last_status,omitempty"` // HTTP status of the latest attempt; 0: no answer
	LastError    string           `json:"last_error,omitempty"`  // what was wrong with the latest attempt, in words
	LastClass    ErrorClass       `json:"last_class,omitempty"`  // the same as a class
	Test         bool             `json:"test,omitempty"`        // EventType is what a test event looks like
}

// Attempt is one request made for a delivery.
type Attempt struct {
	Number       int        `json:"attempt"` // from 1
	At           time.Time  `json:"at"`
	DurationMS   int64      `json:"duration_ms"`
	Status       int        `json:"status,omitempty"`        // HTTP status; 0: no answer
	Error        string     `json:"error,omitempty"`         // "": delivered
	Class        ErrorClass `json:"error_class,omitempty"`   // of Error
	ResponseHead string     `json:"response_head,omitempty"` // the first 4 KiB of the answer's body
	Exchange     *Exchange  `json:"exchange,omitempty"`      // nil: nothing went over the wire, or it was not kept yet
}

// Deliveries lists deliveries of the tenant.
func (w *Webhooks) Deliveries(ctx context.Context, s tenant.Scope, q DeliveryQuery) ([]Delivery, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	if q.Limit <= 0 {
		q.Limit = usualDeliveries
	}
	where, args := q.conditions(t)
	rows, err := s.In(w.pool).Query(ctx, fmt.Sprintf(`
		select d.delivery_id, d.endpoint_id, d.event_id, d.event_type, d.event_seq, coalesce(event.channel_id, ''),
			coalesce(event.connection_id, ''), d.state, d.due, d.attempts, d.created_at, d.finished_at, d.replay,
			d.last_status, d.last_error, d.last_class, event.type = 'ping' and d.event_type <> 'ping'
		from delivery_all d join webhook_endpoint using (tenant_id, endpoint_id)
		join event on event.tenant_id = d.tenant_id and event.seq = d.event_seq and event.recorded_at = d.event_at
		where %s order by d.created_at desc, d.delivery_id desc limit %d`, where, min(q.Limit, MaxDeliveries)), args...)
	if err != nil {
		return nil, fmt.Errorf("couldn't list deliveries: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Delivery, err error) {
		return d, row.Scan(&d.ID, &d.EndpointID, &d.EventID, &d.EventType, &d.EventSeq, &d.Channel,
			&d.ConnectionID, &d.State, &d.Due, &d.Attempts, &d.CreatedAt, &d.FinishedAt, &d.Replay,
			&d.LastStatus, &d.LastError, &d.LastClass, &d.Test)
	})
}

// conditions are the query in SQL, with what it is about. What is not asked for is
// not in it, so that Postgres sees which index will do.
func (q DeliveryQuery) conditions(t tenant.ID) (where string, args []any) {
	args = []any{t}
	parts := []string{"d.tenant_id = $1"}
	add := func(condition string, value any) {
		args = append(args, value)
		parts = append(parts, strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(args))))
	}
	for _, c := range []struct{ condition, value string }{
		{"d.delivery_id = ?", q.ID}, {"d.endpoint_id = ?", q.Endpoint}, {"d.state = ?", q.State}, {"d.event_type = ?", q.Type},
		{"event.channel_id = ?", q.Channel},
		{"d.event_seq = any (array(select seq from event where tenant_id = $1 and connection_id = ?))", q.Connection},
		{"(d.created_at, d.delivery_id) < (select b.created_at, b.delivery_id from delivery_all b where b.tenant_id = $1 and b.delivery_id = ?)", q.Before},
	} {
		if c.value != "" {
			add(c.condition, c.value)
		}
	}
	if q.EventSeq != 0 {
		add("d.event_seq = ?", q.EventSeq)
	}
	switch {
	case q.Class == NoAnswer:
		parts = append(parts, "d.last_status = 0 and d.attempts > 0")
	case q.Class != "":
		add("d.last_status / 100 = ?", int(q.Class[0]-'0'))
	}
	if !q.From.IsZero() {
		add("d.created_at >= ?", q.From)
	}
	if !q.Until.IsZero() {
		add("d.created_at < ?", q.Until)
	}
	return strings.Join(parts, " and "), args
}

// Attempts lists the attempts made for a delivery, first to last. ErrNotFound.
func (w *Webhooks) Attempts(ctx context.Context, s tenant.Scope, deliveryID string) ([]Attempt, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	var exists bool
	if err := s.In(w.pool).QueryRow(ctx, `select exists (
		select from delivery_all join webhook_endpoint using (tenant_id, endpoint_id) where tenant_id = $1 and delivery_id = $2)`,
		t, deliveryID).Scan(&exists); err != nil {
		return nil, fmt.Errorf("couldn't read a delivery: %w", err)
	}
	if !exists {
		return nil, ErrNotFound
	}
	rows, err := s.In(w.pool).Query(ctx, `select attempt, at, duration_ms, coalesce(status, 0), error, error_class, response_head, exchange
		from delivery_attempt where tenant_id = $1 and delivery_id = $2 order by attempt`, t, deliveryID)
	if err != nil {
		return nil, fmt.Errorf("couldn't list attempts: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a Attempt, err error) {
		var head []byte
		err = row.Scan(&a.Number, &a.At, &a.DurationMS, &a.Status, &a.Error, &a.Class, &head, &a.Exchange)
		a.ResponseHead = strings.ToValidUTF8(string(head), "\uFFFD")
		return a, err
	})
}

// Posted is the event as endpoints get it: a test event becomes what it is an
// example of. body is exactly what is posted.
func Posted(e tenant.Event) (as tenant.Event, body []byte, err error) {
	if as, err = posted(e); err == nil {
		body, err = envelope(as)
	}
	return as, body, err
}

// Replay delivers the event of a delivery once more, outside the order of its
// connection, and returns the id of the new delivery. The webhook-id stays the
// event's, so a receiver that has it can tell. ErrNotFound, ErrDisabled.
func (w *Webhooks) Replay(ctx context.Context, s tenant.Scope, deliveryID string) (newID string, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return "", err
	}
	newID = "dlv_" + tenant.NewID()
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := replay(ctx, tx, t, deliveryID, newID); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "delivery.replayed", deliveryID, map[string]any{"replay_id": newID})
	})
	if err != nil {
		return "", fmt.Errorf("couldn't replay a delivery: %w", err)
	}
	w.toClaim.ringFor(t)
	return newID, nil
}

func replay(ctx context.Context, tx pgx.Tx, t tenant.ID, deliveryID, newID string) error {
	// The cursor is locked, so that two replays at once get two numbers.
	if err := holdCursor(ctx, tx, t); err != nil {
		return err
	}
	var endpoint string
	var seq int64
	err := tx.QueryRow(ctx, `select endpoint_id, event_seq from delivery_all
		where tenant_id = $1 and delivery_id = $2`, t, deliveryID).Scan(&endpoint, &seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if err := mustBeEnabled(ctx, tx, t, endpoint); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into delivery (tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, ordering_key, state, replay)
		select $2, $1, endpoint_id, event_id, event_seq, event_at, event_type, 'replay/' || $1, 'pending', max(replay) + 1
		from delivery_all where tenant_id = $2 and endpoint_id = $3 and event_seq = $4
		group by endpoint_id, event_id, event_seq, event_at, event_type`,
		newID, t, endpoint, seq)
	return err
}
