-- Who may do what: tenants, their members and logins, keys, bans, audit.

-- +goose Up
create table tenant (
    tenant_id  text primary key,
    name       text not null check (name <> ''),
    time_zone  text not null default 'Asia/Tokyo',
    status     text not null default 'active' check (status in ('active', 'suspended')),
    created_at timestamptz not null default clock_timestamp()
);

create table member (
    member_id     text primary key,
    tenant_id     text not null references tenant,
    email         text not null,
    password_hash text not null, -- argon2id, PHC string
    role          text not null check (role in ('owner', 'admin', 'developer', 'billing', 'viewer')),
    created_at    timestamptz not null default clock_timestamp(),
    unique (tenant_id, member_id)
);
-- A person logs in by e-mail alone, so an address belongs to one member of the platform.
create unique index member_email on member (lower(email));

create table login_session (
    session_hash bytea primary key, -- SHA-256 of the cookie; the cookie itself is never stored
    tenant_id    text not null,
    member_id    text not null,
    created_at   timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    expires_at   timestamptz not null,
    address      text not null default '',
    user_agent   text not null default '',
    foreign key (tenant_id, member_id) references member (tenant_id, member_id) on delete cascade
);
create index login_session_member on login_session (tenant_id, member_id);

create table operator (
    operator_id   text primary key,
    email         text not null,
    password_hash text not null,
    created_at    timestamptz not null default clock_timestamp()
);
create unique index operator_email on operator (lower(email));

create table api_key (
    api_key_id   text primary key,
    tenant_id    text not null references tenant,
    name         text not null default '',
    secret_hash  bytea not null, -- SHA-256; the secret has 256 random bits, so a fast hash is right
    last4        text not null,
    created_at   timestamptz not null default clock_timestamp(),
    last_used_at timestamptz,
    revoked_at   timestamptz,
    unique (tenant_id, api_key_id)
);

create table signing_key (
    signing_key_id text primary key, -- the JWT kid
    tenant_id      text not null references tenant,
    name           text not null default '',
    algorithm      text not null check (algorithm in ('HS256', 'ES256', 'EdDSA')),
    secret_sealed  bytea, -- HS256: AES-256-GCM under the master key
    public_key     bytea, -- ES256, EdDSA: PKIX DER
    created_at     timestamptz not null default clock_timestamp(),
    last_used_at   timestamptz,
    revoked_at     timestamptz,
    unique (tenant_id, signing_key_id),
    check ((algorithm = 'HS256') = (secret_sealed is not null)),
    check ((algorithm <> 'HS256') = (public_key is not null))
);

create table ban (
    ban_id     text primary key,
    tenant_id  text not null references tenant,
    kind       text not null check (kind in ('token', 'connection', 'client', 'channel')),
    subject    text not null, -- kind token: hex SHA-256 of the token
    reason     text not null default '',
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    unique (tenant_id, kind, subject)
);
create index ban_expires on ban (expires_at);

create table audit_entry (
    tenant_id text not null references tenant,
    audit_id  bigint generated always as identity,
    at        timestamptz not null default clock_timestamp(),
    actor     text not null,
    action    text not null,
    target    text not null default '',
    detail    jsonb not null default '{}',
    address   text not null default '',
    primary key (tenant_id, audit_id)
);

-- +goose Down
drop table audit_entry, ban, signing_key, api_key, operator, login_session, member, tenant;
