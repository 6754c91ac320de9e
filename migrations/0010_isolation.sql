-- Row level security: a tenant's own requests see and change its rows alone,
-- whatever a statement says.
--
-- The platform works as one of two roles that own nothing. hibari_worker, which
-- its connections start as, runs what concerns all tenants: admission, loops, the
-- look-up of a key or log-in before a tenant is known. hibari_request, which a
-- transaction on a tenant's behalf changes to (tenant.Scope.In), has the rows of
-- the tenant that the setting hibari.tenant_id names, and without one nothing.

-- +goose Up
-- +goose StatementBegin
do $$
declare
    wanted name;
begin
    -- Roles belong to the whole server: another database of it may have them, or be
    -- making them right now.
    foreach wanted in array array['hibari_worker', 'hibari_request']::name[] loop
        if not exists (select from pg_roles where rolname = wanted) then
            begin
                execute format('create role %I nologin', wanted);
            exception
                when duplicate_object or unique_violation then null;
                when insufficient_privilege then
                    raise exception 'this Postgres role may not create roles: as an administrator run "create role hibari_worker nologin; create role hibari_request nologin; grant hibari_worker, hibari_request to %"', quote_ident(current_user);
            end;
        end if;
        if not (select rolsuper from pg_roles where rolname = current_user) and not pg_has_role(current_user, wanted, 'usage') then
            begin
                execute format('grant %I to %I', wanted, current_user);
            exception when insufficient_privilege then
                raise exception 'this Postgres role may not work as %: as an administrator run "grant hibari_worker, hibari_request to %"', wanted, quote_ident(current_user);
            end;
        end if;
    end loop;
    execute format('grant usage on schema %I to hibari_worker, hibari_request', current_schema());
end $$;
-- +goose StatementEnd

-- Every table with rows of tenants goes through this when it is made.
-- +goose StatementBegin
create function isolate(tenants_table regclass) returns void language plpgsql as $$
begin
    execute format('alter table %s enable row level security', tenants_table);
    execute format('alter table %s force row level security', tenants_table); -- its owner, too
    execute format('create policy worker on %s to hibari_worker using (true) with check (true)', tenants_table);
    -- Without the setting this is an error, not "all rows".
    execute format('create policy request on %s to hibari_request using (tenant_id = current_setting(''hibari.tenant_id''))
        with check (tenant_id = current_setting(''hibari.tenant_id''))', tenants_table);
    execute format('grant select, insert, update, delete on %s to hibari_worker, hibari_request', tenants_table);
end $$;
-- +goose StatementEnd
revoke all on function isolate from public;

select isolate(t::regclass) from unnest(array[
    'tenant', 'member', 'login_session', 'api_key', 'signing_key', 'ban', 'audit_entry', 'tenant_setting',
    'tenant_live', 'channel_session', 'channel_live', 'connection', 'live_connection', 'node_command',
    'event', 'webhook_endpoint', 'webhook_cursor', 'delivery']) as t;

-- Without rows of tenants, or (delivery_attempt) without the column.
grant select, insert, update, delete on node, operator, delivery_attempt to hibari_worker;
grant select on node to hibari_request;
grant select on goose_db_version to hibari_worker;

-- +goose Down
revoke all on all tables in schema public from hibari_worker, hibari_request;
-- +goose StatementBegin
do $$
declare
    isolated regclass;
begin
    for isolated in select oid from pg_class where relforcerowsecurity loop
        execute format('drop policy worker on %s', isolated);
        execute format('drop policy request on %s', isolated);
        execute format('alter table %s no force row level security, disable row level security', isolated);
    end loop;
end $$;
-- +goose StatementEnd
drop function isolate;
