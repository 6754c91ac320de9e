-- Commands between nodes: any action, with what it needs and what came of it. And how
-- a connection signals, for the lists of the Action API.

-- +goose Up
alter table node_command drop constraint node_command_action_check;
alter table node_command
    alter connection_id set default '', -- '': it is about a channel
    alter reason set default '',
    add channel_id text not null default '',
    -- Plain json: what is pushed to clients arrives as it was written.
    add payload json check (octet_length(payload::text) <= 131072),
    -- When nobody wants it any more; null: never, it stays until it is done.
    add expires_at timestamptz,
    -- What came of it; null: nothing was said. Of a command that expires done_at says
    -- that a node has taken it, so that it is done at most once.
    add result json,
    add check (octet_length(action) <= 64);
create index node_command_expires on node_command (expires_at) where expires_at is not null;
create index node_command_created on node_command (created_at);

-- How it signals and what was agreed on; null: from before there was this column.
alter table connection add profile jsonb;

-- +goose Down
alter table connection drop column profile;
delete from node_command where action <> 'disconnect';
drop index node_command_expires, node_command_created;
alter table node_command
    drop column channel_id, drop column payload, drop column expires_at, drop column result,
    drop constraint node_command_action_check,
    alter connection_id drop default, alter reason drop default;
alter table node_command add constraint node_command_action_check check (action in ('disconnect'));
