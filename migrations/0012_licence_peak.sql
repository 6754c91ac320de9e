-- How near a tenant has come to its licence: peaks by the hour, thresholds told.

-- +goose Up
-- One row for each hour in which a tenant's count changed. The hour under way is in
-- tenant_live, where it costs an admission nothing; it comes here with the first
-- change of a later hour. An hour without a row had what the one before it left.
create table licence_peak (
    tenant_id        text not null references tenant,
    hour             timestamptz not null, -- its start, in UTC
    peak             integer not null check (peak >= 0),
    max_connections  integer not null,     -- the licence when the peak was reached
    left_connections integer not null,     -- at its end
    left_max         integer not null,     -- the licence at its end
    primary key (tenant_id, hour)
);
select isolate('licence_peak');

alter table tenant_live
    -- The threshold that was told last, in percent; 0: none. It is told again only after
    -- the count has gone well below it.
    add column threshold smallint not null default 0 check (threshold in (0, 80, 100)),
    add column low_connections integer not null default 0, -- the least since then
    add column peak_hour timestamptz not null default date_trunc('hour', clock_timestamp(), 'UTC'),
    add column peak integer not null default 0,
    add column peak_max integer not null default 0; -- the licence when the peak was reached
update tenant_live set low_connections = connections, peak = connections, peak_max = max_connections;

-- +goose Down
alter table tenant_live
    drop column peak_max,
    drop column peak,
    drop column peak_hour,
    drop column low_connections,
    drop column threshold;
drop table licence_peak;
