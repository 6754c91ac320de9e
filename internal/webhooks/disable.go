package webhooks

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Notifier writes to the people of a tenant.
type Notifier interface {
	// EndpointDisabled posts a mail to whoever can mend it, in the caller's
	// transaction; the caller calls WakePostman after the commit.
	EndpointDisabled(ctx context.Context, tx pgx.Tx, t tenant.ID, e tenant.DisabledEndpoint) error
	// WakePostman has the mails sent soon. It never blocks.
	WakePostman()
}

// mailPause is how long after a mail about an endpoint there is no other about it.
const mailPause = 24 * time.Hour

// disabledData is the data of an endpoint.disabled event.
type disabledData struct {
	EndpointID   string    `json:"endpoint_id"`
	URL          string    `json:"url"`
	Reason       string    `json:"reason"`      // failing or gone
	LastStatus   *int      `json:"last_status"` // HTTP; null: no answer
	LastError    string    `json:"last_error"`
	FailingSince time.Time `json:"failing_since"`
}

// disable stops an endpoint in the transaction that has its row locked as enabled: so
// once, whoever else sees it fail. The event goes to the tenant's other endpoints and
// to its streams.
func (w *Webhooks) disable(ctx context.Context, tx pgx.Tx, r ended, b breaker, reason string) error {
	j, o := r.job, r.outcome
	problem := cleanText(o.problem)
	told := tenant.DisabledEndpoint{ID: j.endpoint, Gone: reason == DisabledGone, LastError: problem, FailingSince: b.failingSince}
	var mail bool
	err := tx.QueryRow(ctx, `
		with was as (select coalesce(mailed_at < clock_timestamp() - $9::interval, true) as mail from webhook_endpoint
			where tenant_id = $1 and endpoint_id = $2)
		update webhook_endpoint e set status = 'disabled', disabled_at = clock_timestamp(), disabled_reason = $3,
			breaker = $4, breaker_until = null, breaker_opened_at = null, breaker_probes = 0, breaker_epoch = $5,
			failing_since = $6, failed_at = $7, last_error = $8,
			mailed_at = case when was.mail then clock_timestamp() else e.mailed_at end
		from was where e.tenant_id = $1 and e.endpoint_id = $2
		returning e.url, was.mail`, j.tenant, j.endpoint, reason, b.state, b.epoch, timeOrNull(b.failingSince), timeOrNull(b.failedAt),
		problem, mailPause).Scan(&told.URL, &mail)
	if err != nil {
		return err
	}
	data := disabledData{EndpointID: j.endpoint, URL: told.URL, Reason: reason, LastError: problem, FailingSince: b.failingSince.UTC()}
	if o.status != 0 {
		data.LastStatus = &o.status
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("couldn't write an event: %w", err)
	}
	if err := w.Append(ctx, tx, tenant.Event{Type: tenant.EndpointDisabled, Tenant: j.tenant, Data: encoded}); err != nil {
		return err
	}
	diff := tenant.Diff{"status": {"enabled", "disabled"}, "disabled_reason": {nil, reason}, "last_error": {nil, problem}}
	if err := tenant.Audit(ctx, tx, tenant.SystemScope(j.tenant), "webhook_endpoint.disabled", j.endpoint, diff); err != nil {
		return err
	}
	if !mail || w.notifier == nil {
		return nil
	}
	return w.notifier.EndpointDisabled(ctx, tx, j.tenant, told)
}
