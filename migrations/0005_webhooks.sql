-- Indexes for the webhook engine: lanes are per endpoint, retention goes by age.

-- +goose Up
drop index delivery_due; -- work is looked for endpoint by endpoint, so that a long backlog delays only its own
create index delivery_lane on delivery (endpoint_id, due, event_seq) where state = 'pending';
create index delivery_leased on delivery (endpoint_id, lease_until) where state = 'pending' and lease_until is not null;
create index delivery_event on delivery (event_id);
create index delivery_newest on delivery (tenant_id, created_at desc, delivery_id desc);
create index delivery_by_age on delivery (created_at);
create index delivery_attempt_by_age on delivery_attempt (at);

-- +goose Down
drop index delivery_attempt_by_age, delivery_by_age, delivery_newest, delivery_event, delivery_leased, delivery_lane;
create index delivery_due on delivery (due) where state = 'pending';
