package webhooks

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// SecretOverlap is how long the secret before the newest one goes on signing, so
// that a receiver can change over without losing an event.
const SecretOverlap = 24 * time.Hour

// forgetEvery is how often secrets are deleted whose overlap has ended. They sign
// nothing from that moment on, whenever that is.
const forgetEvery = 5 * time.Second

func (w *Webhooks) sealedSecret() (secret string, sealed []byte, err error) {
	secret = tenant.NewWebhookSecret()
	if sealed, err = w.sealer.Seal([]byte(secret)); err != nil {
		return "", nil, fmt.Errorf("couldn't seal a webhook secret: %w", err)
	}
	return secret, sealed, nil
}

// secretsOf opens what an attempt is signed with, the newest first.
func (w *Webhooks) secretsOf(j job) (secrets []string, err error) {
	for _, sealed := range [][]byte{j.sealed, j.previous} {
		if sealed == nil {
			continue
		}
		secret, err := w.sealer.Open(sealed)
		if err != nil {
			return nil, fmt.Errorf("couldn't open the secret of %s: %w", j.endpoint, err)
		}
		secrets = append(secrets, string(secret))
	}
	return secrets, nil
}

// RotateSecret replaces an endpoint's secret; attempts from now on are signed
// with the new one, which is returned here and never again. For the time of
// overlap they are signed with the old one too; 0, for one that leaked, forgets
// it at once. A secret that was still in an overlap before is forgotten either
// way: there are never more than two. ErrNotFound.
func (w *Webhooks) RotateSecret(ctx context.Context, s tenant.Scope, id string, overlap time.Duration) (secret string, e Endpoint, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return "", Endpoint{}, err
	}
	secret, sealed, err := w.sealedSecret()
	if err != nil {
		return "", Endpoint{}, err
	}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := holdCursor(ctx, tx, t); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `update webhook_endpoint e set secret_sealed = $3,
				previous_secret_sealed = case when $4::interval > '0' then e.secret_sealed end,
				previous_secret_until = case when $4::interval > '0' then clock_timestamp() + $4::interval end
			where e.tenant_id = $1 and e.endpoint_id = $2 returning `+endpointColumns, t, id, sealed, overlap)
		if err != nil {
			return err
		}
		if e, err = found(pgx.CollectExactlyOneRow(rows, scanEndpoint)); err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.secret_rotated", id, tenant.Diff{
			"secret": {tenant.Redacted, tenant.Redacted}, "overlap_until": {nil, e.PreviousSecretUntil}})
	})
	if err != nil {
		return "", Endpoint{}, fmt.Errorf("couldn't replace a webhook endpoint's secret: %w", err)
	}
	w.toClaim.ringFor(t)
	return secret, e, nil
}

// EndOverlap forgets the secret before an endpoint's newest one now. Without one
// it changes nothing. ErrNotFound.
func (w *Webhooks) EndOverlap(ctx context.Context, s tenant.Scope, id string) error {
	t, err := tenantOf(s)
	if err != nil {
		return err
	}
	err = s.In(w.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := holdCursor(ctx, tx, t); err != nil {
			return err
		}
		before, err := lockEndpoint(ctx, tx, t, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update webhook_endpoint set previous_secret_sealed = null, previous_secret_until = null
			where tenant_id = $1 and endpoint_id = $2`, t, id); err != nil || before.PreviousSecretUntil == nil {
			return err
		}
		return tenant.Audit(ctx, tx, s, "webhook_endpoint.overlap_ended", id, tenant.Diff{
			"overlap_until": {before.PreviousSecretUntil, nil}})
	})
	if err != nil {
		return fmt.Errorf("couldn't forget a webhook endpoint's old secret: %w", err)
	}
	w.toClaim.ringFor(t)
	return nil
}

// runSecrets forgets secrets when their overlap has ended.
func (w *Webhooks) runSecrets(ctx context.Context) {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		if _, err := w.pool.Exec(ctx, `update webhook_endpoint set previous_secret_sealed = null, previous_secret_until = null
			where previous_secret_until <= clock_timestamp()`); err != nil && ctx.Err() == nil {
			w.log.Warn("old webhook secrets wait to be forgotten", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
