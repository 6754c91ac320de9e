package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A suspended tenant lets nobody new in: new connects are refused with
// TenantSuspended, here at once and on other nodes within RefreshEvery; the
// ledger's own check holds at once everywhere. Who is connected stays, until it
// leaves or is ended by a separate act. The console, the APIs and the stream go
// on working, so that the tenant can see why and take its data.

// Suspend refuses the tenant's new connections from now on. The reason is shown
// to its members. Suspending a suspended tenant only changes the reason.
// ErrNotFound.
func (s *Store) Suspend(ctx context.Context, by Authority, id ID, reason string) error {
	reason = strings.TrimSpace(Printable(reason, maxReasonBytes))
	if reason == "" {
		return &FieldError{"reason", "Say why: the tenant's members will read it."}
	}
	return s.setStatus(ctx, by, id, "suspended", reason, "tenant.suspended")
}

// Resume lets a suspended tenant's clients in again. Resuming an active tenant
// changes nothing. ErrNotFound.
func (s *Store) Resume(ctx context.Context, by Authority, id ID) error {
	return s.setStatus(ctx, by, id, "active", "", "tenant.resumed")
}

// maxReasonBytes bounds the reason of a suspension.
const maxReasonBytes = 500

func (s *Store) setStatus(ctx context.Context, by Authority, id ID, status, reason, action string) error {
	if by.actor == "" {
		return ErrScope
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var was, because string
		err := tx.QueryRow(ctx, `select status, suspended_reason from tenant where tenant_id = $1 for no key update`, id).Scan(&was, &because)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("couldn't read the tenant: %w", err)
		}
		if was == status && because == reason {
			return nil
		}
		_, err = tx.Exec(ctx, `
			update tenant set status = $2, suspended_reason = $3,
				suspended_at = case when $2 = 'active' then null else coalesce(suspended_at, clock_timestamp()) end
			where tenant_id = $1`, id, status, reason)
		if err != nil {
			return fmt.Errorf("couldn't change the tenant: %w", err)
		}
		return AuditOperator(ctx, tx, by, id, action, string(id), Diff{"status": {was, status}, "reason": {because, reason}})
	})
	if err != nil {
		return err
	}
	s.cache.apply(func(v *snapshot) {
		if status == "active" {
			delete(v.suspended, id)
		} else {
			v.suspended[id] = true
		}
	})
	return nil
}
