-- A secret's successor, and what an endpoint wants to hear.

-- +goose Up
alter table webhook_endpoint
    add previous_secret_sealed bytea,       -- signs too, until previous_secret_until
    add previous_secret_until  timestamptz,
    add channel_prefix  text not null default '', -- of the channels it hears about; '': of all
    add filter_from_seq bigint not null default 1, -- events from this one on were chosen by types and channel_prefix as they are
    add check ((previous_secret_sealed is null) = (previous_secret_until is null));
update webhook_endpoint set filter_from_seq = from_seq + 1;
create index webhook_endpoint_overlap on webhook_endpoint (previous_secret_until) where previous_secret_until is not null;

-- +goose Down
alter table webhook_endpoint drop previous_secret_sealed, drop previous_secret_until, drop channel_prefix, drop filter_from_seq;
