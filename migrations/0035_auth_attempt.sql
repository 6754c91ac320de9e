-- What came of each question to a tenant's auth webhook, for two weeks. Rows are
-- written behind the clients, and never changed.

-- +goose Up
-- No reference to tenant: to drop a partition would lock that table for a moment, and
-- tenants are never deleted.
create table auth_attempt (
    tenant_id       text not null,
    auth_attempt_id text not null,
    at              timestamptz not null, -- when the client came
    connection_id   text not null,
    channel_id      text not null,
    client_id       text not null,
    role            text not null,
    protocol        text not null,
    test            boolean not null,     -- a member tried the webhook; nobody came
    decision        text not null,        -- allowed, rejected, timeout, unavailable, bad_response, breaker_open
    status          integer not null,     -- of HTTP; 0: no answer
    duration_ms     bigint not null,
    reason          text not null,        -- why the client was kept out; '': it was not
    error_class     text not null,        -- ''; of a failure as delivery_attempt has it, or bad_answer
    answer_head     text not null,        -- the first 4 KiB, without token and metadata
    primary key (tenant_id, auth_attempt_id, at)
) partition by range (at);
create index auth_attempt_listed on auth_attempt (tenant_id, at desc, auth_attempt_id desc);
create index auth_attempt_connection on auth_attempt (tenant_id, connection_id);
select isolate('auth_attempt');
select partition_by_time('auth_attempt', length => '1 day', kept => '14 days', ahead => '3 days');

-- +goose Down
select partition_forget('auth_attempt');
drop table auth_attempt;
