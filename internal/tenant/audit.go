package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// The audit log says who did what, and is written in the transaction of the
// change: there is no change without its entry and no entry without its change.
// The database itself lets entries only be added, whoever asks. What is written
// passes redact on its way, so that no secret gets in by mistake.

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	ID        int64           `json:"audit_id"`
	At        time.Time       `json:"at"`
	Actor     string          `json:"actor"`      // Scope.Actor
	ActorName string          `json:"actor_name"` // Scope.ActorName, as it was then
	Action    string          `json:"action"`     // such as signing_key.revoked
	Target    string          `json:"target"`     // the id of what was changed
	Diff      json.RawMessage `json:"diff"`       // {field: [before, after]}, redacted
	Detail    json.RawMessage `json:"detail"`     // an object of what else is worth knowing, redacted
	Address   string          `json:"address"`    // where the request came from; "": not known
	RequestID string          `json:"request_id"` // Caller.RequestID
}

// Diff is what a change changed: the value before and the value after of each
// field, nil for one that was or is not there. Values are what marshals to
// JSON. Fields whose values are the same are left out of the log, so that a
// caller may give all it has.
//
//	Audit(ctx, tx, scope, "member.role_changed", id, Diff{"role": {old, new}})
type Diff map[string][2]any

// Execer is what Audit writes through: the transaction of the change, so that
// the entry stands or falls with it, or a pool.
type Execer interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

// Audit writes who did what. What changed is a Diff; or it is anything that
// marshals to a JSON object of what is worth knowing, or nil. Where the request
// came from is taken from CallerOf(ctx). Secrets need not be kept out: what
// looks like one, by its field's name or by itself, is written as Redacted.
func Audit(ctx context.Context, db Execer, scope Scope, action, target string, what any) error {
	return audit(ctx, db, scope, action, target, "", what)
}

// Audit is Audit.
func (s *Store) Audit(ctx context.Context, db Execer, scope Scope, action, target string, what any) error {
	return audit(ctx, db, scope, action, target, "", what)
}

// audit writes an entry; an address that is given goes before the caller's.
func audit(ctx context.Context, db Execer, scope Scope, action, target, address string, what any) error {
	if scope.tenant == "" {
		return ErrScope
	}
	e, err := newEntry(ctx, action, target, address, what)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, `
		insert into audit_entry (tenant_id, actor, actor_name, action, target, diff, detail, address, request_id)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		scope.tenant, scope.actor, Printable(scope.name, MaxNameBytes), e.Action, e.Target, e.Diff, e.Detail, e.Address, e.RequestID)
	if err != nil {
		return fmt.Errorf("couldn't write the audit log: %w", err)
	}
	return nil
}

// newEntry makes an entry out of what a caller says, without actor.
func newEntry(ctx context.Context, action, target, address string, what any) (AuditEntry, error) {
	caller := CallerOf(ctx)
	if address == "" {
		address = caller.Address
	}
	e := AuditEntry{
		Action: action, Target: Printable(redactText(target), MaxNameBytes), Diff: []byte("{}"), Detail: []byte("{}"),
		Address: Printable(address, MaxNameBytes), RequestID: Printable(caller.RequestID, MaxNameBytes),
	}
	var err error
	switch what := what.(type) {
	case nil:
	case Diff:
		e.Diff, err = redactedDiff(what)
	default:
		e.Detail, err = redactedDetail(what)
	}
	if err != nil {
		return AuditEntry{}, fmt.Errorf("couldn't marshal the audit entry of %s: %w", action, err)
	}
	return e, nil
}
