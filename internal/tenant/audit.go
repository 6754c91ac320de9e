package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	ID      int64           `json:"audit_id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`  // Scope.Actor
	Action  string          `json:"action"` // such as signing_key.revoked
	Target  string          `json:"target"` // the id of what was changed
	Detail  json.RawMessage `json:"detail"`
	Address string          `json:"address,omitempty"` // where a log-in came from
}

// Execer is what Audit writes through: the transaction of the change, so that
// the entry stands or falls with it, or a pool.
type Execer interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

// Audit writes who did what. The detail is anything that marshals to a JSON
// object, or nil; it must hold no secret.
func (s *Store) Audit(ctx context.Context, db Execer, scope Scope, action, target string, detail any) error {
	return audit(ctx, db, scope, action, target, "", detail)
}

func audit(ctx context.Context, db Execer, scope Scope, action, target, address string, detail any) error {
	if scope.tenant == "" {
		return ErrScope
	}
	document := []byte("{}")
	if detail != nil {
		var err error
		if document, err = json.Marshal(detail); err != nil {
			return fmt.Errorf("couldn't marshal the audit detail of %s: %w", action, err)
		}
	}
	_, err := db.Exec(ctx, `
		insert into audit_entry (tenant_id, actor, action, target, detail, address)
		values ($1, $2, $3, $4, $5, $6)`,
		scope.tenant, scope.actor, action, target, document, Printable(address, MaxNameBytes))
	if err != nil {
		return fmt.Errorf("couldn't write the audit log: %w", err)
	}
	return nil
}

// AuditEntries returns at most limit entries older than the one whose ID is
// before, newest first; before 0 starts at the newest.
func (s *Store) AuditEntries(ctx context.Context, scope Scope, before int64, limit int) ([]AuditEntry, error) {
	if scope.tenant == "" {
		return nil, ErrScope
	}
	rows, err := s.pool.Query(ctx, `
		select audit_id, at, actor, action, target, detail, address
		from audit_entry
		where tenant_id = $1 and ($2 = 0 or audit_id < $2)
		order by audit_id desc
		limit $3`,
		scope.tenant, before, limit)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the audit log: %w", err)
	}
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[AuditEntry])
	if err != nil {
		return nil, fmt.Errorf("couldn't read the audit log: %w", err)
	}
	return entries, nil
}
