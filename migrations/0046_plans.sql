-- Plans: what is bought at which price from which day on, and which tenant has
-- which plan.

-- +goose Up
create table plan (
    plan_id     text primary key, -- a short name, as in --plan
    name        text not null,
    description text not null default '',
    currency    text not null check (currency ~ '^[A-Z]{3}$'), -- ISO 4217; of all its versions
    is_default  boolean not null default false, -- of tenants that no plan was given to
    created_at  timestamptz not null default clock_timestamp(),
    created_by  text not null,
    unique (plan_id, currency)
);
create unique index plan_default on plan (is_default) where is_default;

-- A version holds from valid_from, a calendar day of the tenant that is billed, until
-- the next one does. prices is a rating.Version.
create table plan_version (
    plan_id    text not null references plan,
    number     integer not null check (number >= 1),
    valid_from date not null,
    prices     jsonb not null,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    primary key (plan_id, number),
    unique (plan_id, valid_from)
);

-- From from_day, a calendar day of the tenant's, until its next row a tenant has this
-- plan. Before its first row it has the default plan.
create table tenant_plan (
    tenant_id  text not null references tenant,
    from_day   date not null,
    plan_id    text not null references plan,
    override   jsonb, -- billing.Override: prices of its own; null: none
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    primary key (tenant_id, from_day)
);
create index tenant_plan_by_plan on tenant_plan (plan_id);
select isolate('tenant_plan');
-- A tenant reads what it has; operators alone give it, and not as the tenant.
revoke insert, update, delete on tenant_plan from hibari_request;

grant select, insert, update on plan to hibari_worker;
grant select, insert, update, delete on plan_version to hibari_worker;
grant select on plan, plan_version to hibari_request;

-- What has begun somewhere on earth may have been billed: it is never changed.
-- +goose StatementBegin
create function refuse_change_of_begun_version() returns trigger language plpgsql as $$
declare
    latest date := (clock_timestamp() at time zone 'UTC' + interval '14 hours')::date; -- where the day begins first
begin
    if old.valid_from <= latest or (tg_op = 'UPDATE' and (new.valid_from <= latest or (new.plan_id, new.number) is distinct from (old.plan_id, old.number))) then
        raise exception 'version % of the plan % has begun: it cannot be changed', old.number, old.plan_id using errcode = 'insufficient_privilege';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end
$$;
-- A tenant's plan of today may still be another one, as long as nothing is used: the
-- caller knows whether (billing.Plans). Of a day that is over everywhere it may not.
create function refuse_change_of_begun_plan() returns trigger language plpgsql as $$
begin
    if old.from_day < (clock_timestamp() at time zone 'UTC' - interval '12 hours')::date
        or (tg_op = 'UPDATE' and (new.tenant_id, new.from_day) is distinct from (old.tenant_id, old.from_day)) then
        raise exception 'the plan of % from % on has begun: it cannot be changed', old.tenant_id, old.from_day using errcode = 'insufficient_privilege';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end
$$;
-- +goose StatementEnd
create trigger immutable before update or delete on plan_version
    for each row execute function refuse_change_of_begun_version();
create trigger immutable before update or delete on tenant_plan
    for each row execute function refuse_change_of_begun_plan();
alter table plan_version enable always trigger immutable;
alter table tenant_plan enable always trigger immutable;

-- The price list for licences, with use included; and an example of metered prices.
insert into plan (plan_id, name, description, currency, is_default, created_by) values
    ('standard', 'Standard', 'A licence for connections at one time, by the year. What they use is included.', 'JPY', true, 'system'),
    ('metered', 'Metered', 'No yearly licence: what is used is paid for, month by month.', 'JPY', false, 'system');
insert into plan_version (plan_id, number, valid_from, prices, created_by) values
    ('standard', 1, '2000-01-01', '{
        "currency": "JPY",
        "rule": {"increment_seconds": 60, "minimum_seconds": 60, "scope": "connection"},
        "tax_rounding": "down",
        "licence": {
            "base": 2400000, "base_connections": 300,
            "pack": 600000, "pack_connections": 100,
            "max_connections": 1000, "per_channel": 150,
            "discounts": [
                {"name": "company", "for": "your company''s name among our customers", "percent": 10},
                {"name": "case", "for": "a published case", "percent": 10}
            ],
            "max_discount": 20, "tax_percent": 10
        },
        "components": [
            {"key": "connection_minutes", "name": "Connection minutes", "kind": "metered",
             "meter": "connection_minutes", "model": "per_unit", "per_seconds": 60, "unit_price": "0", "tax_percent": 10},
            {"key": "gb_out", "name": "Data to clients", "kind": "metered",
             "meter": "gb_out", "model": "per_unit", "unit_price": "0", "tax_percent": 10}
        ]
    }', 'system'),
    ('metered', 1, '2000-01-01', '{
        "currency": "JPY",
        "rule": {"increment_seconds": 60, "minimum_seconds": 60, "scope": "connection"},
        "tax_rounding": "down",
        "components": [
            {"key": "connection_minutes", "name": "Connection minutes", "kind": "metered",
             "meter": "connection_minutes", "model": "package", "package_size": "10", "unit_price": "10", "tax_percent": 10},
            {"key": "gb_out", "name": "Data to clients", "kind": "metered",
             "meter": "gb_out", "model": "per_unit", "included": "10", "unit_price": "12.5", "tax_percent": 10},
            {"key": "recording_minutes", "name": "Recording minutes", "kind": "metered",
             "meter": "recording_minutes", "model": "per_unit", "unit_price": "0.8", "tax_percent": 10}
        ]
    }', 'system');

-- +goose Down
drop table tenant_plan, plan_version, plan;
drop function refuse_change_of_begun_version, refuse_change_of_begun_plan;
