package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// thisTenant is the tenant, and by what it is asked for.
type thisTenant struct {
	ID        tenant.ID         `json:"id" example:"ten_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Name      string            `json:"name"`
	TimeZone  string            `json:"time_zone" example:"Asia/Tokyo" doc:"Days of usage are counted in it."`
	Status    string            `json:"status" enum:"active,suspended"`
	CreatedAt time.Time         `json:"created_at"`
	Actor     string            `json:"actor" doc:"Who asks, as the audit log names it."`
	Role      tenant.MemberRole `json:"role" doc:"What the API key may do."`
}

func (a *API) getTenant(ctx context.Context, scope tenant.Scope, _ *none) (thisTenant, error) {
	t, err := a.Tenants.Tenant(ctx, scope)
	return thisTenant{t.ID, t.Name, t.TimeZone, t.Status, t.CreatedAt.UTC(), scope.Actor(), scope.Role()}, err
}

// member is a person with a log-in.
type member struct {
	ID        string            `json:"id"`
	Email     string            `json:"email"`
	Role      tenant.MemberRole `json:"role" enum:"owner,admin,developer,billing,viewer"`
	CreatedAt time.Time         `json:"created_at"`
}

func (a *API) listMembers(ctx context.Context, scope tenant.Scope, in *Paging) (p page[member], err error) {
	rows, err := a.Tenants.Members(ctx, scope)
	if err != nil {
		return p, err
	}
	at := func(m tenant.Member) place { return place{m.CreatedAt, m.ID} }
	rows, err = from(rows, "members", in, oldestFirst, at)
	return pageOf(rows, in.Limit, func(m tenant.Member) member { return member{m.ID, m.Email, m.Role, m.CreatedAt.UTC()} },
		func(m tenant.Member) string { return at(m).cursor("members") }), err
}
