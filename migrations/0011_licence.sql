-- The licences of each tenant, one after the other.

-- +goose Up
-- A trusted extension, so that the database's owner may have it: text in an
-- exclusion constraint.
create extension if not exists btree_gist;

-- From sign-up on a tenant has one licence at each moment; the last one has no
-- end. What admission reads are the figures in tenant_live: whoever changes what
-- is valid now changes both, holding the tenant_live row.
create table licence (
    tenant_id   text not null references tenant,
    licence_id  text not null,
    kind        text not null check (kind in ('trial', 'standard', 'custom', 'none')),
    connections integer not null check (connections >= 0),
    per_channel integer not null check (per_channel >= 0),
    packs       integer not null default 0 check (packs >= 0),
    discounts   text[] not null default '{}',
    price       jsonb,                -- as quoted for it; null: nothing by the plan
    valid       tstzrange not null,
    period      tstzrange,            -- standard: the year that is paid for; renewed at its end
    applied_at  timestamptz,          -- when tenant_live got its figures; null: scheduled
    created_at  timestamptz not null default clock_timestamp(),
    created_by  text not null,        -- as in audit_entry.actor
    primary key (tenant_id, licence_id),
    constraint licence_overlap exclude using gist (tenant_id with =, valid with &&),
    check (not isempty(valid) and not lower_inf(valid) and lower_inc(valid) and not upper_inc(valid)),
    check ((kind = 'standard') = (period is not null)),
    check (lower(period) < upper(period))
);
create unique index licence_scheduled on licence (tenant_id) where applied_at is null; -- at most one
create index licence_due on licence (lower(valid)) where applied_at is null;
create index licence_renewal on licence (upper(period)) where upper_inf(valid) and period is not null;
select isolate('licence');

-- Tenants from before have what they have, without an end.
insert into licence (tenant_id, licence_id, kind, connections, per_channel, valid, applied_at, created_by)
select tenant_id, 'lic_' || substr(tenant_id, 5), 'custom', max_connections, max_per_channel,
    tstzrange(created_at, null, '[)'), clock_timestamp(), 'system'
from tenant join tenant_live using (tenant_id);

-- +goose Down
drop table licence;
drop extension btree_gist;
