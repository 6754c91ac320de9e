package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Invitation is an address that may become a member with a role.
type Invitation struct {
	ID        string     `json:"invitation_id"`
	Email     string     `json:"email"`
	Role      MemberRole `json:"role"`
	InvitedBy string     `json:"invited_by"` // Scope.Actor
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"` // its link works until then; sending it again renews it
}

// Invitations returns the tenant's open invitations, oldest first; those whose
// link has expired are among them for 30 days.
func (s *Store) Invitations(ctx context.Context, scope Scope) ([]Invitation, error) {
	rows, err := scope.In(s.pool).Query(ctx, `
		select invitation_id, email, role, invited_by, created_at, expires_at
		from invitation where tenant_id = $1 order by created_at, invitation_id`, scope.tenant)
	if err != nil {
		return nil, fmt.Errorf("couldn't read invitations: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Invitation])
	if err != nil {
		return nil, fmt.Errorf("couldn't read invitations: %w", err)
	}
	return list, nil
}

// Invite invites an address to the tenant, and writes to it if the platform
// can. The link is returned for where mail reaches nobody (Delivers): it is to
// be shown once, and kept nowhere. A second invitation of an address replaces
// the first. It fails with a *FieldError of "email" or "role", ErrOwnersOnly if
// somebody else than an owner makes an owner, ErrTooManyMembers, or a *Refusal
// with code RateLimited.
func (s *Store) Invite(ctx context.Context, scope Scope, email string, role MemberRole) (link string, i Invitation, err error) {
	if email, err = checkEmail(email); err != nil {
		return "", Invitation{}, err
	}
	if _, err := ParseMemberRole(string(role)); err != nil {
		return "", Invitation{}, err
	}
	i = Invitation{ID: "inv_" + NewID(), Email: email, Role: role, InvitedBy: scope.actor}
	return s.invite(ctx, scope, i, "member.invited", func(tx pgx.Tx, c council, i *Invitation) error {
		if role == Owner && c.actor != Owner {
			return ErrOwnersOnly
		}
		var people int
		var member bool
		err := tx.QueryRow(ctx, `
			select (select count(*) from member where tenant_id = $1)
			       + (select count(*) from invitation where tenant_id = $1 and lower(email) <> lower($2)),
			       exists (select from member where tenant_id = $1 and lower(email) = lower($2))`,
			scope.tenant, email).Scan(&people, &member)
		switch {
		case err != nil:
			return fmt.Errorf("couldn't count members: %w", err)
		case member:
			return &FieldError{"email", "This address is a member already."}
		case people >= MaxMembers:
			return ErrTooManyMembers
		}
		_, err = tx.Exec(ctx, `delete from invitation where tenant_id = $1 and lower(email) = lower($2)`, scope.tenant, email)
		if err != nil {
			return fmt.Errorf("couldn't replace an invitation: %w", err)
		}
		return nil
	})
}

// InviteAgain renews an invitation with another link, and writes to its address
// again. It fails as Invite does, with ErrNotFound if there is none.
func (s *Store) InviteAgain(ctx context.Context, scope Scope, invitationID string) (link string, i Invitation, err error) {
	return s.invite(ctx, scope, Invitation{ID: invitationID}, "member.invited_again", func(tx pgx.Tx, c council, i *Invitation) error {
		err := tx.QueryRow(ctx, `delete from invitation where tenant_id = $1 and invitation_id = $2 returning email, role, invited_by`,
			scope.tenant, invitationID).Scan(&i.Email, &i.Role, &i.InvitedBy)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return fmt.Errorf("couldn't renew an invitation: %w", err)
		case i.Role == Owner && c.actor != Owner:
			return ErrOwnersOnly
		}
		return nil
	})
}

// invite writes an invitation down after prepare has agreed to it, and posts
// its mail.
func (s *Store) invite(ctx context.Context, scope Scope, i Invitation, action string, prepare func(pgx.Tx, council, *Invitation) error) (string, Invitation, error) {
	if scope.tenant == "" {
		return "", Invitation{}, ErrScope
	}
	wait, err := s.take(ctx, inviting, string(scope.tenant))
	if err != nil {
		return "", Invitation{}, err
	}
	if wait > 0 {
		return "", Invitation{}, Refuse(RateLimited, "too many invitations of this organisation; try again in %s", roundUp(wait))
	}
	token, hash := newLinkToken()
	link := s.link("/invitation", token)
	err = scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		c, err := lockCouncil(ctx, tx, scope, "")
		if err != nil {
			return err
		}
		if err := prepare(tx, c, &i); err != nil {
			return err
		}
		var organisation, by string
		err = tx.QueryRow(ctx, `
			insert into invitation (tenant_id, invitation_id, email, role, token_hash, invited_by, expires_at)
			values ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7::interval)
			returning created_at, expires_at, (select name from tenant where tenant_id = $1),
			          coalesce((select email from member where tenant_id = $1 and 'member:' || member_id = $8), '')`,
			scope.tenant, i.ID, i.Email, i.Role, hash, i.InvitedBy, InvitationLifetime, scope.actor).
			Scan(&i.CreatedAt, &i.ExpiresAt, &organisation, &by)
		if err != nil {
			return fmt.Errorf("couldn't write an invitation down: %w", err)
		}
		if s.CanMail() {
			if by == "" {
				by = organisation
			}
			if err := s.queue(ctx, tx, invitationMail(i.Email, organisation, by, i.Role, link)); err != nil {
				return err
			}
		}
		return audit(ctx, tx, scope, action, i.ID, "", map[string]any{"email": i.Email, "role": i.Role})
	})
	if err != nil {
		return "", Invitation{}, err
	}
	s.wakePostman()
	return link, i, nil
}

