package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// MaxEndpoints is how many endpoints a tenant may have.
const MaxEndpoints = 50

// Errors of the endpoint methods.
var (
	ErrTooMany  = fmt.Errorf("a tenant may have %d webhook endpoints: delete one first", MaxEndpoints)
	ErrDisabled = errors.New("the webhook endpoint is disabled: enable it first")
)

// Types are the event types that an endpoint may choose.
var Types = []string{
	string(tenant.ConnectionConnecting), string(tenant.ConnectionCreated), string(tenant.ConnectionUpdated),
	string(tenant.ConnectionDestroyed), string(tenant.ConnectionRejected),
	string(tenant.ChannelStarted), string(tenant.ChannelEnded),
	string(tenant.RecordingStarted), string(tenant.RecordingReady), string(tenant.RecordingFailed),
	string(tenant.LicenceThreshold), string(tenant.UsageThreshold), string(tenant.NodeDraining), string(tenant.EndpointDisabled), string(tenant.Ping),
}

// Endpoint is a URL that a tenant's events are posted to.
type Endpoint struct {
	ID            string     `json:"id"`
	URL           string     `json:"url"`
	Types         []string   `json:"types"`  // empty: every type but connection.updated
	Status        string     `json:"status"` // enabled or disabled
	CreatedAt     time.Time  `json:"created_at"`
	LastSuccessAt *time.Time `json:"last_success_at"` // to the minute; nil: never
	FailingSince  *time.Time `json:"failing_since"`   // nil: the last attempt succeeded, or none was made
	// ChannelPrefix leaves out events of channels whose name begins otherwise;
	// "": none. Events without a channel concern the tenant and are never left out.
	ChannelPrefix string `json:"channel_prefix"`
	// FilterFromSeq is the first event that Types and ChannelPrefix as they are
	// now decided about; those before it were chosen by what stood there then.
	FilterFromSeq int64 `json:"filter_from_seq"`
	// PreviousSecretUntil is how long requests are also signed with the secret
	// before this one; nil: they are not.
	PreviousSecretUntil *time.Time `json:"previous_secret_until"`
	Health
}

// Choice says which events an endpoint gets.
type Choice struct {
	Types         []string // empty: every type but connection.updated
	ChannelPrefix string   // only of channels whose name begins so; "": of all
}

// endpointColumns are what scanEndpoint reads, of a table or alias `e`.
const endpointColumns = `e.endpoint_id, e.url, e.types, e.status, e.created_at, e.last_success_at, e.failing_since,
	e.channel_prefix, e.filter_from_seq, case when e.previous_secret_until > clock_timestamp() then e.previous_secret_until end, ` + healthColumns

func scanEndpoint(row pgx.CollectableRow) (e Endpoint, err error) {
	err = row.Scan(append([]any{&e.ID, &e.URL, &e.Types, &e.Status, &e.CreatedAt, &e.LastSuccessAt, &e.FailingSince,
		&e.ChannelPrefix, &e.FilterFromSeq, &e.PreviousSecretUntil}, e.Health.fields()...)...)
	if e.Breaker == Open && !e.NextProbeAt.After(time.Now()) {
		e.Breaker = HalfOpen
	}
	return e, err
}

// CheckURL reports as a *tenant.FieldError what is wrong with a URL that a
// tenant wants us to call, by the rules of this configuration.
func (w *Webhooks) CheckURL(url string) error { return w.egress.CheckURL(url) }

// CreateEndpoint adds an endpoint for those events after now that it chooses.
// The secret is returned here and never again. A *tenant.FieldError names url,
// types or channel_prefix; ErrTooMany.
func (w *Webhooks) CreateEndpoint(ctx context.Context, s tenant.Scope, url string, c Choice) (secret string, e Endpoint, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return "", Endpoint{}, err
	}
	url = strings.TrimSpace(url)
	if err := w.egress.CheckURL(url); err != nil {
		return "", Endpoint{}, err
	}
	if c, err = c.checked(); err != nil {
		return "", Endpoint{}, err
	}
	secret, sealed, err := w.sealedSecret()
	if err != nil {
		return "", Endpoint{}, err
	}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if e, err = insertEndpoint(ctx, tx, t, url, c, sealed); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.created", e.ID, tenant.Diff{
			"url": {nil, e.URL}, "types": {nil, e.Types}, "channel_prefix": {nil, e.ChannelPrefix}})
	})
	if err != nil {
		return "", Endpoint{}, fmt.Errorf("couldn't create a webhook endpoint: %w", err)
	}
	return secret, e, nil
}

