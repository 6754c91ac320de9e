package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Tenant is a customer.
type Tenant struct {
	ID        ID        `json:"tenant_id"`
	Name      string    `json:"name"`
	TimeZone  string    `json:"time_zone"` // IANA name; days of usage are counted in it
	Status    string    `json:"status"`    // active or suspended
	CreatedAt time.Time `json:"created_at"`
	// SuspendedReason is what the operator said; "": active.
	SuspendedReason string `json:"suspended_reason,omitempty"`
	// CappedUntil is until when the spending cap refuses new connections; nil: it does not.
	CappedUntil *time.Time `json:"spend_capped_until,omitempty"`
}

// tenantColumns are those of Tenant, of tenant t.
const tenantColumns = `t.tenant_id, t.name, t.time_zone, t.status, t.created_at, t.suspended_reason,
	(select spend_capped_until from tenant_live l where l.tenant_id = t.tenant_id and spend_capped_until > clock_timestamp())`

// Tenants returns all tenants, oldest first: the operator's list.
func (s *Store) Tenants(ctx context.Context) ([]Tenant, error) {
	return readTenants(ctx, s.pool, `select `+tenantColumns+` from tenant t order by t.created_at, t.tenant_id`)
}

// Tenant returns the scope's own tenant.
func (s *Store) Tenant(ctx context.Context, scope Scope) (Tenant, error) {
	if scope.tenant == "" {
		return Tenant{}, ErrScope
	}
	return one(readTenants(ctx, scope.In(s.pool), `select `+tenantColumns+` from tenant t where tenant_id = $1`, scope.tenant))
}

// FindTenant finds a tenant for the operator by its id, else by its name or a
// member's email, whatever their case. ErrAmbiguous if several match.
func (s *Store) FindTenant(ctx context.Context, idOrNameOrEmail string) (Tenant, error) {
	wanted := strings.TrimSpace(idOrNameOrEmail)
	if wanted == "" || badText(wanted) {
		return Tenant{}, ErrNotFound
	}
	// The id goes first, so that nobody hides another tenant by taking its id for a name.
	t, err := s.Tenant(ctx, OperatorScope(ID(wanted)))
	if err == nil || !errors.Is(err, ErrNotFound) {
		return t, err
	}
	return one(readTenants(ctx, s.pool, `
		select `+tenantColumns+` from tenant t
		where lower(name) = lower($1)
		   or exists (select from member m where m.tenant_id = t.tenant_id and lower(m.email) = lower($1))
		limit 2`, wanted))
}

// querier is a pool, or a tenant's view of one.
type querier interface {
	Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error)
}

func readTenants(ctx context.Context, db querier, sql string, arguments ...any) ([]Tenant, error) {
	rows, err := db.Query(ctx, sql, arguments...)
	if err != nil {
		return nil, fmt.Errorf("couldn't read tenants: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Tenant])
	if err != nil {
		return nil, fmt.Errorf("couldn't read tenants: %w", err)
	}
	return found, nil
}

func one(found []Tenant, err error) (Tenant, error) {
	switch {
	case err != nil:
		return Tenant{}, err
	case len(found) == 0:
		return Tenant{}, ErrNotFound
	case len(found) > 1:
		return Tenant{}, ErrAmbiguous
	}
	return found[0], nil
}
