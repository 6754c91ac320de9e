-- Indexes as the queries need them, after a look at the plans on filled tables.

-- +goose Up
-- An endpoint's log is read page by page, newest first, while it is open in the
-- console: with the second column of its order in the index no page sorts them all.
drop index delivery_log;
create index delivery_log on delivery (tenant_id, endpoint_id, created_at desc, delivery_id desc);
-- An endpoint is one tenant's. Without being told, the planner takes the two for
-- independent, expects a hundredth of the rows, and sorts after all.
create statistics delivery_owner (dependencies) on tenant_id, endpoint_id from delivery;
-- Done commands are looked for at every heartbeat of every node.
create index node_command_done on node_command (done_at) where done_at is not null;
-- Nothing reads by these, and each connection and event paid for them.
drop index delivery_newest;
drop index event_by_connection;
drop index connection_by_channel;
drop index channel_session_by_channel;

-- +goose Down
create index channel_session_by_channel on channel_session (tenant_id, channel_id, started_at desc);
create index connection_by_channel on connection (tenant_id, channel_id, opened_at desc);
create index event_by_connection on event (tenant_id, connection_id, connection_seq);
create index delivery_newest on delivery (tenant_id, created_at desc, delivery_id desc);
drop index node_command_done;
drop statistics delivery_owner;
drop index delivery_log;
create index delivery_log on delivery (tenant_id, endpoint_id, created_at desc);
