package webhooks

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// EndpointChange says what of an endpoint shall change; nil: it stays.
type EndpointChange struct {
	URL     *string
	Types   *[]string // as in Choice
	Prefix  *string   // Choice.ChannelPrefix
	Enabled *bool     // true is as EnableEndpoint, false as DisableEndpoint
}

// ChangeEndpoint makes all changes of an endpoint or none, and returns it as it
// is then. Another choice counts from FilterFromSeq on: the first event that has
// not been turned into deliveries yet. A *tenant.FieldError names url, types or
// channel_prefix; ErrNotFound.
func (w *Webhooks) ChangeEndpoint(ctx context.Context, s tenant.Scope, id string, c EndpointChange) (e Endpoint, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return Endpoint{}, err
	}
	if c.URL != nil {
		c.URL = new(strings.TrimSpace(*c.URL))
		if err := w.egress.CheckURL(*c.URL); err != nil {
			return Endpoint{}, err
		}
	}
	var asked Choice
	if c.Types != nil {
		asked.Types = *c.Types
	}
	if c.Prefix != nil {
		asked.ChannelPrefix = *c.Prefix
	}
	if asked, err = asked.checked(); err != nil {
		return Endpoint{}, err
	}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		// As in EnableEndpoint: what comes after now is the endpoint's own again.
		if err := holdCursor(ctx, tx, t); err != nil {
			return err
		}
		before, err := lockEndpoint(ctx, tx, t, id)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `update webhook_endpoint e set
				url = coalesce($3, e.url),
				types = case when $4 then $5::text[] else e.types end,
				channel_prefix = coalesce($7, e.channel_prefix),
				filter_from_seq = case when $4 and e.types <> $5::text[] or $7 <> e.channel_prefix
					then greatest(e.from_seq, c.seq) + 1 else e.filter_from_seq end,
				status = case when $6::boolean is null then e.status when $6 then 'enabled' else 'disabled' end,
				from_seq = case when $6 and e.status <> 'enabled' then l.event_seq else e.from_seq end
			from tenant_live l join webhook_cursor c using (tenant_id)
			where l.tenant_id = $1 and e.tenant_id = $1 and e.endpoint_id = $2
			returning `+endpointColumns, t, id, c.URL, c.Types != nil, asked.Types, c.Enabled, c.Prefix)
		if err != nil {
			return err
		}
		if e, err = found(pgx.CollectExactlyOneRow(rows, scanEndpoint)); err != nil {
			return err
		}
		if e, err = healthAfter(ctx, tx, t, before, e, c.Enabled); err != nil {
			return err
		}
		diff := tenant.Diff{"url": {before.URL, e.URL}, "types": {before.Types, e.Types},
			"channel_prefix": {before.ChannelPrefix, e.ChannelPrefix}, "status": {before.Status, e.Status}}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.changed", id, diff)
	})
	if err != nil {
		return Endpoint{}, fmt.Errorf("couldn't change a webhook endpoint: %w", err)
	}
	w.toClaim.ringFor(t)
	return e, nil
}

// lockEndpoint reads an endpoint that is about to be changed. ErrNotFound.
func lockEndpoint(ctx context.Context, tx pgx.Tx, t tenant.ID, id string) (Endpoint, error) {
	rows, err := tx.Query(ctx, `select `+endpointColumns+` from webhook_endpoint e
		where e.tenant_id = $1 and e.endpoint_id = $2 for update`, t, id)
	if err != nil {
		return Endpoint{}, err
	}
	return found(pgx.CollectExactlyOneRow(rows, scanEndpoint))
}
