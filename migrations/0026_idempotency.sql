-- Answers that are given again to who asks again with the same Idempotency-Key.

-- +goose Up
create table idempotent_answer (
    tenant_id       text not null references tenant,
    idempotency_key text not null,
    fingerprint     bytea not null, -- SHA-256 of what was asked
    answer_sealed   bytea not null, -- it may hold a secret: AES-256-GCM under the master key
    expires_at      timestamptz not null,
    primary key (tenant_id, idempotency_key)
);
create index idempotent_answer_expires on idempotent_answer (expires_at);
select isolate('idempotent_answer');

-- +goose Down
drop table idempotent_answer;
