-- Deliveries in two tables: what is still to do, and what is done.
--
-- `delivery` has only what is waiting or pending. It stays small, so that looking for
-- what is due costs the same on the first day and after a year; a backlog of one
-- endpoint lies in its own part of each index. `delivery_done` is the log: written
-- once, when a delivery is delivered or dead, never changed, and dropped by
-- partitions, as are the attempts. `delivery_all` shows both as one.
--
-- A tenant's deliveries are one node's work at a time, which webhook_cursor says with
-- a time by the database's clock (internal/webhooks, package comment): so no delivery
-- has a lease of its own, and sending one changes no row.
--
-- The log and the attempts that there are get copied, about two minutes for ten
-- million; everything else waits meanwhile.

-- +goose Up
alter table delivery rename to delivery_before;
alter table delivery_before rename constraint delivery_pkey to delivery_before_pkey;
alter table delivery_before drop constraint delivery_endpoint_id_event_id_replay_key;
drop index delivery_lane, delivery_leased, delivery_order, delivery_log, delivery_event, delivery_by_age;
drop statistics delivery_owner;
alter table delivery_attempt drop constraint delivery_attempt_tenant_id_delivery_id_fkey;
alter table delivery_attempt rename to delivery_attempt_before;
alter table delivery_attempt_before rename constraint delivery_attempt_pkey to delivery_attempt_before_pkey;
drop index delivery_attempt_by_age;

