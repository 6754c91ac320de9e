-- What is kept for a time only is dropped by whole partitions: no row is deleted, no
-- index bloats, and nobody waits for more than a moment.
--
-- `partitioned` says which tables are kept so. keep_partitions makes the partitions
-- of the time ahead and drops what is too old; the platform calls it before it
-- serves, and every hour. The platform's role may not make tables, so the function
-- runs as the schema's owner. Should it ever be late, rows go to the partition
-- TABLE_default, and are moved from there when their own is made.
--
-- Events go by week. Who reads them goes by (tenant_id, seq) and looks into every
-- partition, so there must be few of them: 34 days in weeks are at most 7, and two
-- are ahead. Four days more than the 30 that are promised, so that what is sent again
-- on the last day finds its event.
--
-- The events that there are stay in their table, which becomes the first partition
-- after one look at all its rows. It goes when the last of them is old enough.

-- +goose Up
create table partitioned (
    parent  text primary key,
    key     text not null,     -- the timestamptz column that it is partitioned by
    length  interval not null, -- of one partition: days, hours or minutes
    kept    interval not null, -- a partition goes when its end is older than this
    ahead   interval not null, -- for so long from now on there are partitions
    guards  text[] not null,   -- lists of columns that are unique within a partition
    check (length > '0' and kept > '0' and ahead >= length and extract(year from length) = 0 and extract(month from length) = 0)
);

-- The start of the partition that a time falls into. Weeks begin on Monday, in UTC.
create function partition_floor(at timestamptz, length interval) returns timestamptz language sql immutable as
    $$ select date_bin(length, at, timestamptz '2024-01-01 00:00:00+00') $$;

-- The partitions of a table. The default one has no time; ends is null for it.
-- +goose StatementBegin
create function partitions_of(of_parent text) returns table (partition text, starts timestamptz, ends timestamptz) language sql stable as $$
    select c.relname::text,
        case when bound ~ 'FROM \(MINVALUE' then '-infinity' else (regexp_match(bound, 'FROM \(''([^'']+)''\)'))[1]::timestamptz end,
        (regexp_match(bound, 'TO \(''([^'']+)''\)'))[1]::timestamptz
    from pg_inherits i join pg_class c on c.oid = i.inhrelid, pg_get_expr(c.relpartbound, c.oid) as bound
    where i.inhparent = of_parent::regclass
$$;
-- +goose StatementEnd

-- Rows are reached through the parent alone; beside that, row level security binds
-- as in the parent, should somebody grant a right.
-- +goose StatementBegin
create function close_partition(p partitioned, name text) returns void language plpgsql as $$
declare
    guard text;
begin
    if (select relrowsecurity from pg_class where oid = p.parent::regclass) then
        perform isolate(name::regclass);
    end if;
    execute format('revoke all on %I from public, hibari_worker, hibari_request', name);
    foreach guard in array p.guards loop
        execute format('create unique index on %I (%s)', name, guard);
    end loop;
end $$;
-- +goose StatementEnd

-- The start of the earliest partition that is missing from now until the time ahead,
-- or for a row that is in the default partition; null: none is.
-- +goose StatementBegin
create function missing_partition(p partitioned) returns timestamptz language plpgsql as $$
declare
    at timestamptz;
    until timestamptz;
begin
    execute format('select min(%I) from %I where %1$I >= $1', p.key, p.parent || '_default') into at using clock_timestamp() - p.kept;
    at := least(at, clock_timestamp());
    while at <= clock_timestamp() + p.ahead loop
        select o.ends into until from partitions_of(p.parent) o where o.starts <= at and at < o.ends;
        if not found then
            return greatest(partition_floor(at, p.length), (select max(o.ends) from partitions_of(p.parent) o where o.ends <= at));
        end if;
        at := until;
    end loop;
    return null;
end $$;
-- +goose StatementEnd

-- Makes the partition that begins at a time, of p.length or until the next begins, and
-- moves there what the default partition has of that time.
-- +goose StatementBegin
create function make_partition(p partitioned, starts timestamptz) returns text language plpgsql as $$
declare
    name text := p.parent || '_' || to_char(starts at time zone 'UTC', 'YYYYMMDDHH24MI');
    ends timestamptz := least(partition_floor(starts, p.length) + p.length,
        (select min(o.starts) from partitions_of(p.parent) o where o.starts > make_partition.starts));
begin
    execute format('create table %I (like %I including defaults including constraints including generated)', name, p.parent);
    -- A row of that time that was on its way to the default partition meanwhile would be
    -- refused at its end; there is none of a time to come.
    if starts <= clock_timestamp() then
        execute format('lock table only %I in share row exclusive mode', p.parent);
    end if;
    execute format('lock table %I in access exclusive mode', p.parent || '_default');
    execute format('with moved as (delete from %I where %I >= %L and %2$I < %4$L returning *) insert into %5$I select * from moved',
        p.parent || '_default', p.key, starts, ends, name);
    perform close_partition(p, name);
    execute format('alter table %I attach partition %I for values from (%L) to (%L)', p.parent, name, starts, ends);
    return name;
end $$;
-- +goose StatementEnd

