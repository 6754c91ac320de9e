-- Two foreign keys that others imply, and that each admission paid for: a twentieth of
-- what it costs the database.

-- +goose Up
-- A connection's session belongs to a tenant, by (tenant_id, session_id).
alter table connection drop constraint connection_tenant_id_fkey;
-- A place's connection, by (tenant_id, connection_id), is of a node.
alter table live_connection drop constraint live_connection_node_id_fkey;

-- +goose Down
alter table live_connection add constraint live_connection_node_id_fkey foreign key (node_id) references node;
alter table connection add constraint connection_tenant_id_fkey foreign key (tenant_id) references tenant;
