package tenant

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Ban bars something of a tenant until it expires.
type Ban struct {
	ID        string    `json:"ban_id"`
	Kind      string    `json:"kind"`    // token
	Subject   string    `json:"subject"` // kind token: hex SHA-256, Claim.TokenHash
	Reason    string    `json:"reason"`
	CreatedBy string    `json:"created_by"` // Scope.Actor
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// BanToken refuses one access token of the tenant from now until its expiry,
// until; zero if that is not known. It works here at once, on other nodes
// within RefreshEvery. Barring a barred token again can only make it longer.
func (s *Store) BanToken(ctx context.Context, scope Scope, tokenHash [32]byte, until time.Time, reason string) error {
	if scope.tenant == "" {
		return ErrScope
	}
	if until.IsZero() {
		until = time.Now().Add(MaxTokenTTL + NotBeforeLeeway) // no token lives longer
	}
	id, subject := "ban_"+NewID(), hex.EncodeToString(tokenHash[:])
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			insert into ban (ban_id, tenant_id, kind, subject, reason, created_by, expires_at)
			values ($1, $2, 'token', $3, $4, $5, $6)
			on conflict (tenant_id, kind, subject) do update
			set expires_at = greatest(ban.expires_at, excluded.expires_at), reason = excluded.reason
			returning ban_id, expires_at`,
			id, scope.tenant, subject, Printable(reason, MaxNameBytes), scope.actor, until).Scan(&id, &until)
		if err != nil {
			return fmt.Errorf("couldn't bar a token: %w", err)
		}
		return audit(ctx, tx, scope, "ban.created", id, "", map[string]any{"kind": "token", "subject": subject, "expires_at": until})
	})
	if err != nil {
		return err
	}
	s.cache.apply(func(v *snapshot) {
		// Two at once may arrive here in either order.
		if ban := (tokenBan{scope.tenant, tokenHash}); until.After(v.bans[ban]) {
			v.bans[ban] = until
		}
	})
	return nil
}

// Bans returns the tenant's bans that have not expired, newest first.
func (s *Store) Bans(ctx context.Context, scope Scope) ([]Ban, error) {
	if scope.tenant == "" {
		return nil, ErrScope
	}
	rows, err := s.pool.Query(ctx, `
		select ban_id, kind, subject, reason, created_by, created_at, expires_at
		from ban where tenant_id = $1 and expires_at > clock_timestamp()
		order by created_at desc, ban_id`, scope.tenant)
	if err != nil {
		return nil, fmt.Errorf("couldn't read bans: %w", err)
	}
	bans, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Ban])
	if err != nil {
		return nil, fmt.Errorf("couldn't read bans: %w", err)
	}
	return bans, nil
}
