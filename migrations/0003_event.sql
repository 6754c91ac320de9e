-- What happened, and who was told.

-- +goose Up
create table event (
    tenant_id      text not null references tenant,
    seq            bigint not null, -- gapless per tenant, given out under the tenant_live row lock
    event_id       text not null unique,
    type           text not null,
    occurred_at    timestamptz not null,
    recorded_at    timestamptz not null default clock_timestamp(),
    channel_id     text,
    connection_id  text,
    connection_seq integer,
    data           jsonb not null default '{}',
    primary key (tenant_id, seq)
);
create index event_by_connection on event (tenant_id, connection_id, connection_seq);

create table webhook_endpoint (
    endpoint_id     text primary key,
    tenant_id       text not null references tenant,
    url             text not null,
    types           text[] not null default '{}', -- empty: every type but connection.updated
    secret_sealed   bytea not null,
    status          text not null default 'enabled' check (status in ('enabled', 'disabled')),
    created_at      timestamptz not null default clock_timestamp(),
    last_success_at timestamptz,
    failing_since   timestamptz,
    from_seq        bigint not null, -- events after this one are its own
    unique (tenant_id, endpoint_id)
);

-- How far the events of a tenant have been turned into deliveries.
create table webhook_cursor (
    tenant_id text primary key references tenant,
    seq       bigint not null default 0
);

create table delivery (
    delivery_id  text primary key,
    tenant_id    text not null,
    endpoint_id  text not null,
    event_id     text not null references event (event_id),
    event_seq    bigint not null,
    ordering_key text not null, -- events of one key reach one endpoint in order
    state        text not null check (state in ('waiting', 'pending', 'delivered', 'dead')),
    due          timestamptz not null default clock_timestamp(),
    attempts     integer not null default 0,
    lease_until  timestamptz,
    created_at   timestamptz not null default clock_timestamp(),
    finished_at  timestamptz,
    replay       integer not null default 0, -- 0: the first delivery; n: the n-th replay by hand
    unique (endpoint_id, event_id, replay),
    foreign key (tenant_id, endpoint_id) references webhook_endpoint (tenant_id, endpoint_id) on delete cascade
);
create index delivery_due on delivery (due) where state = 'pending';
create index delivery_order on delivery (endpoint_id, ordering_key, event_seq) where state in ('waiting', 'pending');
create index delivery_log on delivery (tenant_id, endpoint_id, created_at desc);

create table delivery_attempt (
    delivery_id   text not null references delivery on delete cascade,
    attempt       integer not null,
    at            timestamptz not null default clock_timestamp(),
    duration_ms   integer not null,
    status        integer, -- HTTP status; null: no answer
    error         text not null default '',
    response_head bytea,   -- at most 4 KiB of the answer
    primary key (delivery_id, attempt)
);

-- +goose Down
drop table delivery_attempt, delivery, webhook_cursor, webhook_endpoint, event;
