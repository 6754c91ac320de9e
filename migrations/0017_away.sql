-- Connections of a node that was taken for dead and came back.

-- +goose Up
-- The connection that this one continues, on the same client: it was ended as
-- node_lost, and its node entered what still lived anew.
alter table connection add column previous_connection_id text;
-- Who asks for the earlier one means the one that lives.
create index connection_continued on connection (tenant_id, previous_connection_id) where previous_connection_id is not null;

-- +goose Down
drop index connection_continued;
alter table connection drop column previous_connection_id;
