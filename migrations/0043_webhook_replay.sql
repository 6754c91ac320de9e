-- Replays of a range of events to one endpoint.

-- +goose Up
create table webhook_replay (
    tenant_id   text not null references tenant,
    replay_id   text not null,
    endpoint_id text not null,
    state       text not null default 'running' check (state in ('running', 'done', 'cancelled')),
    from_seq    bigint not null,
    to_seq      bigint not null, -- both included
    states      text[] not null,
    types       text[] not null, -- empty: any
    seq         bigint not null, -- the events up to it have been looked at: moved with what is queued, so that a crash repeats nothing
    queued      bigint not null default 0,
    actor       text not null,
    created_at  timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    primary key (tenant_id, replay_id),
    foreign key (tenant_id, endpoint_id) references webhook_endpoint (tenant_id, endpoint_id) on delete cascade
);
create index webhook_replay_running on webhook_replay (created_at) where state = 'running';
create index webhook_replay_newest on webhook_replay (tenant_id, endpoint_id, created_at desc);
select isolate('webhook_replay');
create index delivery_done_job on delivery_done (tenant_id, replay_job) where replay_job is not null;

-- +goose Down
drop index delivery_done_job;
drop table webhook_replay;
