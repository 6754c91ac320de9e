-- Tenants from before are billed from this month on.

-- +goose Up
insert into billing_period (tenant_id, month, starts_at, ends_at, time_zone)
select tenant_id, month, greatest(month::timestamp at time zone time_zone, signup::timestamp at time zone time_zone),
    (month + interval '1 month')::timestamp at time zone time_zone, time_zone
from (
    select tenant_id, time_zone, date_trunc('month', clock_timestamp() at time zone time_zone)::date as month,
        (created_at at time zone time_zone)::date as signup
    from tenant where time_zone in (select name from pg_timezone_names)
) t
on conflict do nothing;
-- An operator names an invoice or a credit note without its tenant.
create index invoice_by_id on invoice (invoice_id);
create index credit_note_by_id on credit_note (credit_note_id);

-- +goose Down
drop index credit_note_by_id, invoice_by_id;
