package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// An operator runs the platform. They are no member of any tenant: they have a
// table of log-ins, sessions and a log of their own.

// Operator is somebody with a log-in to the operator's console.
type Operator struct {
	ID         string     `json:"operator_id"`
	Email      string     `json:"email"`
	CreatedAt  time.Time  `json:"created_at"`
	LastSeenAt *time.Time `json:"last_seen_at"` // of their sessions that live; nil: none does
}

// Authority is proof that somebody runs the platform. Only this package makes
// one; the zero Authority proves nothing and is refused everywhere.
type Authority struct {
	actor string
	name  string
}

// CommandLine is the authority of whoever may run commands on the machine. It
// must not be reachable from a request.
func CommandLine() Authority { return Authority{actor: "operator", name: "command line"} }

// Over returns the scope in which the operator acts for a tenant.
func (a Authority) Over(id ID) Scope {
	if a.actor == "" {
		return Scope{}
	}
	return Scope{tenant: id, actor: a.actor, name: a.name, role: Owner}
}

// Actor names who acts, for the audit log: "operator:…", or "operator" for the
// command line.
func (a Authority) Actor() string { return a.actor }

// ErrLastOperator is returned to who would remove the only operator.
var ErrLastOperator = errors.New("this is the only operator: add another one first")

// ErrSelf is returned to an operator who would remove themselves.
var ErrSelf = errors.New("operators don't remove themselves: have another one do it")

// AuditOperator writes what an operator did, in the transaction of the change,
// into the operators' log, and if it concerns a tenant into the tenant's, too.
// what is as in Audit.
func AuditOperator(ctx context.Context, db Execer, by Authority, about ID, action, target string, what any) error {
	if by.actor == "" {
		return ErrScope
	}
	e, err := newEntry(ctx, action, target, "", what)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, `
		insert into operator_audit_entry (about, actor, actor_name, action, target, diff, detail, address, request_id)
		values (nullif($1, ''), $2, $3, $4, $5, $6, $7, $8, $9)`,
		string(about), by.actor, by.name, e.Action, e.Target, e.Diff, e.Detail, e.Address, e.RequestID)
	if err != nil {
		return fmt.Errorf("couldn't write the operators' audit log: %w", err)
	}
	if about == "" {
		return nil
	}
	return audit(ctx, db, by.Over(about), action, target, "", what)
}

// Operators returns all operators, oldest first.
func (s *Store) Operators(ctx context.Context, by Authority) ([]Operator, error) {
	if by.actor == "" {
		return nil, ErrScope
	}
	rows, err := s.pool.Query(ctx, `
		select operator_id, email, created_at,
			(select max(last_seen_at) from operator_session s where s.operator_id = o.operator_id and `+operatorSessionLives+`)
		from operator o order by created_at, operator_id`, SessionIdle)
	if err != nil {
		return nil, fmt.Errorf("couldn't read operators: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Operator])
	if err != nil {
		return nil, fmt.Errorf("couldn't read operators: %w", err)
	}
	return found, nil
}

// AddOperator makes a log-in for somebody who runs the platform. It fails with a
// *FieldError for a bad field and with ErrEmailTaken if there is one.
func (s *Store) AddOperator(ctx context.Context, by Authority, email, password string) (Operator, error) {
	if by.actor == "" {
		return Operator{}, ErrScope
	}
	email, err := checkEmail(email)
	if err != nil {
		return Operator{}, err
	}
	if err := checkPassword(password); err != nil {
		return Operator{}, err
	}
	hash, err := s.passwords.hash(ctx, password)
	if err != nil {
		return Operator{}, err
	}
	o := Operator{ID: "opr_" + NewID(), Email: email}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `insert into operator (operator_id, email, password_hash) values ($1, $2, $3) returning created_at`,
			o.ID, email, hash).Scan(&o.CreatedAt)
		if err != nil {
			return fmt.Errorf("couldn't add the operator: %w", err)
		}
		return AuditOperator(ctx, tx, by, "", "operator.added", o.ID, Diff{"email": {nil, email}})
	})
	if taken(err, "operator_email") {
		return Operator{}, ErrEmailTaken
	}
	return o, err
}

// CreateOperator adds an operator from the command line.
func (s *Store) CreateOperator(ctx context.Context, email, password string) error {
	_, err := s.AddOperator(ctx, CommandLine(), email, password)
	return err
}

// RemoveOperator ends an operator's log-in and all of their sessions at once.
// ErrNotFound, ErrLastOperator, ErrSelf.
func (s *Store) RemoveOperator(ctx context.Context, by Authority, id string) error {
	switch by.actor {
	case "":
		return ErrScope
	case "operator:" + id:
		return ErrSelf
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		// All rows, in one order: of two who remove each other one must stay.
		rows, err := tx.Query(ctx, `select operator_id, email from operator order by operator_id for update`)
		if err != nil {
			return fmt.Errorf("couldn't read operators: %w", err)
		}
		emails := map[string]string{}
		var one, email string
		if _, err := pgx.ForEachRow(rows, []any{&one, &email}, func() error { emails[one] = email; return nil }); err != nil {
			return fmt.Errorf("couldn't read operators: %w", err)
		}
		email, ok := emails[id]
		switch {
		case !ok:
			return ErrNotFound
		case len(emails) == 1:
			return ErrLastOperator
		}
		if _, err := tx.Exec(ctx, `delete from operator where operator_id = $1`, id); err != nil { // and its sessions, by cascade
			return fmt.Errorf("couldn't remove the operator: %w", err)
		}
		return AuditOperator(ctx, tx, by, "", "operator.removed", id, Diff{"email": {email, nil}})
	})
}

// SearchOperatorAudit is SearchAudit in the operators' log.
func (s *Store) SearchOperatorAudit(ctx context.Context, by Authority, q AuditQuery, limit int) ([]AuditEntry, int64, error) {
	if by.actor == "" {
		return nil, 0, ErrScope
	}
	q, ok := q.normal()
	if !ok {
		return nil, 0, nil
	}
	limit = max(1, min(limit, MaxAuditPage))
	// $1 is a tenant in SearchAudit; all of them here.
	rows, err := s.pool.Query(ctx, `select `+auditColumns+` from operator_audit_entry
		where $1 = '' and `+auditWhere+` order by audit_id desc limit $9`, append(q.arguments(""), limit+1)...)
	if err != nil {
		return nil, 0, fmt.Errorf("couldn't read the operators' audit log: %w", err)
	}
	return auditPage(rows, limit)
}

// OperatorAuditEntry returns one entry of the operators' log; ErrNotFound.
func (s *Store) OperatorAuditEntry(ctx context.Context, by Authority, id int64) (AuditEntry, error) {
	if by.actor == "" {
		return AuditEntry{}, ErrScope
	}
	rows, err := s.pool.Query(ctx, `select `+auditColumns+` from operator_audit_entry where audit_id = $1`, id)
	if err != nil {
		return AuditEntry{}, fmt.Errorf("couldn't read the operators' audit log: %w", err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[AuditEntry])
	if errors.Is(err, pgx.ErrNoRows) {
		return AuditEntry{}, ErrNotFound
	}
	if err != nil {
		return AuditEntry{}, fmt.Errorf("couldn't read the operators' audit log: %w", err)
	}
	return e, nil
}
