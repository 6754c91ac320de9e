package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// thisTenant is the tenant, and by what it is asked for.
type thisTenant struct {
	ID              tenant.ID         `json:"id" example:"ten_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Name            string            `json:"name"`
	TimeZone        string            `json:"time_zone" example:"Asia/Tokyo" doc:"Days of usage are counted in it."`
	Status          string            `json:"status" enum:"active,suspended" doc:"suspended: no client is let in; all else goes on."`
	SuspendedReason *string           `json:"suspended_reason" doc:"What the operator said; null: active."`
	CreatedAt       time.Time         `json:"created_at"`
	Actor           string            `json:"actor" doc:"Who asks, as the audit log names it."`
	Role            tenant.MemberRole `json:"role" doc:"What the API key may do."`
}

func (a *API) getTenant(ctx context.Context, scope tenant.Scope, _ *none) (thisTenant, error) {
	t, err := a.Tenants.Tenant(ctx, scope)
	return thisTenant{t.ID, t.Name, t.TimeZone, t.Status, textOrNull(t.SuspendedReason), t.CreatedAt.UTC(), scope.Actor(), scope.Role()}, err
}
