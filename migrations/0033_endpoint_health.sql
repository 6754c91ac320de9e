-- The health of webhook endpoints: a breaker, and why one is disabled.

-- +goose Up
-- The breaker is written when its state changes, never by each attempt: the row is
-- shared by all attempts of its endpoint.
alter table webhook_endpoint
    add breaker text not null default 'closed' check (breaker in ('closed', 'open')),
    add breaker_until timestamptz,                  -- the next probe; its time come, the breaker is half-open
    add breaker_epoch bigint not null default 0,    -- grows with each change of state
    add breaker_probes integer not null default 0,  -- failed since it opened
    add breaker_opened_at timestamptz,
    add failed_at timestamptz,                      -- the latest failure, to the hour
    add last_error text not null default '',
    add disabled_at timestamptz,                    -- the latest time; it stays when the endpoint is enabled
    add disabled_reason text check (disabled_reason in ('failing', 'gone', 'manual')),
    add mailed_at timestamptz,                      -- when people were last written to about it
    add check ((breaker = 'closed') = (breaker_until is null));
-- The console asks on each of its pages whether one of the tenant's is in trouble.
create index webhook_endpoint_troubled on webhook_endpoint (tenant_id) where status = 'disabled' or breaker <> 'closed';

-- +goose Down
drop index webhook_endpoint_troubled;
alter table webhook_endpoint drop breaker, drop breaker_until, drop breaker_epoch, drop breaker_probes, drop breaker_opened_at,
    drop failed_at, drop last_error, drop disabled_at, drop disabled_reason, drop mailed_at;
