-- Bans by more than a token, of which every process learns within a moment; what
-- a tenant says about duplicate client ids; signing keys that retire.

-- +goose Up
alter table ban drop constraint ban_tenant_id_kind_subject_key;
alter table ban
    add column channel_id  text not null default '',        -- the ban holds in this channel; '': in all
    add column client_id   text not null default '',        -- kind connection: the name that it came with; '': none of its own
    add column token_hash  bytea,                            -- kind connection: what it came with
    add column spares_live boolean not null default false,   -- who is in may stay
    add column lifted_at   timestamptz,                      -- it is over; the row stays until every process knows
    -- The transaction that changed the row last. A process reads what has changed by
    -- it since the oldest transaction that was under way when it last looked: that
    -- overlooks nobody who commits late, as a number from a sequence would.
    add column changed_in  xid8 not null default pg_current_xact_id();
alter table ban add unique (tenant_id, ban_id);
create unique index ban_standing on ban (tenant_id, kind, subject, channel_id) where lifted_at is null;
create index ban_changed on ban (changed_in);
create index ban_listed on ban (tenant_id, created_at desc, ban_id desc);

-- What becomes of a client whose client_id is in its channel already.
alter table tenant_setting add column duplicate_client_id text not null default 'allow'
    check (duplicate_client_id in ('allow', 'refuse', 'replace'));

-- A key that is being replaced stops by itself then; null: when it is revoked.
alter table signing_key add column retires_at timestamptz;

-- +goose Down
alter table signing_key drop column retires_at;
alter table tenant_setting drop column duplicate_client_id;
drop index ban_listed, ban_changed, ban_standing;
delete from ban a where lifted_at is not null or exists (
    select from ban b where b.tenant_id = a.tenant_id and b.kind = a.kind and b.subject = a.subject and b.ban_id > a.ban_id);
alter table ban drop constraint ban_tenant_id_ban_id_key;
alter table ban drop column changed_in, drop column lifted_at, drop column spares_live, drop column token_hash,
    drop column client_id, drop column channel_id;
alter table ban add unique (tenant_id, kind, subject);
