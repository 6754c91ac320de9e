package api

import (
	"context"
	"slices"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// member is a person with a log-in.
type member struct {
	ID         string            `json:"id" example:"mem_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Email      string            `json:"email"`
	Role       tenant.MemberRole `json:"role" enum:"owner,admin,developer,billing,viewer"`
	SecondStep bool              `json:"second_step" doc:"Whether their log-in asks for a code besides the password."`
	CreatedAt  time.Time         `json:"created_at"`
	LastSeenAt *time.Time        `json:"last_seen_at" doc:"To the minute, of the sessions that still live; null: none does."`
}

func showMember(m tenant.MemberInfo) member {
	return member{m.ID, m.Email, m.Role, m.SecondStep, m.CreatedAt.UTC(), utcOrNull(m.LastSeenAt)}
}

func (a *API) listMembers(ctx context.Context, scope tenant.Scope, in *Paging) (p page[member], err error) {
	rows, err := a.Tenants.MemberInfos(ctx, scope)
	if err != nil {
		return p, err
	}
	at := func(m tenant.MemberInfo) place { return place{m.CreatedAt, m.ID} }
	rows, err = from(rows, "members", in, oldestFirst, at)
	return pageOf(rows, in.Limit, showMember, func(m tenant.MemberInfo) string { return at(m).cursor("members") }), err
}

// memberInput names a member.
type memberInput struct {
	ID string `path:"member_id" maxLength:"64" example:"mem_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

// member returns one member.
func (a *API) member(ctx context.Context, scope tenant.Scope, id string) (member, error) {
	rows, err := a.Tenants.MemberInfos(ctx, scope)
	if err != nil {
		return member{}, err
	}
	i := slices.IndexFunc(rows, func(m tenant.MemberInfo) bool { return m.ID == id })
	if i < 0 {
		return member{}, tenant.ErrNotFound
	}
	return showMember(rows[i]), nil
}

func (a *API) changeMember(ctx context.Context, scope tenant.Scope, in *struct {
	ID   string `path:"member_id" maxLength:"64" example:"mem_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Body struct {
		Role tenant.MemberRole `json:"role" enum:"owner,admin,developer,billing,viewer" doc:"None above that of who asks."`
	}
}) (member, error) {
	if err := a.Tenants.SetRole(ctx, scope, in.ID, in.Body.Role); err != nil {
		return member{}, err
	}
	return a.member(ctx, scope, in.ID)
}

func (a *API) removeMember(ctx context.Context, scope tenant.Scope, in *memberInput) error {
	return a.Tenants.RemoveMember(ctx, scope, in.ID)
}

func (a *API) resetSecondStep(ctx context.Context, scope tenant.Scope, in *memberInput) (member, error) {
	if err := a.Tenants.ResetSecondStep(ctx, scope, in.ID); err != nil {
		return member{}, err
	}
	return a.member(ctx, scope, in.ID)
}

// Invitation is an address that may become a member.
type Invitation struct {
	ID        string            `json:"id" example:"inv_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Email     string            `json:"email"`
	Role      tenant.MemberRole `json:"role" enum:"owner,admin,developer,billing,viewer"`
	InvitedBy string            `json:"invited_by" example:"api_key:9N5VY0Z8WJ4KQ2RGTX7D3C6B1M" doc:"As the audit log names it."`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt time.Time         `json:"expires_at" doc:"Until when its link works; sending it again renews it."`
}

func showInvitation(i tenant.Invitation) Invitation {
	return Invitation{i.ID, i.Email, i.Role, i.InvitedBy, i.CreatedAt.UTC(), i.ExpiresAt.UTC()}
}

// newInvitation is an invitation with the link that is told once, if at all.
type newInvitation struct {
	Invitation
	Link *string `json:"link" doc:"Where the platform sends no mail: the link to hand on, which works once. It is in this answer only. null: it was mailed."`
}

// sent shows an invitation that was made or renewed just now.
func (a *API) sent(link string, i tenant.Invitation) newInvitation {
	if a.Tenants.Delivers() {
		link = ""
	}
	return newInvitation{showInvitation(i), textOrNull(link)}
}

func (a *API) listInvitations(ctx context.Context, scope tenant.Scope, in *Paging) (p page[Invitation], err error) {
	rows, err := a.Tenants.Invitations(ctx, scope)
	if err != nil {
		return p, err
	}
	at := func(i tenant.Invitation) place { return place{i.CreatedAt, i.ID} }
	rows, err = from(rows, "invitations", in, oldestFirst, at)
	return pageOf(rows, in.Limit, showInvitation, func(i tenant.Invitation) string { return at(i).cursor("invitations") }), err
}

func (a *API) invite(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Email string            `json:"email" minLength:"1" maxLength:"254" example:"ann@example.com"`
		Role  tenant.MemberRole `json:"role" enum:"owner,admin,developer,billing,viewer" doc:"None above that of who asks."`
	}
}) (i newInvitation, err error) {
	link, made, err := a.Tenants.Invite(ctx, scope, in.Body.Email, in.Body.Role)
	if err != nil {
		return i, err
	}
	return a.sent(link, made), nil
}

// invitationInput names an invitation.
type invitationInput struct {
	ID string `path:"id" maxLength:"64" example:"inv_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

func (a *API) inviteAgain(ctx context.Context, scope tenant.Scope, in *invitationInput) (i newInvitation, err error) {
	link, renewed, err := a.Tenants.InviteAgain(ctx, scope, in.ID)
	if err != nil {
		return i, err
	}
	return a.sent(link, renewed), nil
}

func (a *API) cancelInvitation(ctx context.Context, scope tenant.Scope, in *invitationInput) error {
	return a.Tenants.CancelInvitation(ctx, scope, in.ID)
}
