package tenant

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// insertLicence gives a new tenant its first licence. There is no moment without
// one: a trial is followed by none, a licence for no connections. Everything
// after that is package billing's.
func insertLicence(ctx context.Context, tx pgx.Tx, made Created, n NewTenant) error {
	kind := "custom"
	if n.Trial {
		kind = "trial"
	}
	_, err := tx.Exec(ctx, `
		with live as (
			insert into tenant_live (tenant_id, max_connections, peak_max) values ($1, $2, $2) returning max_per_channel
		), first as (
			select clock_timestamp() as start, case when $3 = 'trial' then clock_timestamp() + $4::interval end as finish
		)
		insert into licence (tenant_id, licence_id, kind, connections, per_channel, valid, applied_at, created_by)
		select $1, $5, $3, $2, max_per_channel, tstzrange(start, finish, '[)'), start, $7 from first, live
		union all
		select $1, $6, 'none', 0, max_per_channel, tstzrange(finish, null, '[)'), null, $7 from first, live where finish is not null`,
		made.Tenant, n.Licence, kind, TrialLength, "lic_"+NewID(), "lic_"+NewID(), "member:"+made.MemberID)
	if err != nil {
		return fmt.Errorf("couldn't create the tenant's licence: %w", err)
	}
	return nil
}
