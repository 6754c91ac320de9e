package webhooks

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Health is how an endpoint does, besides FailingSince.
type Health struct {
	Breaker        string     `json:"breaker"`           // Closed, Open or HalfOpen
	OpenSince      *time.Time `json:"breaker_opened_at"` // nil: closed
	NextProbeAt    *time.Time `json:"next_probe_at"`     // nil: the breaker is not open
	LastError      string     `json:"last_error,omitempty"`
	DisabledAt     *time.Time `json:"disabled_at"` // the latest time, also when it is enabled again; nil: never
	DisabledReason string     `json:"disabled_reason,omitempty"`
}

const healthColumns = `e.breaker, e.breaker_opened_at, e.breaker_until, e.last_error, e.disabled_at, e.disabled_reason`

func (h *Health) fields() []any {
	return []any{&h.Breaker, &h.OpenSince, &h.NextProbeAt, &h.LastError, &h.DisabledAt, (*nullText)(&h.DisabledReason)}
}

// nullText scans null as "".
type nullText string

// Scan implements sql.Scanner.
func (n *nullText) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*n = ""
	case string:
		*n = nullText(v)
	default:
		return fmt.Errorf("a text is a %T", value)
	}
	return nil
}

// healthAnew are the columns of an endpoint whose past no longer counts.
const healthAnew = `failing_since = null, failed_at = null, breaker = 'closed', breaker_until = null,
	breaker_opened_at = null, breaker_probes = 0, breaker_epoch = breaker_epoch + 1`

// healthAfter is the rest of a change of an endpoint: with another URL, or enabled by
// hand, it begins anew; disabled by hand, it says so.
func healthAfter(ctx context.Context, tx pgx.Tx, t tenant.ID, before, e Endpoint, enabled *bool) (Endpoint, error) {
	set := ""
	switch {
	case before.Status == "enabled" && e.Status == "disabled":
		set = healthAnew + `, disabled_at = clock_timestamp(), disabled_reason = 'manual'`
	case e.Status == "enabled" && (before.Status == "disabled" || enabled != nil):
		set = healthAnew + `, disabled_reason = null`
	case before.URL != e.URL:
		set = healthAnew
	default:
		return e, nil
	}
	rows, err := tx.Query(ctx, `update webhook_endpoint e set `+set+` where tenant_id = $1 and endpoint_id = $2 returning `+endpointColumns, t, e.ID)
	if err != nil {
		return e, err
	}
	return found(pgx.CollectExactlyOneRow(rows, scanEndpoint))
}

// Trouble is an endpoint that gets nothing although its tenant has not said so.
type Trouble struct {
	ID, URL string
	// Reason is DisabledFailing or DisabledGone; "": its breaker is open.
	Reason string
	Since  time.Time // disabled, or open
}

// troubledAfter is how long a breaker is open before people are told.
const troubledAfter = time.Hour

// Troubles lists the tenant's endpoints that we have disabled, or whose breaker has
// been open for an hour; the oldest trouble first.
func (w *Webhooks) Troubles(ctx context.Context, s tenant.Scope) ([]Trouble, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	rows, err := s.In(w.pool).Query(ctx, `
		select endpoint_id, url, case when status = 'disabled' then disabled_reason else '' end,
			case when status = 'disabled' then disabled_at else breaker_opened_at end
		from webhook_endpoint where tenant_id = $1 and (
			status = 'disabled' and disabled_reason in ('failing', 'gone')
			or status = 'enabled' and breaker <> 'closed' and breaker_opened_at < clock_timestamp() - $2::interval)
		order by 4, 1`, t, troubledAfter)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for webhook endpoints in trouble: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Trouble])
	if err != nil {
		return nil, fmt.Errorf("couldn't look for webhook endpoints in trouble: %w", err)
	}
	return list, nil
}
