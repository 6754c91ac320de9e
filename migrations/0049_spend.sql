-- What a tenant wants to spend in a month at most, and what it has been told of that.

-- +goose Up
-- No row: no cap, and nothing is evaluated.
create table spend_cap (
    tenant_id    text primary key references tenant,
    amount       bigint not null check (amount > 0), -- with tax, in minor units of the currency
    currency     text not null,
    action       text not null check (action in ('alert', 'refuse', 'end')),
    changed_at   timestamptz not null default clock_timestamp(),
    changed_by   text not null,                      -- as in audit_entry.actor
    evaluated_at timestamptz                         -- when a node looked last; null: never yet
);
create index spend_cap_due on spend_cap (evaluated_at nulls first);
select isolate('spend_cap');

-- What was told, written with the event and the mail: at most once each for a cap in a
-- period. Another cap has thresholds of its own.
create table spend_alert (
    tenant_id   text not null references tenant,
    period_from timestamptz not null,
    cap         bigint not null,
    currency    text not null,
    threshold   text not null check (threshold in ('50', '80', '100', 'forecast')),
    amount      bigint not null, -- what was spent, or is forecast, when it was told
    told_at     timestamptz not null default clock_timestamp(),
    primary key (tenant_id, period_from, currency, cap, threshold)
);
select isolate('spend_alert');

-- In the row that admission reads anyway. The period's end lifts it by itself.
alter table tenant_live add column spend_capped_until timestamptz;

-- +goose Down
alter table tenant_live drop column spend_capped_until;
drop table spend_alert, spend_cap;