// insertEndpoint holds the tenant's cursor meanwhile, so that fan-out passes no
// event between the endpoint's from_seq and its being seen.
func insertEndpoint(ctx context.Context, tx pgx.Tx, t tenant.ID, url string, c Choice, sealed []byte) (Endpoint, error) {
	if err := holdCursor(ctx, tx, t); err != nil {
		return Endpoint{}, err
	}
	var count int
	if err := tx.QueryRow(ctx, `select count(*) from webhook_endpoint where tenant_id = $1`, t).Scan(&count); err != nil {
		return Endpoint{}, err
	}
	if count >= MaxEndpoints {
		return Endpoint{}, ErrTooMany
	}
	rows, err := tx.Query(ctx, `insert into webhook_endpoint as e (endpoint_id, tenant_id, url, types, channel_prefix, secret_sealed, from_seq, filter_from_seq)
		select $2, $1, $3, $4, $5, $6, event_seq, event_seq + 1 from tenant_live where tenant_id = $1 returning `+endpointColumns,
		t, "ep_"+tenant.NewID(), url, c.Types, c.ChannelPrefix, sealed)
	if err != nil {
		return Endpoint{}, err
	}
	return found(pgx.CollectExactlyOneRow(rows, scanEndpoint))
}

// holdCursor locks the tenant's cursor, and makes it if this is the first use. Who
// holds it keeps fan-out and record from the tenant, and knows that the events up to
// its seq are fanned out. The node that has the tenant's deliveries then reads its
// endpoints and what is due anew. It is locked before endpoints and deliveries.
func holdCursor(ctx context.Context, tx pgx.Tx, t tenant.ID) error {
	_, err := tx.Exec(ctx, `insert into webhook_cursor (tenant_id, seq, next_due)
		select tenant_id, event_seq, clock_timestamp() from tenant_live where tenant_id = $1
		on conflict (tenant_id) do update set next_due = clock_timestamp()`, t)
	return err
}

// found turns pgx's word for nothing into ours.
func found[T any](value T, err error) (T, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return value, err
}

// Endpoints lists the tenant's endpoints, oldest first.
func (w *Webhooks) Endpoints(ctx context.Context, s tenant.Scope) ([]Endpoint, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	rows, err := s.In(w.pool).Query(ctx, `select `+endpointColumns+` from webhook_endpoint e
		where e.tenant_id = $1 order by created_at, endpoint_id`, t)
	if err != nil {
		return nil, fmt.Errorf("couldn't list webhook endpoints: %w", err)
	}
	return pgx.CollectRows(rows, scanEndpoint)
}

// Endpoint returns one endpoint of the tenant, or ErrNotFound.
func (w *Webhooks) Endpoint(ctx context.Context, s tenant.Scope, id string) (Endpoint, error) {
	t, err := tenantOf(s)
	if err != nil {
		return Endpoint{}, err
	}
	rows, err := s.In(w.pool).Query(ctx, `select `+endpointColumns+` from webhook_endpoint e
		where e.tenant_id = $1 and e.endpoint_id = $2`, t, id)
	if err != nil {
		return Endpoint{}, fmt.Errorf("couldn't read a webhook endpoint: %w", err)
	}
	return found(pgx.CollectExactlyOneRow(rows, scanEndpoint))
}

// DeleteEndpoint removes an endpoint with its deliveries. An attempt in flight
// may still arrive. ErrNotFound.
func (w *Webhooks) DeleteEndpoint(ctx context.Context, s tenant.Scope, id string) error {
	t, err := tenantOf(s)
	if err != nil {
		return err
	}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := holdCursor(ctx, tx, t); err != nil {
			return err
		}
		var url string
		if _, err := found("", tx.QueryRow(ctx, `delete from webhook_endpoint where tenant_id = $1 and endpoint_id = $2 returning url`, t, id).Scan(&url)); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.deleted", id, tenant.Diff{"url": {url, nil}})
	})
	if err != nil {
		return fmt.Errorf("couldn't delete a webhook endpoint: %w", err)
	}
	w.toClaim.ringFor(t)
	return nil
}

