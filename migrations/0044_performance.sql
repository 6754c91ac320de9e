-- How endpoints do over time: attempts, failures, and how long after its event a
-- delivery was made.
--
-- The engine adds to the rows of the running minute and quarter of an hour with each
-- batch of results it writes, one statement for each table: so the pages need not
-- read attempts, and their cost does not grow with the traffic. A thousand endpoints
-- that are always busy are three million rows of quarters in a month.

-- +goose Up
create table endpoint_minute (
    tenant_id   text not null,
    endpoint_id text not null,
    at          timestamptz not null, -- its start
    attempts    integer not null,
    failures    integer not null, -- of the attempts
    delays      integer[] not null, -- first deliveries made, by webhooks.delayBounds
    slowest_ms  bigint not null,  -- the longest of these delays
    primary key (tenant_id, endpoint_id, at)
) partition by range (at);
create table endpoint_quarter (
    tenant_id   text not null,
    endpoint_id text not null,
    at          timestamptz not null,
    attempts    integer not null,
    failures    integer not null,
    delays      integer[] not null,
    slowest_ms  bigint not null,
    primary key (tenant_id, endpoint_id, at)
) partition by range (at);
select isolate('endpoint_minute'), isolate('endpoint_quarter');
select partition_by_time('endpoint_minute', length => '6 hours', kept => '6 hours', ahead => '12 hours', guards => array[]::text[]);
select partition_by_time('endpoint_quarter', length => '5 days', kept => '31 days', ahead => '10 days', guards => array[]::text[]);

-- +goose Down
drop table endpoint_minute, endpoint_quarter;
select partition_forget('endpoint_minute'), partition_forget('endpoint_quarter');