-- Registers a table that is partitioned by range of one timestamptz column, and makes
-- what it needs now. Partitions that it has already may be of any length.
-- +goose StatementBegin
create function partition_by_time(parent text, length interval, kept interval, ahead interval, guards text[] default '{}') returns void language plpgsql as $$
declare
    p partitioned;
    starts timestamptz;
begin
    insert into partitioned
        select partition_by_time.parent, a.attname, length, kept, ahead, guards
        from pg_partitioned_table t join pg_attribute a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
        where t.partrelid = parent::regclass and t.partstrat = 'r' and t.partnatts = 1 and a.atttypid = 'timestamptz'::regtype
        returning * into strict p;
    execute format('create table %I partition of %I default', parent || '_default', parent);
    perform close_partition(p, parent || '_default');
    loop
        starts := missing_partition(p);
        exit when starts is null;
        perform make_partition(p, starts);
    end loop;
end $$;
-- +goose StatementEnd

create function partition_forget(parent text) returns void language sql as
    $$ delete from partitioned p where p.parent = partition_forget.parent $$;

-- Takes the first step that is due and that can be taken, and says which; no rows:
-- nothing is due. One step in each transaction, because it keeps locks until the end: of
-- a table's default partition to make one of a time to come, of the whole table to drop
-- one.
-- A step that cannot have its lock soon is reported with a problem, and is due again.
-- +goose StatementBegin
create function keep_partitions() returns table (parent text, partition text, done text, problem text)
    language plpgsql security definer set search_path = public, pg_temp set lock_timeout = '500ms' as $$
#variable_conflict use_column
declare
    p partitioned;
    starts timestamptz;
begin
    if not pg_try_advisory_xact_lock(hashtext('hibari keep_partitions')) then
        return; -- another process is at it
    end if;
    for p in select r.* from partitioned r order by r.parent loop
        begin
            parent := p.parent;
            partition := null;
            done := null;
            problem := null;
            starts := missing_partition(p);
            if starts is not null then
                done := 'made';
                partition := make_partition(p, starts);
                return next;
                return;
            end if;
            select o.partition into partition from partitions_of(p.parent) o where o.ends < clock_timestamp() - p.kept order by o.ends limit 1;
            if found then
                done := 'dropped';
                execute format('drop table %I', partition);
                return next;
                return;
            end if;
            partition := p.parent || '_default';
            execute format('delete from %I where %I < $1', partition, p.key) using clock_timestamp() - p.kept;
        exception when others then
            done := null;
            problem := sqlerrm;
            return next;
        end;
    end loop;
end $$;
-- +goose StatementEnd

-- How every table stands: until when there are partitions without a gap, what the
-- oldest begins with, and how many rows (of the first 10,000) are in the default one.
-- +goose StatementBegin
create function partition_state() returns table (parent text, ready_until timestamptz, oldest timestamptz, strays bigint)
    language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
declare
    p partitioned;
    until timestamptz;
begin
    for p in select r.* from partitioned r order by r.parent loop
        parent := p.parent;
        ready_until := clock_timestamp();
        loop
            select o.ends into until from partitions_of(p.parent) o where o.starts <= ready_until and ready_until < o.ends;
            exit when not found;
            ready_until := until;
        end loop;
        select min(o.starts) into oldest from partitions_of(p.parent) o;
        execute format('select count(*) from (select from %I limit 10000) s', p.parent || '_default') into strays;
        return next;
    end loop;
end $$;
-- +goose StatementEnd

revoke all on function partition_floor, partitions_of, close_partition, missing_partition, make_partition,
    partition_by_time, partition_forget, keep_partitions, partition_state from public;
grant execute on function keep_partitions, partition_state to hibari_worker;

-- A key of a partitioned table has to name the time, too; and events go before their
-- deliveries, whole partitions of them.
alter table delivery drop constraint delivery_tenant_id_event_seq_fkey;

alter table event rename to event_before;
create table event (like event_before including defaults) partition by range (recorded_at);
alter table event add foreign key (tenant_id) references tenant;
select isolate('event');
-- +goose StatementBegin
do $$
declare
    newest timestamptz := (select max(recorded_at) from event_before);
begin
    if newest is null then
        drop table event_before;
        return;
    end if;
    revoke all on event_before from hibari_worker, hibari_request;
    execute format('alter table event attach partition event_before for values from (minvalue) to (%L)',
        partition_floor(greatest(newest, now()), '7 days') + interval '7 days');
end $$;
-- +goose StatementEnd
select partition_by_time('event', length => '7 days', kept => '34 days', ahead => '14 days', guards => array['tenant_id, seq']);

-- +goose Down
create table event_whole (like event including defaults);
insert into event_whole select * from event;
drop table event;
alter table event_whole rename to event;
alter table event add primary key (tenant_id, seq), add foreign key (tenant_id) references tenant;
select isolate('event');
delete from delivery d where not exists (select from event e where e.tenant_id = d.tenant_id and e.seq = d.event_seq);
alter table delivery add foreign key (tenant_id, event_seq) references event (tenant_id, seq);
drop function partition_state, keep_partitions, partition_forget, partition_by_time, make_partition, missing_partition,
    close_partition, partitions_of, partition_floor;
drop table partitioned;