create table delivery (
    tenant_id    text not null,
    delivery_id  text not null,
    endpoint_id  text not null,
    event_id     text not null,
    event_seq    bigint not null,
    event_at     timestamptz not null, -- the event's recorded_at: which of its partitions it is in
    event_type   text not null,
    ordering_key text not null, -- events of one key reach one endpoint in order
    state        text not null check (state in ('waiting', 'pending')),
    due          timestamptz not null default clock_timestamp(),
    created_at   timestamptz not null default clock_timestamp(),
    attempts     integer not null default 0,
    probes       integer not null default 0, -- of the attempts: those that were no tries of the schedule
    replay       integer not null default 0, -- 0: the first delivery; n: the n-th replay by hand
    last_status  integer not null default 0, -- HTTP status of the latest attempt; 0: no answer
    last_error   text not null default '',
    last_class   text not null default '',
    replay_job   text, -- the replay of a range that it belongs to
    primary key (tenant_id, delivery_id),
    unique (tenant_id, endpoint_id, event_seq, replay),
    foreign key (tenant_id, endpoint_id) references webhook_endpoint (tenant_id, endpoint_id) on delete cascade
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index delivery_lane on delivery (endpoint_id, due, event_seq) where state = 'pending';
create index delivery_order on delivery (endpoint_id, ordering_key, event_seq);
create index delivery_job on delivery (tenant_id, replay_job) where replay_job is not null;
create index delivery_newest on delivery (tenant_id, endpoint_id, created_at desc, delivery_id desc);

create table delivery_done (
    tenant_id    text not null,
    delivery_id  text not null,
    endpoint_id  text not null,
    event_id     text not null,
    event_seq    bigint not null,
    event_at     timestamptz not null,
    event_type   text not null,
    state        text not null, -- delivered or dead
    due          timestamptz not null,
    created_at   timestamptz not null,
    finished_at  timestamptz not null default clock_timestamp(),
    attempts     integer not null,
    probes       integer not null default 0,
    replay       integer not null default 0,
    last_status  integer not null default 0,
    last_error   text not null default '',
    last_class   text not null default '',
    replay_job   text,
    primary key (tenant_id, delivery_id, created_at)
) partition by range (created_at);
create index delivery_done_newest on delivery_done (tenant_id, endpoint_id, created_at desc, delivery_id desc);

create table delivery_attempt (
    tenant_id     text not null,
    delivery_id   text not null,
    attempt       integer not null,
    at            timestamptz not null default clock_timestamp(),
    duration_ms   integer not null,
    status        integer, -- HTTP status; null: no answer
    error         text not null default '',
    error_class   text not null default '',
    response_head bytea, -- at most 4 KiB of the answer
    exchange      json,  -- what went over the wire, and when
    primary key (tenant_id, delivery_id, attempt, at)
) partition by range (at);

insert into delivery (tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, ordering_key,
        state, due, created_at, attempts, replay, last_status, last_error)
    select d.tenant_id, d.delivery_id, d.endpoint_id, d.event_id, d.event_seq, e.recorded_at, e.type, d.ordering_key,
        d.state, d.due, d.created_at, d.attempts, d.replay, coalesce(a.status, 0), coalesce(a.error, '')
    from delivery_before d join event e on e.tenant_id = d.tenant_id and e.seq = d.event_seq
    left join delivery_attempt_before a on a.tenant_id = d.tenant_id and a.delivery_id = d.delivery_id and a.attempt = d.attempts
    where d.state in ('waiting', 'pending');

-- The past becomes one partition, as in event.
create table delivery_done_before (like delivery_done including defaults);
insert into delivery_done_before (tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type,
        state, due, created_at, finished_at, attempts, replay, last_status, last_error)
    select d.tenant_id, d.delivery_id, d.endpoint_id, d.event_id, d.event_seq, e.recorded_at, e.type,
        d.state, d.due, d.created_at, coalesce(d.finished_at, d.created_at), d.attempts, d.replay, coalesce(a.status, 0), coalesce(a.error, '')
    from delivery_before d join event e on e.tenant_id = d.tenant_id and e.seq = d.event_seq
    left join delivery_attempt_before a on a.tenant_id = d.tenant_id and a.delivery_id = d.delivery_id and a.attempt = d.attempts
    where d.state in ('delivered', 'dead');
create table delivery_attempt_past (like delivery_attempt including defaults);
insert into delivery_attempt_past (tenant_id, delivery_id, attempt, at, duration_ms, status, error, response_head)
    select tenant_id, delivery_id, attempt, at, duration_ms, status, error, response_head from delivery_attempt_before;
drop table delivery_attempt_before, delivery_before;

select isolate(t::regclass) from unnest(array['delivery', 'delivery_done', 'delivery_attempt']) as t;
-- +goose StatementBegin
do $$
declare
    newest timestamptz;
begin
    select greatest(max(created_at), now()) into newest from delivery_done_before having count(*) > 0;
    if newest is null then
        drop table delivery_done_before;
    else
        create unique index on delivery_done_before (tenant_id, endpoint_id, event_seq, replay);
        perform isolate('delivery_done_before');
        revoke all on delivery_done_before from public, hibari_worker, hibari_request;
        execute format('alter table delivery_done attach partition delivery_done_before for values from (minvalue) to (%L)',
            partition_floor(newest, '5 days') + interval '5 days');
    end if;
    select greatest(max(at), now()) into newest from delivery_attempt_past having count(*) > 0;
    if newest is null then
        drop table delivery_attempt_past;
    else
        perform isolate('delivery_attempt_past');
        revoke all on delivery_attempt_past from public, hibari_worker, hibari_request;
        execute format('alter table delivery_attempt attach partition delivery_attempt_past for values from (minvalue) to (%L)',
            partition_floor(newest, '2 days') + interval '2 days');
    end if;
end $$;
-- +goose StatementEnd
select partition_by_time('delivery_done', length => '5 days', kept => '30 days', ahead => '10 days',
    guards => array['tenant_id, endpoint_id, event_seq, replay']);
select partition_by_time('delivery_attempt', length => '2 days', kept => '14 days', ahead => '6 days', guards => array[]::text[]);

create view delivery_all with (security_invoker = true) as
    select tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, state, due, created_at,
        null::timestamptz as finished_at, attempts, probes, replay, last_status, last_error, last_class, replay_job
    from delivery
    union all
    select tenant_id, delivery_id, endpoint_id, event_id, event_seq, event_at, event_type, state, due, created_at,
        finished_at, attempts, probes, replay, last_status, last_error, last_class, replay_job
    from delivery_done;
grant select on delivery_all to hibari_worker, hibari_request;

-- Whose work a tenant's deliveries are.
alter table webhook_cursor
    add holder text,            -- a node's name for itself; null: nobody's
    add held_until timestamptz, -- from then on another may take it
    add next_due timestamptz,   -- when somebody has to look; null: nothing is pending, or the holder knows
    set (fillfactor = 50);
update webhook_cursor set next_due = clock_timestamp();
create index webhook_cursor_due on webhook_cursor (next_due);

-- +goose Down
drop index webhook_cursor_due;
alter table webhook_cursor drop holder, drop held_until, drop next_due, reset (fillfactor);
drop view delivery_all;
create table delivery_before (
    delivery_id  text not null,
    tenant_id    text not null,
    endpoint_id  text not null,
    event_id     text not null,
    event_seq    bigint not null,
    ordering_key text not null,
    state        text not null constraint delivery_state_check check (state in ('waiting', 'pending', 'delivered', 'dead')),
    due          timestamptz not null default clock_timestamp(),
    attempts     integer not null default 0,
    lease_until  timestamptz,
    created_at   timestamptz not null default clock_timestamp(),
    finished_at  timestamptz,
    replay       integer not null default 0
);
insert into delivery_before (delivery_id, tenant_id, endpoint_id, event_id, event_seq, ordering_key, state, due, attempts, created_at, replay)
    select delivery_id, tenant_id, endpoint_id, event_id, event_seq, ordering_key, state, due, attempts, created_at, replay from delivery;
insert into delivery_before (delivery_id, tenant_id, endpoint_id, event_id, event_seq, ordering_key, state, due, attempts, created_at, finished_at, replay)
    select d.delivery_id, d.tenant_id, d.endpoint_id, d.event_id, d.event_seq, 'event/' || d.event_id, d.state, d.due, d.attempts, d.created_at, d.finished_at, d.replay
    from delivery_done d join webhook_endpoint using (tenant_id, endpoint_id);
create table delivery_attempt_before (
    delivery_id   text not null,
    attempt       integer not null,
    at            timestamptz not null default clock_timestamp(),
    duration_ms   integer not null,
    status        integer,
    error         text not null default '',
    response_head bytea,
    tenant_id     text not null
);
insert into delivery_attempt_before (delivery_id, attempt, at, duration_ms, status, error, response_head, tenant_id)
    select a.delivery_id, a.attempt, a.at, a.duration_ms, a.status, a.error, a.response_head, a.tenant_id
    from delivery_attempt a join delivery_before using (tenant_id, delivery_id);
drop table delivery_attempt, delivery_done, delivery;
select partition_forget('delivery_attempt'), partition_forget('delivery_done');
alter table delivery_before rename to delivery;
alter table delivery add primary key (tenant_id, delivery_id), add unique (endpoint_id, event_id, replay),
    add foreign key (tenant_id, endpoint_id) references webhook_endpoint (tenant_id, endpoint_id) on delete cascade;
alter table delivery_attempt_before rename to delivery_attempt;
alter table delivery_attempt add primary key (tenant_id, delivery_id, attempt),
    add foreign key (tenant_id, delivery_id) references delivery on delete cascade;
create index delivery_lane on delivery (endpoint_id, due, event_seq) where state = 'pending';
create index delivery_leased on delivery (endpoint_id, lease_until) where state = 'pending' and lease_until is not null;
create index delivery_order on delivery (endpoint_id, ordering_key, event_seq) where state in ('waiting', 'pending');
create index delivery_log on delivery (tenant_id, endpoint_id, created_at desc, delivery_id desc);
create index delivery_event on delivery (tenant_id, event_seq);
create index delivery_by_age on delivery (created_at);
create index delivery_attempt_by_age on delivery_attempt (at);
create statistics delivery_owner (dependencies) on tenant_id, endpoint_id from delivery;
select isolate('delivery'), isolate('delivery_attempt');
