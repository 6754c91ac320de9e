-- Roll-ups: what was used, by quarter of an hour, each second of each connection once.
--
-- Quarters of an hour, because the days of every time zone begin on one.

-- +goose Up
-- Who rolls up a tenant's connections, closes its periods or books its credit has
-- this row locked, so these come one after the other, and each has a later stamp than
-- the one before, whatever the clock does.
create table billing_account (
    tenant_id   text primary key references tenant,
    recorded_at timestamptz not null -- the last stamp that was given out
) with (fillfactor = 50);
select isolate('billing_account');
revoke insert, update, delete on billing_account from hibari_request;

-- A row is a contribution that was recorded at a moment; nothing is ever changed, and
-- what becomes known late of an old slot is one more row.
create table usage_slot (
    tenant_id         text not null references tenant,
    slot              timestamptz not null, -- its start
    entry             bigint generated always as identity,
    channel_id        text not null,
    role              text not null,
    recorded_at       timestamptz not null, -- a stamp of billing_account
    connections       bigint not null, -- whose media connected in it
    seconds           bigint not null, -- full ones
    minutes           bigint not null, -- started 60 s of a connection, at least one
    billed_seconds    bigint not null, -- by the rule of the price version in force when each connected
    bytes_in          bigint not null,
    bytes_out         bigint not null,
    recording_seconds bigint not null default 0,
    primary key (tenant_id, slot, entry),
    check (extract(epoch from slot) % 900 = 0)
);
create index usage_slot_by_record on usage_slot (tenant_id, recorded_at);
select isolate('usage_slot');
revoke update, delete on usage_slot from hibari_worker;
revoke insert, update, delete on usage_slot from hibari_request;

-- How many bytes a connection had moved at a quarter of an hour, until which it was
-- rolled up while it was live. Beside its ends, these are the points between which its
-- bytes are spread evenly; they never change, so a quarter that was rolled up stays as
-- it is.
create table connection_mark (
    tenant_id     text not null,
    connection_id text not null,
    at            timestamptz not null,
    recorded_at   timestamptz not null, -- that of its slots
    bytes_in      bigint not null,
    bytes_out     bigint not null,
    increment_s   bigint not null, -- its rule of billable time
    minimum_s     bigint not null,
    primary key (tenant_id, connection_id, at),
    foreign key (tenant_id, connection_id) references connection (tenant_id, connection_id) on delete cascade,
    check (extract(epoch from at) % 900 = 0)
);
select isolate('connection_mark');
revoke update on connection_mark from hibari_worker;
revoke insert, update, delete on connection_mark from hibari_request;

alter table connection
    add column rolled_at   timestamptz, -- when its last part was rolled up; null: there is more to come
    add column increment_s bigint,      -- its rule of billable time; null: none of it was rolled up since it ended
    add column minimum_s   bigint;
create index connection_unrolled on connection (tenant_id, ended_at)
    where rolled_at is null and ended_at is not null and connected_at is not null;

-- +goose Down
drop index connection_unrolled;
alter table connection drop column minimum_s, drop column increment_s, drop column rolled_at;
drop table connection_mark, usage_slot, billing_account;
