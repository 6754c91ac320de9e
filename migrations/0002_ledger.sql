-- What is live and what it cost: nodes, licence places, connections.

-- +goose Up
-- A node is one process run of the platform. Its lease is on the database clock.
create table node (
    node_id     text primary key, -- an incarnation: a restart is a new node
    name        text not null,
    instance    text not null,    -- the data directory it runs on: at most one node runs on it at a time
    started_at  timestamptz not null default clock_timestamp(),
    lease_until timestamptz not null,
    state       text not null default 'up' check (state in ('up', 'draining', 'stopped', 'lost')),
    ended_at    timestamptz
);
create index node_open on node (lease_until) where state in ('up', 'draining');

-- The hot row of a tenant: places taken, their limit and the last event number stand in one row,
-- because a conditional update re-reads only its own row after waiting for its lock.
create table tenant_live (
    tenant_id       text primary key references tenant,
    connections     integer not null default 0 check (connections >= 0),
    max_connections integer not null default 300 check (max_connections >= 0),
    max_per_channel integer not null default 150 check (max_per_channel >= 0),
    event_seq       bigint not null default 0
) with (fillfactor = 50);

create table channel_session (
    session_id text primary key,
    tenant_id  text not null references tenant,
    channel_id text not null,
    started_at timestamptz not null default clock_timestamp(),
    ended_at   timestamptz,
    unique (tenant_id, session_id)
);
create index channel_session_by_channel on channel_session (tenant_id, channel_id, started_at desc);

create table channel_live (
    tenant_id   text not null references tenant,
    channel_id  text not null,
    session_id  text not null,
    connections integer not null check (connections >= 0),
    sendrecv    integer not null default 0 check (sendrecv >= 0),
    sendonly    integer not null default 0 check (sendonly >= 0),
    recvonly    integer not null default 0 check (recvonly >= 0),
    primary key (tenant_id, channel_id),
    foreign key (tenant_id, session_id) references channel_session (tenant_id, session_id)
) with (fillfactor = 50);

-- The history: one row per admitted connection, the segment that is billed.
create table connection (
    connection_id    text primary key,
    tenant_id        text not null references tenant,
    channel_id       text not null,
    session_id       text not null,
    node_id          text not null references node,
    role             text not null check (role in ('sendonly', 'recvonly', 'sendrecv')),
    client_id        text not null,
    protocol         text not null, -- sora, sora2015, whip, whep, ayame
    token_hash       bytea,
    token_expires_at timestamptz,
    signing_key_id   text,
    metadata         jsonb,
    remote_address   text not null default '',
    user_agent       text not null default '',
    event_count      integer not null default 0, -- the last connection_seq given out
    opened_at        timestamptz not null default clock_timestamp(),
    connected_at     timestamptz, -- media connected; null: never billed
    metered_through  timestamptz, -- only ever moves forward
    ended_at         timestamptz,
    end_reason       text,
    bytes_in         bigint not null default 0,
    bytes_out        bigint not null default 0,
    unique (tenant_id, connection_id),
    foreign key (tenant_id, session_id) references channel_session (tenant_id, session_id),
    check (metered_through is null or connected_at is not null),
    check (ended_at is null or connected_at is null or ended_at >= connected_at)
);
create index connection_by_time on connection (tenant_id, connected_at) where connected_at is not null;
create index connection_by_channel on connection (tenant_id, channel_id, opened_at desc);

-- The places: a row here is a place taken; only an actual delete frees it.
create table live_connection (
    connection_id text primary key,
    tenant_id     text not null,
    channel_id    text not null,
    node_id       text not null references node,
    role          text not null,
    foreign key (tenant_id, connection_id) references connection (tenant_id, connection_id)
);
create index live_connection_by_tenant on live_connection (tenant_id, channel_id);
create index live_connection_by_node on live_connection (node_id);

-- What one node asks of another: durable, so that it works when no wake-up arrives.
create table node_command (
    command_id    bigint generated always as identity primary key,
    node_id       text not null references node,
    tenant_id     text not null references tenant,
    action        text not null check (action in ('disconnect')),
    connection_id text not null,
    reason        text not null,
    created_at    timestamptz not null default clock_timestamp(),
    done_at       timestamptz
);
create index node_command_open on node_command (node_id) where done_at is null;

-- +goose Down
drop table node_command, live_connection, connection, channel_live, channel_session, tenant_live, node;
