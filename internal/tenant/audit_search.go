package tenant

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// AuditQuery says which entries of the audit log are wanted. Its zero value
// wants all.
type AuditQuery struct {
	Actor  string    // an actor, or a part of an actor's name, whatever its case
	Action string    // an action, or its beginning: "signing_key." is all about signing keys
	Target string    // the id of what was changed
	Text   string    // a part of anything an entry says, whatever its case
	From   time.Time // not before; zero: from the beginning
	To     time.Time // before; zero: until now
	Before int64     // older than the entry with this ID; 0: from the newest
}

// MaxAuditPage bounds a page of the audit log, and MaxAuditExport an export.
const (
	MaxAuditPage   = 500
	MaxAuditExport = 100_000
)

const auditColumns = `audit_id, at, actor, actor_name, action, target, diff, detail, address, request_id`

// auditWhere is the condition of a query; its arguments are $2 to $8. A text of
// "" is looked for nowhere.
const auditWhere = `
	($2 = '' or actor = $2 or position(lower($2) in lower(actor_name)) > 0)
	and ($3 = '' or starts_with(action, $3))
	and ($4 = '' or target = $4)
	and ($5 = '' or position(lower($5) in lower(concat_ws(' ', actor, actor_name, action, target, address, request_id, diff, detail))) > 0)
	and ($6::timestamptz is null or at >= $6)
	and ($7::timestamptz is null or at < $7)
	and ($8 = 0 or audit_id < $8)`

func (q AuditQuery) arguments(first any) []any {
	return []any{first, q.Actor, q.Action, q.Target, q.Text, orNull(q.From), orNull(q.To), q.Before}
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// normal trims what a person typed. What cannot be in the log finds nothing,
// and is no error.
func (q AuditQuery) normal() (AuditQuery, bool) {
	for _, text := range []*string{&q.Actor, &q.Action, &q.Target, &q.Text} {
		*text = strings.TrimSpace(*text)
		if badText(*text) || len(*text) > maxAuditTextBytes {
			return q, false
		}
	}
	return q, true
}

// SearchAudit returns the newest entries that q wants, at most limit and
// MaxAuditPage of them, newest first, and where the next page begins: AuditQuery.Before,
// 0 after the last one.
func (s *Store) SearchAudit(ctx context.Context, scope Scope, q AuditQuery, limit int) (entries []AuditEntry, next int64, err error) {
	if scope.tenant == "" {
		return nil, 0, ErrScope
	}
	q, ok := q.normal()
	if !ok {
		return nil, 0, nil
	}
	limit = max(1, min(limit, MaxAuditPage))
	rows, err := scope.In(s.pool).Query(ctx, `select `+auditColumns+` from audit_entry
		where tenant_id = $1 and `+auditWhere+` order by audit_id desc limit $9`, append(q.arguments(scope.tenant), limit+1)...)
	if err != nil {
		return nil, 0, fmt.Errorf("couldn't read the audit log: %w", err)
	}
	return auditPage(rows, limit)
}

// auditPage reads a page of which one row more was asked for.
func auditPage(rows pgx.Rows, limit int) ([]AuditEntry, int64, error) {
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[AuditEntry])
	if err != nil {
		return nil, 0, fmt.Errorf("couldn't read the audit log: %w", err)
	}
	if len(entries) <= limit {
		return entries, 0, nil
	}
	return entries[:limit], entries[limit-1].ID, nil
}

// AuditEntry returns one entry; ErrNotFound if the tenant has none with this ID.
func (s *Store) AuditEntry(ctx context.Context, scope Scope, id int64) (AuditEntry, error) {
	if scope.tenant == "" {
		return AuditEntry{}, ErrScope
	}
	rows, err := scope.In(s.pool).Query(ctx, `select `+auditColumns+` from audit_entry where tenant_id = $1 and audit_id = $2`, scope.tenant, id)
	if err != nil {
		return AuditEntry{}, fmt.Errorf("couldn't read the audit log: %w", err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[AuditEntry])
	if errors.Is(err, pgx.ErrNoRows) {
		return AuditEntry{}, ErrNotFound
	}
	if err != nil {
		return AuditEntry{}, fmt.Errorf("couldn't read the audit log: %w", err)
	}
	return e, nil
}

// AuditActions returns the actions that the tenant's log has, sorted.
func (s *Store) AuditActions(ctx context.Context, scope Scope) ([]string, error) {
	if scope.tenant == "" {
		return nil, ErrScope
	}
	// From action to action by the index, however long the log is.
	rows, err := scope.In(s.pool).Query(ctx, `
		with recursive a(action) as (
			select min(action) from audit_entry where tenant_id = $1
			union all
			select (select min(e.action) from audit_entry e where e.tenant_id = $1 and e.action > a.action)
			from a where a.action is not null)
		select action from a where action is not null limit 500`, scope.tenant)
	if err != nil {
		return nil, fmt.Errorf("couldn't list the audit log's actions: %w", err)
	}
	actions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("couldn't list the audit log's actions: %w", err)
	}
	return actions, nil
}

// ExportAudit goes through the entries that q wants, newest first, page by page,
// at most MaxAuditExport of them, and writes into the log that somebody did.
// format is only noted. That entry, and what comes after it, is not exported.
func (s *Store) ExportAudit(ctx context.Context, scope Scope, q AuditQuery, format string) iter.Seq2[AuditEntry, error] {
	return func(yield func(AuditEntry, error) bool) {
		wanted := map[string]any{"format": format, "actor": q.Actor, "action": q.Action, "target": q.Target, "text": q.Text,
			"from": orNull(q.From), "to": orNull(q.To)}
		for name, value := range wanted {
			if value == "" || value == (*time.Time)(nil) {
				delete(wanted, name)
			}
		}
		var own int64
		if err := scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
			if err := audit(ctx, tx, scope, "audit.exported", string(scope.tenant), "", wanted); err != nil {
				return err
			}
			return tx.QueryRow(ctx, `select max(audit_id) from audit_entry where tenant_id = $1`, scope.tenant).Scan(&own)
		}); err != nil {
			yield(AuditEntry{}, fmt.Errorf("couldn't begin an export of the audit log: %w", err))
			return
		}
		if q.Before == 0 || q.Before > own {
			q.Before = own
		}
		for left := MaxAuditExport; left > 0; {
			page, next, err := s.SearchAudit(ctx, scope, q, min(left, MaxAuditPage))
			if err != nil {
				yield(AuditEntry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if left -= len(page); next == 0 {
				return
			}
			q.Before = next
		}
	}
}