// CancelInvitation makes an invitation's link good for nothing.
func (s *Store) CancelInvitation(ctx context.Context, scope Scope, invitationID string) error {
	return scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		c, err := lockCouncil(ctx, tx, scope, "")
		if err != nil {
			return err
		}
		var email string
		var role MemberRole
		err = tx.QueryRow(ctx, `delete from invitation where tenant_id = $1 and invitation_id = $2 returning email, role`, scope.tenant, invitationID).
			Scan(&email, &role)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return fmt.Errorf("couldn't cancel an invitation: %w", err)
		case role == Owner && c.actor != Owner:
			return ErrOwnersOnly
		}
		return audit(ctx, tx, scope, "member.invitation_cancelled", invitationID, "", map[string]any{"email": email, "role": role})
	})
}

// Invited is what the link of an invitation leads to.
type Invited struct {
	Organisation string
	Email        string
	Role         MemberRole
	tenant       ID
	tokenHash    []byte
}

// InvitationFor returns what a link invites to. ErrLink if it is good for
// nothing.
func (s *Store) InvitationFor(ctx context.Context, token string) (Invited, error) {
	hash, err := readLinkToken(token)
	if err != nil {
		return Invited{}, err
	}
	i := Invited{tokenHash: hash}
	err = s.pool.QueryRow(ctx, `
		select t.name, i.email, i.role, i.tenant_id from invitation i join tenant t using (tenant_id)
		where i.token_hash = $1 and i.expires_at > clock_timestamp()`, hash).
		Scan(&i.Organisation, &i.Email, &i.Role, &i.tenant)
	if errors.Is(err, pgx.ErrNoRows) {
		return Invited{}, ErrLink
	}
	if err != nil {
		return Invited{}, fmt.Errorf("couldn't look an invitation up: %w", err)
	}
	return i, nil
}

// AcceptInvitation makes the member that a link invites, with a password, and
// starts their first session. ErrEmailTaken if the address has an account:
// each belongs to one member of the platform.
func (s *Store) AcceptInvitation(ctx context.Context, token, password, address, userAgent string) (cookie string, m Member, err error) {
	if err := checkPassword(password); err != nil {
		return "", Member{}, err
	}
	i, err := s.InvitationFor(ctx, token)
	if err != nil {
		return "", Member{}, err
	}
	hash, err := s.passwords.hash(ctx, password)
	if err != nil {
		return "", Member{}, err
	}
	m = Member{ID: "mem_" + NewID(), Tenant: i.tenant, Email: i.Email, Role: i.Role}
	err = m.scope().In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `delete from invitation where tenant_id = $1 and token_hash = $2`, i.tenant, i.tokenHash)
		if err != nil {
			return fmt.Errorf("couldn't use an invitation up: %w", err)
		}
		if done.RowsAffected() == 0 {
			return ErrLink // accepted or cancelled a moment ago
		}
		err = tx.QueryRow(ctx, `insert into member (member_id, tenant_id, email, password_hash, role) values ($1, $2, $3, $4, $5) returning created_at`,
			m.ID, m.Tenant, m.Email, hash, m.Role).Scan(&m.CreatedAt)
		if taken(err, "member_email") {
			return ErrEmailTaken
		}
		if err != nil {
			return fmt.Errorf("couldn't create a member: %w", err)
		}
		if err := audit(ctx, tx, m.scope(), "member.joined", m.ID, address, map[string]any{"email": m.Email, "role": m.Role}); err != nil {
			return err
		}
		cookie, err = startSession(ctx, tx, m, address, userAgent, nil)
		return err
	})
	if err != nil {
		return "", Member{}, err
	}
	return cookie, m, nil
}
