-- +goose Up

-- The latest end of a connection that has left the channel: ends may be told
-- late and in any order, and the last of them ends the channel.
alter table channel_live add column left_at timestamptz;

-- +goose Down
alter table channel_live drop column left_at;
