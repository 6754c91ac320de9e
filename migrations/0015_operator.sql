-- The audit log, which only grows; operators' sessions and their own log; suspension with its reason.

-- +goose Up
alter table audit_entry
    add actor_name text not null default '',   -- as it was then
    add diff       jsonb not null default '{}', -- {field: [before, after]}, redacted
    add request_id text not null default '';
create index audit_entry_by_actor on audit_entry (tenant_id, actor, audit_id);
create index audit_entry_by_action on audit_entry (tenant_id, action, audit_id);
create index audit_entry_by_target on audit_entry (tenant_id, target, audit_id);
create index audit_entry_by_time on audit_entry (tenant_id, at);

-- What operators did. Where it concerns a tenant, the tenant's own log has it, too.
create table operator_audit_entry (
    audit_id   bigint generated always as identity primary key,
    at         timestamptz not null default clock_timestamp(),
    about      text references tenant, -- the tenant that it concerns; null: the platform
    actor      text not null,
    actor_name text not null default '',
    action     text not null,
    target     text not null default '',
    diff       jsonb not null default '{}',
    detail     jsonb not null default '{}',
    address    text not null default '',
    request_id text not null default ''
);
create index operator_audit_entry_by_action on operator_audit_entry (action, audit_id);

-- Entries are only ever added: nobody has the right to change one, and who has
-- it all the same, as the tables' owner, is refused. There is no retention.
-- +goose StatementBegin
create function refuse_change_of_audit() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is append-only' using errcode = 'insufficient_privilege';
end
$$;
-- +goose StatementEnd
create trigger append_only before update or delete or truncate on audit_entry
    for each statement execute function refuse_change_of_audit();
create trigger append_only before update or delete or truncate on operator_audit_entry
    for each statement execute function refuse_change_of_audit();
alter table audit_entry enable always trigger append_only;
alter table operator_audit_entry enable always trigger append_only;
revoke update, delete, truncate on audit_entry from hibari_worker, hibari_request;
grant select, insert on operator_audit_entry to hibari_worker;

create table operator_session (
    session_hash bytea primary key, -- SHA-256 of the cookie; the cookie itself is never stored
    operator_id  text not null references operator on delete cascade,
    created_at   timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    expires_at   timestamptz not null,
    address      text not null default '',
    user_agent   text not null default ''
);
create index operator_session_operator on operator_session (operator_id);
grant select, insert, update, delete on operator_session to hibari_worker;

alter table tenant
    add suspended_at     timestamptz,
    add suspended_reason text not null default '';

-- +goose Down
alter table tenant drop suspended_at, drop suspended_reason;
drop table operator_session, operator_audit_entry;
drop trigger append_only on audit_entry;
drop function refuse_change_of_audit;
drop index audit_entry_by_actor, audit_entry_by_action, audit_entry_by_target, audit_entry_by_time;
alter table audit_entry drop actor_name, drop diff, drop request_id;
