-- People: sign-up with a check of the address, password reset, second step,
-- invitations, sessions by name, mail, and what may be tried how often.

-- +goose Up
-- A session can be named without its cookie, and knows when its member last
-- typed the password.
alter table login_session
    add column session_id text not null default 'ses_' || upper(replace(gen_random_uuid()::text, '-', '')),
    add column proved_at timestamptz not null default clock_timestamp();
create unique index login_session_id on login_session (tenant_id, session_id);

create table second_step (
    tenant_id     text not null references tenant,
    member_id     text not null,
    secret_sealed bytea not null, -- AES-256-GCM under the master key
    created_at    timestamptz not null default clock_timestamp(),
    confirmed_at  timestamptz, -- null: being set up, nobody is asked for a code yet
    last_step     bigint not null default 0, -- of the newest code taken: each works once
    primary key (tenant_id, member_id),
    foreign key (tenant_id, member_id) references member (tenant_id, member_id) on delete cascade
);
select isolate('second_step');

create table recovery_code (
    tenant_id text not null references tenant,
    member_id text not null,
    code_hash bytea not null, -- SHA-256 of member and code; a code has 80 random bits
    primary key (tenant_id, member_id, code_hash),
    foreign key (tenant_id, member_id) references second_step (tenant_id, member_id) on delete cascade
);
select isolate('recovery_code');

-- What a link in a mail to a member is good for, once.
create table member_token (
    tenant_id  text not null references tenant,
    token_hash bytea not null, -- SHA-256; the link itself is never stored
    member_id  text not null,
    purpose    text not null check (purpose in ('reset', 'email')),
    email      text not null default '', -- purpose email: the new address
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    primary key (tenant_id, token_hash),
    foreign key (tenant_id, member_id) references member (tenant_id, member_id) on delete cascade
);
create unique index member_token_hash on member_token (token_hash);
create index member_token_member on member_token (tenant_id, member_id);
select isolate('member_token');

create table invitation (
    tenant_id     text not null references tenant,
    invitation_id text not null,
    email         text not null,
    role          text not null check (role in ('owner', 'admin', 'developer', 'billing', 'viewer')),
    token_hash    bytea not null,
    invited_by    text not null, -- the actor
    created_at    timestamptz not null default clock_timestamp(),
    expires_at    timestamptz not null,
    primary key (tenant_id, invitation_id)
);
create unique index invitation_token on invitation (token_hash);
create unique index invitation_email on invitation (tenant_id, lower(email));
select isolate('invitation');

-- A sign-up whose address has not been checked yet: there is no tenant.
create table signup (
    token_hash    bytea primary key,
    browser_hash  bytea not null, -- of the browser that signed up
    name          text not null,
    email         text not null,
    password_hash text not null,
    time_zone     text not null,
    created_at    timestamptz not null default clock_timestamp(),
    expires_at    timestamptz not null
);
create index signup_expires on signup (expires_at);
grant select, insert, update, delete on signup to hibari_worker;

-- Mail on its way. Address, subject and text are sealed, since the text holds a
-- link that opens something; the row goes when the mail is sent or given up.
create table mail_outbox (
    mail_id    text primary key,
    kind       text not null,
    sealed     bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    next_at    timestamptz not null default clock_timestamp(),
    tries      int not null default 0
);
create index mail_outbox_next on mail_outbox (next_at);
grant select, insert, update, delete on mail_outbox to hibari_worker;
-- A request may post a mail in the transaction of its change, and read none.
grant insert on mail_outbox to hibari_request;

-- Token buckets that count over all processes. A bucket that is full again has
-- no row.
create table throttle (
    key     bytea primary key, -- SHA-256 of what is counted and for whom
    full_at timestamptz not null
);
create index throttle_full on throttle (full_at);
grant select, insert, update, delete on throttle to hibari_worker;

-- +goose Down
drop table throttle, mail_outbox, signup, invitation, member_token, recovery_code, second_step;
drop index login_session_id;
alter table login_session drop column session_id, drop column proved_at;
