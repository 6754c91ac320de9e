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
	Types   *[]string // empty: every type but connection.updated
	Enabled *bool     // true is as EnableEndpoint, false as DisableEndpoint
}

// ChangeEndpoint makes all changes of an endpoint or none, and returns it as it
// is then. A *tenant.FieldError names url or types; ErrNotFound.
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
	var types []string
	if c.Types != nil {
		if types, err = checkTypes(*c.Types); err != nil {
			return Endpoint{}, err
		}
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
				status = case when $6::boolean is null then e.status when $6 then 'enabled' else 'disabled' end,
				failing_since = case when $6 then null else e.failing_since end,
				from_seq = case when $6 and e.status <> 'enabled' then l.event_seq else e.from_seq end
			from tenant_live l where l.tenant_id = $1 and e.tenant_id = $1 and e.endpoint_id = $2
			returning `+endpointColumnsOf("e"), t, id, c.URL, c.Types != nil, types, c.Enabled)
		if err != nil {
			return err
		}
		if e, err = found(pgx.CollectExactlyOneRow(rows, scanEndpoint)); err != nil {
			return err
		}
		diff := tenant.Diff{"url": {before.URL, e.URL}, "types": {before.Types, e.Types}, "status": {before.Status, e.Status}}
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
	rows, err := tx.Query(ctx, `select `+endpointColumns+` from webhook_endpoint
		where tenant_id = $1 and endpoint_id = $2 for update`, t, id)
	if err != nil {
		return Endpoint{}, err
	}
	return found(pgx.CollectExactlyOneRow(rows, scanEndpoint))
}

// endpointColumnsOf are endpointColumns of a table under another name.
func endpointColumnsOf(alias string) string {
	return alias + "." + strings.ReplaceAll(endpointColumns, ", ", ", "+alias+".")
}
