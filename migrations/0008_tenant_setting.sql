-- What a tenant has set. No row: everything as it is by default.

-- +goose Up
create table tenant_setting (
    tenant_id             text primary key references tenant,
    auth_url              text not null default '', -- '': no auth webhook
    auth_secret_sealed    bytea,                    -- what its requests are signed with
    accept_signing_secret boolean not null default false,
    changed_at            timestamptz not null default clock_timestamp(),
    check ((auth_url = '') = (auth_secret_sealed is null))
);

-- +goose Down
drop table tenant_setting;