// EnableEndpoint lets a disabled endpoint go on: first with what it had not
// been sent when it was disabled, then with the events after now; those between
// are not delivered, unless somebody replays them. Its breaker closes, and the time
// it has failed is forgotten; that is all it does for an enabled one. ErrNotFound.
func (w *Webhooks) EnableEndpoint(ctx context.Context, s tenant.Scope, id string) error {
	t, err := tenantOf(s)
	if err != nil {
		return err
	}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := holdCursor(ctx, tx, t); err != nil {
			return err
		}
		was, err := lockStatus(ctx, tx, t, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update webhook_endpoint e set status = 'enabled', disabled_reason = null, `+healthAnew+`,
				from_seq = case when e.status = 'enabled' then e.from_seq else l.event_seq end
			from tenant_live l where l.tenant_id = $1 and e.tenant_id = $1 and e.endpoint_id = $2`, t, id); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.enabled", id, tenant.Diff{"status": {was, "enabled"}})
	})
	if err != nil {
		return fmt.Errorf("couldn't enable a webhook endpoint: %w", err)
	}
	w.toClaim.ringFor(t)
	return nil
}

// DisableEndpoint stops deliveries to an endpoint until it is enabled again.
// ErrNotFound.
func (w *Webhooks) DisableEndpoint(ctx context.Context, s tenant.Scope, id string) error {
	t, err := tenantOf(s)
	if err != nil {
		return err
	}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := holdCursor(ctx, tx, t); err != nil {
			return err
		}
		was, err := lockStatus(ctx, tx, t, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update webhook_endpoint set status = 'disabled', disabled_at = clock_timestamp(),
			disabled_reason = 'manual', `+healthAnew+` where tenant_id = $1 and endpoint_id = $2 and status = 'enabled'`, t, id); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.disabled", id, tenant.Diff{"status": {was, "disabled"}})
	})
	if err != nil {
		return fmt.Errorf("couldn't disable a webhook endpoint: %w", err)
	}
	w.toClaim.ringFor(t)
	return nil
}

// lockStatus locks an endpoint and returns its status; ErrNotFound.
func lockStatus(ctx context.Context, tx pgx.Tx, t tenant.ID, id string) (status string, err error) {
	err = tx.QueryRow(ctx, `select status from webhook_endpoint
		where tenant_id = $1 and endpoint_id = $2 for update`, t, id).Scan(&status)
	return found(status, err)
}

// SendTest is SendExample of a ping.
func (w *Webhooks) SendTest(ctx context.Context, s tenant.Scope, id string) (deliveryID string, err error) {
	return w.SendExample(ctx, s, id, tenant.Ping)
}

// SendExample makes a test event and delivers it to this endpoint only, as an
// event of one of ExampleTypes. It returns the id of the delivery, whose attempts
// tell how it went. A *tenant.FieldError names type; ErrNotFound, ErrDisabled.
func (w *Webhooks) SendExample(ctx context.Context, s tenant.Scope, id string, as tenant.EventType) (deliveryID string, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return "", err
	}
	if !slices.Contains(ExampleTypes(), as) {
		return "", &tenant.FieldError{Field: "type", Problem: fmt.Sprintf("There is no example of an event type %q.", as)}
	}
	data, err := json.Marshal(pingData{EndpointID: id, Message: testMessage, As: exampleOf(as)})
	if err != nil {
		return "", fmt.Errorf("couldn't write a test event: %w", err)
	}
	deliveryID = "dlv_" + tenant.NewID()
	ping := tenant.Event{ID: "evt_" + tenant.NewID(), Type: tenant.Ping, Tenant: t, Data: data}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := holdCursor(ctx, tx, t); err != nil {
			return err
		}
		if err := mustBeEnabled(ctx, tx, t, id); err != nil {
			return err
		}
		if err := w.Append(ctx, tx, ping); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into delivery (delivery_id, tenant_id, endpoint_id, event_id, event_seq, event_at, event_type, ordering_key, state)
			select $1, tenant_id, $2, event_id, seq, recorded_at, $5, $3, 'pending' from event join tenant_live using (tenant_id)
			where tenant_id = $4 and seq = event_seq`, // the newest: its tenant is still locked
			deliveryID, id, orderingKey(ping), t, as); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.tested", id, map[string]any{"delivery_id": deliveryID, "type": as})
	})
	if err != nil {
		return "", fmt.Errorf("couldn't send a test event: %w", err)
	}
	w.Wake(t)
	w.toClaim.ringFor(t)
	return deliveryID, nil
}

// mustBeEnabled returns ErrNotFound or ErrDisabled if nothing could be
// delivered to the endpoint, and keeps it from being deleted meanwhile.
func mustBeEnabled(ctx context.Context, tx pgx.Tx, t tenant.ID, id string) error {
	var status string
	err := tx.QueryRow(ctx, `select status from webhook_endpoint
		where tenant_id = $1 and endpoint_id = $2 for key share`, t, id).Scan(&status)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err == nil && status != "enabled" {
		return ErrDisabled
	}
	return err
}
