-- Where a live channel is, and of which kind it is.

-- +goose Up
-- What clients reach a node by, as HIBARI_PUBLIC_URL says; '': not known.
alter table node add column public_url text not null default '';
-- The node that the channel lives on: that of its first connection. Others send
-- clients there, as long as that node is up or draining. Null: not known.
alter table channel_live add column node_id text references node;
-- A room of a peer-to-peer call, or a channel of the media plane: a name is one
-- of them at a time.
alter table channel_live add column peer boolean not null default false;
update channel_live h set node_id = (
    select min(l.node_id) from live_connection l where l.tenant_id = h.tenant_id and l.channel_id = h.channel_id);

-- +goose Down
alter table channel_live drop column peer;
alter table channel_live drop column node_id;
alter table node drop column public_url;
