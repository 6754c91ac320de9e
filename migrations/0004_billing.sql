-- What a tenant has been told about a connection's minutes, and usage by time.

-- +goose Up
-- The last minute written as a connection.updated event: an event is written
-- only with the update that moves this forward, so each minute is told once,
-- also when a beat is repeated or its events failed the first time.
alter table connection add column minutes_told bigint not null default 0;
-- Usage of a period: segments that ended after its start.
create index connection_by_end on connection (tenant_id, ended_at) where connected_at is not null;
-- Places that a dead node left behind are looked for again and again.
create index node_ended on node (node_id) where state in ('stopped', 'lost');

-- +goose Down
drop index node_ended, connection_by_end;
alter table connection drop column minutes_told;
