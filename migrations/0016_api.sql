-- What API keys may do, and answers that are given again to those who ask again.

-- +goose Up
-- A key may do what a member of its role may do in the console. Those made so
-- far were made for the Action API and the stream, which are for developers.
alter table api_key add column role text not null default 'developer'
    check (role in ('admin', 'developer', 'billing', 'viewer'));
alter table api_key alter column role drop default;

-- +goose Down
alter table api_key drop column role;
