// Package webhooks tells a tenant what happened: events, their delivery to
// webhook endpoints, and the live stream.
package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

var (
	ErrNotFound = errors.New("not found")
	ErrDisabled = errors.New("the endpoint is disabled")
	ErrTooMany  = errors.New("too many endpoints")
)

type Sealer interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

type Config struct {
	Production   bool
	EgressAllow  []netip.Prefix
	AllowPrivate bool
	Schedule     []time.Duration
	Log          *slog.Logger
}

type Webhooks struct{}

func New(pool *pgxpool.Pool, sealer Sealer, c Config) *Webhooks { return &Webhooks{} }

func (w *Webhooks) Append(ctx context.Context, tx pgx.Tx, events ...tenant.Event) error { return nil }
func (w *Webhooks) Run(ctx context.Context)                                             {}
func (w *Webhooks) Wake(t tenant.ID)                                                    {}

type Endpoint struct {
	ID            string     `json:"id"`
	URL           string     `json:"url"`
	Types         []string   `json:"types"`
	Status        string     `json:"status"`
	CreatedAt     time.Time  `json:"created_at"`
	LastSuccessAt *time.Time `json:"last_success_at,omitempty"`
	FailingSince  *time.Time `json:"failing_since,omitempty"`
}

// FieldError is wrong input, named by field ("url", "types") so that a form can show it there.
type FieldError struct{ Field, Problem string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

func (w *Webhooks) CreateEndpoint(ctx context.Context, s tenant.Scope, url string, types []string) (secret string, e Endpoint, err error) {
	return
}
func (w *Webhooks) Endpoints(ctx context.Context, s tenant.Scope) ([]Endpoint, error) { return nil, nil }
func (w *Webhooks) Endpoint(ctx context.Context, s tenant.Scope, id string) (Endpoint, error) {
	return Endpoint{}, nil
}
func (w *Webhooks) DeleteEndpoint(ctx context.Context, s tenant.Scope, id string) error { return nil }
func (w *Webhooks) EnableEndpoint(ctx context.Context, s tenant.Scope, id string) error { return nil }
func (w *Webhooks) RotateSecret(ctx context.Context, s tenant.Scope, id string) (secret string, err error) {
	return
}

// SendTest makes a ping event for this endpoint only; it returns the delivery's id.
func (w *Webhooks) SendTest(ctx context.Context, s tenant.Scope, id string) (deliveryID string, err error) {
	return
}

type DeliveryQuery struct {
	Endpoint string // "": every endpoint
	State    string // "", waiting, pending, delivered, dead
	Before   string // a delivery's id: only older ones; "": from the newest
	Limit    int    // 0: 50; at most 500
}

type Delivery struct {
	ID           string           `json:"id"`
	EndpointID   string           `json:"endpoint_id"`
	EventID      string           `json:"event_id"`
	EventType    tenant.EventType `json:"event_type"`
	EventSeq     int64            `json:"event_seq"`
	Channel      string           `json:"channel_id,omitempty"`
	ConnectionID string           `json:"connection_id,omitempty"`
	State        string           `json:"state"`
	Due          time.Time        `json:"due"`
	Attempts     int              `json:"attempts"`
	CreatedAt    time.Time        `json:"created_at"`
	FinishedAt   *time.Time       `json:"finished_at,omitempty"`
	Replay       int              `json:"replay"`
	LastStatus   int              `json:"last_status,omitempty"` // of the latest attempt; 0: no answer
	LastError    string           `json:"last_error,omitempty"`  // of the latest attempt, in words
}

type Attempt struct {
	Number       int           `json:"attempt"`
	At           time.Time     `json:"at"`
	Duration     time.Duration `json:"-"`
	DurationMS   int64         `json:"duration_ms"`
	Status       int           `json:"status,omitempty"`
	Error        string        `json:"error,omitempty"`
	ResponseHead string        `json:"response_head,omitempty"`
}

func (w *Webhooks) Deliveries(ctx context.Context, s tenant.Scope, q DeliveryQuery) ([]Delivery, error) {
	return nil, nil
}
func (w *Webhooks) Attempts(ctx context.Context, s tenant.Scope, deliveryID string) ([]Attempt, error) {
	return nil, nil
}

// Replay sends a delivery's event once more; it returns the new delivery's id.
func (w *Webhooks) Replay(ctx context.Context, s tenant.Scope, deliveryID string) (newID string, err error) {
	return
}

func (w *Webhooks) Events(ctx context.Context, s tenant.Scope, after int64, limit int) ([]tenant.Event, error) {
	return nil, nil
}
func (w *Webhooks) LastSeq(ctx context.Context, s tenant.Scope) (int64, error) { return 0, nil }

// ParseAfter reads the `after` of /stream and /v1/events.
func ParseAfter(text string) (int64, error) { return 0, nil }

// Feed follows a tenant's events. Close it.
type Feed struct{}

func (w *Webhooks) Feed(ctx context.Context, s tenant.Scope, after int64) (*Feed, error) {
	return nil, nil
}

// Next blocks until events after the feed's position exist.
func (f *Feed) Next(ctx context.Context) ([]tenant.Event, error) { return nil, nil }
func (f *Feed) Close()                                           {}

func (w *Webhooks) Stream(rw http.ResponseWriter, r *http.Request, scope tenant.Scope) {}

// Body is the envelope as it is sent.
func envelope(e tenant.Event) ([]byte, error) { return json.Marshal(e) }

type Egress struct {
	Production bool
	Allow      []netip.Prefix
	Timeout    time.Duration
}

func NewGuardedClient(e Egress) *http.Client { return nil }
