package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Who may change whom. The rules hold for everybody who acts for a tenant: a
// member by their role of this moment, an API key by its own, the operator as an
// owner.

// Errors of these rules; each sentence is for the person who tried.
var (
	ErrLastOwner  = errors.New("an organisation needs an owner: make somebody else one first")
	ErrOwnersOnly = errors.New("only an owner may do this")
	ErrYourself   = errors.New("this is your own account: use your profile")
	// ErrTooManyMembers is a tenant with MaxMembers members and invitations.
	ErrTooManyMembers = errors.New("the organisation has as many members and invitations as it may")
)

// ParseMemberRole reads a role's name. A *FieldError of "role" if it is none.
func ParseMemberRole(name string) (MemberRole, error) {
	if role := MemberRole(name); role.In(Owner, Admin, Developer, Billing, Viewer) {
		return role, nil
	}
	return "", &FieldError{"role", "Choose owner, admin, developer, billing or viewer."}
}

// MemberInfo is a member as the others see them.
type MemberInfo struct {
	Member
	SecondStep bool       `json:"second_step"`            // their log-in asks for a code
	LastSeenAt *time.Time `json:"last_seen_at,omitempty"` // in a session that still lives
}

// MemberInfos returns the tenant's members, oldest first.
func (s *Store) MemberInfos(ctx context.Context, scope Scope) ([]MemberInfo, error) {
	rows, err := scope.In(s.pool).Query(ctx, `
		select m.member_id, m.tenant_id, m.email, m.role, m.created_at,
		       exists (select from second_step x where x.tenant_id = m.tenant_id and x.member_id = m.member_id and x.confirmed_at is not null),
		       (select max(last_seen_at) from login_session l where l.tenant_id = m.tenant_id and l.member_id = m.member_id)
		from member m where m.tenant_id = $1 order by m.created_at, m.member_id`, scope.tenant)
	if err != nil {
		return nil, fmt.Errorf("couldn't read members: %w", err)
	}
	members, err := pgx.CollectRows(rows, pgx.RowToStructByPos[MemberInfo])
	if err != nil {
		return nil, fmt.Errorf("couldn't read members: %w", err)
	}
	return members, nil
}

// SetRole gives a member of the tenant another role, which ends their sessions:
// with the next log-in they have it. ErrLastOwner and ErrOwnersOnly by the
// rules, ErrNotFound if there is no such member.
func (s *Store) SetRole(ctx context.Context, scope Scope, memberID string, role MemberRole) error {
	if _, err := ParseMemberRole(string(role)); err != nil {
		return err
	}
	return s.changeMembers(ctx, scope, memberID, func(tx pgx.Tx, c council) error {
		m := c.target
		switch {
		case m.Role == role:
			return nil
		case role == Owner && c.actor != Owner:
			return ErrOwnersOnly
		case m.Role == Owner && c.owners == 1:
			return ErrLastOwner
		}
		_, err := tx.Exec(ctx, `update member set role = $3 where tenant_id = $1 and member_id = $2`, m.Tenant, m.ID, role)
		if err != nil {
			return fmt.Errorf("couldn't change a role: %w", err)
		}
		if err := endSessions(ctx, tx, m, ""); err != nil {
			return err
		}
		return audit(ctx, tx, scope, "member.role_changed", m.ID, "", Diff{"role": {m.Role, role}})
	})
}

// RemoveMember ends a member's log-in and all of their sessions. What they did
// stays in the audit log. Errors are as with SetRole.
func (s *Store) RemoveMember(ctx context.Context, scope Scope, memberID string) error {
	return s.changeMembers(ctx, scope, memberID, func(tx pgx.Tx, c council) error {
		m := c.target
		if m.Role == Owner && c.owners == 1 {
			return ErrLastOwner
		}
		// Sessions, links and second step go with the member's row.
		_, err := tx.Exec(ctx, `delete from member where tenant_id = $1 and member_id = $2`, m.Tenant, m.ID)
		if err != nil {
			return fmt.Errorf("couldn't remove a member: %w", err)
		}
		return audit(ctx, tx, scope, "member.removed", m.ID, "", map[string]any{"email": m.Email, "role": m.Role})
	})
}

// changeMember is changeMembers for what touches somebody else's log-in.
func (s *Store) changeMember(ctx context.Context, scope Scope, memberID string, f func(tx pgx.Tx, m Member) error) error {
	if scope.actor == "member:"+memberID {
		return ErrYourself
	}
	return s.changeMembers(ctx, scope, memberID, func(tx pgx.Tx, c council) error { return f(tx, c.target) })
}

// council is who decides about a member, and about whom, as of now: its rows
// are locked until the transaction ends.
type council struct {
	actor  MemberRole
	owners int
	target Member // zero if nobody was meant
}

// changeMembers runs f in a transaction that holds the tenant's owners, the
// actor and the member who is meant: changes of one tenant's members happen one
// after the other, so that each sees what the one before left.
func (s *Store) changeMembers(ctx context.Context, scope Scope, memberID string, f func(pgx.Tx, council) error) error {
	return scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		c, err := lockCouncil(ctx, tx, scope, memberID)
		switch {
		case err != nil:
			return err
		case c.target.ID == "":
			return ErrNotFound
		case c.target.Role == Owner && c.actor != Owner:
			return ErrOwnersOnly
		}
		return f(tx, c)
	})
}

// lockCouncil locks in the order of ids, so that no two wait for each other.
func lockCouncil(ctx context.Context, tx pgx.Tx, scope Scope, memberID string) (council, error) {
	actor, isMember := strings.CutPrefix(scope.actor, "member:")
	rows, err := tx.Query(ctx, `
		select member_id, tenant_id, email, role, created_at from member
		where tenant_id = $1 and (role = 'owner' or member_id = any($2))
		order by member_id for update`, scope.tenant, []string{actor, memberID})
	if err != nil {
		return council{}, fmt.Errorf("couldn't lock members: %w", err)
	}
	members, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Member])
	if err != nil {
		return council{}, fmt.Errorf("couldn't lock members: %w", err)
	}
	c := council{}
	for _, m := range members {
		if m.Role == Owner {
			c.owners++
		}
		if m.ID == memberID {
			c.target = m
		}
	}
	switch {
	case isMember:
		i := slices.IndexFunc(members, func(m Member) bool { return m.ID == actor })
		if i < 0 || !members[i].Role.In(Owner, Admin) {
			return council{}, ErrOwnersOnly // removed, or made less, a moment ago
		}
		c.actor = members[i].Role
	case scope.actor == "operator" || strings.HasPrefix(scope.actor, "operator:"):
		c.actor = Owner
	case !scope.role.In(Owner, Admin):
		return council{}, ErrOwnersOnly
	default: // an API key
		c.actor = scope.role
	}
	return c, nil
}
