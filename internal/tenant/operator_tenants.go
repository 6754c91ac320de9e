package tenant

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// TenantSummary is a tenant as operators see it in a list.
type TenantSummary struct {
	Tenant
	SuspendedAt    *time.Time `json:"suspended_at"` // nil: it is active
	Members        int        `json:"members"`
	Connections    int        `json:"connections"`
	MaxConnections int        `json:"max_connections"`
	MaxPerChannel  int        `json:"max_per_channel"`
}

// Totals sums all tenants up.
type Totals struct {
	Tenants     int `json:"tenants"`
	Suspended   int `json:"suspended"`
	Connections int `json:"connections"` // live ones
}

const summaryColumns = `
	t.tenant_id, t.name, t.time_zone, t.status, t.created_at, t.suspended_at, t.suspended_reason,
	(select count(*) from member m where m.tenant_id = t.tenant_id)::int,
	coalesce(l.connections, 0), coalesce(l.max_connections, 0), coalesce(l.max_per_channel, 0)
	from tenant t left join tenant_live l using (tenant_id)`

func scanSummary(row pgx.CollectableRow) (t TenantSummary, err error) {
	return t, row.Scan(&t.ID, &t.Name, &t.TimeZone, &t.Status, &t.CreatedAt, &t.SuspendedAt, &t.SuspendedReason,
		&t.Members, &t.Connections, &t.MaxConnections, &t.MaxPerChannel)
}

// TenantSummaries returns the newest tenants with a text in their name or in a
// member's address, whatever its case, or with this id; "": all. At most limit
// (1 to 500), older than the tenant after; next is the after of the next page, ""
// behind the last.
func (s *Store) TenantSummaries(ctx context.Context, by Authority, text string, after ID, limit int) (page []TenantSummary, next ID, err error) {
	if by.actor == "" {
		return nil, "", ErrScope
	}
	if text = strings.TrimSpace(text); badText(text) || badText(string(after)) {
		return nil, "", nil
	}
	limit = max(1, min(limit, 500))
	rows, err := s.pool.Query(ctx, `select `+summaryColumns+`
		where ($1 = '' or t.tenant_id = $1 or position(lower($1) in lower(t.name)) > 0
			or exists (select from member m where m.tenant_id = t.tenant_id and position(lower($1) in lower(m.email)) > 0))
		and ($2 = '' or (t.created_at, t.tenant_id) < (select a.created_at, a.tenant_id from tenant a where a.tenant_id = $2))
		order by t.created_at desc, t.tenant_id desc limit $3`, text, string(after), limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't list tenants: %w", err)
	}
	page, err = pgx.CollectRows(rows, scanSummary)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't list tenants: %w", err)
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	return page, next, nil
}

// TenantSummary returns one tenant; ErrNotFound.
func (s *Store) TenantSummary(ctx context.Context, by Authority, id ID) (TenantSummary, error) {
	if by.actor == "" {
		return TenantSummary{}, ErrScope
	}
	rows, err := s.pool.Query(ctx, `select `+summaryColumns+` where t.tenant_id = $1`, Printable(string(id), MaxNameBytes))
	if err != nil {
		return TenantSummary{}, fmt.Errorf("couldn't read a tenant: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanSummary)
	if err != nil {
		return TenantSummary{}, fmt.Errorf("couldn't read a tenant: %w", err)
	}
	if len(found) == 0 {
		return TenantSummary{}, ErrNotFound
	}
	return found[0], nil
}

// Totals returns how much there is of everything.
func (s *Store) Totals(ctx context.Context, by Authority) (t Totals, err error) {
	if by.actor == "" {
		return t, ErrScope
	}
	err = s.pool.QueryRow(ctx, `
		select count(*), count(*) filter (where status <> 'active'), coalesce(sum(l.connections), 0)
		from tenant left join tenant_live l using (tenant_id)`).Scan(&t.Tenants, &t.Suspended, &t.Connections)
	if err != nil {
		return t, fmt.Errorf("couldn't count the tenants: %w", err)
	}
	return t, nil
}
