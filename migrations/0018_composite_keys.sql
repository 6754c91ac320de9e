-- Every reference between tenants' rows names the tenant on both sides, so that
-- no row can belong to another tenant than what it points at; and every table has
-- a key that begins with it.
--
-- Attempts are written anew (14 days of them), deliveries and the places of live
-- connections get another index each: about a minute for ten million deliveries on
-- an ordinary disk. Everything else waits meanwhile.

-- +goose Up
-- A delivery points at its event by the tenant's seq, which is the event's key: so
-- neither needs an index more, and the event one less.
drop index delivery_event;
alter table delivery drop constraint delivery_event_id_fkey;
alter table event drop constraint event_event_id_key;
alter table delivery add foreign key (tenant_id, event_seq) references event (tenant_id, seq);
create index delivery_event on delivery (tenant_id, event_seq);

-- Attempts had no tenant of their own.
alter table delivery_attempt drop constraint delivery_attempt_delivery_id_fkey, drop constraint delivery_attempt_pkey;
drop index delivery_attempt_by_age;
alter table delivery drop constraint delivery_pkey, add primary key (tenant_id, delivery_id);
alter table delivery_attempt add tenant_id text;
update delivery_attempt a set tenant_id = d.tenant_id from delivery d where d.delivery_id = a.delivery_id;
alter table delivery_attempt alter tenant_id set not null,
    add primary key (tenant_id, delivery_id, attempt),
    add foreign key (tenant_id, delivery_id) references delivery on delete cascade;
create index delivery_attempt_by_age on delivery_attempt (at);
select isolate('delivery_attempt');

alter table live_connection drop constraint live_connection_pkey, add primary key (tenant_id, connection_id);
alter table node_command drop constraint node_command_pkey, add primary key (tenant_id, command_id);
alter table login_session add unique (tenant_id, session_hash);

-- +goose Down
alter table login_session drop constraint login_session_tenant_id_session_hash_key;
alter table node_command drop constraint node_command_pkey, add primary key (command_id);
alter table live_connection drop constraint live_connection_pkey, add primary key (connection_id);
drop policy worker on delivery_attempt;
drop policy request on delivery_attempt;
alter table delivery_attempt no force row level security, disable row level security;
revoke all on delivery_attempt from hibari_request;
alter table delivery_attempt drop constraint delivery_attempt_tenant_id_delivery_id_fkey, drop constraint delivery_attempt_pkey;
alter table delivery drop constraint delivery_pkey, add primary key (delivery_id);
alter table delivery_attempt drop tenant_id, add primary key (delivery_id, attempt),
    add foreign key (delivery_id) references delivery on delete cascade;
drop index delivery_event;
alter table delivery drop constraint delivery_tenant_id_event_seq_fkey;
alter table event add unique (event_id);
alter table delivery add foreign key (event_id) references event (event_id);
create index delivery_event on delivery (event_id);
